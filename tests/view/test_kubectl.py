"""Tables as kubectl prints them."""

from datetime import UTC, datetime

import pytest

from metallb_cli.view.kubectl import age, services_table

NOW = datetime(2030, 1, 1, 12, 35, tzinfo=UTC)


def service(name="nginx", **changes):
    return {
        "metadata": {"name": name, "creationTimestamp": "2030-01-01T12:00:00Z"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.233.41.110",
            "ports": [{"port": 80, "nodePort": 32283, "protocol": "TCP"}],
            **changes,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.96"}]}},
    }


def test_a_service_is_shown_as_in_the_example_deployments_readme():
    assert services_table([service()], NOW) == [
        "NAME    TYPE           CLUSTER-IP      EXTERNAL-IP   PORT(S)        AGE",
        "nginx   LoadBalancer   10.233.41.110   172.30.1.96   80:32283/TCP   35m",
    ]


def test_a_service_without_address_is_pending_and_one_that_needs_none_has_none():
    waiting = {**service(), "status": {}}
    headless = {
        **service("http", type="ClusterIP", clusterIP="None", ports=[{"port": 80}, {"port": 53, "protocol": "UDP"}])
    }
    headless["status"] = {}
    lines = services_table([waiting, headless], NOW)
    assert lines[1].split()[3] == "<pending>"
    assert lines[2].split() == ["http", "ClusterIP", "None", "<none>", "80/TCP,53/UDP", "35m"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (599, "9m59s"),
        (600, "10m"),
        (35 * 60 + 10, "35m"),
        (3 * 3600, "3h"),
        (4 * 3600 + 60, "4h1m"),
        (9 * 3600, "9h"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d"),
    ],
)
def test_an_age_has_kubectls_units(seconds, shown):
    assert age(seconds) == shown

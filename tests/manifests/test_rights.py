"""The daemons in front of an API server, with the rights that the manifests give them: none missing, none unused."""

import pytest

from metallb_cli.kube.client import Api
from metallb_cli.kube.secrets import HeartbeatKeys
from metallb_cli.linux.netns import namespaces
from tests.manifests.installed import NODE
from tests.manifests.rbac import granted, missing, unused
from tests.support.raw_api import MERGE
from tests.support.roles import until


def read_keys(cluster):
    """Read the key of the heartbeats with the rights of the speaker."""
    api = Api.connect(str(cluster.folder / "kubeconfig-speaker"))
    try:
        assert HeartbeatKeys(api, cluster.system).read() == ()
    finally:
        api.close()


def test_the_controller_has_the_rights_that_it_uses_and_no_others(cluster):
    controller, record = cluster.start(
        "controller", "--lease-duration", "3", "--renew-deadline", "2", "--retry-period", "0.3"
    )
    until(lambda: cluster.events("ConfigMissing"), what="the Event about the ConfigMap")
    cluster.configure()
    record.refuse_once("PATCH", cluster.service("web"), 409)  # so that it reads the Service again
    cluster.create_service("web")
    until(lambda: cluster.address("web"), what="the address")
    until(lambda: cluster.events("IPAllocated"), what="the Event about it")
    for kind in ("ClusterIP", "LoadBalancer"):  # the second time an Event repeats itself
        cluster.raw.patch(cluster.service("web"), {"spec": {"type": kind}}, MERGE).ok()
        until(lambda kind=kind: bool(cluster.address("web")) == (kind == "LoadBalancer"), what=kind)
    until(lambda: record.statuses("PATCH", "/events/"), what="a repeated Event")
    until(lambda: record.statuses("POST", "/secrets") == [201], what="the key of the heartbeats")
    assert controller.stop() == 0
    assert missing(record.requests, granted("controller", cluster.objects)) == []
    assert unused(record.requests, granted("controller", cluster.objects)) == []
    assert 403 not in {status for _, _, status in record.seen}


@pytest.mark.live
def test_the_speaker_has_the_rights_that_it_uses_and_no_others(cluster):
    cluster.serve("web", "172.30.1.97")
    with namespaces("mlb-rights", "node", "lan") as (node, lan):
        node.add_veth("eth0", "port", lan)
        node.set_up("eth0")
        lan.set_up("port")
        speaker, record = cluster.start(
            "speaker", "--node", NODE, "--netns", node.reference, "--lease-duration", "2", "--renew", "0.5"
        )
        until(lambda: cluster.events("nodeAssigned"), what="the Event about the announcement")
        cluster.set_endpoint("web", ready=False)
        until(lambda: "not announcing 172.30.1.97" in speaker.log, what="silence")
        cluster.set_endpoint("web", ready=True)  # the Event repeats itself
        until(lambda: record.statuses("PATCH", "/events/"), what="a repeated Event")
        read_keys(cluster)
        assert speaker.stop() == 0
    rules = granted("speaker", cluster.objects)
    assert missing(record.requests, rules) == []
    # Of the two kinds of endpoints a cluster has one to offer: 1.20 the older, the embedded API server the newer.
    followed = {"endpoints", "endpointslices"} & {each.resource for each in rules} - {
        each.resource for each in unused(record.requests, rules)
    }
    assert len(followed) == 1
    other = {"endpoints", "endpointslices"} - followed
    assert [each for each in unused(record.requests, rules) if each.resource not in other] == []
    assert 403 not in {status for _, _, status in record.seen}

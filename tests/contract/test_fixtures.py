"""The fixtures themselves: what a real server offers to tests, and what a skip means."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import apiserver

ROOT = Path(__file__).parents[2]


@pytest.fixture
def namespace(real_api):
    name = f"fixtures-{time.monotonic_ns()}"
    real_api.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    yield name
    real_api.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.cluster
def test_a_service_account_may_do_what_its_role_says_and_nothing_else(real_api, namespace, tmp_path):
    token = real_api.token_of(namespace, "reader")
    path = f"/api/v1/namespaces/{namespace}/services"
    answer = real_api.get(path, token=token)
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert f"system:serviceaccount:{namespace}:reader" in answer.json["message"]
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}
    real_api.post(f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": [rule]}).ok()
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    real_api.post(f"{rbac}/rolebindings", {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}).ok()
    deadline = time.monotonic() + 5
    while real_api.get(path, token=token).status == 403 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert real_api.get(path, token=token).status == 200
    assert real_api.get(path + "/x", token=token).status == 403
    file = real_api.write_kubeconfig(tmp_path / "kubeconfig", token, namespace)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.cluster
def test_the_real_server_asks_who_is_there(real_api):
    assert real_api.get("/api/v1/services", token="wrong").status == 401


@pytest.mark.cluster
def test_the_real_controllers_make_endpoints_from_ready_pods(real_api, namespace):
    pods, services = (f"/api/v1/namespaces/{namespace}/{plural}" for plural in ("pods", "services"))
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    real_api.post(pods, {"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": spec}).ok()
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "conditions": conditions}
    real_api.patch(f"{pods}/p/status", {"status": status}).ok()
    real_api.post(
        services, {"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}
    ).ok()
    controllers = real_api.start_controllers()
    try:
        path = f"/api/v1/namespaces/{namespace}/endpoints"
        query = {"fieldSelector": "metadata.name=s", "timeoutSeconds": 30}
        with real_api.watch(path, timeout=35, **query) as watch:
            found = watch.until(lambda _, obj: obj.get("subsets"))
        (subset,) = found[-1][1]["subsets"]
        assert [(each["ip"], each["nodeName"]) for each in subset["addresses"]] == [("10.1.2.3", "n")]
        controllers.check()
    finally:
        real_api.programs.remove(controllers)
        controllers.stop()


def test_a_program_that_ends_is_reported_with_its_last_words(tmp_path):
    program = apiserver.Program(["/bin/sh", "-c", "echo no such flag; exit 3"], tmp_path / "log")
    program.process.wait(10)
    with pytest.raises(apiserver.StartFailed, match=r"ended with status 3.*\n.*no such flag"):
        program.check()


def test_missing_programs_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(apiserver.AssetsMissing, match="no etcd and no kube-apiserver"):
        apiserver.ensure_assets()
    monkeypatch.delenv("KUBEBUILDER_ASSETS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(apiserver.AssetsMissing, match="needs bash, apt-get, dpkg, tar"):
        apiserver.ensure_assets()


SKIPPED = """
import pytest

MARKS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("live", "cluster", "slow")]

@pytest.mark.parametrize("mark", MARKS)
def test_it(mark):
    pytest.skip("no " + mark)

@pytest.mark.cluster
@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError
"""


@pytest.mark.parametrize(("ci", "outcome"), [("true", "2 failed, 1 skipped, 1 xfailed"), ("", "3 skipped, 1 xfailed")])
def test_a_skip_is_a_failure_where_nothing_may_be_missing(tmp_path, ci, outcome):
    (tmp_path / "test_it.py").write_text(SKIPPED)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)]
    # An empty folder of programs: the tests inside must not begin to build a kube-apiserver.
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "KUBEBUILDER_ASSETS": str(tmp_path)}
    ended = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert outcome in ended.stdout
    assert ("may not be skipped" in ended.stdout) is bool(ci)
    assert "no cluster" in ended.stdout

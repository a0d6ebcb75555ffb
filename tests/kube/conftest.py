import json

import pytest

from metallb_cli.kube.client import Api
from tests.kube.scripted import ScriptedServer


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """The machine's own cluster, proxies and home are none of these tests' business."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def kubeconfig(tmp_path):
    """Writes a kubeconfig for a server: `kubeconfig(url, cluster={…}, user={…}, namespace=…)` gives its path."""

    def write(url, *, cluster=None, user=None, name="kubeconfig", **context):
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}],
            "users": [{"name": "u", "user": user if user is not None else {"token": "secret-token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", **context}}],
            "current-context": "x",
        }
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return str(path)

    return write


@pytest.fixture
def serve(kubeconfig):
    """Starts a scripted server: `api, server = serve(handler)`."""
    opened = []

    def start(handler, **options):
        server = ScriptedServer(handler, **options)
        opened.append(server)
        api = Api.connect(
            kubeconfig(server.url, cluster={"insecure-skip-tls-verify": True} if "tls" in options else None)
        )
        opened.append(api)
        return api, server

    yield start
    for each in reversed(opened):
        each.close()

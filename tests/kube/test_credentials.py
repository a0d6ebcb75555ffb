import json
import os
import time

import pytest

from metallb_cli.errors import ApiUnavailableError, UsageError
from metallb_cli.kube import credentials
from metallb_cli.kube.client import Api
from metallb_cli.kube.transport import Transport
from tests.kube.scripted import ScriptedServer


def fine(request, reply):
    reply.json({"ok": True})


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def config(server="http://127.0.0.1:1", *, name="a", token="t", current=True, **context):
    return {
        "clusters": [{"name": f"cluster-{name}", "cluster": {"server": server}}],
        "users": [{"name": f"user-{name}", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": f"cluster-{name}", "user": f"user-{name}", **context}}],
        **({"current-context": name} if current else {}),
    }


# -- which file


def test_the_file_that_is_given_comes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", write(tmp_path / "env", config("http://127.0.0.1:2")))
    given = write(tmp_path / "given", config("http://127.0.0.1:3"))
    assert Api.connect(given).server == "http://127.0.0.1:3"
    assert Api.connect().server == "http://127.0.0.1:2"


def test_the_home_directory_is_looked_in_last(tmp_path):
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", config("http://127.0.0.1:4"))
    assert Api.connect().server == "http://127.0.0.1:4"


def test_several_files_in_the_environment_are_merged_and_the_first_wins(tmp_path, monkeypatch):
    first = write(tmp_path / "1", config("http://127.0.0.1:1", name="a"))
    second = config("http://127.0.0.1:2", name="b")
    second["clusters"].append({"name": "cluster-a", "cluster": {"server": "http://127.0.0.1:9"}})
    names = [first, str(tmp_path / "missing"), write(tmp_path / "2", second)]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(names))
    assert Api.connect().server == "http://127.0.0.1:1"
    assert Api.connect(context="b").server == "http://127.0.0.1:2"


def test_nothing_configured_says_what_to_do():
    with pytest.raises(UsageError, match="give --kubeconfig FILE, set KUBECONFIG, or run inside a cluster"):
        Api.connect()


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match="kubeconfig /no/such/file does not exist"):
        Api.connect("/no/such/file")


# -- what is in it


def test_the_contexts_namespace_is_known(tmp_path):
    assert Api.connect(write(tmp_path / "k", config(namespace="metal-system"))).namespace == "metal-system"
    assert Api.connect(write(tmp_path / "k", config())).namespace is None


def test_an_unknown_context_lists_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="no context 'prod'; it has: a"):
        Api.connect(write(tmp_path / "k", config()), context="prod")


def test_without_a_current_context_one_must_be_chosen(tmp_path):
    path = write(tmp_path / "k", config(current=False))
    with pytest.raises(UsageError, match="choose one with --context"):
        Api.connect(path)
    assert Api.connect(path, "a").server == "http://127.0.0.1:1"


def broken(change):
    content = config(token="hush-hush")
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not valid YAML: line 1"),
        ("a: \x00", "not valid YAML"),
        ("- 1", "not a kubeconfig"),
        ("", "not a kubeconfig"),
        ({"clusters": 1}, "each entry of clusters needs a name"),
        ({"users": [{"name": "u", "user": "hush-hush"}]}, "each entry of users needs a name and a user"),
        (broken(lambda c: c["contexts"][0]["context"].pop("cluster")), "names a cluster that is not there"),
        (broken(lambda c: c["contexts"][0]["context"].update(user="x")), "names a user that is not there: 'x'"),
        (broken(lambda c: c["clusters"][0]["cluster"].update(server="hush")), "not an http or https URL"),
        (broken(lambda c: c["clusters"][0]["cluster"].pop("server")), "not an http or https URL"),
        (broken(lambda c: c["clusters"][0]["cluster"].update(server="https://[::1")), "not an http or https URL"),
        (broken(lambda c: c["clusters"][0]["cluster"].update(server="https://a:99999")), "not an http or https URL"),
        (broken(lambda c: c["clusters"][0]["cluster"].update(server="https://")), "not an http or https URL"),
        (broken(lambda c: c["clusters"][0]["cluster"].update(server=["hush-hush"])), "not an http or https URL"),
        (
            broken(
                lambda c: c["clusters"][0]["cluster"].update({"server": "https://a", "certificate-authority": "/x/ca"})
            ),
            "File does not exist: /x/ca",
        ),
        (
            broken(
                lambda c: c["clusters"][0]["cluster"].update({"server": "https://a", "certificate-authority-data": "A"})
            ),
            "a malformed entry",
        ),
        (broken(lambda c: c["users"][0].update(user={"tokenFile": "/x/token"})), "/x/token: No such file"),
        (broken(lambda c: c["users"][0].update(user={"exec": {"hush-hush": 1}})), "credential plugin"),
    ],
)
def test_a_broken_kubeconfig_is_a_usage_error_that_tells_no_secret(tmp_path, content, message):
    path = write(tmp_path / "k", content)
    with pytest.raises(UsageError, match=message) as caught:
        Api.connect(path)
    assert "hush-hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_authority_without_a_certificate_is_no_traceback(kubeconfig):
    with ScriptedServer(fine) as server:
        url = server.url.replace("http", "https")
        api = Api.connect(kubeconfig(url, cluster={"certificate-authority-data": "aHVzaA=="}))
        with pytest.raises(ApiUnavailableError, match="TLS"):
            api.request("GET", "/x", timeout=1)


@pytest.mark.parametrize("token", ["hush\nhush", "hush\x00hush", "hush-höh"])
def test_a_token_that_cannot_be_sent_is_not_shown(kubeconfig, token):
    api = Api.connect(kubeconfig("http://127.0.0.1:1", user={"token": token}))
    with pytest.raises(ApiUnavailableError, match="characters no token may have") as caught:
        api.request("GET", "/x")
    assert "hush" not in str(caught.value)


def test_a_token_file_may_end_with_a_newline(kubeconfig, tmp_path):
    token = write(tmp_path / "token", "abc\n")
    with ScriptedServer(fine) as server:
        Api.connect(kubeconfig(server.url, user={"tokenFile": token})).request("GET", "/x")
        assert server.requests[0].headers["authorization"] == "Bearer abc"


def test_a_credential_plugin_is_run(kubeconfig, tmp_path):
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-exec"},
    }
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o700)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    with ScriptedServer(fine) as server:
        Api.connect(kubeconfig(server.url, user=user)).request("GET", "/x")
        assert server.requests[0].headers["authorization"] == "Bearer from-exec"


def test_basic_authentication_is_sent(kubeconfig):
    with ScriptedServer(fine) as server:
        Api.connect(kubeconfig(server.url, user={"username": "a", "password": "b"})).request("GET", "/x")
        assert server.requests[0].headers["authorization"] == "Basic YTpi"


def test_a_password_in_the_url_is_not_shown(kubeconfig):
    api = Api.connect(kubeconfig("http://me:hush@127.0.0.1:1"))
    assert api.server == "http://127.0.0.1:1"
    with pytest.raises(ApiUnavailableError) as caught:
        api.request("GET", "/x")
    assert "hush" not in str(caught.value)


# -- in a pod


@pytest.fixture
def service_account(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    (folder / "namespace").write_text("metal-system\n")
    return folder


def test_a_pod_uses_its_service_account(service_account):
    found = credentials.find(None, None, service_account)
    assert found.configuration.host == "https://10.96.0.1:443"
    assert found.namespace == "metal-system"
    assert found.configuration.ssl_ca_cert == str(service_account / "ca.crt")


def test_a_rotated_token_is_used_by_the_next_call(service_account):
    found = credentials.find(None, None, service_account)
    with ScriptedServer(fine) as server:
        found.configuration.host = server.url
        transport = Transport(found.configuration, found.source)
        for token in ("first", "second"):
            replacement = service_account / "new"
            replacement.write_text(token)
            replacement.rename(service_account / "token")
            transport.request("GET", "/x", query=None, body=None, content_type="", timeout=5)
        transport.close()
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


def test_a_token_that_disappears_is_no_traceback(service_account):
    found = credentials.find(None, None, service_account)
    api = Api(Transport(found.configuration, found.source), found.namespace)
    (service_account / "token").unlink()
    with pytest.raises(ApiUnavailableError, match="cannot be read again"):
        api.request("GET", "/x")


def test_a_pod_without_a_token_says_what_may_be_wrong(service_account):
    (service_account / "token").unlink()
    with pytest.raises(UsageError, match="automountServiceAccountToken"):
        credentials.find(None, None, service_account)


def test_a_pod_without_a_namespace_file_still_connects(service_account):
    (service_account / "namespace").unlink()
    assert credentials.find(None, None, service_account).namespace is None


def test_a_context_makes_no_sense_in_a_pod(service_account):
    with pytest.raises(UsageError, match="no kubeconfig to look up the context"):
        credentials.find(None, "a", service_account)


# -- proxies


def proxied(tmp_path, url, monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return credentials.find(write(tmp_path / "k", config(url)), None).configuration


def test_a_proxy_in_the_environment_is_used_for_other_machines(tmp_path, monkeypatch):
    found = proxied(tmp_path, "https://10.0.0.1:6443", monkeypatch, HTTPS_PROXY="http://proxy:3128")
    assert found.proxy == "http://proxy:3128"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_this_machine_is_never_reached_through_a_proxy(tmp_path, monkeypatch, host):
    assert not proxied(tmp_path, f"https://{host}:6443", monkeypatch, HTTPS_PROXY="http://proxy:3128").proxy


def test_the_proxy_is_not_asked_for_what_no_proxy_names(tmp_path, monkeypatch):
    def direct(request, reply):
        reply.json({"direct": True})

    found = proxied(tmp_path, "http://10.0.0.1", monkeypatch, HTTP_PROXY="http://127.0.0.1:1", NO_PROXY="10.0.0.0/8")
    with ScriptedServer(direct):
        pool = Transport(found, "test")._pool
    assert pool.proxy is None


def test_the_kubeconfigs_own_proxy_wins_over_the_environment(tmp_path, monkeypatch):
    content = config("http://cluster.invalid")
    with ScriptedServer(fine) as proxy:
        content["clusters"][0]["cluster"]["proxy-url"] = proxy.url
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "*")
        api = Api.connect(write(tmp_path / "k", content))
        assert api.request("GET", "/x") == {"ok": True}
        assert proxy.requests[0].path == "/x"
        api.close()


def test_a_dead_proxy_is_said_to_be_the_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    api = Api.connect(write(tmp_path / "k", config("http://10.0.0.1:6443")))
    with pytest.raises(ApiUnavailableError, match="the proxy does not answer: connection refused"):
        api.request("GET", "/x")


def test_certificate_bundles_of_other_tools_do_not_matter(tmp_path, kubeconfig, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle")
    monkeypatch.setenv("CURL_CA_BUNDLE", "/no/such/bundle")
    with ScriptedServer(fine) as server:
        assert Api.connect(kubeconfig(server.url)).request("GET", "/x") == {"ok": True}


def test_connecting_does_not_call_the_server(kubeconfig):
    began = time.monotonic()
    Api.connect(kubeconfig("http://192.0.2.1:6443"))
    assert time.monotonic() - began < 5

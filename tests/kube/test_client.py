import itertools
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube import transport
from metallb_cli.kube.client import MERGE_PATCH, Api
from tests.kube.scripted import ScriptedServer


def answer(body, status=200, headers=()):
    return lambda request, reply: reply.json(body, status, headers)


def test_a_call_sends_the_token_and_gives_the_object(serve):
    api, server = serve(answer({"kind": "Namespace"}))
    assert api.request("GET", "/api/v1/namespaces/default", query={"a": "b c"}) == {"kind": "Namespace"}
    (request,) = server.requests
    assert (request.method, request.path, request.query) == ("GET", "/api/v1/namespaces/default", {"a": "b c"})
    assert request.headers["authorization"] == "Bearer secret-token"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("metallb/")


def test_a_patch_goes_out_with_its_content_type(serve):
    api, server = serve(answer({}))
    api.request("PATCH", "/x", body={"a": None}, content_type=MERGE_PATCH)
    (request,) = server.requests
    assert request.json == {"a": None}
    assert request.headers["content-type"] == "application/merge-patch+json"


def test_calls_share_a_connection(serve):
    api, server = serve(answer({}))
    for _ in range(5):
        api.request("GET", "/x")
    assert len(server._connections) == 1


def test_an_answer_without_a_body_is_an_empty_object(serve):
    api, _ = serve(lambda request, reply: reply.text(""))
    assert api.request("DELETE", "/x") == {}


def test_a_refusal_carries_status_reason_and_the_servers_words(serve):
    api, server = serve(lambda request, reply: reply.status(409, "Conflict", "the object has been modified"))
    with pytest.raises(ApiError) as caught:
        api.request("PUT", "/x", body={})
    assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (409, "Conflict", None)
    assert str(caught.value) == f"{server.url} refused PUT /x: 409: the object has been modified"


def test_a_refusal_in_another_format_is_quoted_briefly_and_without_control_characters(serve):
    api, _ = serve(lambda request, reply: reply.text("<html>\x1b[31m" + "x" * 100_000, 502))
    with pytest.raises(ApiError) as caught:
        api.request("GET", "/x")
    assert caught.value.status == 502
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()


def test_a_redirect_is_a_refusal_and_not_followed(serve):
    api, server = serve(lambda request, reply: reply.text("", 302, [("location", "http://127.0.0.1:1/")]))
    with pytest.raises(ApiError) as caught:
        api.request("GET", "/x")
    assert caught.value.status == 302
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        ([("retry-after", "7")], {}, 7.0),
        ([("retry-after", "999999999999999999999")], {}, 999999999.0),
        ([("retry-after", "soon")], {}, None),
        ([("retry-after", "-1")], {}, None),
        (
            [("date", "Mon, 23 Nov 2026 10:00:00 GMT"), ("retry-after", "Mon, 23 Nov 2026 10:00:09 GMT")],
            {},
            9.0,
        ),
        ([], {"retryAfterSeconds": 3}, 3.0),
        ([], {"retryAfterSeconds": "3"}, None),
        ([], {}, None),
    ],
)
def test_retry_after_is_read_from_header_or_status(serve, headers, details, expected):
    api, _ = serve(lambda request, reply: reply.status(429, "TooManyRequests", "slow down", headers, **details))
    with pytest.raises(ApiError) as caught:
        api.request("GET", "/x")
    assert caught.value.retry_after == expected


@pytest.mark.parametrize("body", ["", "[1, 2]", "<html>", '"text"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\xff"])
def test_an_answer_that_is_no_object_is_no_answer(serve, body):
    api, _ = serve(lambda request, reply: reply.text(body or "null"))
    with pytest.raises(ApiUnavailableError, match="is it an API server"):
        api.request("GET", "/x")


def test_nobody_listening_says_which_server_and_that_it_refused(kubeconfig):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = Api.connect(kubeconfig(f"http://127.0.0.1:{port}"))
    with pytest.raises(ApiUnavailableError) as caught:
        api.request("GET", "/x")
    assert f"http://127.0.0.1:{port}: connection refused" in str(caught.value)


def test_an_unknown_host_name_is_said_to_be_one(kubeconfig):
    api = Api.connect(kubeconfig("http://no-such-host.invalid:6443"))
    with pytest.raises(ApiUnavailableError, match=r"no-such-host\.invalid:6443: its name cannot be resolved"):
        api.request("GET", "/x")


def test_a_frozen_server_is_given_up_after_the_timeout(serve):
    api, _ = serve(lambda request, reply: reply.freeze())
    began = time.monotonic()
    with pytest.raises(ApiUnavailableError, match="sent nothing for too long"):
        api.request("GET", "/x", timeout=0.3)
    assert time.monotonic() - began < 2


def test_a_server_that_never_accepts_is_given_up_after_the_timeout(serve):
    api, _ = serve(None, accepting=False)
    began = time.monotonic()
    with pytest.raises(ApiUnavailableError):
        api.request("GET", "/x", timeout=0.3)
    assert time.monotonic() - began < 2


def test_an_answer_that_trickles_is_given_up_after_the_timeout(serve):
    done = threading.Event()

    def trickle(request, reply):
        reply.begin()
        while not done.wait(0.02):
            reply.chunk(b" ")

    api, _ = serve(trickle)
    began = time.monotonic()
    with pytest.raises(ApiUnavailableError):
        api.request("GET", "/x", timeout=0.3)
    done.set()
    assert time.monotonic() - began < 2


def test_an_answer_without_end_is_given_up_at_the_limit(serve, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY", 1 << 20)

    def flood(request, reply):
        reply.begin()
        while True:
            reply.chunk(b" " * 65536)

    api, _ = serve(flood)
    with pytest.raises(ApiUnavailableError, match="longer than 1 MiB"):
        api.request("GET", "/x")


def test_a_connection_cut_in_the_answer_is_no_answer(serve):
    def half(request, reply):
        reply.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        reply.cut()

    api, _ = serve(half)
    with pytest.raises(ApiUnavailableError, match="the connection broke"):
        api.request("GET", "/x")


def test_garbage_instead_of_http_is_no_answer(serve):
    def garbage(request, reply):
        reply.raw(b"\x15\x03\x01garbage\r\n\r\n")
        reply.cut()

    api, _ = serve(garbage)
    with pytest.raises(ApiUnavailableError, match="the connection broke"):
        api.request("GET", "/x")


def test_an_idle_connection_that_the_server_closed_is_replaced(serve):
    def once(request, reply):
        reply.json({})
        reply.cut()

    api, server = serve(once)
    api.request("GET", "/x")
    deadline = time.monotonic() + 5
    while True:  # the reset is on its way; until it is here the old connection looks alive
        try:
            api.request("GET", "/x")
            break
        except ApiUnavailableError:
            assert time.monotonic() < deadline
    assert len(server._connections) >= 2


def test_close_ends_a_call_that_blocks_in_another_thread(serve):
    api, server = serve(lambda request, reply: reply.freeze())
    caught = []

    def call():
        try:
            api.request("GET", "/x", timeout=60)
        except ApiUnavailableError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    server.seen.get(timeout=5)
    began = time.monotonic()
    api.close()
    thread.join(5)
    assert caught
    assert time.monotonic() - began < 1
    with pytest.raises(ApiUnavailableError, match="closed by this side"):
        api.request("GET", "/x")


def test_closing_one_clone_leaves_the_other_alone(serve):
    api, _ = serve(answer({"a": 1}))
    clone = api.clone()
    assert clone.request("GET", "/x") == {"a": 1}
    clone.close()
    assert api.request("GET", "/x") == {"a": 1}


def test_a_stream_gives_lines_as_they_come_and_whole(serve):
    def lines(request, reply):
        reply.begin()
        for part in (b"one\ntw", b"o\n", b"three", b"\nfour\n\nsix\n"):
            reply.chunk(part)
        reply.end()

    api, server = serve(lines)
    with api.stream("/x", {"watch": "true"}, 5.0) as stream:
        assert list(stream) == [b"one", b"two", b"three", b"four", b"", b"six"]
    assert server.requests[0].query == {"watch": "true"}


def test_a_stream_that_rests_gathers_what_comes_meanwhile(serve):
    def lines(request, reply):
        reply.begin()
        for number in range(40):
            reply.chunk(b"%d\n" % number)
            time.sleep(0.01)
        reply.end()

    api, _ = serve(lines)
    got, times = [], []
    with api.stream("/x", {}, 5.0, rest=0.15) as stream:
        for line in stream:
            got.append(line)
            times.append(time.monotonic())
    assert got == [b"%d" % number for number in range(40)]
    together = sum(later - earlier < 0.003 for earlier, later in itertools.pairwise(times))
    assert together >= 10, "they were sent one by one, at least 10 ms apart"


def test_a_stream_that_rests_does_not_do_so_for_each_of_many_lines_that_wait(serve):
    def lines(request, reply):
        reply.begin()
        for number in range(2000):
            reply.chunk(b"%d\n" % number)
        reply.end()

    api, _ = serve(lines)
    began = time.monotonic()
    with api.stream("/x", {}, 5.0, rest=0.1) as stream:
        assert sum(1 for _ in stream) == 2000
    assert time.monotonic() - began < 20, "a rest for each would be 200 s"


def test_a_stream_that_is_refused_raises_before_the_first_line(serve):
    api, _ = serve(lambda request, reply: reply.status(410, "Expired", "too old resource version"))
    with pytest.raises(ApiError) as caught, api.stream("/x", {}, 5.0):
        pass
    assert (caught.value.status, caught.value.reason) == (410, "Expired")


def test_a_stream_cut_in_a_line_does_not_give_the_half_line(serve):
    def half(request, reply):
        reply.begin()
        reply.chunk(b'whole\n{"half":')
        reply.end()

    api, _ = serve(half)
    got = []
    with pytest.raises(ApiUnavailableError, match="in the middle of an event"), api.stream("/x", {}, 5.0) as stream:
        got.extend(stream)
    assert got == [b"whole"]


def test_a_stream_that_goes_silent_ends_after_the_read_timeout(serve):
    def silent(request, reply):
        reply.begin()
        reply.chunk(b"one\n")
        reply.freeze()

    api, _ = serve(silent)
    got = []
    began = time.monotonic()
    with pytest.raises(ApiUnavailableError), api.stream("/x", {}, 0.3) as stream:
        got.extend(stream)
    assert got == [b"one"]
    assert time.monotonic() - began < 2


def test_the_read_timeout_of_a_stream_holds_also_when_the_server_keeps_no_connections(serve, monkeypatch):
    monkeypatch.setattr(transport, "HEADER_TIMEOUT", 0.2)
    go = threading.Event()

    def slow(request, reply):
        reply.begin([("connection", "close")])
        go.wait(5)
        reply.chunk(b"late\n")
        reply.end()

    api, _ = serve(slow)
    timer = threading.Timer(0.5, go.set)
    timer.start()
    with api.stream("/x", {}, 5.0) as stream:
        assert list(stream) == [b"late"]
    timer.join()


def test_a_line_beyond_the_limit_is_not_collected(serve, monkeypatch):
    monkeypatch.setattr(transport, "MAX_LINE", 100_000)

    def endless(request, reply):
        reply.begin()
        while True:
            reply.chunk(b"x" * 10_000)

    api, _ = serve(endless)
    with pytest.raises(ApiUnavailableError, match="an event longer than"), api.stream("/x", {}, 5.0) as stream:
        list(stream)


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, 0.0), (-1, 0.0), (3600, 3600.0), (-7, -7.0)], ids=["same", "near", "ahead", "behind"]
)
def test_the_servers_clock_is_compared_with_ours(serve, offset, expected):
    def dated(request, reply):
        when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + offset))
        reply.json({}, headers=[("date", when)])

    api, _ = serve(dated)
    assert api.clock_ahead == 0.0
    api.request("GET", "/x")
    assert api.clock_ahead == pytest.approx(expected, abs=1.1)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 10:00:00 GMT"])
def test_a_date_that_cannot_be_read_tells_nothing_about_the_clock(serve, date):
    api, _ = serve(answer({}, headers=[("date", date)]))
    api.request("GET", "/x")
    assert api.clock_ahead == 0.0


# -- TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate for this test: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"]
    subject = ["-days", "2", "-subj", "/CN=api.test", "-addext", "subjectAltName=DNS:api.test"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, "-out", "cert.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with ScriptedServer(answer({"a": 1}), tls=context) as server:
        yield server


def test_tls_is_verified_against_the_kubeconfigs_authority_and_name(tls_server, certificate, kubeconfig):
    authority = {"certificate-authority": str(certificate / "cert.pem"), "tls-server-name": "api.test"}
    api = Api.connect(kubeconfig(tls_server.url, cluster=authority))
    assert api.request("GET", "/x") == {"a": 1}
    api.close()


def test_a_wrong_tls_name_is_said_to_be_one(tls_server, certificate, kubeconfig):
    api = Api.connect(kubeconfig(tls_server.url, cluster={"certificate-authority": str(certificate / "cert.pem")}))
    with pytest.raises(ApiUnavailableError, match=r"TLS: IP address mismatch.*tls-server-name"):
        api.request("GET", "/x")


def test_an_unknown_authority_is_said_to_be_one(tls_server, kubeconfig, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    api = Api.connect(kubeconfig(tls_server.url, cluster={"tls-server-name": "api.test"}))
    with pytest.raises(ApiUnavailableError, match=r"TLS: self.signed certificate"):
        api.request("GET", "/x")


def test_skipping_verification_works_and_warns_nobody(tls_server, kubeconfig):
    api = Api.connect(kubeconfig(tls_server.url, cluster={"insecure-skip-tls-verify": True}))
    assert api.request("GET", "/x") == {"a": 1}
    api.close()


def test_a_stream_over_tls_ends_when_closed_from_another_thread(certificate, kubeconfig):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def silent(request, reply):
        reply.begin()
        reply.chunk(b"one\n")
        reply.freeze()

    with ScriptedServer(silent, tls=context) as server:
        api = Api.connect(kubeconfig(server.url, cluster={"insecure-skip-tls-verify": True}))
        got_one = threading.Event()
        ended = []

        def read():
            try:
                with api.stream("/x", {}, 60.0) as stream:
                    for _ in stream:
                        got_one.set()
            except ApiUnavailableError as error:
                ended.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        assert got_one.wait(5)
        began = time.monotonic()
        api.close()
        thread.join(5)
        assert ended
        assert time.monotonic() - began < 1


def test_plain_http_spoken_to_a_tls_port_is_a_refusal_in_one_line(tls_server, kubeconfig):
    api = Api.connect(kubeconfig(tls_server.url.replace("https", "http")))
    with pytest.raises(ApiUnavailableError) as caught:
        api.request("GET", "/x", timeout=0.5)
    assert "\n" not in str(caught.value)


def test_tls_spoken_to_a_plain_port_says_tls(serve, kubeconfig):
    def confused(request, reply):
        reply.text("", 400)

    with ScriptedServer(confused) as server:
        api = Api.connect(kubeconfig(server.url.replace("http", "https"), cluster={"insecure-skip-tls-verify": True}))
        with pytest.raises(ApiUnavailableError) as caught:
            api.request("GET", "/x", timeout=0.5)
    assert "\n" not in str(caught.value)


def test_importing_the_client_does_not_import_kubernetes():
    code = "import sys, metallb_cli.kube.client, metallb_cli.kube.reflector; print('kubernetes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout.lower()) is False

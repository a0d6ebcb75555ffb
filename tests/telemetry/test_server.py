import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from metallb_cli.errors import UsageError
from metallb_cli.telemetry import server
from metallb_cli.telemetry.server import StatusServer


@pytest.fixture
def serve():
    made = []

    def start(address="127.0.0.1", port=0, **pages):
        pages = {"metrics": lambda: b"x 1\n", "healthz": lambda: "", "readyz": lambda: "", **pages}
        each = StatusServer(address, port, **pages)
        made.append(each)
        each.start()
        return each

    yield start
    for each in made:
        each.stop()
        assert not each.alive


def get(port, path, method="GET", host="127.0.0.1"):
    request = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def talk(port, data, timeout=5.0):
    """Send raw bytes and return everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def test_metrics_are_served_as_prometheus_wants_them(serve):
    status, headers, body = get(serve().port, "/metrics?x=y")
    assert (status, body) == (200, b"x 1\n")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_health_is_ok_or_503_with_the_reason(serve):
    reason = ""
    port = serve(healthz=lambda: reason, readyz=lambda: "waiting for the API server").port
    assert get(port, "/healthz")[::2] == (200, b"ok\n")
    assert get(port, "/readyz")[::2] == (503, b"waiting for the API server\n")
    reason = "the thread reflector-services has ended"
    assert get(port, "/healthz")[::2] == (503, b"the thread reflector-services has ended\n")


def test_another_path_says_what_there_is(serve):
    assert get(serve().port, "/")[::2] == (404, b"there is /metrics, /healthz, /readyz\n")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE"])
def test_only_get_is_allowed(serve, method):
    status, headers, _ = get(serve().port, "/metrics", method)
    assert (status, headers["allow"]) == (405, "GET")


def test_a_page_that_fails_does_not_take_the_others_along(serve, caplog):
    def fail():
        raise RuntimeError("a defect")

    port = serve(metrics=fail).port
    assert get(port, "/metrics")[0] == 500
    assert get(port, "/healthz")[0] == 200
    assert "a defect" in caplog.text


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n", b"GET /\xff HTTP/9\r\n\r\n"]
)
def test_garbage_gets_an_error_and_nothing_breaks(serve, data):
    port = serve().port
    assert talk(port, data)[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 405")
    assert get(port, "/healthz")[0] == 200


def test_an_endless_request_is_cut(serve):
    port = serve().port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, pytest.raises(OSError):
        for _ in range(10_000):
            connection.sendall(b"x" * 4096)
    assert get(port, "/healthz")[0] == 200


def test_a_slow_client_is_cut_after_the_deadline(serve, monkeypatch):
    monkeypatch.setattr(server, "DEADLINE", 0.3)
    port = serve().port
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(b"GET /met")
        assert connection.recv(100) == b""


def test_clients_that_say_nothing_take_only_so_many_places_and_only_for_so_long(serve, monkeypatch):
    monkeypatch.setattr(server, "DEADLINE", 1.0)
    monkeypatch.setattr(server, "CONNECTIONS", 4)
    each = serve()
    silent = [socket.create_connection(("127.0.0.1", each.port), timeout=15) for _ in range(4)]
    deadline = time.monotonic() + 15
    while each._slots._value:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert talk(each.port, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    assert threading.active_count() < 20
    for connection in silent:
        assert connection.recv(1) == b""  # its time is over
        connection.close()
    deadline = time.monotonic() + 15
    while talk(each.port, b"GET /healthz HTTP/1.1\r\n\r\n")[:15] != b"HTTP/1.1 200 OK":
        assert time.monotonic() < deadline


def test_a_client_that_does_not_take_its_answer_is_cut(serve, monkeypatch):
    monkeypatch.setattr(server, "DEADLINE", 0.3)
    each = serve(metrics=lambda: b"x" * (64 << 20))
    with socket.create_connection(("127.0.0.1", each.port), timeout=15) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        deadline = time.monotonic() + 15
        while each._slots._value != server.CONNECTIONS:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert get(each.port, "/healthz")[0] == 200


def test_many_at_once_are_answered(serve):
    port = serve().port
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(port, "/metrics")[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert answers == [200] * 8


def test_a_port_in_use_says_what_to_do(serve):
    port = serve().port
    with pytest.raises(UsageError, match=f"port {port}: another program has that port: choose another one"):
        StatusServer("127.0.0.1", port, metrics=bytes, healthz=str, readyz=str)


@pytest.mark.parametrize(
    ("address", "port", "message"),
    [
        ("192.0.2.1", 0, "this machine does not have that address"),
        ("localhost", 0, "it is not an IP address"),
        ("127.0.0.1", 65536, "ports are 0 to 65535"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_usage_error(address, port, message):
    with pytest.raises(UsageError, match=message):
        StatusServer(address, port, metrics=bytes, healthz=str, readyz=str)


def test_an_empty_address_means_all_of_both_families(serve):
    each = serve("")
    assert get(each.port, "/healthz")[0] == 200
    if socket.has_dualstack_ipv6():
        assert get(each.port, "/healthz", host="[::1]")[0] == 200


def test_after_stop_the_port_is_free(serve):
    each = serve()
    each.stop()
    again = serve(port=each.port)
    assert get(again.port, "/healthz")[0] == 200

import threading
import time

from metallb_cli.daemon.inbox import FIRST_RETRY, LAST_RETRY, Inbox


def test_keys_come_out_in_order_and_only_once():
    inbox = Inbox()
    for key in ("a", "b", "a", "c"):
        inbox.put(key)
    assert [inbox.get(0) for _ in range(4)] == ["a", "b", "c", None]


def test_an_empty_inbox_waits_for_a_put_from_another_thread():
    inbox = Inbox()
    threading.Timer(0.05, inbox.put, ["late"]).start()
    assert inbox.get(5.0) == "late"


def test_a_failing_key_waits_longer_each_time_up_to_a_minute():
    inbox = Inbox()
    waits = [inbox.retry("a") for _ in range(12)]
    assert waits[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert waits[-1] == LAST_RETRY
    assert waits == sorted(waits)


def test_a_failing_key_comes_back_after_its_wait():
    inbox = Inbox()
    started = time.monotonic()
    inbox.retry("a")
    assert inbox.get(0) is None
    assert inbox.get(5.0) == "a"
    assert time.monotonic() - started >= FIRST_RETRY


def test_success_forgets_the_failures():
    inbox = Inbox()
    inbox.retry("a")
    inbox.retry("a")
    inbox.succeeded("a")
    assert inbox.retry("a") == FIRST_RETRY


def test_the_server_may_ask_for_a_longer_wait():
    assert Inbox().retry("a", at_least=7.5) == 7.5


def test_a_key_that_succeeded_while_waiting_does_not_come_back():
    inbox = Inbox()
    inbox.retry("a")
    inbox.put("a")
    assert inbox.get(0) == "a"
    inbox.succeeded("a")
    assert inbox.get(2 * FIRST_RETRY) is None


def test_clear_forgets_everything():
    inbox = Inbox()
    inbox.put("a")
    inbox.retry("b")
    inbox.clear()
    assert len(inbox) == 0
    assert inbox.get(0) is None

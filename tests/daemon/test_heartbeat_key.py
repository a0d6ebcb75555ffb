import logging

import pytest

from metallb_cli.daemon.heartbeat_key import HeartbeatKeyThread
from metallb_cli.errors import ApiError, ApiUnavailableError
from tests.support.roles import until

OLD, NEW = b"o" * 32, b"n" * 32


class MemoryKeys:
    """Implements the reading half of ports.KeyStore; `trouble` is what every call raises."""

    def __init__(self):
        self.keys = ()
        self.looks = 0
        self.trouble = None

    def read(self, timeout):
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return self.keys

    def ensure(self, timeout):
        raise AssertionError("a speaker makes no key")


@pytest.fixture
def keys():
    return MemoryKeys()


@pytest.fixture
def got():
    return []


@pytest.fixture
def failures():
    return []


@pytest.fixture
def look(keys, got, failures):
    """Starts a thread: `look(first=…, every=…)`."""
    running = []

    def start(*, first=0.01, every=0.01, on_keys=None):
        thread = HeartbeatKeyThread(keys, on_keys or got.append, failures.append, first=first, every=every)
        thread.start()
        running.append(thread)
        return thread

    yield start
    for thread in running:
        thread.stop()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_key_that_comes_later_is_found_and_told_once(look, keys, got, caplog):
    look()
    until(lambda: keys.looks >= 3, 5)
    assert got == []
    keys.keys = (OLD,)
    until(lambda: got, 5)
    seen = keys.looks
    until(lambda: keys.looks >= seen + 3, 5)
    assert got == [(OLD,)]
    assert len(warnings(caplog)) == 1
    assert "is not there; the controller creates it" in warnings(caplog)[0]


def test_a_key_that_is_exchanged_is_told_with_the_one_before(look, keys, got):
    keys.keys = (OLD,)
    look()
    until(lambda: got == [(OLD,)], 5)
    keys.keys = (NEW, OLD)
    until(lambda: got == [(OLD,), (NEW, OLD)], 5)
    keys.keys = (NEW,)
    until(lambda: got == [(OLD,), (NEW, OLD), (NEW,)], 5)


@pytest.mark.parametrize("trouble", [ApiError("secrets is forbidden", status=403), ApiUnavailableError("no answer")])
def test_a_refusal_or_silence_is_logged_once_and_tried_again(look, keys, got, failures, caplog, trouble):
    keys.trouble = trouble
    look()
    until(lambda: keys.looks >= 4, 5)
    keys.trouble, keys.keys = None, (OLD,)
    until(lambda: got == [(OLD,)], 5)
    assert len(warnings(caplog)) == 1
    assert str(trouble) in warnings(caplog)[0]
    assert failures == []


def test_a_secret_that_goes_away_takes_no_key_away(look, keys, got, caplog):
    keys.keys = (OLD,)
    look()
    until(lambda: got, 5)
    keys.keys = ()
    seen = keys.looks
    until(lambda: keys.looks >= seen + 3, 5)
    assert got == [(OLD,)]
    assert ["go on with the keys known" in message for message in warnings(caplog)] == [True]


def test_it_asks_less_and_less_often_for_a_key_that_does_not_come(look, keys):
    thread = look(first=0.1)
    until(lambda: keys.looks >= 3, 5)  # after 0, 0.1 and 0.3 s
    thread.stop()
    looked = keys.looks
    thread._thread.join(2)
    assert keys.looks - looked <= 1
    assert looked == 3


def test_a_defect_is_fatal_and_not_silent(look, keys, failures):
    keys.trouble = KeyError("ours")
    look()
    until(lambda: failures, 3)
    assert isinstance(failures[0], KeyError)


def test_no_key_is_ever_logged(look, keys, got, failures, caplog):
    caplog.set_level(logging.DEBUG)
    keys.keys = (OLD,)

    def refuse(keys):
        got.append(keys)
        raise RuntimeError("the link process took no message")

    look(on_keys=refuse)
    until(lambda: failures, 5)
    assert OLD.decode() not in caplog.text
    assert OLD.hex() not in caplog.text

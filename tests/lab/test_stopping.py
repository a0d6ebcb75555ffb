"""Waiting that ends with a signal, a failure or the time."""

import os
import signal
import threading
import time

import pytest

from metallb_cli.errors import MetalLBError
from metallb_cli.lab.stopping import SIGNALS, InterruptedLabError, NotInTimeError, Stopping


@pytest.fixture
def stopping():
    before = {each: signal.getsignal(each) for each in SIGNALS}
    made = Stopping()
    made.install()
    yield made
    for each, handler in before.items():
        signal.signal(each, handler)


def nothing():
    pass


def test_a_wait_returns_what_the_condition_returned(stopping):
    answers = iter([None, "", "here"])
    assert stopping.wait(lambda: next(answers), "it", 5.0, nothing) == "here"


def test_a_wait_that_takes_too_long_names_what_it_waited_for(stopping):
    with pytest.raises(NotInTimeError, match="not within 0 s: three ready pods"):
        stopping.wait(lambda: None, "three ready pods", 0.0, nothing)


def test_a_failure_elsewhere_ends_the_wait_at_once(stopping):
    def failed():
        raise MetalLBError("a daemon died")

    with pytest.raises(MetalLBError, match="a daemon died"):
        stopping.wait(lambda: True, "it", 5.0, failed)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_wait_with_the_shells_exit_code(stopping, number, code):
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    with pytest.raises(InterruptedLabError, match=number.name) as caught:
        stopping.wait(lambda: None, "it", 30.0, nothing)
    assert caught.value.exit_code == code
    assert time.monotonic() - began < 10


def test_a_second_signal_changes_nothing(stopping):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(InterruptedLabError, match="SIGTERM"):
        stopping.check()


def test_staying_up_ends_with_a_signal_and_notices_failures(stopping):
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    stopping.wait_for_end(check)
    assert len(calls) == 2

import logging
import threading
import time

import pytest

from metallb_cli.daemon.key_keeper import KeyKeeper
from metallb_cli.errors import ApiError, ApiUnavailableError
from tests.support.roles import until


class MemoryKeys:
    """Implements ports.KeyStore; `trouble` is what every call raises."""

    def __init__(self):
        self.key = None
        self.made = 0
        self.looks = 0
        self.trouble = None

    def read(self, timeout):
        return (self.key,) if self.key else ()

    def ensure(self, timeout):
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        if self.key is not None:
            return False
        self.made += 1
        self.key = b"k" * 32
        return True


@pytest.fixture
def keys():
    return MemoryKeys()


@pytest.fixture
def leading():
    event = threading.Event()
    event.set()
    return event


@pytest.fixture
def failures():
    return []


@pytest.fixture
def keep(keys, leading, failures):
    """Starts a keeper: `keep(every=…, retry=…)`."""
    running = []

    def start(**times):
        keeper = KeyKeeper(keys, leading.is_set, failures.append, **times)
        keeper.start()
        running.append(keeper)
        return keeper

    yield start
    for keeper in running:
        keeper.stop()


def test_the_key_is_made_when_the_term_begins(keep, keys):
    keep()
    until(lambda: keys.key, 3)
    assert keys.made == 1


def test_a_replica_that_does_not_lead_does_not_even_look(keep, keys, leading):
    leading.clear()
    keep(every=0.01)
    time.sleep(0.6)
    assert keys.looks == 0
    leading.set()
    until(lambda: keys.key, 3)


def test_every_term_begins_with_a_look(keep, keys, leading):
    keep()
    until(lambda: keys.looks == 1, 3)
    leading.clear()
    time.sleep(0.6)
    leading.set()
    until(lambda: keys.looks == 2, 3)


def test_a_secret_that_was_deleted_is_made_again(keep, keys):
    keep(every=0.01)
    until(lambda: keys.made == 1, 3)
    keys.key = None
    until(lambda: keys.made == 2, 3)


def test_while_all_is_well_it_looks_seldom(keep, keys):
    keep()
    until(lambda: keys.looks == 1, 3)
    time.sleep(0.8)
    assert keys.looks == 1


def test_a_failure_is_told_once_and_tried_again(keep, keys, failures, caplog):
    keys.trouble = ApiUnavailableError("no answer")
    keep(retry=0.01)
    until(lambda: keys.looks >= 3, 5)
    keys.trouble = None
    until(lambda: keys.key, 3)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "could not see to it that the speakers have a key for their heartbeats: no answer"
    ]
    assert failures == []


def test_rights_that_are_too_old_are_told_with_what_to_do(keep, keys, failures, caplog):
    keys.trouble = ApiError("forbidden", status=403)
    keep()
    until(lambda: caplog.records, 3)
    assert caplog.records[0].getMessage().endswith("older than its version: apply k8s/metallb.yml again")
    assert failures == []


def test_a_defect_is_fatal_and_not_silent(keep, keys, failures):
    keys.trouble = KeyError("ours")
    keep()
    until(lambda: failures, 3)
    assert isinstance(failures[0], KeyError)

import threading
import time
from ipaddress import ip_address

import pytest

from metallb_cli.daemon.recorder import Recorder
from metallb_cli.election import Change
from metallb_cli.errors import ApiError
from metallb_cli.model import Lease, Reason
from metallb_cli.reconcile.history import Stages, lease_name
from metallb_cli.reconcile.history_note import HISTORY, MAX_HISTORY, decode
from tests.daemon.test_leader import until
from tests.support.leases import MemoryLeases

PAUSE = 0.1
STAGES = Stages(0.3, 0.002, 0.008)
NAME = lease_name("b")


def change(text, reason=Reason.OWNER_DIED, before="a", after="b"):
    return Change(ip_address(text), reason, before, after, 1)


@pytest.fixture
def leases():
    return MemoryLeases()


@pytest.fixture
def begin(leases):
    running = []
    failures = []

    def start(store=leases):
        recorder = Recorder(store, "b", failures.append, pause=PAUSE)
        recorder.failures = failures
        recorder.start()
        running.append(recorder)
        return recorder

    yield start
    leases.down = leases.frozen = False
    for recorder in running:
        recorder.stop()


def stored(leases):
    lease = leases._leases.get(NAME)
    return () if lease is None else decode(lease.annotation(HISTORY), "b")


def test_a_change_is_written_once_and_not_renewed(begin, leases):
    recorder = begin()
    recorder.record([change("10.0.0.1"), change("10.0.0.2")], STAGES)
    assert until(lambda: stored(leases))
    (entry,) = stored(leases)
    assert (entry.reason, entry.before, entry.after, entry.stages) == ("OwnerDied", "a", "b", STAGES)
    assert abs(entry.time - time.time()) < 5
    time.sleep(3 * PAUSE)
    assert len(leases.writes) == 1


def test_nobody_holds_the_lease_and_it_never_expires(begin, leases):
    begin().record([change("10.0.0.1")])
    assert until(lambda: leases.writes)
    lease = leases.writes[0]
    assert (lease.name, lease.holder, lease.duration) == ("history-b", "", 0.0)


def test_where_nothing_changes_nothing_is_written(begin, leases):
    recorder = begin()
    recorder.record([])
    time.sleep(3 * PAUSE)
    assert leases.writes == []
    assert leases.get(NAME, 1) is None


def test_a_storm_of_changes_is_few_writes(begin, leases):
    recorder = begin()
    started = time.monotonic()
    for number in range(200):
        recorder.record([change(f"10.0.0.{number}", before=f"n{number}")], at=1000.0 + 10 * number)
    assert until(lambda: len(stored(leases)) == len(recorder.entries()) > 100)
    assert len(leases.writes) <= 2 + (time.monotonic() - started) / PAUSE


def test_a_restart_keeps_the_history(begin, leases):
    first = begin()
    first.record([change("10.0.0.1")], at=1000.0)
    first.stop()
    second = begin()
    assert until(lambda: len(second.entries()) == 1)
    second.record([change("10.0.0.1", Reason.OWNER_LEAVING, "b", "a")], at=1010.0)
    assert until(lambda: [entry.time for entry in stored(leases)] == [1000.0, 1010.0])


def test_what_changed_during_an_outage_is_written_after_it(begin, leases, caplog):
    recorder = begin()
    leases.down = True
    recorder.record([change("10.0.0.1")], at=1000.0)
    time.sleep(3 * PAUSE)
    recorder.record([change("10.0.0.2", before="c")], at=1001.0)
    assert [entry.time for entry in recorder.entries()] == [1000.0, 1001.0]
    time.sleep(3 * PAUSE)
    assert stored(leases) == ()
    leases.down = False
    assert until(lambda: [entry.time for entry in stored(leases)] == [1000.0, 1001.0])
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert recorder.failures == []


def test_a_start_during_an_outage_loses_neither_the_old_history_nor_the_new(begin, leases):
    before = begin()
    before.record([change("10.0.0.1")], at=1000.0)
    before.stop()
    leases.down = True
    recorder = begin()
    recorder.record([change("10.0.0.1", Reason.CLAIMED, None)], at=1100.0)
    time.sleep(2 * PAUSE)
    leases.down = False
    assert until(lambda: [entry.time for entry in stored(leases)] == [1000.0, 1100.0])


def test_two_speakers_of_one_node_keep_what_the_other_wrote(begin, leases):
    old, new = begin(), begin()
    old.record([change("10.0.0.1")], at=1000.0)
    assert until(lambda: len(stored(leases)) == 1)
    new.record([change("10.0.0.2")], at=1010.0)
    assert until(lambda: len(stored(leases)) == 2)
    old.record([change("10.0.0.3", before="c")], at=1020.0)
    old.stop()
    assert [entry.time for entry in stored(leases)] == [1000.0, 1010.0, 1020.0]


def test_a_write_whose_answer_is_lost_is_not_told_twice(begin, leases):
    class Deaf:
        """Does what it is told, and answers that it was somebody else."""

        deaf = True

        def get(self, name, timeout):
            return leases.get(name, timeout)

        def write(self, lease, timeout):
            written = leases.write(lease, timeout)
            if self.deaf:
                self.deaf = False
                raise ApiError("the Lease was modified", status=409)
            return written

    begin(Deaf()).record([change("10.0.0.1")], STAGES)
    assert until(lambda: len(leases.writes) == 2)
    assert len(stored(leases)) == 1


def test_stopping_writes_what_is_not_written_yet(begin, leases):
    recorder = begin()
    recorder.record([change("10.0.0.1")], at=1000.0)
    recorder.stop()
    assert len(stored(leases)) == 1


def test_stopping_is_bounded_when_the_api_server_hangs(begin, leases, monkeypatch):
    monkeypatch.setattr("metallb_cli.daemon.recorder.CALL_TIMEOUT", 0.2)
    recorder = begin()
    leases.frozen = True
    recorder.record([change("10.0.0.1")])
    started = time.monotonic()
    recorder.stop()
    assert time.monotonic() - started < 15  # it would hang for ever


def test_a_lease_that_somebody_defaced_is_replaced(begin, leases):
    leases.write(Lease(NAME, annotations=((HISTORY, "?"), ("kept", "yes"))), 1)
    begin().record([change("10.0.0.1")], at=1000.0)
    assert until(lambda: len(stored(leases)) == 1)
    assert leases.writes[-1].annotation("kept") == "yes"


def test_what_does_not_fit_the_annotation_is_forgotten_in_memory_too(begin, leases):
    recorder = begin()
    for number in range(150):
        recorder.record([change("10.0.0.1", before="x" * 250)], at=1000.0 + 10 * number)
    assert until(lambda: stored(leases) and stored(leases) == recorder.entries())
    assert len(leases.writes[-1].annotation(HISTORY)) <= MAX_HISTORY
    assert recorder.entries()[-1].time == 1000.0 + 10 * 149


def test_a_thread_that_dies_is_reported(begin, leases):
    class Broken(MemoryLeases):
        def get(self, name, timeout):
            raise RuntimeError("defect")

    recorder = begin(Broken())
    assert until(lambda: recorder.failures)
    assert str(recorder.failures[0]) == "defect"


def test_changes_from_many_threads_are_all_there(begin):
    recorder = begin()

    def work(n):
        for i in range(10):
            recorder.record([change(f"10.0.{n}.{i}", before=f"n{n}")], at=1000.0 + i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(run.size for entry in recorder.entries() for run in entry.addresses) == 40

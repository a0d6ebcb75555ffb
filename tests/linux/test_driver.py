"""The driver between a socket and an engine: what comes in is answered, and an error ends one driver only."""

import errno
from ipaddress import IPv4Address

import pytest

from metallb_cli.layer2 import arp
from metallb_cli.layer2.engine import Drop
from metallb_cli.layer2.responder import Responder
from metallb_cli.linux.driver import FRAMES_PER_TURN, Driver
from metallb_cli.linux.poller import Done

MAC, ASKER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000003")
VIP = IPv4Address("10.0.0.1")
QUESTION = arp.request(ASKER_MAC, bytes([10, 0, 0, 9]), VIP.packed)


class Wire:
    """What the kernel does: hands over frames, takes frames, or refuses with an error code."""

    def __init__(self, *waiting, error=None, full=0):
        self.waiting, self.error, self.full = list(waiting), error, full
        self.sent = []

    def receive(self, limit):
        self._check()
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def send(self, frames):
        self._check()
        taken = frames[: len(frames) - self.full]
        self.sent += taken
        return len(frames) - len(taken)

    def _check(self):
        if self.error:
            raise OSError(self.error, "refused")


def driver_on(wire):
    driver = Driver(wire, Responder(MAC))
    driver.engine.announce([VIP], 0.0)
    return driver


def test_each_question_is_answered():
    wire = Wire(*[QUESTION] * 5)
    driver = driver_on(wire)
    driver.receive(1.0)
    assert [arp.parse(frame).destination for frame in wire.sent] == [ASKER_MAC] * 5
    assert driver.worked
    assert driver.error is None


def test_it_takes_a_bounded_number_of_frames_before_others_have_their_turn():
    wire = Wire(*[QUESTION] * (FRAMES_PER_TURN + 1))
    driver_on(wire).receive(1.0)
    assert (len(wire.sent), len(wire.waiting)) == (FRAMES_PER_TURN, 1)


def test_when_nothing_waits_it_says_so_and_counts_as_no_work():
    wire = Wire(QUESTION)
    driver = driver_on(wire)
    assert driver.receive(1.0) is None, "the first since the counters were taken"
    driver.worked = False
    assert driver.receive(1.0) is Done.NOTHING
    assert not driver.worked


def test_what_is_due_is_sent_and_nothing_before():
    wire = Wire()
    driver = driver_on(wire)
    driver.tick(0.0)
    assert wire.sent == list(arp.gratuitous(MAC, VIP.packed))
    driver.worked = False
    driver.tick(0.5)
    assert not driver.worked
    assert len(wire.sent) == 2


@pytest.mark.parametrize("code", [errno.ENETDOWN, errno.ENODEV, errno.ENXIO, errno.EIO])
@pytest.mark.parametrize("act", [Driver.receive, Driver.tick])
def test_an_interface_that_is_gone_ends_the_driver(code, act):
    driver = driver_on(Wire(error=code))
    act(driver, 1.0)
    assert driver.error.errno == code


def test_a_full_queue_loses_the_frame_and_nothing_else():
    driver = driver_on(Wire(full=1))
    driver.tick(1.0)
    assert driver.error is None
    assert driver.send_errors == 1


class TestWhatIsLeftToDo:
    """What `receive` tells the loop: only after an answer, or a frame that concerns nobody, may it go back to sleep."""

    def test_the_first_frame_since_counters_were_taken_wants_a_report(self):
        wire = Wire(*[QUESTION] * (FRAMES_PER_TURN + 1))
        driver = driver_on(wire)
        driver.engine.changed = False
        assert driver.receive(1.0) is None
        assert driver.worked
        assert driver.receive(1.0) is Done.ANSWERED
        driver.worked = False
        wire.waiting = [QUESTION]
        assert driver.receive(1.0) is None

    def test_an_answer_leaves_nothing_to_do_and_a_foreign_frame_neither(self):
        foreign = arp.request(ASKER_MAC, bytes([10, 0, 0, 9]), bytes([10, 0, 0, 7]))
        wire = Wire(QUESTION)
        driver = driver_on(wire)
        driver.engine.changed, driver.worked = False, True
        assert driver.receive(1.0) is Done.ANSWERED
        wire.waiting = [foreign]
        assert driver.receive(1.0) is Done.IGNORED

    def test_a_change_of_state_does(self):
        driver = Driver(Wire(arp.reply(ASKER_MAC, VIP.packed, MAC, bytes(4))), Responder(MAC))
        driver.engine.announce([VIP], 0.0, probe=[VIP])
        driver.engine.changed, driver.worked = False, True
        assert driver.receive(0.1) is None
        assert driver.engine.contested

    def test_an_error_does(self):
        driver = driver_on(Wire(error=errno.ENETDOWN))
        driver.engine.changed, driver.worked = False, True
        assert driver.receive(1.0) is None


class TestFenced:
    def fenced_on(self, wire):
        driver = driver_on(wire)
        driver.engine.fence(closed=True)
        return driver

    def test_frames_that_waited_are_forgotten_and_counted(self):
        wire = Wire(*[QUESTION] * (FRAMES_PER_TURN + 1))
        driver = self.fenced_on(wire)
        driver.receive(1.0)
        assert driver.engine.drops == {Drop.FENCED: FRAMES_PER_TURN}
        assert driver.receive(1.0) is None  # so that the fence is looked at again
        driver.engine.fence(closed=False)
        driver.receive(1.0)
        assert wire.sent == []
        assert driver.engine.drops == {Drop.FENCED: FRAMES_PER_TURN + 1}

    def test_nothing_is_announced_until_the_fence_opens(self):
        wire = Wire()
        driver = self.fenced_on(wire)
        assert driver.next_deadline() is None
        driver.tick(1.0)
        assert wire.sent == []
        driver.engine.fence(closed=False)
        assert driver.next_deadline() == 0.0
        driver.tick(1.0)
        assert wire.sent == list(arp.gratuitous(MAC, VIP.packed))

import time
from dataclasses import replace
from ipaddress import ip_network

import pytest

from metallb_cli.daemon.membership import LeaseTimes, Membership
from metallb_cli.model import Interface, Lease
from metallb_cli.reconcile.interface_notes import INTERFACES, Reach, encode_interfaces
from metallb_cli.reconcile.lease_notes import PEERS
from metallb_cli.reconcile.liveness import lease_name, node_of
from tests.daemon.test_leader import until
from tests.support.leases import MemoryLeases

TIMES = LeaseTimes(duration=0.9, renew=0.3)


@pytest.fixture
def leases():
    return MemoryLeases()


@pytest.fixture
def join(leases):
    running = []

    def start(node, times=TIMES):
        membership = Membership(leases, node, f"{node}_boot", times, lambda: None, lambda error: None)
        leases.watchers.append(membership.observe)
        for lease in list(leases._leases.values()):
            membership.observe(None, lease)
        membership.start()
        running.append(membership)
        assert membership.joined.wait(5)
        return membership

    yield start
    leases.down = leases.frozen = False
    for membership in running:
        membership.leave()


def crash(membership):
    """End the thread without giving the Lease back."""
    membership._stop.set()
    membership._wake.set()
    membership._thread.join(5)


def test_speakers_see_each_other(join):
    a, b = join("a"), join("b")
    assert until(lambda: a.live() == b.live() == {"a", "b"})


def test_a_crashed_speaker_is_gone_after_the_lease_duration(join):
    a, b = join("a"), join("b")
    assert until(lambda: "b" in a.live())
    crash(b)
    started = time.monotonic()
    assert until(lambda: a.live() == {"a"})
    assert time.monotonic() - started > 0.5


def test_a_speaker_that_leaves_is_gone_at_once(join):
    times = LeaseTimes(duration=600, renew=0.3)
    a, b = join("a", times), join("b", times)
    assert until(lambda: "b" in a.live())
    b.leave()
    assert until(lambda: a.live() == {"a"})


@pytest.mark.slow
def test_nobody_dies_while_the_api_server_is_away_nor_right_after(join, leases):
    a, b = join("a"), join("b")
    assert until(lambda: a.live() == b.live() == {"a", "b"})
    leases.down = True
    assert until(lambda: a.outage_seconds > 2 * TIMES.duration)
    assert a.live() == b.live() == {"a", "b"}
    leases.down = False
    end = time.monotonic() + 2 * TIMES.duration
    while time.monotonic() < end:
        assert a.live() == b.live() == {"a", "b"}
        time.sleep(0.02)
    assert a.outage_seconds == 0


def test_a_description_is_written_soon_and_kept_in_renewals(join, leases):
    a = join("a")
    a.describe({"metallb.io/announcing": "10.0.0.1"})
    assert until(lambda: leases.get(lease_name("a"), 1).annotation("metallb.io/announcing") == "10.0.0.1")
    writes = len(leases.writes)
    assert until(lambda: len(leases.writes) > writes)
    assert leases.writes[-1].annotation("metallb.io/announcing") == "10.0.0.1"


def test_what_can_wait_is_written_with_the_next_renewal_and_no_sooner(join, leases):
    a = join("a")
    assert until(lambda: len(leases.writes) >= 2)
    a.describe({"metallb.io/speaker": "first"}, soon=False)
    renewed = [lease.annotation("metallb.io/speaker") for lease in leases.writes]
    assert renewed[-1] is None
    assert until(lambda: leases.writes[-1].annotation("metallb.io/speaker") == "first")
    assert len(leases.writes) == len(renewed) + 1
    a.describe({"metallb.io/speaker": "second"}, soon=False)
    a.describe({"metallb.io/speaker": "second", "metallb.io/claims": ""})  # takes with it what waits
    assert until(lambda: leases.writes[-1].annotation("metallb.io/claims") == "")
    assert leases.writes[-1].annotation("metallb.io/speaker") == "second"


def test_the_leases_are_the_same_object_until_one_says_something_new(join, leases):
    a = join("a")
    lease = Lease(lease_name("b"), "b_boot", "1", 6.0)
    a.observe(None, lease)
    known = a.leases()
    assert [found.name for found, _ in known if found.name == lease.name]
    renewed = replace(lease, renewed="2")
    a.observe(lease, renewed)
    assert a.leases() is known
    told = replace(renewed, renewed="3", annotations=((INTERFACES, note(LAN)),))
    a.observe(renewed, told)
    assert told in [found for found, _ in a.leases()]
    a.observe(told, replace(told, holder=""))
    assert [live for found, live in a.leases() if found.name == lease.name] == [False]
    a.observe(told, None)
    assert lease.name not in [found.name for found, _ in a.leases()]


LAN = ip_network("10.0.0.0/24")


def note(*networks):
    return encode_interfaces([Interface("eth0", 2, networks=networks)])


def test_speakers_see_on_which_networks_the_others_are(join):
    a, b = join("a"), join("b")
    b.describe({INTERFACES: note(LAN)})
    assert until(lambda: a.reach() == b.reach() == {"b": Reach(usable=True, networks=(LAN,))})
    b.describe({INTERFACES: note()})
    assert until(lambda: a.reach() == b.reach() == {"b": Reach(usable=True, networks=())})


def test_only_a_change_of_what_others_reach_wakes_the_speaker(leases):
    woken = []
    membership = Membership(leases, "a", "a_boot", TIMES, lambda: woken.append(1), lambda error: None)
    observed = None

    def observe(renewed, text):
        nonlocal observed
        lease = Lease(lease_name("b"), "b_boot", renewed, 6.0, annotations=((INTERFACES, text),))
        membership.observe(observed, lease)
        observed = lease
        return len(woken)

    assert observe("t1", note(LAN)) == 2  # alive, and on a network
    assert observe("t2", note(LAN)) == 2
    assert observe("t3", note(LAN).replace("eth0", "eth1")) == 2
    assert observe("t4", note()) == 3
    membership.observe(observed, None)
    assert len(woken) == 5
    assert membership.reach() == {}


def test_while_the_api_server_is_away_a_speaker_reaches_what_the_others_know_of(join, leases):
    a = join("a")
    a.describe({INTERFACES: note(LAN)})
    assert until(lambda: a.reach() == {"a": Reach(usable=True, networks=(LAN,))})
    leases.down = True
    assert until(lambda: a.outage_seconds > 0)
    a.describe({INTERFACES: note()})
    assert not until(lambda: a.reach()["a"].networks == (), seconds=2 * TIMES.renew)
    leases.down = False
    assert until(lambda: a.reach()["a"].networks == ())


class Told:
    """A membership that is shown Leases by hand, and what it calls."""

    def __init__(self):
        self.changes = self.notes = 0
        self.membership = Membership(
            MemoryLeases(), "a", "a_boot", TIMES, self.change, lambda error: None, on_notes=self.note
        )
        self.shown = {}

    def change(self):
        self.changes += 1

    def note(self, old, new):
        assert self.shown.get(node_of((new or old).name)) is old
        self.notes += 1

    def show(self, node, lease):
        """Show a Lease, or that it was deleted; return how often each of the two was called for it."""
        before = self.changes, self.notes
        self.membership.observe(self.shown.get(node), lease)
        self.shown[node] = lease
        return self.changes - before[0], self.notes - before[1]


def lease_of(node, renewed="t1", holder="x", **notes):
    return Lease(lease_name(node), holder, renewed, 6.0, annotations=tuple(notes.items()))


def test_what_a_lease_says_anew_is_told_and_a_renewal_is_not():
    told = Told()
    assert told.show("b", lease_of("b", claims="1:10.0.0.1")) == (1, 1), "alive, and with a claim"
    assert told.show("b", lease_of("b", "t2", claims="1:10.0.0.1")) == (0, 0)
    assert told.show("b", lease_of("b", "t3", claims="1:10.0.0.2")) == (0, 1)
    assert told.show("b", lease_of("b", "t4")) == (0, 1)
    assert told.show("b", None) == (1, 1)
    assert told.membership.leases() == ()


def test_whom_another_speaker_hears_is_told_to_nobody():
    told = Told()
    told.show("b", lease_of("b", **{PEERS: "2:a,c"}))
    before = told.membership.leases()
    assert told.show("b", lease_of("b", "t2", **{PEERS: "1:a"})) == (0, 0)
    assert told.membership.leases() is before


def test_a_change_of_networks_is_told_as_a_change_and_not_twice():
    told = Told()
    told.show("b", lease_of("b", **{INTERFACES: note(LAN)}))
    assert told.show("b", lease_of("b", "t2", **{INTERFACES: note()})) == (1, 0)


def test_every_lease_is_given_with_whether_it_is_live():
    told = Told()
    told.show("b", lease_of("b"))
    told.show("c", lease_of("c", holder=""))
    told.show("a", lease_of("a"))
    told.membership.observe(None, Lease("metallb-controller", "x", "t1", 6.0))
    live = {lease.name: live for lease, live in told.membership.leases()}
    assert live == {lease_name("a"): True, lease_name("b"): True, lease_name("c"): False}


def test_the_lease_before_is_the_one_that_was_found_when_joining(join, leases):
    leases.write(lease_of("a", holder="earlier", claims="3:10.0.0.1"), 1)
    a = join("a")
    assert (a.before.holder, a.before.annotation("claims")) == ("earlier", "3:10.0.0.1")
    a.describe({"claims": "4:10.0.0.1"})
    assert until(lambda: leases.get(lease_name("a"), 1).annotation("claims") == "4:10.0.0.1")
    leases.write(replace(leases.get(lease_name("a"), 1), holder="somebody"), 1)
    assert until(lambda: leases.get(lease_name("a"), 1).holder == "a_boot")
    assert a.before.annotation("claims") == "3:10.0.0.1", "what is read later is not what was before"


def test_a_node_that_never_had_a_speaker_finds_no_lease_before(join):
    assert join("a").before is None


def test_renewals_do_not_come_faster_than_asked(join, leases):
    join("a")
    before = len(leases.writes)
    time.sleep(4 * TIMES.renew)
    assert len(leases.writes) - before <= 5


def test_a_lease_that_somebody_else_touched_is_read_again_and_renewed(join, leases):
    a = join("a")
    lease = leases.get(lease_name("a"), 1)
    leases.write(lease, 1)
    assert until(lambda: len(leases.writes) >= 4)
    assert a.outage_seconds == 0


def test_a_lease_time_that_bears_no_lost_renewal_is_refused():
    with pytest.raises(ValueError, match="too slow"):
        LeaseTimes(duration=3, renew=2)

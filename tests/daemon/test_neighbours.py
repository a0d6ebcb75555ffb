"""What the LAN and the Leases say, fed to a real Ownership: the assertions are about what the election makes of it."""

from ipaddress import ip_address

import pytest

from metallb_cli.daemon.neighbours import DISCOVERY, EARLIER_COUNTS, HEARTBEATS_DUE, MAX_QUEUED, Neighbours
from metallb_cli.election import Ownership, Wish
from metallb_cli.layer2.messages import PeerClaims, PeersReport
from metallb_cli.model import Claim, Lease, Peer, Reason, Section
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    SPEAKER,
    SpeakerNote,
    encode_addresses,
    encode_claims,
    encode_speaker,
)
from metallb_cli.reconcile.liveness import lease_name

VIP, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")
START = 100.0
EVERYBODY = Wish(("a", "b", "me"))


class Watched(Ownership):
    """A real one that counts what it is told."""

    def __init__(self):
        super().__init__("me", START)
        self.lives = []
        self.forgotten = []

    def set_live(self, peers, quorum, now):
        self.lives.append((dict(peers), quorum))
        super().set_live(peers, quorum, now)

    def forget(self, node):
        self.forgotten.append(node)
        super().forget(node)


class View:
    """One node's view: what it is told goes through Neighbours into an Ownership."""

    def __init__(self, **options):
        self.woken = 0
        self.neighbours = Neighbours("me", self.wake, **options)
        self.ownership = Watched()
        self.leases = {}
        self.draining = set()
        self.usable = {"eth0"}
        self.now = START

    def wake(self):
        self.woken += 1

    def want(self, *addresses):
        for address in addresses:
            self.ownership.want(address, EVERYBODY)

    def peers(self, *peers):
        self.neighbours.on_peers(PeersReport(peers))
        return self.feed()

    def says(self, node, boot, claims, first="10.0.0.0", last="10.0.0.255"):
        section = Section(ip_address(first), ip_address(last), tuple(sorted(claims.items())))
        self.neighbours.on_claims(PeerClaims(node, boot, section))

    def lease(self, node, *, live=True, claims=None, announced=(), **note):
        """What the Lease of a speaker says that writes notes."""
        annotations = [(SPEAKER, encode_speaker(SpeakerNote(**note))), (ANNOUNCING, encode_addresses(announced))]
        if claims is not None:
            annotations.append((CLAIMS, encode_claims(claims)))
        self.leases[node] = Lease(lease_name(node), node, "t", annotations=tuple(annotations)), live

    def feed(self, after=0.0):
        self.now += after
        leases = tuple(self.leases.values())
        self.neighbours.feed(self.ownership, leases, self.draining, self.now, usable=self.usable)
        return set(self.neighbours.standings.speakers)

    def decide(self, after=0.0):
        self.feed(after)
        return self.ownership.decide(self.now)


@pytest.fixture
def view():
    return View()


def test_the_lan_comes_before_the_lease(view):
    view.lease("a", boot=1, interval=0.1)
    assert view.peers(Peer("a", 1, live=True), Peer("b", 1, live=True)) == {"a", "b"}
    view.feed(after=DISCOVERY)
    assert view.peers(Peer("a", 1, live=False), Peer("b", 1, live=True)) == {"b"}, "its Lease is still renewed"
    view.lease("a", live=False, boot=1, interval=0.1)
    assert view.peers(Peer("a", 1, live=True), Peer("b", 1, live=True)) == {"a", "b"}, "and its Lease ran out"


def test_what_a_speaker_claims_on_its_lease_is_not_heeded_as_long_as_it_is_heard(view):
    def writes(**changes):
        before = view.leases.get("a", (None, True))[0]
        view.lease("a", boot=1, interval=0.1, **changes)
        return view.neighbours.heeds(before, view.leases["a"][0])

    assert writes(), "the first"
    view.feed()
    assert writes(claims={VIP: Claim(1)}), "it is not heard"
    view.peers(Peer("a", 1, live=True))
    assert not writes(claims={VIP: Claim(2)}, announced=[VIP])
    assert writes(claims={VIP: Claim(2)}, announced=[VIP], leaving=True)
    assert writes(claims={VIP: Claim(2)}, announced=[VIP])
    assert view.neighbours.heeds(view.leases["a"][0], None)
    view.want(VIP)
    view.peers()
    view.decide()
    assert view.ownership.owner(VIP) == "a", "what was not heeded is found as soon as it counts"


def test_a_node_that_was_never_heard_is_judged_by_its_lease(view):
    view.lease("a")
    assert view.feed() == {"a"}
    view.lease("a", live=False)
    assert view.feed() == {"a"}, "a node that has just come up itself believes nobody dead"
    assert view.feed(after=DISCOVERY) == set()


def test_a_peer_that_has_just_been_met_is_not_dead_because_it_does_not_hear_us_yet(view):
    view.lease("a", boot=1, interval=0.1)
    assert view.peers(Peer("a", 1, live=False)) == {"a"}
    assert view.feed(after=DISCOVERY - 0.01) == {"a"}
    assert view.neighbours.next_deadline(view.now) == START + DISCOVERY
    assert view.feed(after=0.01) == set()


def test_rare_heartbeats_give_a_peer_longer_to_hear_us():
    view = View(interval=1.0)
    view.lease("a", boot=1)
    view.peers(Peer("a", 1, live=False))
    assert view.feed(after=2.9) == {"a"}
    assert view.feed(after=0.1) == set()


def test_a_claim_that_is_heard_makes_its_node_the_owner(view):
    view.want(VIP)
    view.peers(Peer("a", 1, live=True))
    view.says("a", 1, {VIP: Claim(1)})
    view.decide()
    assert view.ownership.owner(VIP) == "a"


def test_what_a_start_before_the_present_one_claimed_is_void(view):
    view.want(VIP)
    view.says("a", 1, {VIP: Claim(5)})
    view.peers(Peer("a", 1, live=True))
    view.decide()
    assert view.ownership.owner(VIP) == "a"
    view.peers(Peer("a", 2, live=True))
    view.decide()
    assert view.ownership.owner(VIP) is None


@pytest.mark.parametrize("node, boot", [("a", 1), ("a", 3), ("stranger", 2)])
def test_sections_of_an_unknown_node_or_of_another_start_are_ignored(view, node, boot):
    view.want(VIP)
    view.peers(Peer("a", 2, live=True))
    view.says(node, boot, {VIP: Claim(9)})
    view.decide()
    assert view.ownership.owner(VIP) is None


def test_of_sections_that_wait_the_newest_with_the_same_bounds_counts(view):
    view.want(VIP, OTHER)
    view.peers(Peer("a", 1, live=True))
    view.says("a", 1, {VIP: Claim(1)})
    view.says("a", 1, {OTHER: Claim(1)}, first="10.0.0.2")
    view.says("a", 1, {OTHER: Claim(2)})
    view.decide()
    assert (view.ownership.owner(VIP), view.ownership.owner(OTHER)) == (None, "a")


def test_a_peer_that_floods_is_bounded_and_takes_nothing_from_the_newest(view):
    view.want(VIP)
    view.peers(Peer("a", 1, live=True))
    for number in range(MAX_QUEUED + 10):
        first = ip_address("fd00::") + number
        view.neighbours.on_claims(PeerClaims("a", 1, Section(first, first)))
    view.says("a", 1, {VIP: Claim(1)})
    assert len(view.neighbours._sections) == MAX_QUEUED
    view.decide()
    assert view.ownership.owner(VIP) == "a"


def test_the_claims_on_a_lease_count_until_its_speaker_is_heard(view):
    view.want(VIP)
    view.lease("a", boot=1, claims={VIP: Claim(4)})
    view.decide()
    assert view.ownership.owner(VIP) == "a"
    view.peers(Peer("a", 1, live=True))
    view.says("a", 1, {})
    view.decide()
    assert view.ownership.owner(VIP) is None
    view.lease("a", boot=1, claims={VIP: Claim(5)})
    view.decide()
    assert view.ownership.owner(VIP) is None, "what is heard is newer"


def test_the_lease_of_a_new_start_is_read_again_before_that_start_is_heard(view):
    view.want(VIP)
    view.lease("a", boot=1, claims={VIP: Claim(4)})
    view.peers(Peer("a", 1, live=True))
    view.says("a", 1, {})
    view.decide()
    view.lease("a", boot=2, claims={VIP: Claim(4)})
    view.peers(Peer("a", 1, live=False))
    view.decide()
    assert view.ownership.owner(VIP) == "a", "the same words, of a start that is not heard"


def test_an_older_speaker_that_only_notes_what_it_announces_is_believed(view):
    view.want(VIP)
    view.leases["a"] = Lease(lease_name("a"), "a", "t", annotations=((ANNOUNCING, "10.0.0.1"),)), True
    view.decide()
    assert view.neighbours.standings.speakers["a"].heard is False, "so that the hash decides"


def test_a_node_whose_lease_is_deleted_is_forgotten(view):
    view.want(VIP)
    view.lease("a", boot=1, claims={VIP: Claim(4)})
    view.decide()
    del view.leases["a"]
    view.decide()
    assert view.ownership.owner(VIP) is None
    assert view.ownership.forgotten == ["a"]


def test_a_node_that_is_neither_heard_nor_has_a_lease_any_more_leaves_nothing_behind(view):
    view.peers(Peer("a", 1, live=True))
    view.lease("a", boot=1, interval=0.1)
    view.says("a", 1, {VIP: Claim(1)})
    view.feed()
    del view.leases["a"]
    view.feed()
    assert view.ownership.forgotten == [], "it is still heard"
    view.peers()
    assert view.ownership.forgotten == ["a"]
    neighbours = view.neighbours
    assert not any((neighbours._heard, neighbours._claimants, neighbours._notes, neighbours._leased))


def test_starting_again_and_again_piles_nothing_up(view):
    view.feed(after=DISCOVERY)
    for boot in range(1, 50):
        view.lease("a", boot=boot, interval=0.1)
        view.feed(after=0.1)
    assert len(view.neighbours._leased) == 1
    assert view.neighbours.next_deadline(view.now) == view.now + HEARTBEATS_DUE


def test_a_cut_off_node_believes_nobody_dead_until_it_has_been_back_for_a_while(view):
    view.lease("a", boot=1, interval=0.1)
    view.peers(Peer("a", 1, live=True))
    view.feed(after=2 * DISCOVERY)
    view.usable = set()
    assert view.peers(Peer("a", 1, live=False)) == {"a"}
    assert view.feed(after=60.0) == {"a"}
    view.usable = {"eth0"}
    assert view.feed() == {"a"}
    assert view.neighbours.next_deadline(view.now) == view.now + DISCOVERY
    assert view.feed(after=DISCOVERY - 0.01) == {"a"}
    assert view.feed(after=0.01) == set()


def test_a_node_that_loses_the_interface_of_its_peers_believes_nobody_dead_until_that_is_known(view):
    view.peers(Peer("a", 1, live=True, interfaces=("eth0",)))
    view.feed(after=2 * DISCOVERY)
    view.usable = {"eth1"}
    assert view.feed() == {"a"}
    assert view.peers(Peer("a", 1, live=False)) == {"a"}
    assert view.feed(after=DISCOVERY - 0.01) == {"a"}
    assert view.feed(after=0.01) == set()


def test_a_node_that_loses_one_of_two_interfaces_of_its_peers_goes_on_believing_them_dead(view):
    view.peers(Peer("a", 1, live=True, interfaces=("eth0", "eth1")))
    view.feed(after=2 * DISCOVERY)
    view.usable = {"eth1"}
    view.feed()
    assert view.peers(Peer("a", 1, live=False)) == set()


def test_a_cut_off_node_has_no_quorum(view):
    view.peers(Peer("a", 1, live=True), Peer("b", 1, live=True))
    view.lease("a", boot=1, interval=0.1)
    view.lease("b", boot=1, interval=0.1)
    view.feed(after=HEARTBEATS_DUE)
    view.feed(after=HEARTBEATS_DUE)
    assert view.neighbours.standings.quorum
    view.usable = set()
    view.peers(Peer("a", 1, live=False), Peer("b", 1, live=False))
    assert not view.neighbours.standings.quorum


def test_heartbeats_that_are_announced_but_not_heard_mean_something_after_a_while(view):
    view.peers(Peer("b", 1, live=True))
    view.lease("a", boot=1, interval=0.1)
    assert view.feed() == {"a", "b"}
    view.feed(after=DISCOVERY)
    assert view.neighbours.next_deadline(view.now) == START + HEARTBEATS_DUE
    assert view.feed(after=HEARTBEATS_DUE - DISCOVERY - 0.01) == {"a", "b"}
    assert view.feed(after=0.01) == {"b"}, "it hears others, but not this one"
    view.lease("a", boot=2, interval=0.1)
    assert view.feed() == {"a", "b"}, "a new start has as long"


def test_a_node_that_is_drained_is_leaving_heard_or_not(view):
    view.peers(Peer("a", 1, live=True))
    view.lease("b")
    view.draining |= {"a", "b"}
    view.feed()
    assert {node: s.leaving for node, s in view.neighbours.standings.speakers.items()} == {"a": True, "b": True}


def test_the_election_is_told_who_lives_only_when_that_changes(view):
    view.peers(Peer("a", 1, live=True))
    for _ in range(5):
        view.feed(after=0.5)
        view.peers(Peer("a", 1, live=True, silence=0.01))
    assert len(view.ownership.lives) == 1
    view.peers(Peer("a", 1, live=True, leaving=True))
    assert len(view.ownership.lives) == 2


def test_whatever_comes_from_the_link_wakes_the_speaker(view):
    view.neighbours.on_peers(PeersReport((Peer("a", 1, live=True),)))
    view.says("a", 1, {})
    assert view.woken == 2


# -- how deaths were noticed


def test_a_death_is_remembered_as_it_was_first_reported_and_only_while_it_lasts(view):
    view.peers(Peer("a", 1, live=True))
    view.peers(Peer("a", 1, live=False, silence=0.31))
    at = view.neighbours.deaths["a"].at
    view.peers(Peer("a", 1, live=False, silence=7.0), Peer("b", 1, live=True))
    assert (view.neighbours.deaths["a"].silence, view.neighbours.deaths["a"].at) == (0.31, at)
    view.peers(Peer("a", 1, live=True))
    assert view.neighbours.deaths == {}


def test_who_was_never_live_has_not_died(view):
    view.peers(Peer("a", 1, live=False, silence=0.2))
    view.feed(after=DISCOVERY)
    assert view.neighbours.deaths == {}


# -- this node's speaker before it was started anew


def remembering(claims, announced=()):
    view = View()
    view.lease("me", claims=claims, announced=announced)
    before, _ = view.leases.pop("me")
    view.neighbours.remember(view.ownership, before, view.now)
    return view


def test_what_the_speaker_had_before_it_was_started_anew_is_not_probed_for():
    view = remembering({VIP: Claim(3)})
    view.want(VIP, OTHER)
    decision = view.decide(after=0.5)
    assert set(decision.claims) == {VIP, OTHER}
    assert decision.claims[VIP].epoch == 4
    assert decision.probe == {OTHER}


def test_what_an_older_speaker_announced_here_is_not_probed_for_either():
    view = remembering(None, announced=[VIP])
    view.want(VIP)
    assert view.decide(after=0.5).probe == frozenset()


def test_what_the_speaker_had_before_counts_only_for_a_while():
    view = remembering({VIP: Claim(3)})
    view.feed()
    view.decide(after=EARLIER_COUNTS)
    view.want(VIP)
    assert view.decide().probe == {VIP}


def test_the_speaker_before_is_nobody_who_could_own_an_address():
    view = remembering({VIP: Claim(3)})
    view.want(VIP)
    decision = view.decide(after=0.5)
    assert [(change.reason, change.before) for change in decision.changes] == [(Reason.CLAIMED, None)]


# -- in time: how strong claims are


ADDRESSES = [ip_address(f"192.0.2.{n}") for n in range(8)]
NODES = frozenset({"node1", "node2", "node3"})
NOTE = ((SPEAKER, encode_speaker(SpeakerNote(boot=1, interval=0.1, misses=3))),)
LEASES = [(Lease(lease_name(node), annotations=NOTE), True) for node in sorted(NODES)]


class Cluster:
    """node1 has heard node2 and node3 for a while; they have some addresses each."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        self.ownership = Ownership("node1", self.now)
        self.neighbours = Neighbours("node1", lambda: None)
        for address in ADDRESSES:
            self.ownership.want(address, Wish(NODES))
        self.report(node2=0.05, node3=0.05)
        for node, claimed in (("node2", ADDRESSES[:4]), ("node3", ADDRESSES[4:])):
            section = Section(ADDRESSES[0], ADDRESSES[-1], tuple((a, Claim(1, strong=True)) for a in claimed))
            self.neighbours.on_claims(PeerClaims(node, 1, section))
        self.pass_time(0.6)

    def report(self, *dead, **silences):
        peers = [Peer(node, 1, live=node not in dead, silence=silence) for node, silence in silences.items()]
        self.neighbours.on_peers(PeersReport(tuple(peers)))
        self.decide()

    def pass_time(self, seconds):
        end = self.now + seconds
        for _ in range(1000):
            due = [self.ownership.next_deadline(), self.neighbours.next_deadline(self.now)]
            self.now = min([at for at in due if at is not None and at > self.now] + [end])
            self.decide()
            if self.now >= end:
                return
        raise AssertionError("it never rests")

    def decide(self):
        self.neighbours.feed(self.ownership, LEASES, (), self.now, usable={"eth0"})
        self.decision = self.ownership.decide(self.now)


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def strength(cluster):
    return {claim.strong for claim in cluster.decision.claims.values()}


def test_what_a_dead_node_had_is_claimed_and_a_second_later_strongly_by_one_that_hears_the_others(cluster):
    cluster.pass_time(5.0)
    cluster.report("node2", node2=0.3, node3=0.05)
    assert set(cluster.decision.claims) <= set(ADDRESSES[:4])
    assert strength(cluster) == {False}
    cluster.pass_time(1.1)
    assert strength(cluster) == {True}


@pytest.mark.parametrize("since_the_start", [0.0, 5.0])
def test_a_node_that_hears_everybody_fall_silent_claims_nothing_strongly(cluster, since_the_start):
    cluster.pass_time(since_the_start)
    cluster.report("node2", node2=0.3, node3=0.26)
    cluster.pass_time(0.04)
    cluster.report("node2", "node3", node2=0.34, node3=0.3)
    cluster.pass_time(10.0)
    assert set(cluster.decision.claims) == set(ADDRESSES)
    assert strength(cluster) == {False}

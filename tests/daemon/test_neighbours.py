"""What the link process reports of the other speakers, on its way into the election."""

from ipaddress import ip_address

import pytest

from metallb_cli.daemon.neighbours import Neighbours
from metallb_cli.election import Ownership, Wish
from metallb_cli.layer2.messages import PeerClaims, PeersReport
from metallb_cli.model import Claim, Lease, Peer, Section
from metallb_cli.reconcile.lease_notes import SPEAKER, SpeakerNote, encode_speaker
from metallb_cli.reconcile.liveness import lease_name

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
        self.neighbours.feed(self.ownership, LEASES, (), self.now, connected=True)
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

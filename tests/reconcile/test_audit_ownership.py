"""What `metallb status` says about claims, and about speakers that do not hear each other."""

import json
from dataclasses import asdict, replace
from ipaddress import ip_network

import pytest

from metallb_cli.model import Claim, Interface, Lease, Reason
from metallb_cli.reconcile.audit import ConfigurationState, ObservedLease, audit
from metallb_cli.reconcile.interface_notes import INTERFACES, encode_interfaces
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    PEERS,
    SPEAKER,
    SpeakerNote,
    encode_addresses,
    encode_claims,
    encode_peers,
    encode_speaker,
)
from tests.reconcile.build import SMALL
from tests.reconcile.situations import DNS, WEB, A, B, cluster

MAC = "02:00:00:00:00:07"
NOW = 5000.0  # of every snapshot of `cluster`
FINE = SpeakerNote(
    boot=int(1000e9),
    election="sticky",
    api_outage="freeze",
    interval=0.1,
    misses=3,
    renew=2.0,
)


def speaker(
    node, claims=(), *, announces=None, lan="172.30.1.0/24", verdict=Reason.USABLE, age=1.0, peers=("other",), **note
):
    """A speaker that announces what it claims, or these addresses, and says these things of itself beside FINE."""
    claims = dict(claims)
    networks = (ip_network(lan),) if lan else ()
    annotations = {
        ANNOUNCING: encode_addresses(claims if announces is None else announces),
        CLAIMS: encode_claims(claims),
        INTERFACES: encode_interfaces([Interface("eth0", 2, networks=networks, verdict=verdict)]),
        SPEAKER: encode_speaker(replace(FINE, **note)),
        PEERS: encode_peers(peers),
    }
    return ObservedLease(Lease(f"speaker-{node}", node, "t", 6.0, annotations=tuple(annotations.items())), age)


def contested(node, address=A, *, macs=(f"{A} {MAC}",), **fields):
    """A speaker whose claim to an address is contested."""
    return speaker(node, {address: Claim(4, contested=True)}, announces=(), contested=macs, **fields)


def report_on(*speakers, services=(WEB,), **fields):
    return audit(cluster(*speakers, services=services, **fields))


def problems(report):
    return [(p.reason, p.subject) for p in report.problems]


def only_message(report):
    assert len(report.problems) == 1, report.problems
    return report.problems[0].message


# -- claims


def test_the_claim_of_the_owner_is_shown():
    report = report_on(
        speaker("node1", {A: Claim(7, strong=False)}), speaker("node2", {B: Claim(1)}), services=(WEB, DNS)
    )
    assert report.healthy
    dns, web = report.services
    assert asdict(web.claim) == {"epoch": 7, "strong": False, "contested": False, "mac": None}
    assert asdict(dns.claim) == {"epoch": 1, "strong": True, "contested": False, "mac": None}
    assert json.loads(json.dumps(asdict(report)))["services"][1]["claim"]["epoch"] == 7


def test_a_speaker_that_does_not_write_its_claims_has_none_to_show():
    old = speaker("node1", {A: Claim(1)})
    notes = tuple((name, text) for name, text in old.lease.annotations if name in (ANNOUNCING, INTERFACES))
    report = report_on(replace(old, lease=replace(old.lease, annotations=notes)))
    assert report.healthy
    assert report.services[0].claim is None
    shown = report.speakers[0]
    assert (shown.election, shown.heartbeat_interval, shown.live_peers, shown.expected_peers) == (
        None,
        None,
        None,
        None,
    )
    assert (shown.api_outage, shown.renew, shown.started) == (None, None, None)


@pytest.mark.parametrize("better", ["node1", "node2"])
def test_of_two_that_claim_an_address_the_better_claim_owns_it_and_both_are_told(better):
    claims = {node: Claim(9 if node == better else 8) for node in ("node1", "node2")}
    report = report_on(*(speaker(node, {A: claim}) for node, claim in claims.items()))
    row = report.services[0]
    assert (row.owner, row.holders, row.agrees) == (better, ("node1", "node2"), False)
    assert problems(report) == [("UnexpectedHolder", "default/web")]
    assert only_message(report).startswith(f"2 nodes answer for {A}: node1, node2; only {better} should; if this lasts")
    assert "they do not hear each other" in only_message(report)


@pytest.mark.parametrize("how", ["drained", "stopping"])
def test_the_claim_of_a_node_that_leaves_counts_only_when_there_is_no_other(how):
    leaving = speaker("node1", {A: Claim(9)}, leaving=how == "stopping")
    draining = ("node1",) if how == "drained" else ()
    assert report_on(leaving, speaker("node2"), draining=draining).services[0].owner == "node1"
    taken_over = report_on(leaving, speaker("node2", {A: Claim(8)}), draining=draining)
    assert taken_over.services[0].owner == "node2"


# -- an address that another host has


def test_a_contested_address_is_not_announced_and_the_host_that_has_it_is_named():
    for first in ("node1", "node2", "node3"):
        report = report_on(*(contested(n) if n == first else speaker(n) for n in ("node1", "node2", "node3")))
        row = report.services[0]
        assert (row.owner, row.holders, row.agrees) == (first, (), True)
        assert (row.reason, row.announcement) == ("AddressConflict", "AddressConflict")
        assert row.explanation == f"not announced: the machine with MAC address {MAC} has 172.30.1.96 already"
        assert row.action == "take it off that machine or out of the pool; it is tried again every 30 s"
        assert asdict(row.claim) == {"epoch": 4, "strong": True, "contested": True, "mac": MAC}
        assert problems(report) == [("AddressConflict", "default/web")]
        assert only_message(report) == f"172.30.1.96: {row.explanation}; {row.action}"


@pytest.mark.parametrize("macs", [(), (f"{B} {MAC}",), ("nonsense",)])
def test_a_contest_without_a_mac_address_is_told_without_one(macs):
    report = report_on(contested("node1", macs=macs), speaker("node2"))
    assert report.services[0].explanation == "not announced: another machine has 172.30.1.96 already"
    assert report.services[0].claim.mac is None


def test_a_contested_address_that_is_stranded_as_well_says_both():
    snapshot = cluster(contested("node1"), speaker("node2"), services=(WEB,))
    report = audit(replace(snapshot, configuration=ConfigurationState((SMALL,))))
    row = report.services[0]
    assert problems(report) == [("AddressConflict", "default/web")]
    assert f"MAC address {MAC} has 172.30.1.96 already; " in row.explanation
    assert "the configuration does not allow it any more" in row.explanation


def test_a_contested_address_that_somebody_announces_all_the_same_is_told():
    report = report_on(contested("node1"), speaker("node2", announces=(A,)))
    assert problems(report) == [("UnexpectedHolder", "default/web"), ("AddressConflict", "default/web")]
    assert "nobody should (AddressConflict)" in report.problems[0].message
    assert report.services[0].agrees is False


# -- speakers


def test_what_a_speaker_says_of_itself_is_shown():
    report = report_on(speaker("node1", {A: Claim(1)}, unsteady=True), speaker("node2", leaving=True), speaker("node3"))
    one, two, _ = report.speakers
    assert (one.heartbeat_interval, one.heartbeat_misses, one.lease_duration, one.renew) == (0.1, 3, 6.0, 2.0)
    assert (one.live_peers, one.expected_peers, one.peers) == (1, 2, ("other",))
    assert (one.election, one.api_outage, one.started) == ("sticky", "freeze", 1000.0)
    assert (one.unsteady, one.leaving, two.unsteady, two.leaving) == (True, False, False, True)
    assert report.healthy, "to leave, or to be unsteady, is no problem"


def test_speakers_that_are_dead_or_send_no_heartbeats_are_not_expected_to_be_heard():
    report = report_on(
        speaker("node1", {A: Claim(1)}), speaker("node2"), speaker("node3", interval=0.0), speaker("node4", age=60.0)
    )
    assert [s.expected_peers for s in report.speakers] == [1, 1, None, 2]


def test_a_fenced_speaker_is_a_problem_while_it_lives():
    report = report_on(speaker("node1", {A: Claim(1)}), speaker("node2", fenced=True))
    assert problems(report) == [("Fenced", "node2")]
    assert "the speaker on node2 answers for nothing: its heartbeats were late" in only_message(report)
    gone = report_on(speaker("node1", {A: Claim(1)}), speaker("node2", fenced=True, age=60.0))
    assert problems(gone) == [("NoSpeaker", "node2")]


def test_a_speaker_that_hears_nobody_is_told_where_to_look():
    report = report_on(speaker("node1", {A: Claim(1)}), speaker("node2"), speaker("node3", peers=()))
    assert problems(report) == [("Isolated", "node3")]
    assert only_message(report) == (
        "node3 hears no other speaker on the LAN, so two may answer for one address; "
        "look at its cable, switch and VLAN; its heartbeats use EtherType 0x88B5"
    )


def test_speakers_that_all_hear_nobody_are_one_problem():
    report = report_on(*(speaker(n, {A: Claim(1)} if n == "node1" else (), peers=()) for n in ("node1", "node2")))
    assert problems(report) == [("Isolated", "speakers")]
    assert only_message(report).startswith("node1, node2 hear no other speaker on the LAN")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"lan": "10.0.0.0/8"}, "on another network"),
        ({"lan": None}, "perhaps on another network"),
        ({"interval": 0.0, "boot": int((NOW - 3) * 1e9)}, "sends none yet"),
        ({"boot": int((NOW - 3) * 1e9)}, "has only just started"),
    ],
)
def test_a_speaker_that_can_hear_nobody_is_not_isolated(other, why):
    report = report_on(speaker("node1", {A: Claim(1)}, peers=()), speaker("node2", **other))
    assert report.healthy, why


def test_a_speaker_alone_or_just_started_or_without_interface_is_not_isolated():
    assert report_on(speaker("node1", {A: Claim(1)}, peers=())).healthy
    fresh = speaker("node2", peers=(), boot=int((NOW - 3) * 1e9))
    assert report_on(speaker("node1", {A: Claim(1)}), fresh).healthy
    unplugged = speaker("node2", peers=(), verdict=Reason.INTERFACE_NO_CARRIER)
    assert problems(report_on(speaker("node1", {A: Claim(1)}), unplugged)) == [("nodeNoInterface", "node2")]


def test_speakers_without_a_key_are_one_problem_that_names_the_secret():
    mute = (speaker("node1", {A: Claim(1)}, interval=0.0), speaker("node2", interval=0.0))
    report = report_on(*mute, speaker("node3"))
    assert problems(report) == [("NoHeartbeats", "speakers")]
    assert "no heartbeats from node1, node2" in only_message(report)
    assert "Secret metallb-heartbeat is missing, or they may not read it" in only_message(report)
    fresh = speaker("node1", {A: Claim(1)}, interval=0.0, boot=int((NOW - 3) * 1e9))
    assert report_on(fresh, speaker("node3")).healthy, "it takes a moment to get the key"


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ({"election": "metallb"}, "--election sticky on node1, node2, metallb on node3"),
        ({"interval": 1.0}, "--heartbeat-interval 0.1 s on node1, node2, 1 s on node3"),
        ({"misses": 5}, "--heartbeat-misses 3 on node1, node2, 5 on node3"),
        ({"api_outage": "withdraw"}, "--on-api-outage freeze on node1, node2, withdraw on node3"),
    ],
)
def test_settings_that_differ_are_told_with_the_nodes_that_have_them(note, told):
    # node3 is what the hash prefers, so that the owner is the same by every election.
    report = report_on(speaker("node1"), speaker("node2"), speaker("node3", {A: Claim(1)}, **note))
    assert problems(report) == [("SettingsDiffer", "speakers")]
    assert only_message(report) == (
        f"the speakers run with different settings: {told}; start all of them with the same ones"
    )


def test_the_settings_of_dead_speakers_and_of_older_versions_do_not_matter():
    old = ObservedLease(Lease("speaker-node3", "node3", "t", 15.0, annotations=((ANNOUNCING, ""),)), 1.0)
    dead = speaker("node2", age=60.0, election="metallb", interval=9.0)
    report = report_on(speaker("node1", {A: Claim(1)}), dead, old)
    assert problems(report) == [("NoSpeaker", "node2")]


def test_lease_durations_that_differ_are_told():
    slow = speaker("node2")
    report = report_on(speaker("node1", {A: Claim(1)}), replace(slow, lease=replace(slow.lease, duration=9.0)))
    assert "--lease-duration 6 s on node1, 9 s on node2" in only_message(report)

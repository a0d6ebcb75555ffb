"""A whole control process in a thread: real election, membership and neighbours; the API and the link are in memory."""

import logging
import threading
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest

from metallb_cli.daemon.inbox import Inbox
from metallb_cli.daemon.membership import LeaseTimes, Membership
from metallb_cli.daemon.speaker import COLD_LISTENING, HANDOVER, LEAVE_TIMEOUT, LISTENING, Options, Speaker, Task
from metallb_cli.election import Mode, elect
from metallb_cli.errors import LinkError
from metallb_cli.layer2.messages import PeerClaims, PeersReport
from metallb_cli.model import AddressRange, Claim, Lease, Peer, Reason, Section, TrafficPolicy
from metallb_cli.reconcile.api_outage import ApiOutagePolicy
from metallb_cli.reconcile.interface_notes import INTERFACES
from metallb_cli.reconcile.lease_notes import CLAIMS, SPEAKER, decode_speaker
from metallb_cli.reconcile.liveness import lease_name
from tests.support.leases import MemoryLeases
from tests.support.memory_node import ETH0, MemoryFeeds, MemoryLink, Telling, conflict
from tests.support.roles import until

POOL = "10.0.0.1-10.0.0.100"
CONFIG = f"address-pools: [{{name: default, protocol: layer2, addresses: [{POOL}]}}]"
VIP, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")
EVERYTHING = ip_address("0.0.0.0"), ip_address("255.255.255.255")
TIMES = LeaseTimes(duration=0.6, renew=0.2)


class Node:
    """A speaker in a thread, and all that it stands on."""

    def __init__(self, leases=None, config=CONFIG, **options):
        self.leases = leases or MemoryLeases()
        self.inbox = Inbox()
        self.feeds = MemoryFeeds(self.inbox, config)
        self.telling = Telling()
        self.membership = Membership(
            self.leases,
            "me",
            f"me_{time.monotonic_ns()}",
            TIMES,
            lambda: self.inbox.put(Task.EVERYTHING),
            lambda error: None,
            lambda old, new: self.speaker.on_notes(old, new),  # noqa: PLW0108 - there is none yet
        )
        self.leases.watchers.append(self.membership.observe)
        self.speaker = Speaker(
            feeds=self.feeds,
            inbox=self.inbox,
            membership=self.membership,
            events=self.telling,
            metrics=self.telling,
            recorder=self.telling,
            options=Options("me", **options),
        )
        self.link = MemoryLink(self.speaker.on_link_state)
        self.joined = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.link.report()
        self.thread.start()
        return self

    def run(self):
        try:
            self.speaker.run(self.link, self.joined.set)
        except BaseException as error:
            self.error = error

    # -- the LAN

    def hears(self, *peers):
        for peer in peers if not self.leases.down else ():
            note = f'{{"boot": {peer.boot}, "interval": 0.1}}'
            if self.leases.get(lease_name(peer.node), 1) is None:
                lease = Lease(lease_name(peer.node), peer.node, duration=3600, annotations=((SPEAKER, note),))
                self.leases.write(lease, 1)
        self.speaker.neighbours.on_peers(PeersReport(peers))

    def claims(self, node, *claims, boot=1):
        self.speaker.neighbours.on_claims(PeerClaims(node, boot, Section(*EVERYTHING, claims)))

    # -- what it does

    @property
    def sent(self):
        return self.link.newest

    def answers(self, *addresses):
        return lambda: self.sent.addresses == addresses and set(self.link.state.announced) == set(addresses)

    def note(self):
        return decode_speaker(self.leases.get(lease_name("me"), 1).annotation(SPEAKER) or "")

    def interfaces(self):
        return self.leases.get(lease_name("me"), 1).annotation(INTERFACES)

    def calm(self):
        """Wait until everything that was said has been worked off."""
        until(lambda: self.speaker.working and not len(self.inbox), 15, what="an idle speaker")
        time.sleep(0.1)
        assert self.error is None

    def steady(self):
        """Wait until the start is long enough ago."""
        until(lambda: self.link.newest.generation and not self.link.newest.unsteady, 20, what="a steady speaker")
        time.sleep(0.3)

    def stop(self):
        """Stop it as SIGTERM does; return how long that took."""
        begun = time.monotonic()
        self.speaker.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - begun


@pytest.fixture
def node():
    nodes = []

    def start(**options):
        prepare = options.pop("prepare", lambda node: None)
        nodes.append(Node(**options))
        prepare(nodes[-1])
        return nodes[-1].start()

    yield start
    for each in nodes:
        each.leases.down = each.leases.frozen = False
        each.hears()  # nobody is waited for
        each.stop()
        assert each.error is None or isinstance(each.error, LinkError)


def generations(node):
    return [sent.generation for sent in node.link.sets]


# -- what is announced


def test_an_address_is_answered_for_by_a_node_that_is_alone(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    assert me.sent.probe == (VIP,)
    assert me.sent.claims == {VIP: Claim(1, strong=me.sent.claims[VIP].strong)}
    assert me.sent.ranges == (AddressRange(VIP, ip_address("10.0.0.100")),)
    until(lambda: me.telling.reasons("web") == ["nodeAssigned"], 15)


def test_generations_grow_by_one_and_no_set_is_sent_twice(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    me.feeds.put("api", "10.0.0.2")
    until(me.answers(VIP, OTHER), 15)
    me.feeds.delete("web")
    until(me.answers(OTHER), 15)
    assert generations(me) == list(range(len(me.link.sets)))
    for one, other in zip(me.link.sets, me.link.sets[1:], strict=False):
        assert (one.addresses, one.ranges, one.claims, one.leaving, one.unsteady, one.probe, one.yielding) != (
            *(other.addresses, other.ranges, other.claims, other.leaving),
            *(other.unsteady, other.probe, other.yielding),
        )


def test_the_ranges_follow_the_configuration(node):
    me = node()
    until(lambda: me.sent.ranges, 15)
    me.feeds.configure(CONFIG.replace(POOL, "10.0.1.0/24"))
    until(lambda: me.sent.ranges == (AddressRange(ip_address("10.0.1.0"), ip_address("10.0.1.255")),), 15)


def test_services_that_share_an_address_are_announced_until_the_last_is_gone(node):
    me = node(prepare=lambda n: (n.feeds.put("web", "10.0.0.1"), n.feeds.put("dns", "10.0.0.1")))
    until(lambda: set(me.telling.now_announced) == {("web", "10.0.0.1"), ("dns", "10.0.0.1")}, 15)
    me.feeds.delete("dns")
    until(lambda: set(me.telling.now_announced) == {("web", "10.0.0.1")}, 15)
    me.feeds.put("late", "10.0.0.1")
    until(lambda: me.telling.reasons("late") == ["nodeAssigned"], 15)
    me.feeds.delete("web")
    me.feeds.delete("late")
    until(me.answers(), 15)


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.feeds.delete("web"),
        lambda n: n.feeds.put("web", "10.0.0.1", is_load_balancer=False),
        lambda n: n.feeds.put("web", "10.0.0.1", load_balancer_class="other"),
        lambda n: n.feeds.put("web"),
        lambda n: n.feeds.serve("web"),
        lambda n: n.feeds.node("me", excluded=True),
        lambda n: n.feeds.node("me", network_unavailable=True),
    ],
    ids=["deleted", "no load balancer", "other class", "no address", "no endpoint", "excluded", "no network"],
)
def test_what_must_not_be_announced_any_more_is_not(node, change):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    change(me)
    until(me.answers(), 15)


def test_only_services_of_the_class_are_announced(node):
    def prepare(me):
        me.feeds.put("web", "10.0.0.1")
        me.feeds.put("ours", "10.0.0.2", load_balancer_class="ours")

    me = node(prepare=prepare, lb_class="ours")
    until(me.answers(OTHER), 15)


def test_without_a_configuration_nothing_is_announced_until_there_is_one(node):
    me = node(config=None, prepare=lambda n: n.feeds.put("web", "10.0.0.1", allocated_pool="default"))
    until(lambda: me.telling.config_bits == (False, True), 15)
    until(lambda: me.speaker.working, 15)
    time.sleep(0.7)
    assert me.sent.addresses == ()
    me.feeds.configure(CONFIG)
    until(me.answers(VIP), 15)
    assert me.telling.config_bits == (True, False)


@pytest.mark.parametrize("broken", [None, "address-pools: [{name: default, protocol: carrier-pigeon, addresses: [x]}]"])
def test_a_missing_or_invalid_configuration_leaves_the_one_before_in_force(node, broken, caplog):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    me.feeds.configure(broken)
    me.feeds.configure(broken)
    until(lambda: me.telling.config_bits == (True, True), 15)
    me.calm()
    assert me.sent.addresses == (VIP,)
    kept = [r for r in caplog.records if "the configuration before it stays in force" in r.getMessage()]
    assert len(kept) == 1
    me.feeds.put("api", "10.0.0.2")
    until(me.answers(VIP, OTHER), 15)


# -- steady state


@pytest.mark.slow
def test_the_steady_state_writes_nothing_but_leases_and_tells_the_link_process_nothing(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True))
    me.steady()
    sets, events, records = len(me.link.sets), list(me.telling.events), list(me.telling.records)
    annotations = me.leases.get(lease_name("me"), 1).annotations
    writes = len(me.leases.writes)
    begun = time.monotonic()
    for _ in range(10):
        me.feeds.node("me")
        me.feeds.node("b")
        me.feeds.put("web", "10.0.0.1", resource_version="other")
        me.hears(Peer("b", 1, live=True, silence=0.05))
        me.link.report()
        time.sleep(0.05)
    renewals = (time.monotonic() - begun) / TIMES.renew
    assert len(me.link.sets) == sets
    assert (me.telling.events, me.telling.records) == (events, records)
    assert me.leases.get(lease_name("me"), 1).annotations == annotations
    assert len(me.leases.writes) - writes <= renewals + 2


class Counting(MemoryFeeds):
    """Counts how often a Service is looked up: once for each time that it is judged."""

    looks = 0

    def get(self, key):
        self.looks += 1
        return super().get(key)


@pytest.mark.slow
@pytest.mark.parametrize("draining", [False, True])
def test_a_node_update_that_means_nothing_for_services_judges_none_of_them_again(node, draining):
    def prepare(me):
        for number in range(50):
            me.feeds.put(f"web{number}", f"10.0.0.{1 + number}")
        me.feeds.__class__ = Counting

    me = node(prepare=prepare)
    until(lambda: len(me.link.state.announced) == 50, 15)
    me.hears(Peer("b", 1, live=True))
    me.feeds.node("b")
    me.steady()
    before = me.feeds.looks
    me.feeds.node("b", draining=draining)
    me.calm()
    assert me.feeds.looks == before
    me.feeds.node("b", excluded=True)
    until(lambda: me.feeds.looks >= before + 50, 15)


@pytest.mark.slow
def test_ten_thousand_services_are_judged_once_and_not_again_for_each_renewal(node):
    def prepare(me):
        for number in range(10_000):
            me.feeds.put(f"web{number}", str(ip_address("10.1.0.0") + number))
        me.feeds.node("b")
        me.feeds.__class__ = Counting

    me = node(config=CONFIG.replace(POOL, "10.1.0.0/16"), prepare=prepare)
    until(lambda: len(me.link.state.announced) == 10_000, 60)
    me.steady()
    looked, sets = me.feeds.looks, len(me.link.sets)
    for _ in range(5):
        me.feeds.node("b")
        me.link.report()
        time.sleep(2 * TIMES.renew)
    assert me.feeds.looks == looked
    assert len(me.link.sets) == sets


def test_a_speaker_that_only_the_lan_shows_becomes_a_candidate(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    until(me.answers(VIP), 15)
    me.speaker.neighbours.on_peers(PeersReport((Peer("b", 1, live=True),)))
    me.claims("b", (VIP, Claim(9)))
    until(lambda: me.sent.yielding == (VIP,), 1.5, what="yielding without any dispute about who may answer")


# -- changing hands


def test_a_better_claim_is_yielded_to_and_still_said_until_others_must_have_heard_it(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True))
    me.calm()
    mine = me.sent.claims[VIP]
    me.claims("b", (VIP, Claim(9)))
    until(lambda: me.sent.yielding == (VIP,), 15)
    assert VIP in me.sent.claims, "somebody who has not heard the better claim must not take the address for free"
    assert me.sent.claims[VIP].epoch == mine.epoch
    me.link.release()
    until(lambda: me.sent.addresses == (), 15)
    until(lambda: VIP not in me.sent.claims, 15)
    lost = [change for change, _ in me.telling.records if change.after == "b"]
    assert [change.reason for change in lost] == [Reason.BETTER_CLAIM]


def test_an_old_report_does_not_end_a_yield_that_began_after_it(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True))
    me.calm()
    before = me.sent.generation
    me.link.holding = True
    me.claims("b", (VIP, Claim(9)))
    until(lambda: me.sent.yielding == (VIP,), 15)
    me.speaker.on_link_state(replace(me.link.state, generation=before, released=(VIP,)))
    time.sleep(0.3)
    assert me.sent.yielding == (VIP,)


@pytest.mark.slow
def test_a_dead_owner_is_replaced_with_all_stages_in_record_and_metric(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    me.hears(Peer("b", 1, live=True))
    me.claims("b", (VIP, Claim(5)))
    me.steady()
    assert me.sent.addresses == ()
    me.hears(Peer("b", 1, live=False, silence=0.3))
    until(me.answers(VIP), 15)
    assert me.sent.claims[VIP].epoch == 6
    assert me.sent.probe == ()
    until(lambda: me.telling.failovers, 15)
    (stages,) = me.telling.failovers
    assert stages.detect == 0.3
    assert 0 <= stages.decide < 1
    assert 0 <= stages.announce < 1
    until(lambda: me.telling.events, 15)
    assert me.telling.events[-1][2].endswith("because b is not heard any more")


def test_a_short_fence_makes_claims_weak_even_when_it_is_over_before_the_loop_looks(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    until(lambda: me.sent.claims[VIP].strong, 15)
    before = len(me.link.sets)
    state = me.link.state
    with me.inbox._changed:  # as from the link's thread, while the loop works on something else
        for fenced in (True, False):
            me.speaker.on_link_state(replace(state, fenced=fenced))
    until(lambda: any(not sent.claims[VIP].strong for sent in me.link.sets[before:]), 15, what="a weak claim")
    assert me.sent.unsteady


def test_a_contested_address_is_claimed_as_contested_and_reported(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    me.link.probing = True
    until(lambda: me.sent.addresses == (VIP,), 15)
    me.link.contested = (conflict("10.0.0.1", "02:00:00:00:00:aa"),)
    me.link.report()
    until(lambda: me.sent.claims[VIP].contested, 15)
    assert "nodeAssigned" not in me.telling.reasons("web")
    me.link.settle()
    until(lambda: not me.sent.claims[VIP].contested, 15)
    until(lambda: me.telling.reasons("web").count("nodeAssigned") == 1, 15)


def test_a_host_that_changes_its_mac_address_all_the_time_does_not_have_the_lease_written_all_the_time(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(lambda: me.sent.addresses == (VIP,), 15)
    for number in range(30):
        me.link.contested = (conflict("10.0.0.1", f"02:00:00:00:00:{number:02x}"),)
        me.link.report()
        time.sleep(0.1)
    notes = {decode_speaker(lease.annotation(SPEAKER) or "").contested for lease in me.leases.writes}
    assert len(notes - {()}) in (1, 2), "the first, and one that replaced it"
    me.link.contested = ()
    me.link.report()
    until(lambda: me.note().contested == (), 2, what="the end of a contest on the Lease")


def test_an_interface_that_is_away_for_a_moment_stays_on_the_lease(node):
    me = node(heartbeat_interval=0.2, heartbeat_misses=4, prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    before = me.interfaces()
    written = len(me.leases.writes)
    lost = replace(ETH0, verdict=Reason.INTERFACE_NO_CARRIER)
    me.link.report(interfaces=(lost,), answering=())
    time.sleep(0.5)
    me.link.report(interfaces=(ETH0,))
    time.sleep(1.0)
    assert {lease.annotation(INTERFACES) for lease in me.leases.writes[written:]} == {before}
    assert me.sent.addresses == (VIP,)
    me.link.report(interfaces=(lost,), answering=())
    until(lambda: me.interfaces() != before, 3, what="a loss that lasts on the Lease")


def test_a_request_to_move_counts_whichever_service_of_the_address_has_it(node):
    def prepare(me):
        me.feeds.put("api", "10.0.0.1", nodes=("me", "b"))
        me.feeds.put("web", "10.0.0.1", nodes=("me", "b"), move_to="me", move_epoch=5)

    me = node(prepare=prepare)
    me.hears(Peer("b", 1, live=True))
    me.claims("b", (VIP, Claim(5)))
    until(me.answers(VIP), 20)
    assert me.sent.claims[VIP].epoch == 6
    assert [change.reason for change, _ in me.telling.records] == [Reason.MOVE_REQUESTED]


def test_what_the_speaker_had_before_it_was_started_anew_is_answered_for_without_probes(node):
    leases = MemoryLeases()
    leases.write(Lease(lease_name("me"), "", annotations=((CLAIMS, "3:10.0.0.1"), (SPEAKER, '{"boot": 7}'))), 1)
    me = node(leases=leases, prepare=lambda n: (n.feeds.put("web", "10.0.0.1"), n.feeds.put("api", "10.0.0.2")))
    until(me.answers(VIP, OTHER), 15)
    assert me.sent.probe == (OTHER,)
    assert me.sent.claims[VIP].epoch == 4


# -- readiness


def test_a_speaker_is_ready_when_it_has_listened_and_not_before(node):
    def prepare(me):
        me.feeds.put("web", "10.0.0.1")
        for name in ("me", "b"):  # so that the whole cluster starts, which takes longer
            me.feeds.node(name)

    me = node(prepare=prepare)
    until(me.joined.is_set, 15)
    began = time.monotonic()
    until(lambda: "Secret" in me.speaker.why_not_ready(), 15, what="a reason")
    me.speaker.on_keys((b"k" * 32,))
    assert "listening" in me.speaker.why_not_ready()
    until(lambda: not me.speaker.why_not_ready(), 15, what="readiness")
    assert time.monotonic() - began > COLD_LISTENING - 0.5
    until(lambda: me.sent.addresses == (VIP,), 1, what="what a ready speaker can do")


def test_a_speaker_is_ready_no_sooner_than_it_can_have_heard_the_others(node):
    me = node()
    until(lambda: me.speaker._ownership.settled, 15)
    me.speaker.on_keys((b"k" * 32,))
    began = time.monotonic()
    until(lambda: not me.speaker.why_not_ready(), 15, what="readiness")
    assert LISTENING - 0.05 <= time.monotonic() - began <= LISTENING + 0.5


def test_a_speaker_without_a_key_is_ready_after_a_while_and_stays_so_whatever_happens(node, monkeypatch):
    monkeypatch.setattr("metallb_cli.daemon.speaker.KEY_PATIENCE", 1.0)
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    until(lambda: not me.speaker.why_not_ready(), 5, what="readiness")
    me.leases.down = True
    me.speaker.on_link_state(replace(me.link.state, fenced=True))
    until(lambda: not me.speaker._ownership.settled, 5, what="a fence")
    assert me.speaker.why_not_ready() == ""


# -- keys and heartbeats


def test_heartbeats_are_told_to_the_link_process_and_noted_when_there_is_a_key(node):
    me = node(heartbeat_interval=0.2, heartbeat_misses=4)
    until(me.joined.is_set, 15)
    until(lambda: me.note() is not None, 15)
    assert me.note().interval == 0.0
    me.speaker.on_keys((b"k" * 32,))
    (settings,) = me.link.settings
    assert (settings.node, settings.interval, settings.misses, settings.keys) == ("me", 0.2, 4, (b"k" * 32,))
    until(lambda: me.note().interval == 0.2, 15)
    assert me.note().boot == settings.boot


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "nodes", "claims", "waits"),
    [
        ({}, 3, "", True),  # the first of a new cluster
        ({}, 1, "", False),
        ({"n2": 1.0, "n3": 2.0}, 3, "", True),  # all start together
        ({"n2": 1.0, "n3": 3600.0}, 3, "", False),  # a restart
        ({"n2": 4.0, "n3": 5.0}, 3, "1:192.0.2.1", False),  # a restart soon after all have started
    ],
)
def test_a_speaker_listens_longer_only_when_the_whole_cluster_starts(node, others, nodes, claims, waits):
    def prepare(me):
        for name, age in others.items():
            # Unsteady as this node is, so that none is preferred.
            note = f'{{"boot": {time.time_ns() - int(age * 1e9)}, "unsteady": true}}'
            notes = (SPEAKER, note), (CLAIMS, claims)
            me.leases.write(Lease(lease_name(name), name, duration=3600, annotations=notes), 1)
        for number in range(nodes):
            me.feeds.node(f"n{number + 1}")
        for number in range(1, 31):  # enough that some are this node's, whoever else may have the others
            me.feeds.put(f"web{number}", f"10.0.0.{number}")

    me = node(prepare=prepare)
    until(lambda: me.sent.claims, 20, what="claims")
    first = next(sent for sent in me.link.sets if sent.claims)
    assert first.unsteady is not waits, "a speaker is unsteady for its first three seconds"


def test_the_boot_grows_even_when_the_clock_was_set_back(node):
    leases = MemoryLeases()
    future = time.time_ns() + 10**18
    leases.write(Lease(lease_name("me"), "", annotations=((SPEAKER, f'{{"boot": {future}}}'),)), 1)
    me = node(leases=leases)
    until(me.joined.is_set, 15)
    me.speaker.on_keys((b"k" * 32,))
    assert me.link.settings[0].boot == future + 1


# -- the link process fails


def test_a_link_process_that_ends_ends_the_speaker(node):
    me = node()
    until(me.joined.is_set, 15)
    me.speaker.on_link_exit(3)
    until(lambda: me.error, 15)
    assert isinstance(me.error, LinkError)
    assert "code 3" in str(me.error)
    assert not me.speaker.working


def test_a_link_process_that_takes_no_set_ends_the_speaker(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"))
    until(me.answers(VIP), 15)
    me.link.failure = LinkError("the link process has ended: Broken pipe")
    me.speaker.on_keys((b"k" * 32,))  # says nothing: the exit will
    me.feeds.put("api", "10.0.0.2")
    until(lambda: me.error is me.link.failure, 15)


# -- leaving


def test_a_speaker_that_is_stopped_leaves_as_soon_as_everything_is_taken_over(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True))
    me.calm()

    def take_over():
        until(lambda: me.sent.leaving, 15)
        assert me.sent.addresses == (VIP,), "it answers until somebody else does"
        me.claims("b", (VIP, Claim(me.sent.claims[VIP].epoch + 1)))
        until(lambda: me.sent.yielding == (VIP,), 15)
        me.link.release()

    other = threading.Thread(target=take_over)
    other.start()
    took = me.stop()
    other.join(5)
    assert took < LEAVE_TIMEOUT
    assert me.leases.get(lease_name("me"), 1).holder == ""
    assert me.sent.addresses == ()


@pytest.mark.parametrize(
    "peers, nodes",
    [
        ((), ("me", "b")),
        ((Peer("b", 1, live=True, leaving=True),), ("me", "b")),
        ((Peer("b", 1, live=False, silence=9.0),), ("me", "b")),
        ((Peer("b", 1, live=True),), ("me",)),
    ],
    ids=["nobody", "leaving too", "dead", "no candidate"],
)
def test_a_speaker_that_nobody_can_replace_does_not_wait_for_it(node, peers, nodes):
    local = TrafficPolicy.LOCAL
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=nodes, traffic_policy=local))
    until(me.answers(VIP), 15)
    me.hears(*peers)
    me.calm()
    assert HANDOVER <= me.stop() < LEAVE_TIMEOUT
    assert me.sent.addresses == (), "in the end it falls silent"


@pytest.mark.slow
def test_a_peer_that_does_nothing_is_waited_for_only_so_long(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True))
    me.calm()
    assert LEAVE_TIMEOUT <= me.stop() < LEAVE_TIMEOUT + HANDOVER + 2


def test_a_speaker_that_has_nothing_leaves_at_once(node):
    me = node()
    me.hears(Peer("b", 1, live=True))
    until(me.joined.is_set, 15)
    me.calm()
    assert me.stop() < LEAVE_TIMEOUT


def test_a_speaker_that_is_stopped_before_the_api_server_answered_ends_without_a_word(node, caplog):
    me = Node()
    me.feeds.synced_now = False
    me.start()
    time.sleep(0.1)
    assert me.stop() < LEAVE_TIMEOUT
    assert me.error is None
    assert not me.joined.is_set()
    assert "does not exist" not in caplog.text


def test_a_drained_node_is_leaving_and_comes_back_when_the_drain_ends(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1", nodes=("me", "b")))
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True))
    me.feeds.node("me", draining=True)
    until(lambda: me.sent.leaving, 15)
    assert me.sent.addresses == (VIP,)
    until(lambda: me.note().leaving, 15)
    me.feeds.node("me")
    until(lambda: not me.sent.leaving, 15)
    until(lambda: not me.note().leaving, 15)
    assert me.sent.addresses == (VIP,)


# -- the API server is away


def test_withdraw_answers_for_nothing_while_the_api_server_is_away_and_says_so(node, caplog):
    caplog.set_level(logging.INFO)
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"), on_api_outage=ApiOutagePolicy.WITHDRAW)
    until(me.answers(VIP), 15)
    me.leases.down = True
    until(me.answers(), 15)
    assert me.sent.leaving
    assert me.sent.claims == {}
    assert me.telling.suspensions == [True]
    me.leases.down = False
    until(me.answers(VIP), 15)
    assert not me.sent.leaving
    assert me.telling.suspensions == [True, False]
    told = [r.getMessage() for r in caplog.records if getattr(r, "reason", "") == "ApiOutage"]
    assert any("answering for nothing" in message for message in told)
    assert told[-1].startswith("taking part in the election again")
    assert Reason.API_OUTAGE in [change.reason for change, _ in me.telling.records]


@pytest.mark.slow
@pytest.mark.parametrize("policy", [ApiOutagePolicy.FREEZE, ApiOutagePolicy.MAJORITY])
def test_a_node_that_may_go_on_without_the_api_server_does(node, policy):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"), on_api_outage=policy)
    until(me.answers(VIP), 15)
    me.steady()
    me.leases.down = True
    sets = len(me.link.sets)
    time.sleep(3 * TIMES.duration)
    assert len(me.link.sets) == sets
    assert me.telling.suspensions == []


@pytest.mark.slow
def test_majority_gives_up_when_too_few_are_heard(node):
    me = node(prepare=lambda n: n.feeds.put("web", "10.0.0.1"), on_api_outage=ApiOutagePolicy.MAJORITY)
    until(me.answers(VIP), 15)
    me.hears(Peer("b", 1, live=True), Peer("c", 1, live=True))
    me.steady()
    me.leases.down = True
    time.sleep(2 * TIMES.duration)
    assert me.sent.addresses == (VIP,)
    me.hears(Peer("b", 1, live=False), Peer("c", 1, live=False))
    until(me.answers(), 15)
    me.hears(Peer("b", 1, live=True), Peer("c", 1, live=False))
    until(me.answers(VIP), 15)


# -- modes


def test_with_the_election_of_metallb_the_node_that_the_hash_prefers_takes_over(node):
    mine = next(a for a in map(ip_address, range(int(VIP), int(VIP) + 99)) if elect(a, ("me", "b")) == "me")
    me = node(prepare=lambda n: n.feeds.put("web", str(mine), nodes=("me", "b")), election=Mode.METALLB)
    me.hears(Peer("b", 1, live=True))
    me.claims("b", (mine, Claim(5)))
    until(me.answers(mine), 20)
    assert [change.reason for change, _ in me.telling.records] == [Reason.ELECTED]

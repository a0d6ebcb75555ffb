"""From the decision to the moment an address is answered for, as a link process reports it."""

import logging
from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_address

import pytest

from metallb_cli.daemon.announcements import CLAIM_FORGOTTEN, PASSING_CLAIM, Announcements
from metallb_cli.daemon.inbox import Inbox
from metallb_cli.daemon.neighbours import Death
from metallb_cli.daemon.recorder import Recorder
from metallb_cli.election import Change
from metallb_cli.model import AddressCounters, LinkState, Protocol, Reason, ServiceKey
from metallb_cli.reconcile.announce import Verdict
from metallb_cli.reconcile.history import Stages
from tests.support.leases import MemoryLeases
from tests.support.memory_node import MemoryFeeds, Telling, conflict

VIP, OTHER, THIRD = (ip_address(f"10.0.0.{n}") for n in (1, 2, 3))
MAC, MAC2 = "02:00:00:00:00:aa", "02:00:00:00:00:bb"


class Desk:
    """Announcements with Services, and a link process whose state is said by hand."""

    def __init__(self):
        self.feeds = MemoryFeeds(Inbox(), None)
        self.telling = Telling()
        self.services_of = defaultdict(set)
        self.verdicts = {}
        self.announcements = Announcements(
            "me", self.services_of, self.feeds.services, self.telling, self.telling, self.telling
        )
        self.state = LinkState()

    def service(self, name, *addresses, reason=Reason.ANNOUNCED, protocol=Protocol.LAYER2, **fields):
        """Create a Service, or let it have these addresses now."""
        key = self.feeds.put(name, *map(str, addresses), **fields)
        self.judged(key, tuple(Verdict(key, a, "me", reason, protocol=protocol) for a in addresses))

    def delete(self, name):
        self.feeds.delete(name)
        self.judged(ServiceKey("apps", name), ())

    def judged(self, key, after):
        before = self.verdicts.get(key, ())
        for verdict in before:
            self.services_of[verdict.address].discard(key)
        for verdict in after:
            self.services_of[verdict.address].add(key)
        self.verdicts[key] = after
        self.announcements.judged(key, before, after)

    def gain(self, *addresses, generation, reason=Reason.CLAIMED, before=None, at=0.0, deaths=None):
        changes = tuple(Change(a, reason, before, "me", 1) for a in addresses)
        self.announcements.decided(changes, generation, at, deaths or {})

    def lose(self, *addresses, generation, reason=Reason.BETTER_CLAIM, after="b", at=0.0):
        changes = tuple(Change(a, reason, "me", after, 2) for a in addresses)
        self.announcements.decided(changes, generation, at, {})

    def report(self, generation, *announced, at=0.0, **fields):
        if announced != self.state.announced:
            fields["announced"] = announced
        self.state = replace(self.state, generation=generation, **fields)
        self.announcements.reported(self.state, at)

    def records(self):
        return [(change.reason, str(change.address), stages) for change, stages in self.telling.records]


@pytest.fixture
def desk():
    return Desk()


def messages(caplog, reason):
    return [r.getMessage() for r in caplog.records if getattr(r, "reason", None) == reason.value]


# -- nodeAssigned


def test_an_address_is_told_once_when_the_link_process_answers_for_it(desk):
    desk.service("web", VIP, protocol=Protocol.ARP)
    desk.gain(VIP, generation=1)
    assert desk.telling.events == []
    desk.report(1, VIP)
    desk.report(1, VIP)
    desk.report(2, VIP)
    assert desk.telling.events == [
        ("web", "nodeAssigned", 'announcing 10.0.0.1 from node "me" with protocol "arp"'),
    ]


def test_an_address_that_is_probed_for_or_contested_is_not_told_before_it_is_answered_for(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, probing=(VIP,))
    desk.report(1, contested=(conflict("10.0.0.1", MAC),), probing=())
    assert "nodeAssigned" not in desk.telling.reasons("web")
    desk.report(1, VIP, contested=())
    assert desk.telling.reasons("web") == ["AddressConflict", "nodeAssigned"]


def test_an_old_report_does_not_speak_for_a_set_that_was_sent_after_it(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.lose(VIP, generation=2)
    desk.gain(VIP, generation=3)
    desk.report(1, VIP)
    assert desk.telling.events == []
    desk.report(3, probing=(VIP,))
    assert desk.telling.events == []
    desk.report(3, VIP, probing=())
    assert desk.telling.reasons("web") == ["nodeAssigned"]


def test_nothing_is_told_while_a_fence_keeps_the_link_process_silent(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, VIP, fenced=True)
    assert desk.telling.events == []
    desk.report(1, VIP, fenced=False)
    assert desk.telling.reasons("web") == ["nodeAssigned"]


@pytest.mark.parametrize(
    "reason, sentence",
    [
        (Reason.OWNER_DIED, "because b is not heard any more"),
        (Reason.OWNER_LEAVING, "because b is leaving"),
        (Reason.OWNER_NOT_ELIGIBLE, "because b may not answer for it any more"),
        (Reason.MOVE_REQUESTED, "because it was asked to move here from b"),
        (Reason.BETTER_CLAIM, "because the claim of b was not as good"),
        (Reason.ELECTED, "because the hash prefers this node to b"),
    ],
)
def test_a_takeover_says_why(desk, reason, sentence):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1, reason=reason, before="b")
    desk.report(1, VIP)
    assert desk.telling.events[0][2].endswith(sentence)


def test_every_gain_is_told_anew(desk):
    desk.service("web", VIP)
    for generation in (1, 3):
        desk.gain(VIP, generation=generation)
        desk.report(generation, VIP)
        desk.lose(VIP, generation=generation + 1)
        desk.report(generation + 1)
    assert desk.telling.reasons("web") == ["nodeAssigned", "nodeAssigned"]


def test_services_that_share_an_address_are_told_each_also_the_one_that_comes_later(desk):
    desk.service("web", VIP)
    desk.service("dns", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, VIP)
    assert desk.telling.now_announced == {("web", "10.0.0.1"): "layer2", ("dns", "10.0.0.1"): "layer2"}
    desk.service("late", VIP)
    desk.service("late", VIP, sharing_key="x")
    for name in ("web", "dns", "late"):
        assert desk.telling.reasons(name) == ["nodeAssigned"]
    assert ("late", "10.0.0.1") in desk.telling.now_announced
    desk.delete("web")
    assert ("web", "10.0.0.1") not in desk.telling.now_announced


# -- records and stages


def test_a_takeover_from_a_dead_node_is_recorded_once_with_all_its_stages(desk):
    desk.service("web", VIP, OTHER)
    deaths = {"b": Death(silence=0.31, at=10.0)}
    desk.gain(VIP, OTHER, generation=1, reason=Reason.OWNER_DIED, before="b", at=10.002, deaths=deaths)
    assert desk.telling.records == []
    desk.report(1, VIP, OTHER, at=10.012)
    desk.report(1, VIP, OTHER, at=11.0)
    stages = [s.rounded() for _, s in desk.telling.records]
    assert stages == [Stages(0.31, 0.002, 0.01)] * 2
    assert [s.rounded() for s in desk.telling.failovers] == [Stages(0.31, 0.002, 0.01)], "one takeover"


def test_two_nodes_that_die_at_once_are_two_takeovers(desk):
    desk.service("web", VIP, OTHER)
    deaths = {"b": Death(0.3, 10.0), "c": Death(0.2, 10.0)}
    changes = (
        Change(VIP, Reason.OWNER_DIED, "b", "me", 2),
        Change(OTHER, Reason.OWNER_DIED, "c", "me", 2),
    )
    desk.announcements.decided(changes, 1, 10.0, deaths)
    desk.report(1, VIP, OTHER, at=10.01)
    assert sorted(s.detect for s in desk.telling.failovers) == [0.2, 0.3]


def test_a_death_that_only_a_lease_showed_has_no_stages_before_the_set_was_sent(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1, reason=Reason.OWNER_DIED, before="b", at=5000.0, deaths={"c": Death(0.3, 3.0)})
    desk.report(1, VIP, at=5000.01)
    assert [s.rounded() for _, s in desk.telling.records] == [Stages(None, None, 0.01)]
    assert desk.telling.failovers == []


def test_a_planned_move_is_no_failover(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1, reason=Reason.OWNER_LEAVING, before="b", deaths={"b": Death(0.3, 0.0)})
    desk.report(1, VIP)
    assert desk.telling.failovers == []
    assert [s.detect for _, s in desk.telling.records] == [None]


def test_a_loss_is_recorded_once_and_at_once(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, VIP)
    desk.lose(VIP, generation=2)
    desk.report(2)
    assert [reason for reason, _, _ in desk.records()] == [Reason.CLAIMED, Reason.BETTER_CLAIM]


def test_what_is_lost_before_it_was_in_force_is_recorded_in_order_and_leaves_nothing_behind(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1, reason=Reason.OWNER_DIED, before="b", deaths={"b": Death(0.3, 0.0)})
    desk.lose(VIP, generation=2)
    desk.report(2)
    assert [(reason, stages.announce) for reason, _, stages in desk.records()] == [
        (Reason.OWNER_DIED, None),
        (Reason.BETTER_CLAIM, None),
    ]
    assert desk.telling.failovers == [], "nobody knows how long that would have taken"
    assert not desk.announcements._unrecorded
    assert not desk.announcements._untold


def test_an_address_that_is_lost_and_gained_in_one_decision_is_had_in_the_end(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, VIP)
    changes = (Change(VIP, Reason.BETTER_CLAIM, "me", "b", 2), Change(VIP, Reason.OWNER_LEAVING, "b", "me", 3))
    desk.announcements.decided(changes, 2, 0.0, {})
    desk.report(2, VIP)
    assert [reason for reason, _, _ in desk.records()] == [Reason.CLAIMED, Reason.BETTER_CLAIM, Reason.OWNER_LEAVING]
    assert desk.telling.reasons("web") == ["nodeAssigned", "nodeAssigned"]


def test_a_report_that_skips_generations_confirms_all_of_them(desk):
    desk.service("web", VIP, OTHER, THIRD)
    desk.gain(VIP, generation=1)
    desk.gain(OTHER, generation=2)
    desk.gain(THIRD, generation=4)
    desk.report(3, VIP, OTHER)
    assert [address for _, address, _ in desk.records()] == ["10.0.0.1", "10.0.0.2"]
    assert len(desk.telling.events) == 2
    desk.report(7, VIP, OTHER, THIRD)
    assert [address for _, address, _ in desk.records()] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert len(desk.telling.events) == 3


def test_a_real_recorder_remembers_a_takeover_as_one_entry(desk):
    leases = MemoryLeases()
    recorder = Recorder(leases, "me", lambda error: None)
    desk.announcements._recorder = recorder
    desk.service("web", VIP, OTHER)
    desk.gain(VIP, OTHER, generation=1, reason=Reason.OWNER_DIED, before="b", deaths={"b": Death(0.3, 0.0)})
    desk.report(1, VIP, OTHER, at=0.01)
    (entry,) = recorder.entries()
    assert (entry.reason, entry.before, entry.after) == ("OwnerDied", "b", "me")
    assert entry.gap == pytest.approx(0.31)


# -- logs


def test_a_service_that_nobody_answers_for_says_so_once_for_each_reason(desk, caplog):
    caplog.set_level(logging.INFO)
    for nodes in (("a",), ("a", "b")):
        desk.service("web", VIP, reason=Reason.NO_LOCAL_ENDPOINTS, nodes=nodes)
        desk.judged(
            ServiceKey("apps", "web"),
            (Verdict(ServiceKey("apps", "web"), VIP, None, Reason.NO_LOCAL_ENDPOINTS, excluded=dict.fromkeys(nodes)),),
        )
    assert len(messages(caplog, Reason.NO_LOCAL_ENDPOINTS)) == 1
    desk.service("web", VIP, reason=Reason.NO_ENDPOINTS)
    assert len(messages(caplog, Reason.NO_ENDPOINTS)) == 1


def test_a_deleted_service_a_changed_address_and_another_class_are_logged_where_it_was_announced(desk, caplog):
    caplog.set_level(logging.INFO)
    for name, address in (("web", VIP), ("api", OTHER), ("dns", THIRD)):
        desk.service(name, address)
    desk.gain(VIP, OTHER, THIRD, generation=1)
    desk.report(1, VIP, OTHER, THIRD)
    desk.delete("web")
    desk.service("api", ip_address("10.0.0.9"))
    desk.feeds.put("dns", str(THIRD), load_balancer_class="other")
    desk.judged(ServiceKey("apps", "dns"), ())
    for reason, address in (
        (Reason.SERVICE_DELETED, VIP),
        (Reason.ADDRESS_CHANGED, OTHER),
        (Reason.OTHER_CLASS, THIRD),
    ):
        assert any(f"{address} is not announced for it any more" in m for m in messages(caplog, reason)), reason


def test_services_that_come_and_go_elsewhere_leave_nothing_behind(desk):
    for name in map(str, range(20)):
        desk.service(name, VIP)
        desk.delete(name)
    assert not desk.announcements._protocols


def test_the_outage_policy_says_when_it_begins_and_when_it_ends(desk, caplog):
    caplog.set_level(logging.INFO)
    desk.announcements.suspended(True, 6.1)
    desk.announcements.suspended(False, 0.0)
    first, last = messages(caplog, Reason.API_OUTAGE)
    assert "6.1 s: answering for nothing" in first
    assert "again" in last
    assert desk.telling.suspensions == [True, False]


# -- other machines


def test_a_contested_address_is_reported_once_with_the_mac_address(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    for count in (1, 2, 9):
        desk.report(1, contested=(conflict("10.0.0.1", MAC, count),))
    desk.report(1, contested=(conflict("10.0.0.1", MAC2, 10),))
    ((_, reason, message),) = desk.telling.events
    assert reason == "AddressConflict"
    assert MAC in message
    assert [r for r, _, _ in desk.records()].count(Reason.ADDRESS_CONFLICT) == 1
    assert desk.telling.gauges["contested"] == 1
    desk.report(1, VIP, contested=())
    assert desk.telling.gauges["contested"] == 0
    desk.report(1, contested=(conflict("10.0.0.1", MAC),))
    assert desk.telling.reasons("web").count("AddressConflict") == 2, "it came back"


def test_a_machine_that_goes_on_claiming_an_address_of_ours_is_reported_once_with_its_mac_address(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, VIP)
    for second in range(20):
        desk.report(1, VIP, at=100.0 + second, conflicts=(conflict("10.0.0.1", MAC, 1 + second),))
    claims = [message for _, reason, message in desk.telling.events if reason == "AddressConflict"]
    assert len(claims) == 1
    assert MAC in claims[0]


def test_a_claim_that_passes_as_in_a_handover_is_not_reported(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    for at, count in ((100.0, 1), (100.5, 3), (101.0, 4), (100.0 + PASSING_CLAIM, 4), (130.0, 4)):
        desk.report(1, VIP, at=at, conflicts=(conflict("10.0.0.1", MAC, count),))
    assert "AddressConflict" not in desk.telling.reasons("web")


def test_handovers_that_are_far_apart_are_no_lasting_claim(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    for number in range(5):
        begun = 100.0 + number * 2 * CLAIM_FORGOTTEN
        for after in (0.0, 0.4):
            count = 1 + 2 * number + (after > 0)
            desk.report(1, VIP, at=begun + after, conflicts=(conflict("10.0.0.1", MAC, count),))
    assert "AddressConflict" not in desk.telling.reasons("web")


# -- metrics


def test_the_announced_gauge_follows_what_the_link_process_announces(desk):
    desk.service("web", VIP, protocol=Protocol.ARP)
    desk.service("api", OTHER)
    desk.gain(VIP, OTHER, generation=1)
    assert desk.telling.now_announced == {}
    desk.report(1, VIP, probing=(OTHER,))
    assert desk.telling.now_announced == {("web", "10.0.0.1"): "arp"}
    desk.report(1, VIP, OTHER, probing=())
    assert set(desk.telling.now_announced) == {("web", "10.0.0.1"), ("api", "10.0.0.2")}
    desk.report(2)
    assert desk.telling.now_announced == {}


def test_a_report_without_news_does_not_count_the_announced_again(desk):
    desk.service("web", VIP)
    desk.gain(VIP, generation=1)
    desk.report(1, VIP)
    before = desk.telling.announced_calls
    counters = {VIP: AddressCounters(3, 2, 1)}
    desk.report(1, VIP, counters=counters, drops={"ARPReply": 4})
    assert desk.telling.announced_calls == before
    assert desk.telling.gauges["counters"] == counters
    assert desk.telling.gauges["drops"] == {"ARPReply": 4}


def test_every_change_of_hands_is_counted_by_its_reason(desk):
    desk.service("web", VIP, OTHER)
    desk.gain(VIP, OTHER, generation=1)
    desk.lose(VIP, generation=2, reason=Reason.OWNER_LEAVING)
    assert desk.telling.changes == {"Claimed": 2, "OwnerLeaving": 1}

"""The states of an address on the wire, in both families, on a clock that the test turns. scapy reads the probes."""

import functools
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from metallb_cli.layer2 import arp, ndp
from metallb_cli.layer2.engine import MAX_ASKED, Drop
from metallb_cli.layer2.ndp_responder import NdpResponder
from metallb_cli.layer2.probing import PROBE_INTERVAL, REPROBE_PERIOD
from metallb_cli.layer2.responder import Responder
from metallb_cli.layer2.schedule import GRATUITOUS_PERIOD, REFRESH_PERIOD
from metallb_cli.layer2.yielding import ASK_INTERVAL, ASKS, YIELD_LIMIT

MAC, SECOND_MAC, PEER_MAC, RIVAL_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3, 4))


class Arp:
    """What neighbours send, and what an engine's frames are, in IPv4."""

    engine = Responder
    address, other = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.11")
    first = IPv4Address("198.18.0.0")

    @staticmethod
    def question(mac, address):
        return arp.request(mac, bytes([192, 0, 2, 1]), address.packed)

    @staticmethod
    def probe(mac, address):
        return arp.request(mac, bytes(4), address.packed)

    @staticmethod
    def answer(mac, address, to=MAC):
        return arp.reply(mac, address.packed, to, bytes(4))

    @staticmethod
    def news(mac, address):
        return arp.gratuitous(mac, address.packed)[0]

    @staticmethod
    @functools.cache
    def kind(frame):
        """Which address a frame is about, and what it is."""
        ethernet = Ether(frame)
        seen = ethernet[ARP]
        if seen.psrc == "0.0.0.0":
            assert (seen.op, seen.hwdst, ethernet.dst) == (1, "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")
            return "probe", seen.pdst
        return ("news" if seen.psrc == seen.pdst else "answer"), seen.psrc


class Ndp:
    """The same in IPv6."""

    engine = NdpResponder
    address, other = IPv6Address("2001:db8::10"), IPv6Address("2001:db8::11")
    first = IPv6Address("2001:db8:1::")

    @staticmethod
    def question(mac, address):
        group = ndp.solicited_node(address.packed)
        asker = IPv6Address("fe80::99").packed
        return ndp.encode_solicitation(
            ndp.Solicitation(ndp.group_mac(group), mac, asker, group, address.packed, link_address=mac)
        )

    @staticmethod
    def probe(mac, address):
        return ndp.probe(mac, address.packed)

    @staticmethod
    def answer(mac, address, to=MAC):
        return ndp.Advertiser(mac).unsolicited(address.packed)  # RFC 4861 §7.2.4: a probe has no address to answer to

    news = answer

    @staticmethod
    @functools.cache
    def kind(frame):
        seen = Ether(frame)
        if ICMPv6ND_NS in seen:
            target = IPv6Address(seen[ICMPv6ND_NS].tgt)
            group = ndp.solicited_node(target.packed)
            assert (seen[IPv6].src, IPv6Address(seen[IPv6].dst).packed) == ("::", group)
            assert (seen.dst, len(frame)) == (ndp.group_mac(group).hex(":"), 78)  # RFC 4862 §5.4.2: no option
            return "probe", str(target)
        return ("answer" if seen[ICMPv6ND_NA].S else "news"), seen[ICMPv6ND_NA].tgt


@pytest.fixture(params=[Arp, Ndp], ids=["arp", "ndp"])
def family(request):
    return request.param


class Node:
    """An engine and its clock."""

    def __init__(self, family, mac=MAC, **options):
        self.family, self.now = family, 100.0
        self.engine = family.engine(mac, [SECOND_MAC], **options)
        self.engine.peer_macs = frozenset([PEER_MAC])
        self.said = []

    def announce(self, *addresses, probe=(), yielding=()):
        self.engine.announce(addresses, self.now, probe, yielding)
        return self.advance(0.0)

    def hear(self, frame):
        drop = self.engine.receive_frame(frame, self.now)
        self._listen()
        return drop

    def answers(self, address):
        """Whether a question is answered."""
        before = len(self.said)
        drop = self.hear(self.family.question(RIVAL_MAC, address))
        assert (drop is None) == (len(self.said) > before)
        return drop is None

    def advance(self, seconds):
        """Let time pass; what was said meanwhile, as (when, kind, address)."""
        before, end = len(self.said), self.now + seconds
        for _ in range(100_000):
            deadline = self.engine.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return self.said[before:]
            self.now = max(self.now, deadline)
            self.engine.handle_timer(self.now)
            self._listen()
        raise AssertionError("the deadline does not move on")

    def _listen(self):
        frames = self.engine.frames_to_send()
        self.said += [(round(self.now - 100, 3), *self.family.kind(frame)) for frame in frames]

    @property
    def states(self):
        """The address's state, as the reports say it."""
        engine, ip = self.engine, self.family.address.packed
        names = ("held", "probing", "contested", "released")
        return [name for name in names if ip in getattr(engine, name)]


def probing(family, **options):
    node = Node(family, **options)
    node.announce(family.address, probe=[family.address])
    return node


def contested(family):
    node = probing(family)
    node.hear(family.answer(RIVAL_MAC, family.address))
    return node


def answering(family):
    node = Node(family)
    node.announce(family.address)
    node.advance(10.0)
    return node


def yielding(family):
    node = answering(family)
    node.announce(family.address, yielding=[family.address])
    return node


def released(family):
    node = yielding(family)
    node.hear(family.news(PEER_MAC, family.address))
    return node


def times(said, kind):
    return [when for when, what, _ in said if what == kind]


class TestProbing:
    def test_three_probes_and_a_last_interval_come_before_the_first_word(self, family):
        node = Node(family)
        said = node.announce(family.address, probe=[family.address]) + node.advance(1.0)
        expected = [(n * PROBE_INTERVAL, "probe", str(family.address)) for n in range(3)]
        assert said[:3] == [(round(when, 3), *what) for when, *what in expected]
        assert {(when, what) for when, what, _ in said[3:]} == {(0.6, "news")}
        assert node.states == ["held"]

    def test_nothing_is_answered_meanwhile(self, family):
        node = probing(family)
        node.advance(0.59)
        assert node.states == ["probing"]
        assert not node.answers(family.address)
        node.advance(0.02)
        assert node.answers(family.address)

    def test_then_it_is_new_and_repeated_as_any_other(self, family):
        node = probing(family)
        said = node.advance(0.6 + GRATUITOUS_PERIOD)
        assert sorted({round(when - 0.6, 3) for when in times(said, "news")}) == [0.0, 1.1, 2.2, 3.3, 4.4]

    def test_after_a_long_stop_it_begins_anew_because_answers_may_be_lost(self, family):
        node = probing(family)
        node.advance(0.5)
        node.now += 10.0
        node.engine.handle_timer(node.now)
        assert [family.kind(frame)[0] for frame in node.engine.frames_to_send()] == ["probe"]
        node.advance(0.59)
        assert node.states == ["probing"]
        node.advance(0.02)
        assert node.states == ["held"]

    def test_the_interval_is_an_option_and_0_answers_at_once(self, family):
        node = probing(family, probe_interval=2.0)
        assert times(node.advance(6.5), "news")[0] == 6.0
        node = probing(family, probe_interval=0)
        assert node.states == ["held"]
        assert times(node.said, "probe") == []

    def test_only_the_addresses_that_are_marked_are_probed(self, family):
        node = Node(family)
        node.announce(family.address, family.other, probe=[family.other])
        assert node.answers(family.address)
        assert not node.answers(family.other)

    def test_announcing_again_neither_begins_anew_nor_cuts_it_short(self, family):
        node = probing(family)
        node.advance(0.5)
        assert node.announce(family.address, probe=[family.address]) == []
        assert node.announce(family.address) == []
        assert node.states == ["probing"]
        node.advance(0.11)
        assert node.states == ["held"]

    def test_what_is_answered_for_is_not_probed_again(self, family):
        node = answering(family)
        node.announce(family.address, probe=[family.address])
        assert node.answers(family.address)

    def test_a_withdrawn_address_is_forgotten(self, family):
        node = probing(family)
        node.announce(family.other)
        node.advance(GRATUITOUS_PERIOD)
        node.announce(family.other)
        assert str(family.address) not in {address for _, _, address in node.advance(300.0)}
        assert node.states == []

    def test_a_thousand_addresses_take_little_longer_than_one(self, family):
        addresses = [family.first + n for n in range(1000)]
        node = Node(family)
        node.announce(*addresses, probe=addresses)
        node.advance(0.61)
        assert len(node.engine.held) == 1000

    @pytest.mark.parametrize("heard", ["answer", "news", "probe"])
    def test_a_frame_of_another_host_ends_it(self, family, heard):
        node = probing(family)
        node.advance(0.3)
        frame = getattr(family, heard)(RIVAL_MAC, family.address)
        assert node.hear(frame) is Drop.CONFLICT
        assert node.states == ["contested"]
        assert node.engine.contested[family.address.packed] == (RIVAL_MAC, 1)

    @pytest.mark.parametrize("heard", ["answer", "news", "probe"])
    @pytest.mark.parametrize(("mac", "drop"), [(SECOND_MAC, Drop.OWN_FRAME), (PEER_MAC, Drop.PEER_CLAIM)])
    def test_one_of_a_speaker_or_of_this_node_does_not(self, family, heard, mac, drop):
        node = probing(family)
        assert node.hear(getattr(family, heard)(mac, family.address)) is drop
        node.advance(0.61)
        assert node.states == ["held"]


class TestContested:
    def test_it_is_silent(self, family):
        node = contested(family)
        before = len(node.said)
        node.advance(20.0)
        assert not node.answers(family.address)
        assert node.said[before:] == []

    def test_it_is_probed_again_within_30_seconds_and_stays_contested_when_answered(self, family):
        node = contested(family)
        for _ in range(3):
            began = node.now
            while not times(node.advance(0.1), "probe"):
                assert node.now < began + REPROBE_PERIOD
            node.hear(family.answer(RIVAL_MAC, family.address))
            assert node.states == ["contested"]
        assert node.engine.contested[family.address.packed].frames == 4

    def test_when_nobody_answers_any_more_it_is_answered_for(self, family):
        node = contested(family)
        said = node.advance(REPROBE_PERIOD + 1.0)
        assert len(times(said, "probe")) == 3
        assert times(said, "news")
        assert node.states == ["held"]

    def test_while_it_is_probed_again_it_is_still_reported(self, family):
        node = contested(family)
        while not times(node.advance(0.1), "probe"):
            assert node.now < 200
        assert node.states == ["contested"]

    def test_two_nodes_that_met_while_probing_do_not_begin_again_at_the_same_time(self, family):
        first = contested(family)
        second = Node(family, mac=RIVAL_MAC)
        second.announce(family.address, probe=[family.address])
        second.hear(family.probe(MAC, family.address))
        starts = [times(node.advance(REPROBE_PERIOD), "probe")[0] for node in (first, second)]
        assert abs(starts[0] - starts[1]) > 0.1

    def test_the_mac_that_was_heard_last_is_reported_and_a_new_one_is_news(self, family):
        node = contested(family)
        node.engine.changed = False
        node.hear(family.news(RIVAL_MAC, family.address))
        assert not node.engine.changed
        other = bytes((2, 0, 0, 0, 0, 9))
        node.hear(family.news(other, family.address))
        assert node.engine.changed
        assert node.engine.contested[family.address.packed] == (other, 3)

    def test_it_is_answered_for_when_the_rival_turns_out_to_be_a_speaker(self, family):
        node = contested(family)
        node.engine.changed = False
        node.engine.follow_peers(frozenset([PEER_MAC]), node.now)
        assert node.states == ["contested"]
        node.engine.follow_peers(frozenset([PEER_MAC, RIVAL_MAC]), node.now)
        assert (node.states, node.engine.changed) == (["held"], True)
        assert times(node.advance(0.0), "news")


class TestYielding:
    def test_it_is_answered_for_and_not_told(self, family):
        node = yielding(family)
        said = node.advance(YIELD_LIMIT - 0.01)
        assert {what for _, what, _ in said} == {"probe"}
        assert node.answers(family.address)
        assert node.states == ["held"]

    def test_the_new_owner_is_asked_every_20_milliseconds(self, family):
        node = yielding(family)
        asked = times(node.said, "probe") + times(node.advance(0.1), "probe")
        assert asked == [round(10.0 + n * ASK_INTERVAL, 3) for n in range(len(asked))]
        assert len(asked) in (5, 6)

    @pytest.mark.parametrize("mac", [PEER_MAC, RIVAL_MAC], ids=["peer", "anybody"])
    @pytest.mark.parametrize("heard", ["answer", "news"])
    def test_when_it_answers_or_says_so_ours_is_silent(self, family, heard, mac):
        node = yielding(family)
        node.advance(0.1)
        assert node.hear(getattr(family, heard)(mac, family.address)) is Drop.PEER_CLAIM
        assert node.states == ["released"]
        assert not node.answers(family.address)
        assert node.advance(300.0) == []
        assert node.engine.conflicts == {}

    def test_an_answer_of_this_node_itself_changes_nothing(self, family):
        node = yielding(family)
        assert node.hear(family.answer(SECOND_MAC, family.address)) is Drop.OWN_FRAME
        assert node.states == ["held"]

    def test_a_probe_of_the_new_owner_claims_nothing(self, family):
        node = yielding(family)
        assert node.hear(family.probe(PEER_MAC, family.address)) is None
        assert node.states == ["held"]

    def test_after_a_second_it_ends_all_the_same(self, family):
        node = yielding(family)
        node.advance(YIELD_LIMIT)
        assert node.states == ["released"]
        assert not node.answers(family.address)

    def test_announcing_it_again_as_yielding_does_not_prolong_it(self, family):
        node = yielding(family)
        node.advance(0.6)
        node.announce(family.address, yielding=[family.address])
        node.advance(0.4)
        assert node.states == ["released"]
        node.announce(family.address, yielding=[family.address])
        assert node.states == ["released"]

    @pytest.mark.parametrize("before", [yielding, released])
    def test_announced_as_ours_again_it_is_answered_for_and_told_at_once(self, family, before):
        node = before(family)
        said = node.announce(family.address, probe=[family.address])
        assert times(said, "news")
        assert node.states == ["held"]
        assert node.answers(family.address)

    @pytest.mark.parametrize("before", [probing, contested])
    def test_one_that_was_not_answered_for_is_released_at_once_and_probed_when_it_comes_back(self, family, before):
        node = before(family)
        node.announce(family.address, yielding=[family.address])
        assert node.states == ["released"]
        assert times(node.announce(family.address, probe=[family.address]), "probe")
        assert node.states == ["probing"]

    def test_one_that_is_new_to_the_interface_is_answered_for_until_the_new_owner_is(self, family):
        node = Node(family)
        said = node.announce(family.address, yielding=[family.address])
        assert {what for _, what, _ in said} == {"probe"}
        assert node.answers(family.address)

    @pytest.mark.parametrize("before", [yielding, released])
    def test_withdrawn_it_is_forgotten(self, family, before):
        node = before(family)
        node.announce()
        assert node.states == []
        assert node.advance(300.0) == []

    def test_thousands_are_asked_for_at_a_bounded_rate_and_each_has_its_turn(self, family):
        addresses = [family.first + n for n in range(ASKS * 10)]
        node = Node(family)
        node.announce(*addresses)
        node.advance(10.0)
        before = len(node.said)
        node.announce(*addresses, yielding=addresses)
        node.advance(YIELD_LIMIT)
        asked = node.said[before:]
        assert len({address for _, _, address in asked}) == len(addresses)
        assert len(asked) <= ASKS * (YIELD_LIMIT / ASK_INTERVAL + 1)
        assert len(node.engine.released) == len(addresses)

    def test_behind_the_fence_it_is_released_at_once(self, family):
        node = yielding(family)
        node.engine.fence(closed=True)
        assert node.states == ["released"]
        node.engine.fence(closed=False)
        assert not node.answers(family.address)

    def test_what_is_handed_over_behind_the_fence_is_released_at_once(self, family):
        node = Node(family)
        node.announce(family.address, family.other)
        node.engine.fence(closed=True)
        node.announce(family.address, family.other, yielding=[family.address])
        node.engine.fence(closed=False)
        assert not node.answers(family.address)
        assert node.answers(family.other)


class TestAnswering:
    def test_a_probe_is_answered_so_that_a_yielding_node_sees_it(self, family):
        node = answering(family)
        assert node.hear(family.probe(PEER_MAC, family.address)) is None

    def test_every_refresh_also_asks_whether_somebody_else_answers(self, family):
        node = answering(family)
        said = node.advance(3 * REFRESH_PERIOD)
        assert times(said, "probe") == sorted(set(times(said, "news")))
        assert len(times(said, "probe")) == 3

    def test_who_answers_is_a_conflict(self, family):
        node = answering(family)
        assert node.hear(family.answer(RIVAL_MAC, family.address)) is Drop.CONFLICT
        assert node.engine.conflicts == {(family.address.packed, RIVAL_MAC): 1}
        assert node.states == ["held"]

    def test_a_speaker_that_answers_too_is_counted_apart(self, family):
        node = answering(family)
        assert node.hear(family.answer(PEER_MAC, family.address)) is Drop.PEER_CLAIM
        assert node.engine.conflicts == {(family.address.packed, PEER_MAC): 1}


class TestOrder:
    def told(self, node, *addresses, **kinds):
        return list(dict.fromkeys(address for _, _, address in node.announce(*addresses, **kinds)))

    def test_addresses_are_told_in_the_order_of_the_set(self, family):
        assert self.told(Node(family), family.other, family.address) == [str(family.other), str(family.address)]

    def test_those_that_were_asked_for_while_another_node_had_them_come_first(self, family):
        node = Node(family)
        addresses = [family.first + n for n in range(4)]
        for number in (2, 3, 3):
            assert not node.answers(addresses[number])
        assert self.told(node, *addresses) == [str(addresses[number]) for number in (3, 2, 0, 1)]

    def test_a_host_that_asks_for_ever_more_addresses_cannot_fill_the_memory(self, family):
        node = Node(family)
        for number in range(MAX_ASKED + 10):
            node.engine.receive_frame(family.question(RIVAL_MAC, family.first + number), 0.0)
        assert len(node.engine._asked) == MAX_ASKED


class TestChanges:
    @pytest.mark.parametrize("begin", [probing, contested, yielding, released])
    def test_every_step_says_so_once(self, family, begin):
        node = begin(family)
        assert node.engine.changed
        node.engine.changed = False
        node.advance(0.1)
        assert not node.engine.changed

    @pytest.mark.parametrize(("begin", "seconds"), [(probing, 0.61), (contested, 31.0), (yielding, 1.0)])
    def test_so_does_time(self, family, begin, seconds):
        node = begin(family)
        node.engine.changed = False
        node.advance(seconds)
        assert node.engine.changed

    def test_the_same_set_again_changes_nothing(self, family):
        node = answering(family)
        node.engine.changed = False
        node.announce(family.address)
        assert not node.engine.changed


@given(
    st.sampled_from([Arp, Ndp]),
    st.lists(
        st.tuples(
            st.sampled_from(["own", "probe", "yield", "gone", "answer", "news", "probe heard", "wait"]),
            st.booleans(),
            st.sampled_from([PEER_MAC, RIVAL_MAC, SECOND_MAC]),
            st.sampled_from([0.0, 0.2, 0.7, 31.0]),
        ),
        max_size=15,
    ),
)
def test_whatever_happens_an_address_is_in_one_state_and_only_what_is_held_is_answered(family, steps):
    node = Node(family)
    kinds = dict.fromkeys((family.address, family.other), "gone")
    for step, first, mac, seconds in steps:
        address = family.address if first else family.other
        if step in ("own", "probe", "yield", "gone"):
            kinds[address] = step
            chosen = {kind: [a for a, k in kinds.items() if k == kind] for kind in ("probe", "yield")}
            addresses = [a for a, k in kinds.items() if k != "gone"]
            node.announce(*addresses, probe=chosen["probe"], yielding=chosen["yield"])
        elif step == "wait":
            node.advance(seconds)
        else:
            node.hear(getattr(family, step.removesuffix(" heard"))(mac, address))
        engine = node.engine
        for each, kind in kinds.items():
            states = [each.packed in s for s in (engine.held, engine.probing, engine.contested, engine.released)]
            assert sum(states) == (kind != "gone")
            assert node.answers(each) == (each.packed in engine.held)


@pytest.mark.parametrize("family", [Arp, Ndp], ids=["arp", "ndp"])
@given(data=st.binary(max_size=100))
def test_no_bytes_upset_an_engine_that_probes_and_yields(family, data):
    node = Node(family)
    node.announce(family.address, family.other, probe=[family.address], yielding=[family.other])
    node.hear(data)
    assert family.other.packed in node.engine.held

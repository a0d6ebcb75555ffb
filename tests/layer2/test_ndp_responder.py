"""The NDP engine: what it answers, what it does not and why, what it says by itself. scapy reads every frame."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import Ether

from metallb_cli.layer2.engine import MAX_CONFLICTS, Counts, Drop
from metallb_cli.layer2.ndp import (
    ALL_NODES,
    ALL_NODES_MAC,
    OVERRIDE_FLAG,
    SOLICITED_FLAG,
    UNSPECIFIED,
    Advertisement,
    Solicitation,
    encode_advertisement,
    encode_solicitation,
    group_mac,
    solicited_node,
)
from metallb_cli.layer2.ndp_responder import NdpResponder
from metallb_cli.layer2.schedule import BATCH, GRATUITOUS_INTERVAL, GRATUITOUS_PERIOD

ADDRESS = IPv6Address("2001:db8::1")
OTHER = IPv6Address("2001:db8::2")
OURS = ADDRESS.packed
MAC, SECOND_MAC, ASKER_MAC, RIVAL_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3, 4))
ASKER = IPv6Address("fe80::99").packed
QUESTION = Solicitation(
    group_mac(solicited_node(OURS)), ASKER_MAC, ASKER, solicited_node(OURS), OURS, link_address=ASKER_MAC
)
CLAIM = Advertisement(ALL_NODES_MAC, RIVAL_MAC, OURS, ALL_NODES, OURS, RIVAL_MAC, OVERRIDE_FLAG)


def fresh(*addresses, own_macs=()):
    responder = NdpResponder(MAC, own_macs)
    responder.announce(addresses or (ADDRESS,), 0.0)
    return responder


def ask(responder, question):
    return responder.receive_frame(encode_solicitation(question), 1.0)


def answer_to(question, responder=None):
    """The one answer to a solicitation, as scapy reads it."""
    responder = responder or fresh()
    assert ask(responder, question) is None
    (frame,) = responder.frames_to_send()
    rebuilt = Ether(frame)
    rebuilt[ICMPv6ND_NA].cksum = None
    assert bytes(rebuilt) == frame, "scapy computes another checksum"
    return Ether(frame)


def facts(frame):
    advertisement = frame[ICMPv6ND_NA]
    return {
        "to": (frame.dst, frame[IPv6].dst),
        "from": (frame.src, frame[IPv6].src),
        "flags": (advertisement.R, advertisement.S, advertisement.O),
        "says": (advertisement.tgt, frame[ICMPv6NDOptDstLLAddr].lladdr),
        "hop limit": frame[IPv6].hlim,
    }


SOLICITED = {
    "to": (ASKER_MAC.hex(":"), "fe80::99"),
    "from": (MAC.hex(":"), "2001:db8::1"),
    "flags": (0, 1, 1),
    "says": ("2001:db8::1", MAC.hex(":")),
    "hop limit": 255,
}


class TestAnswers:
    def test_a_multicast_solicitation(self):
        assert facts(answer_to(QUESTION)) == SOLICITED

    def test_a_unicast_reachability_probe(self):
        assert facts(answer_to(QUESTION._replace(ethernet_destination=MAC, destination=OURS))) == SOLICITED

    def test_a_unicast_probe_without_a_link_address_is_answered_to_the_ethernet_source(self):
        probe = QUESTION._replace(ethernet_destination=MAC, destination=OURS, link_address=None)
        assert facts(answer_to(probe)) == SOLICITED

    def test_the_link_address_wins_over_the_ethernet_source(self):
        assert facts(answer_to(QUESTION._replace(ethernet_source=RIVAL_MAC))) == SOLICITED

    def test_duplicate_detection_is_answered_to_everybody(self):
        probe = QUESTION._replace(source=UNSPECIFIED, link_address=None)
        expected = {**SOLICITED, "to": (ALL_NODES_MAC.hex(":"), "ff02::1"), "flags": (0, 0, 1)}
        assert facts(answer_to(probe)) == expected

    def test_each_of_several_addresses_with_itself_as_source(self):
        responder = fresh(ADDRESS, OTHER)
        assert facts(answer_to(QUESTION, responder))["from"] == (MAC.hex(":"), "2001:db8::1")
        assert facts(answer_to(QUESTION._replace(target=OTHER.packed), responder))["from"][1] == "2001:db8::2"

    def test_answers_come_in_the_order_of_the_questions(self):
        responder = fresh()
        askers = [IPv6Address(f"fe80::{n}").packed for n in range(1, 5)]
        for asker in askers:
            ask(responder, QUESTION._replace(source=asker))
        assert [frame[38:54] for frame in responder.frames_to_send()] == askers
        assert responder.frames_to_send() == []


class TestDrops:
    @pytest.mark.parametrize(
        ("question", "reason"),
        [
            (QUESTION._replace(target=OTHER.packed), Drop.ANNOUNCE_IP),
            (QUESTION._replace(ethernet_destination=SECOND_MAC), Drop.ETHERNET_DESTINATION),
            (QUESTION._replace(source=UNSPECIFIED), Drop.ERROR),
            (QUESTION._replace(link_address=ALL_NODES_MAC), Drop.ERROR),
        ],
    )
    def test_a_question_that_is_not_for_us(self, question, reason):
        responder = fresh()
        assert ask(responder, question) is reason
        assert responder.frames_to_send() == []
        assert responder.drops == {reason: 1}

    def test_a_withdrawn_address(self):
        responder = fresh(ADDRESS, OTHER)
        responder.announce([OTHER], 2.0)
        assert ask(responder, QUESTION) is Drop.ANNOUNCE_IP

    def test_an_advertisement_for_somebody_elses_address(self):
        responder = fresh()
        frame = encode_advertisement(CLAIM._replace(target=OTHER.packed, source=OTHER.packed))
        assert responder.receive_frame(frame, 1.0) is Drop.MESSAGE_TYPE

    @given(st.binary(max_size=120))
    def test_any_bytes_are_dropped_without_an_exception(self, frame):
        responder = fresh()
        assert responder.receive_frame(frame, 1.0) is Drop.ERROR

    @given(st.integers(0, 85), st.integers(1, 255))
    def test_a_solicitation_with_one_byte_wrong_is_never_answered_for_another_address(self, offset, difference):
        frame = bytearray(encode_solicitation(QUESTION))
        frame[offset] ^= difference
        responder = fresh()
        responder.receive_frame(bytes(frame), 1.0)
        assert all(answer[22:38] == OURS for answer in responder.frames_to_send())


class TestConflicts:
    def test_an_advertisement_for_ours_from_another_mac(self):
        responder = fresh()
        for _ in range(2):
            assert responder.receive_frame(encode_advertisement(CLAIM), 1.0) is Drop.CONFLICT
        assert responder.conflicts == {(OURS, RIVAL_MAC): 2}
        assert responder.frames_to_send() == []

    def test_a_solicited_answer_to_a_neighbour_that_we_overhear_counts_too(self):
        responder = fresh()
        answer = CLAIM._replace(flags=SOLICITED_FLAG | OVERRIDE_FLAG, destination=ASKER, link_address=None)
        assert responder.receive_frame(encode_advertisement(answer), 1.0) is Drop.CONFLICT
        assert responder.conflicts == {(OURS, RIVAL_MAC): 1}

    def test_a_question_that_comes_from_our_address_is_a_claim(self):
        responder = fresh(ADDRESS, OTHER)
        question = QUESTION._replace(source=OTHER.packed, ethernet_source=RIVAL_MAC, link_address=RIVAL_MAC)
        assert ask(responder, question) is Drop.CONFLICT
        assert responder.conflicts == {(OTHER.packed, RIVAL_MAC): 1}

    def test_our_own_advertisement_seen_on_another_interface_is_none(self):
        responder = fresh(own_macs=[SECOND_MAC])
        news = CLAIM._replace(ethernet_source=SECOND_MAC, link_address=SECOND_MAC)
        assert responder.receive_frame(encode_advertisement(news), 1.0) is Drop.OWN_FRAME
        assert responder.conflicts == {}

    def test_withdrawing_the_address_forgets_its_conflicts(self):
        responder = fresh(ADDRESS, OTHER)
        responder.receive_frame(encode_advertisement(CLAIM), 1.0)
        responder.announce([OTHER], 2.0)
        assert responder.conflicts == {}

    def test_a_host_that_invents_macs_cannot_fill_the_memory(self):
        responder = fresh()
        for n in range(MAX_CONFLICTS + 10):
            mac = b"\2\1" + n.to_bytes(4, "big")
            responder.receive_frame(encode_advertisement(CLAIM._replace(link_address=mac)), 1.0)
        assert len(responder.conflicts) == MAX_CONFLICTS
        assert (OURS, b"\2\1" + (MAX_CONFLICTS + 9).to_bytes(4, "big")) in responder.conflicts


class TestUnsolicited:
    def test_a_new_address_is_told_to_all_nodes_at_once_and_repeated(self):
        responder = fresh()
        told = []
        while (now := responder.next_deadline()) <= GRATUITOUS_PERIOD:
            responder.handle_timer(now)
            told += [(now, frame) for frame in responder.frames_to_send()]
        assert [round(now / GRATUITOUS_INTERVAL, 6) for now, _ in told] == [0, 1, 2, 3, 4]
        expected = {**SOLICITED, "to": (ALL_NODES_MAC.hex(":"), "ff02::1"), "flags": (0, 0, 1)}
        assert all(facts(Ether(frame)) == expected for _, frame in told)

    def test_announcing_the_same_again_says_nothing_new(self):
        responder = fresh()
        responder.handle_timer(0.0)
        responder.frames_to_send()
        before = responder.next_deadline()
        responder.announce([ADDRESS], 0.5)
        assert responder.next_deadline() == before

    def test_a_large_set_is_told_in_batches(self):
        responder = fresh(*(IPv6Address(int(ADDRESS) + n) for n in range(BATCH + 1)))
        responder.handle_timer(0.0)
        assert len(responder.frames_to_send()) == BATCH
        assert responder.next_deadline() == 0.0

    def test_nothing_announced_needs_no_timer(self):
        responder = fresh()
        responder.announce([], 1.0)
        assert responder.next_deadline() is None


class TestCounts:
    def test_questions_answers_and_unsolicited_frames_are_counted_by_address_and_taken_once(self):
        responder = fresh(ADDRESS, OTHER)
        ask(responder, QUESTION)
        ask(responder, QUESTION)
        responder.handle_timer(0.0)
        assert responder.take_counts() == {OURS: Counts(2, 2, 1), OTHER.packed: Counts(0, 0, 1)}
        assert responder.take_counts() == {}

    def test_counts_of_a_withdrawn_address_are_kept_until_taken(self):
        responder = fresh(ADDRESS, OTHER)
        ask(responder, QUESTION)
        responder.announce([OTHER], 2.0)
        responder.announce([ADDRESS, OTHER], 3.0)
        ask(responder, QUESTION)
        assert responder.take_counts() == {OURS: Counts(2, 2, 0)}

    def test_counts_of_many_addresses_are_taken_in_parts(self):
        addresses = [IPv6Address(int(ADDRESS) + n) for n in range(100)]
        responder = fresh(*addresses)
        responder.handle_timer(0.0)
        responder.handle_timer(0.0)
        first, second, last = (responder.take_counts(60) for _ in range(3))
        assert (len(first), len(second), last) == (60, 40, {})
        assert first.keys() | second.keys() == {address.packed for address in addresses}

"""The ARP engine: what it answers, what it does not and why, what it says by itself."""

from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from metallb_cli.layer2 import arp
from metallb_cli.layer2.arp import ArpFrame
from metallb_cli.layer2.engine import MAX_CONFLICTS, Counts, Drop
from metallb_cli.layer2.responder import MAX_ASKERS, Responder
from metallb_cli.layer2.schedule import BATCH, GRATUITOUS_INTERVAL, GRATUITOUS_PERIOD, REFRESH_PERIOD

MAC, SECOND_MAC, ASKER_MAC, RIVAL_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3, 4))
VIP, OTHER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
ASKER = IPv4Address("192.168.1.1").packed
QUESTION = ArpFrame(MAC, ASKER_MAC, arp.REQUEST, ASKER_MAC, ASKER, arp.ZERO_MAC, VIP.packed)


def fresh(*addresses, own_macs=()):
    """A responder that has said all that is new."""
    responder = Responder(MAC, own_macs)
    responder.announce(addresses, 0.0)
    for _ in range(1 + len(addresses) // BATCH):
        responder.handle_timer(0.0)
    responder.frames_to_send()
    return responder


def frames(responder):
    return [arp.parse(frame) for frame in responder.frames_to_send()]


class TestAnswering:
    @pytest.mark.parametrize(
        ("change", "drop"),
        [
            ({"operation": arp.REPLY}, Drop.ARP_REPLY),
            ({"destination": bytes.fromhex("001122334455")}, Drop.ETHERNET_DESTINATION),
            ({"target_ip": IPv4Address("192.168.1.10").packed}, Drop.ANNOUNCE_IP),
            ({"target_ip": VIP.packed}, None),
        ],
    )
    def test_metallbs_own_table_holds(self, change, drop):
        question = QUESTION._replace(sender_mac=bytes.fromhex("deadbeefdead"))._replace(**change)
        assert fresh(VIP).receive_frame(question.encode(), 1.0) is drop

    def test_the_drop_reasons_have_metallbs_names(self):
        assert {"Error", "ARPReply", "EthernetDestination", "AnnounceIP"} < {drop.value for drop in Drop}

    def test_an_answer_gives_the_interfaces_mac_and_goes_to_the_asker_alone(self):
        responder = fresh(VIP)
        responder.receive_frame(QUESTION._replace(destination=arp.BROADCAST).encode(), 1.0)
        answer = Ether(responder.frames_to_send()[0])
        assert (answer.src, answer.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:03")
        assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, "02:00:00:00:00:01", "10.0.0.1")
        assert (answer[ARP].hwdst, answer[ARP].pdst) == ("02:00:00:00:00:03", "192.168.1.1")

    def test_the_answer_goes_to_the_mac_inside_the_question_not_to_the_frames_source(self):
        responder = fresh(VIP)
        responder.receive_frame(QUESTION._replace(source=RIVAL_MAC).encode(), 1.0)
        assert [frame.destination for frame in frames(responder)] == [ASKER_MAC]

    def test_a_probe_from_the_address_0_0_0_0_is_answered(self):
        responder = fresh(VIP)
        assert responder.receive_frame(arp.request(ASKER_MAC, bytes(4), VIP.packed), 1.0) is None
        assert [(f.sender_ip, f.target_ip) for f in frames(responder)] == [(VIP.packed, bytes(4))]

    def test_any_number_of_hosts_is_answered_and_few_are_remembered(self):
        responder = fresh(VIP)
        for number in [*range(3 * MAX_ASKERS), 0]:
            sender = number.to_bytes(4, "big")
            question = QUESTION._replace(sender_mac=ASKER_MAC[:2] + sender, sender_ip=sender)
            assert responder.receive_frame(question.encode(), 1.0) is None
            assert frames(responder)[0][3:] == (MAC, VIP.packed, question.sender_mac, sender)
        assert len(responder._askers) <= MAX_ASKERS

    @pytest.mark.parametrize("field", ["destination", "operation", "sender_mac"])
    def test_who_was_answered_before_is_not_when_something_else_is_wrong(self, field):
        wrong = {"destination": RIVAL_MAC, "operation": arp.REPLY, "sender_mac": b"\x01" + bytes(5)}
        responder = fresh(VIP, OTHER)
        assert responder.receive_frame(QUESTION.encode(), 1.0) is None
        question = QUESTION._replace(target_ip=OTHER.packed, **{field: wrong[field]})
        assert responder.receive_frame(question.encode(), 1.0) is not None
        assert len(frames(responder)) == 1

    def test_who_was_answered_before_and_then_has_one_of_our_addresses_is_in_conflict(self):
        responder = fresh(VIP)
        question = QUESTION._replace(sender_ip=OTHER.packed).encode()
        assert responder.receive_frame(question, 1.0) is None
        responder.announce((VIP, OTHER), 1.0)
        assert responder.receive_frame(question, 1.0) is Drop.CONFLICT

    def test_a_question_from_a_group_address_is_not_answered(self):
        question = QUESTION._replace(sender_mac=bytes.fromhex("01005e000001"))
        assert fresh(VIP).receive_frame(question.encode(), 1.0) is Drop.ERROR

    def test_nothing_is_answered_for_an_address_that_was_withdrawn(self):
        responder = fresh(VIP, OTHER)
        responder.announce([OTHER], 1.0)
        assert responder.receive_frame(QUESTION.encode(), 1.0) is Drop.ANNOUNCE_IP
        assert frames(responder) == []

    def test_drops_are_counted_by_reason(self):
        responder = fresh(VIP)
        for _ in range(3):
            responder.receive_frame(b"short", 1.0)
        assert responder.drops == {Drop.ERROR: 3}


class TestAnyBytes:
    @given(st.binary(max_size=80))
    def test_no_bytes_raise_or_make_it_speak_unasked(self, data):
        responder = fresh(VIP)
        drop = responder.receive_frame(data, 1.0)
        assert (drop is None) == bool(responder.frames_to_send())

    @given(st.integers(0, 59), st.binary(min_size=1, max_size=20))
    def test_a_damaged_question_is_answered_rightly_or_not_at_all(self, offset, damage):
        frame = QUESTION.encode().ljust(60, b"\0")
        damaged = (frame[:offset] + damage + frame[offset + len(damage) :])[:64]
        responder = fresh(VIP, OTHER)
        drop = responder.receive_frame(damaged, 1.0)
        question = arp.parse(damaged)
        for answer in frames(responder):
            assert drop is None
            assert question is not None
            assert (answer.sender_mac, answer.sender_ip) == (MAC, question.target_ip)
            assert (answer.target_mac, answer.target_ip) == (question.sender_mac, question.sender_ip)
            assert answer.sender_ip in (VIP.packed, OTHER.packed)

    @given(st.lists(st.binary(max_size=64), max_size=30))
    def test_the_fast_path_and_the_explanation_never_disagree(self, data):
        responder = fresh(VIP)
        drops = [responder.receive_frame(frame, 1.0) for frame in data]
        assert sum(responder.drops.values()) == sum(drop is not None for drop in drops)


class TestConflicts:
    @pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
    def test_a_foreign_claim_to_our_address_is_recorded_and_not_answered(self, operation):
        responder = fresh(VIP)
        claim = ArpFrame(arp.BROADCAST, RIVAL_MAC, operation, RIVAL_MAC, VIP.packed, bytes(6), VIP.packed)
        assert responder.receive_frame(claim.encode(), 1.0) is Drop.CONFLICT
        assert responder.receive_frame(claim.encode(), 2.0) is Drop.CONFLICT
        assert responder.conflicts == {(VIP.packed, RIVAL_MAC): 2}
        assert frames(responder) == []

    def test_a_question_sent_from_our_address_is_a_conflict_whatever_it_asks_for(self):
        responder = fresh(VIP, OTHER)
        assert responder.receive_frame(arp.request(RIVAL_MAC, VIP.packed, OTHER.packed), 1.0) is Drop.CONFLICT
        assert responder.receive_frame(arp.request(RIVAL_MAC, VIP.packed, ASKER), 1.0) is Drop.CONFLICT
        assert frames(responder) == []

    def test_another_interface_of_this_node_on_the_same_lan_is_no_conflict(self):
        responder = fresh(VIP, own_macs=[SECOND_MAC])
        for mac in (MAC, SECOND_MAC):
            assert responder.receive_frame(arp.gratuitous(mac, VIP.packed)[0], 1.0) is Drop.OWN_FRAME
        assert responder.conflicts == {}

    def test_a_flood_of_invented_rivals_is_forgotten_oldest_first(self):
        responder = fresh(VIP)
        for number in range(MAX_CONFLICTS + 10):
            mac = b"\x02\0" + number.to_bytes(4, "big")
            responder.receive_frame(arp.gratuitous(mac, VIP.packed)[0], 1.0)
        assert len(responder.conflicts) == MAX_CONFLICTS
        assert (VIP.packed, b"\x02\0\0\0\0\0") not in responder.conflicts
        assert (VIP.packed, b"\x02\0" + (MAX_CONFLICTS + 9).to_bytes(4, "big")) in responder.conflicts

    def test_conflicts_over_a_withdrawn_address_are_forgotten(self):
        responder = fresh(VIP, OTHER)
        responder.receive_frame(arp.gratuitous(RIVAL_MAC, VIP.packed)[0], 1.0)
        responder.announce([OTHER], 2.0)
        assert responder.conflicts == {}


class TestGratuitous:
    def times(self, responder, until, step=0.1):
        """When each address was told, driven by a clock that only looks every `step` seconds."""
        told = []
        for tick in range(int(until / step) + 1):
            now = tick * step
            responder.handle_timer(now)
            told += [(round(now, 1), frame.sender_ip) for frame in frames(responder) if frame.operation == arp.REQUEST]
        return told

    def test_a_new_address_is_told_at_once_in_both_forms(self):
        responder = Responder(MAC)
        responder.announce([VIP], 7.0)
        assert responder.next_deadline() == 7.0
        responder.handle_timer(7.0)
        assert responder.frames_to_send() == list(arp.gratuitous(MAC, VIP.packed))

    def test_a_new_address_is_repeated_every_1_1_seconds_for_5_seconds(self):
        responder = Responder(MAC)
        responder.announce([VIP], 0.0)
        assert [when for when, _ in self.times(responder, 5.0)] == [0.0, 1.1, 2.2, 3.3, 4.4]

    def test_setting_the_same_addresses_again_says_nothing_new(self):
        responder = fresh(VIP)
        deadline = responder.next_deadline()
        responder.announce([VIP], 0.5)
        assert responder.next_deadline() == deadline
        responder.handle_timer(0.5)
        assert frames(responder) == []

    def test_told_again_every_address_is_as_if_new_and_still_answered_for(self):
        responder = fresh(VIP)
        self.times(responder, 20.0)
        responder.tell_again(30.0)
        assert responder.receive_frame(QUESTION.encode(), 30.0) is None
        responder.frames_to_send()
        told = []
        while (deadline := responder.next_deadline()) < 35.0:
            responder.handle_timer(deadline)
            told += [round(deadline - 30.0, 1)] * (len(responder.frames_to_send()) // 2)
        assert told == [0.0, 1.1, 2.2, 3.3, 4.4]

    def test_only_the_address_that_is_new_is_told(self):
        responder = fresh(VIP)
        responder.announce([VIP, OTHER], 0.5)
        responder.handle_timer(0.5)
        assert {frame.sender_ip for frame in frames(responder)} == {OTHER.packed}

    def test_an_address_that_comes_back_is_new_again(self):
        responder = fresh(VIP)
        responder.announce([], 1.0)
        responder.announce([VIP], 2.0)
        responder.handle_timer(2.0)
        assert len(frames(responder)) == 2

    def test_a_withdrawn_address_is_never_told_again(self):
        responder = fresh(VIP)
        responder.announce([], 1.0)
        assert responder.next_deadline() is None
        assert self.times(responder, 200.0, step=1.0) == []

    def test_an_old_address_is_told_often_enough_for_a_switch_that_forgets_after_300_seconds(self):
        responder = Responder(MAC)
        responder.announce([VIP], 0.0)
        told = [when for when, _ in self.times(responder, 1000.0, step=0.5)]
        gaps = [after - before for before, after in pairwise(told)]
        assert max(gaps) <= REFRESH_PERIOD + 0.5
        assert 3 * REFRESH_PERIOD < 300

    def test_the_refreshes_of_10_000_addresses_are_spread_over_the_period(self):
        addresses = [IPv4Address("10.1.0.0") + n for n in range(10_000)]
        responder = Responder(MAC)
        responder.announce(addresses, 0.0)
        busiest, told = 0, 0
        now = 0.0
        while now < GRATUITOUS_PERIOD + 3 * REFRESH_PERIOD:
            before = told
            while (deadline := responder.next_deadline()) is not None and deadline < now + 1.0:
                responder.handle_timer(max(now, deadline))
                told += len(responder.frames_to_send())
            now += 1.0
            if now > GRATUITOUS_PERIOD + 1:
                busiest = max(busiest, told - before)
        average = 3 * len(addresses) / REFRESH_PERIOD  # both forms and a probe
        assert busiest < 1.2 * average

    def test_a_large_set_is_told_in_turns(self):
        responder = Responder(MAC)
        responder.announce([IPv4Address("10.1.0.0") + n for n in range(1000)], 0.0)
        responder.handle_timer(0.0)
        assert len(responder.frames_to_send()) == 2 * BATCH
        assert responder.next_deadline() == 0.0

    def test_after_a_long_stop_of_the_process_nothing_bursts_for_ever(self):
        responder = Responder(MAC)
        addresses = [IPv4Address("10.1.0.0") + n for n in range(BATCH)]
        responder.announce(addresses, 0.0)
        self.times(responder, 10.0)
        late = 10_000.0
        responder.handle_timer(late)
        assert len(responder.frames_to_send()) == 3 * BATCH
        deadlines = []
        while (deadline := responder.next_deadline()) is not None and len(deadlines) < BATCH:
            deadlines.append(deadline)
            responder.handle_timer(deadline)
        assert len(set(deadlines)) == BATCH

    def test_the_gap_between_repetitions_is_longer_than_linux_ignores_updates(self):
        assert GRATUITOUS_INTERVAL > 1.0


class TestCounts:
    def test_questions_answers_and_gratuitous_frames_are_counted_by_address(self):
        responder = fresh(VIP, OTHER)
        for _ in range(3):
            responder.receive_frame(QUESTION.encode(), 1.0)
        assert responder.take_counts() == {VIP.packed: Counts(3, 3, 2), OTHER.packed: Counts(0, 0, 2)}
        assert responder.take_counts() == {}

    def test_what_was_counted_for_a_withdrawn_address_is_not_lost(self):
        responder = fresh(VIP)
        responder.receive_frame(QUESTION.encode(), 1.0)
        responder.announce([], 1.0)
        responder.announce([VIP], 1.0)
        responder.receive_frame(QUESTION.encode(), 1.0)
        assert responder.take_counts() == {VIP.packed: Counts(2, 2, 2)}

    def test_they_can_be_taken_in_parts(self):
        addresses = [IPv4Address("10.1.0.0") + n for n in range(50)]
        responder = fresh(*addresses)
        parts = [responder.take_counts(20) for _ in range(4)]
        assert [len(part) for part in parts] == [20, 20, 10, 0]
        assert len({ip for part in parts for ip in part}) == 50

    @given(st.lists(st.frozensets(st.sampled_from([VIP, OTHER, IPv4Address("10.0.0.3")])), max_size=12))
    def test_whatever_sets_follow_each_other_only_the_last_is_answered_for(self, sets):
        responder = Responder(MAC)
        for now, addresses in enumerate(sets):
            responder.announce(addresses, float(now))
            responder.handle_timer(now + 0.5)
        responder.frames_to_send()
        announced = sets[-1] if sets else frozenset()
        for address in (VIP, OTHER, IPv4Address("10.0.0.3")):
            drop = responder.receive_frame(QUESTION._replace(target_ip=address.packed).encode(), 50.0)
            assert (drop is None) == (address in announced)

"""Several nodes on one LAN in memory, with a neighbour like Linux: what would take minutes on a real one."""

from metallb_cli.layer2 import arp
from tests.support.lan import FakeLan

VIP = "192.0.2.10"


def test_a_host_learns_who_has_the_address_by_asking():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    assert lan.believes(VIP) is None
    assert lan.ask(VIP) == ["a"]
    assert lan.believes(VIP) == "a"


def test_a_host_that_knew_the_old_node_follows_to_the_new_one_within_one_update_lock():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.ask(VIP)
    lan.unplug("a")
    lan.announce("b", VIP)
    lan.advance(1.2)
    assert lan.believes(VIP) == "b"


def test_a_host_whose_update_lock_swallowed_the_first_frame_follows_with_the_second():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.ask(VIP)
    lan.advance(0.5)
    lan.unplug("a")
    lan.announce("b", VIP)
    assert lan.believes(VIP) == "a"
    lan.advance(1.2)
    assert lan.believes(VIP) == "b"


def test_a_host_that_missed_every_frame_of_the_takeover_is_corrected_by_the_refresh():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.ask(VIP)
    lan.advance(10.0)
    lan.unplug("a")
    lan.loses = lambda frame: arp.parse(frame).destination == arp.BROADCAST
    lan.announce("b", VIP)
    lan.advance(6.0)
    lan.loses = lambda frame: False
    assert lan.believes(VIP) == "a"
    lan.advance(91.0)
    assert lan.believes(VIP) == "b"


def test_only_one_node_answers_when_only_one_announces():
    lan = FakeLan("a", "b", "c")
    lan.announce("b", VIP)
    lan.announce("c", "192.0.2.11")
    assert lan.ask(VIP) == ["b"]
    assert lan.ask("192.0.2.11") == ["c"]
    assert lan.ask("192.0.2.12") == []


def test_two_nodes_that_announce_the_same_address_both_notice():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.advance(10.0)
    lan.announce("b", VIP)
    lan.advance(100.0)
    ip = bytes([192, 0, 2, 10])
    assert set(lan.engines["a"].conflicts) == {(ip, lan.mac("b"))}
    assert set(lan.engines["b"].conflicts) == {(ip, lan.mac("a"))}


def test_gratuitous_frames_of_two_nodes_never_answer_each_other():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.announce("b", VIP)
    lan.advance(300.0)
    answers = [seen for _, _, frame in lan.sent if (seen := arp.parse(frame)).destination != arp.BROADCAST]
    assert {seen.target_ip for seen in answers} == {bytes(4)}, "only the probes at each refresh are answered"
    assert len(answers) == sum(arp.parse(frame).sender_ip == bytes(4) for _, _, frame in lan.sent)


def test_a_planned_move_has_no_moment_without_an_answer_and_ends_the_old_ones():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.advance(10.0)
    lan.announce("a", VIP, yielding=[VIP])
    for _ in range(10):
        lan.advance(0.005)
        assert lan.ask(VIP) == ["a"]
    lan.announce("b", VIP)
    assert lan.ask(VIP) == ["b"]
    lan.advance(5.0)
    assert lan.believes(VIP) == "b"
    lan.announce("a")
    assert lan.ask(VIP) == ["b"]


def test_an_old_owner_that_missed_all_the_new_one_said_finds_it_by_asking():
    lan = FakeLan("a", "b")
    lan.announce("a", VIP)
    lan.advance(10.0)
    lan.announce("b", VIP)
    lan.advance(10.0)
    lan.announce("a", VIP, yielding=[VIP])
    assert lan.ask(VIP) == ["b"]


def test_of_two_nodes_that_probe_for_an_address_at_once_in_the_end_one_answers():
    lan = FakeLan("a", "b")
    for node in ("a", "b"):
        lan.announce(node, VIP, probe=[VIP])
    lan.advance(1.0)
    lan.advance(31.0)
    assert len(lan.ask(VIP)) == 1


def test_a_cable_plugged_in_again_tells_everybody_again():
    lan = FakeLan("a")
    lan.announce("a", VIP)
    lan.advance(20.0)
    lan.unplug("a")
    lan.advance(5.0)
    again = lan.now
    lan.plug_in("a")
    lan.advance(4.5)
    told = [round(when - again, 1) for when in lan.gratuitous_times("a", VIP) if when >= again]
    assert told == [0.0, 1.1, 2.2, 3.3, 4.4]


def test_a_withdrawn_address_is_silent_for_good():
    lan = FakeLan("a")
    lan.announce("a", VIP)
    lan.advance(2.0)
    lan.announce("a")
    sent = len(lan.sent)
    lan.advance(600.0)
    assert lan.ask(VIP) == []
    assert len(lan.sent) == sent

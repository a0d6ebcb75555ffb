"""Beacons that hear each other over a wire in memory: who is live, who is dead and since when, what is claimed."""

import time
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metallb_cli.layer2 import heartbeat
from metallb_cli.layer2.beacon import MAX_PEERS, Beacon, Sequence
from metallb_cli.layer2.heartbeat import Heartbeat, Ignored
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.model import Claim
from tests.support.beacons import INTERVAL, KEY, TIMEOUT, Wire, claims_of, settings_of

MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OTHER_KEY = b"o" * 32


def frame_of(node="peer", *, boot=5, sequence=1, hears=(), key=KEY, **changes):
    """A frame of a peer that hears these (node, boot)."""
    said = Heartbeat(
        PEER_MAC, 0, boot, sequence, 100, 3, node,
        b"".join(heartbeat.tag(*heard) for heard in hears), heartbeat.NO_SECTION,
    )  # fmt: skip
    return heartbeat.encode(said._replace(**changes), key)


def alone(now=0.0, **options):
    return Beacon(MAC, settings_of("node", 1, **options), Sequence(), now)


US = ("node", 1)


def live(beacon):
    return {seen.node for seen in beacon.sightings() if seen.live}


class TestPacing:
    def run(self, beacon, times):
        sent = []
        for now in times:
            beacon.handle_timer(now)
            sent.append(len(beacon.frames_to_send()))
        return sent

    def test_the_first_heartbeat_is_sent_at_once_and_then_one_every_interval(self):
        beacon = alone()
        assert beacon.next_deadline() == 0.0
        deadlines = []
        for _ in range(20):
            beacon.handle_timer(beacon.next_deadline())
            deadlines.append(beacon.next_deadline())
            beacon.frames_to_send()
        assert deadlines == pytest.approx([INTERVAL * n for n in range(1, 21)])

    def test_being_late_does_not_move_the_plan(self):
        beacon = alone()
        assert self.run(beacon, [0.0, 0.14, 0.19, 0.2]) == [1, 1, 0, 1]

    def test_after_a_stall_there_is_one_and_no_burst(self):
        beacon = alone()
        assert self.run(beacon, [0.0, 5.04, 5.05, 5.11]) == [1, 1, 0, 1]

    @given(st.lists(st.floats(0.0, 0.35), min_size=1, max_size=60))
    @example([INTERVAL] * 60)
    @example([0.3, 0.3, 0.3, 0.1])
    def test_however_late_the_timer_no_beat_comes_twice(self, steps):
        beacon = alone(now=1000.0)
        now, sent = 1000.0, 0
        for step in [0.0, *steps]:
            now += step
            beacon.handle_timer(now)
            sent += len(beacon.frames_to_send())
            assert beacon.next_deadline() > now
        assert 1 <= sent <= (now - 1000.0) / INTERVAL + 1.000001

    def test_flags_that_change_are_said_at_once_and_the_plan_stays(self):
        beacon = alone()
        beacon.handle_timer(0.0)
        (first,) = beacon.frames_to_send()
        beacon.claim(AnnouncementSet(leaving=True), (4,))
        beacon.handle_timer(0.05)
        (second,) = beacon.frames_to_send()
        assert [heartbeat.decode(frame, [KEY]).flags for frame in (first, second)] == [0, heartbeat.LEAVING]
        assert beacon.next_deadline() == pytest.approx(INTERVAL)

    def test_the_numbers_of_two_interfaces_are_one_count_that_follows_the_clock(self):
        sequence = Sequence()
        numbers = [sequence.next(now) for now in (1.0, 1.0, 1.1, 0.9, 2.0)]
        assert numbers == sorted(set(numbers))
        assert (numbers[0], numbers[-1]) == (1_000_000, 2_000_000)

    def test_another_interval_holds_from_now_on(self):
        beacon = alone()
        assert self.run(beacon, [0.0]) == [1]
        beacon.follow(settings_of("node", 1, interval=0.5, misses=2), 0.05)
        assert beacon.timeout == 1.0
        assert self.run(beacon, [0.05, 0.1, 0.2, 0.55]) == [1, 0, 0, 1]


class TestLiveness:
    def test_two_that_hear_each_other_are_live_within_two_intervals(self):
        wire = Wire("a", "b")
        wire.advance(2.1 * INTERVAL)
        assert (wire["a"].live(), wire["b"].live()) == ({"b"}, {"a"})

    def test_one_way_is_not_live(self):
        wire = Wire("a", "b")
        wire.loses = lambda sender, receiver: sender == "a"
        wire.advance(5.0)
        assert (wire["a"].live(), wire["b"].live()) == (set(), set())
        assert set(wire["a"].known()) == {"b"}
        assert wire["b"].known() == {}

    @given(st.floats(0.0, 0.1), st.floats(0.001, 0.09), st.sets(st.sampled_from("abc"), min_size=1), st.booleans())
    def test_an_interface_that_is_back_in_time_is_missed_by_nobody(self, offset, away, whose, other_mac):
        wire = Wire("a", "b", "c")
        wire.advance(1.0 + offset)
        for name in sorted(whose):
            wire.unplug(name)
        wire.advance(away)
        for number, name in enumerate(sorted(whose)):
            wire.plug_in(name, bytes([2, 0, 0, 0, 1, number]) if other_mac else None)
        settled = [list(wire[name].changes) for name in "abc"]
        wire.advance(2.0)
        assert [wire[name].changes for name in "abc"] == settled
        assert all(wire[name].live() == {"a", "b", "c"} - {name} for name in "abc")

    def test_an_interface_that_is_back_too_late_has_been_missed(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        wire.unplug("a")
        wire.advance(TIMEOUT + 0.01)
        assert wire["b"].live() == set()
        wire.plug_in("a")
        wire.advance(0.01)
        assert wire["a"].live() == set()
        wire.advance(3 * INTERVAL)
        assert (wire["a"].live(), wire["b"].live()) == ({"b"}, {"a"})

    def test_what_was_recorded_before_an_interface_was_away_is_a_replay_afterwards(self):
        wire = Wire("a", "b")
        wire.advance(1.0 + INTERVAL / 2)
        recorded = [frame for _, name, frame in wire.sent if name == "b"]
        wire.unplug("a")
        wire.kill("b")
        wire.advance(0.05)
        wire.plug_in("a")
        assert {wire.inject(frame, "a") for frame in recorded} == {Ignored.REPLAY}

    def test_one_that_no_longer_hears_us_is_no_longer_live(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        wire.loses = lambda sender, receiver: sender == "a"
        wire.advance(TIMEOUT + 2 * INTERVAL)
        assert (wire["a"].live(), wire["b"].live()) == (set(), set())
        wire.loses = lambda sender, receiver: False
        wire.advance(3 * INTERVAL)
        assert (wire["a"].live(), wire["b"].live()) == ({"b"}, {"a"})

    @given(st.floats(0.0, 0.1))
    def test_a_death_is_noticed_after_the_misses_and_not_before(self, offset):
        wire = Wire("a")
        wire.advance(offset)
        wire.start("b")
        wire.advance(1.0)
        wire.kill("b")
        last = max(at for at, name, _ in wire.sent if name == "b")
        wire.advance(2.0)
        (when, who) = wire["a"].changes[-1]
        assert who == frozenset()
        assert last + TIMEOUT <= when <= last + TIMEOUT + 0.001

    def test_the_senders_own_interval_decides(self):
        beacon = alone()
        beacon.receive_frame(frame_of(hears=[US], interval=1000, misses=2), 0.0)
        assert live(beacon) == {"peer"}
        for now in (0.5, 1.0, 1.99):
            beacon.handle_timer(now)
            assert live(beacon) == {"peer"}
        assert beacon.next_deadline() == pytest.approx(2.0)
        beacon.handle_timer(2.0)
        assert live(beacon) == set()

    @pytest.mark.parametrize(("interval", "misses", "timeout"), [(65535, 255, 60.0), (1, 1, 0.02)])
    def test_what_a_peer_asks_for_is_bounded(self, interval, misses, timeout):
        beacon = alone()
        beacon.receive_frame(frame_of(hears=[US], interval=interval, misses=misses), 0.0)
        beacon.handle_timer(timeout * 0.99)
        assert live(beacon) == {"peer"}
        beacon.handle_timer(timeout)
        assert live(beacon) == set()

    def test_nobody_is_declared_dead_while_every_other_frame_is_lost(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        counts = {}

        def loses(sender, receiver):
            counts[sender] = counts.get(sender, 0) + 1
            return counts[sender] % 2 == 0

        wire.loses = loses
        wire.advance(30.0)
        assert len(wire["a"].changes) == len(wire["b"].changes) == 1

    @settings(max_examples=settings.default.max_examples // 5)
    @given(st.integers(0, 10_000))
    def test_frames_that_are_delayed_reordered_and_doubled_keep_everybody_live(self, seed):
        wire = Wire("a", "b", "c", seed=seed)
        wire.delay = lambda: wire.random.uniform(0, 0.15)
        wire.copies = 2
        wire.advance(1.0)
        for name in "abc":
            wire[name].changes.clear()
        wire.advance(5.0)
        assert [wire[name].changes for name in "abc"] == [[], [], []]

    def test_a_restarted_speaker_is_another_and_its_claims_are_forgotten(self):
        wire = Wire("a", "b")
        wire["b"].claim(claims_of("192.0.2.1"))
        wire.advance(1.0)
        before = wire["a"].known()["b"].boot
        wire.start("b")
        wire.advance(1.0)
        after = wire["a"].known()["b"]
        assert after.live
        assert after.boot > before
        assert wire["a"].claims["b", before] == claims_of("192.0.2.1")
        assert wire["a"].claims["b", after.boot] == {}

    def test_leaving_and_unsteady_are_heard(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        wire["a"].beacon.peers_changed = False
        wire["b"].claim({}, leaving=True, unsteady=True)
        wire.advance(0.02)
        assert wire["a"].known()["b"].flags == heartbeat.LEAVING | heartbeat.UNSTEADY
        assert wire["a"].beacon.peers_changed

    def test_nothing_changes_while_nothing_changes(self):
        wire = Wire("a", "b", "c")
        wire.advance(1.0)
        wire["a"].beacon.peers_changed = False
        wire.advance(10.0)
        assert not wire["a"].beacon.peers_changed

    def test_the_lease_ends_when_others_may_take_over_and_there_is_none_without_others(self):
        wire = Wire("a")
        wire.advance(1.0)
        assert wire["a"].beacon.lease is None
        wire.start("b")
        wire.advance(1.0)
        last = max(at for at, name, _ in wire.sent if name == "a")
        assert wire["a"].beacon.lease == last + TIMEOUT

    def test_more_peers_than_tags_fit_are_all_live(self):
        beacon = alone()
        tags = set()
        for number in range(200):
            beacon.receive_frame(frame_of(f"n{number}", hears=[US], misses=255), 0.0)
        for beat in range(3):
            beacon.handle_timer(beat * INTERVAL)
            for frame in beacon.frames_to_send():
                said = heartbeat.decode(frame, [KEY]).tags
                assert len(said) == 4 * heartbeat.MAX_TAGS
                tags |= {said[at : at + 4] for at in range(0, len(said), 4)}
        assert tags == {heartbeat.tag(f"n{number}", 5) for number in range(200)}

    def test_a_full_list_of_tags_without_ours_says_nothing_about_us(self):
        beacon = alone()
        beacon.receive_frame(frame_of(hears=[US]), 0.0)
        full = [("someone", number) for number in range(heartbeat.MAX_TAGS)]
        beacon.receive_frame(frame_of(sequence=2, hears=full), 0.2)
        assert live(beacon) == {"peer"}
        beacon.handle_timer(TIMEOUT)
        assert live(beacon) == set()

    def test_a_tag_counts_only_at_its_place(self):
        ours = heartbeat.tag(*US)
        beacon = alone()
        beacon.receive_frame(frame_of(tags=b"x" + ours + b"xxx"), 0.0)
        assert live(beacon) == set()
        beacon.receive_frame(frame_of(sequence=2, tags=b"x" + ours + b"xxx" + ours), 0.0)
        assert live(beacon) == {"peer"}


SECTIONS = [
    heartbeat.NO_SECTION,
    *(
        heartbeat.encode_section(heartbeat.Section(IPv4Address(0), IPv4Address(99), ((IPv4Address(1), Claim(epoch)),)))
        for epoch in (1, 2)
    ),
]


class TestRepetition:
    """A heartbeat that says the same as the one before is not read again."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["peer", "other", "node"]),
                st.integers(1, 4),  # sequence
                st.sampled_from([0, 0, 0, 1]),  # flags
                st.sampled_from([(US,), (US,), (US, ("other", 1)), ()]),
                st.sampled_from([SECTIONS[1], *SECTIONS]),
                st.sampled_from([KEY, KEY, KEY, OTHER_KEY]),
                st.sampled_from([5, 5, 5, 6]),  # boot
                st.sampled_from([PEER_MAC, PEER_MAC, MAC]),
                st.sampled_from([0.0, 0.05, 0.1, 0.31]),  # seconds until the next one
            ),
            max_size=30,
        )
    )
    def test_it_is_heard_as_if_it_were(self, history):
        beacons, now, base = [alone(), alone()], 0.0, 0
        for node, sequence, flags, hears, section, key, boot, mac, pause in history:
            base += sequence == 4
            said = {"flags": flags, "section": section, "source": mac}
            frame = frame_of(node, boot=boot, sequence=base + sequence, hears=hears, key=key, **said)
            for peer in beacons[1]._peers.values():
                peer.frame = b""  # so that this beacon reads every frame
            outcomes = [beacon.receive_frame(frame, now) for beacon in beacons]
            assert outcomes[0] is outcomes[1]
            seen = [(b.sightings(), b.peer_macs, b.peers_changed, b.claims_changed, b.drops) for b in beacons]
            assert seen[0] == seen[1]
            assert len({beacon.next_deadline() for beacon in beacons}) == 1
            assert beacons[0].take_claims(9) == beacons[1].take_claims(9)
            now += pause
            for beacon in beacons:
                beacon.handle_timer(now)

    def test_it_costs_half_as_much(self):
        beacon, tags = alone(), b"".join(heartbeat.tag("peer", boot) for boot in range(100)) + heartbeat.tag(*US)
        same = [frame_of(sequence=number, tags=tags, section=SECTIONS[1]) for number in range(1, 3001)]
        other = [frame_of(sequence=number, tags=tags, section=SECTIONS[1 + number % 2]) for number in range(3001, 6001)]
        seconds = []
        for frames in (same, other):
            began = time.thread_time()
            for frame in frames:
                assert beacon.receive_frame(frame, 0.0) is None
            seconds.append(time.thread_time() - began)
        assert seconds[0] < 0.75 * seconds[1]


class TestForgery:
    def test_a_wrong_key_is_ignored_and_counted(self):
        wire = Wire("a")
        wire.start("b", keys=(OTHER_KEY,))
        wire.advance(1.0)
        assert wire["a"].known() == wire["b"].known() == {}
        assert set(wire["a"].beacon.drops) == {Ignored.SIGNATURE}
        assert wire["a"].beacon.drops.total() >= 10

    def test_keys_are_exchanged_without_a_gap(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        boots = {name: wire[name].beacon._settings.boot for name in "ab"}
        for keys in [(KEY, OTHER_KEY), (OTHER_KEY, KEY), (OTHER_KEY,)]:
            for name in "ab":
                wire[name].beacon.follow(settings_of(name, boots[name], keys), wire.now)
                wire.advance(0.37)
        assert len(wire["a"].changes) == len(wire["b"].changes) == 1

    def test_own_frames_that_come_back_are_ignored(self):
        beacon = alone()
        beacon.handle_timer(0.0)
        assert beacon.receive_frame(beacon.frames_to_send()[0], 0.0) is Ignored.OWN

    def test_a_dead_node_stays_dead_whatever_is_replayed(self):
        wire = Wire("a", "b", "c")
        wire.advance(2.0)
        wire.start("b")
        wire.advance(2.0)
        wire.kill("b")
        wire.advance(1.0)
        recorded = [frame for _, name, frame in wire.sent if name == "b"]
        assert {wire.inject(frame, "a") for frame in recorded + recorded[::-1]} == {Ignored.REPLAY}
        assert wire["a"].live() == {"c"}

    def test_not_even_one_who_started_later_believes_a_recorded_frame(self):
        wire = Wire("a", "b")
        wire.advance(2.0)
        wire.kill("b")
        recorded = [frame for _, name, frame in wire.sent if name == "b"]
        wire.start("a")
        wire.start("c")
        wire.advance(1.0)
        for name in "ac":
            for frame in recorded:
                wire.inject(frame, name)
                assert "b" not in wire[name].live()
            assert "b" in wire[name].known()

    def test_one_that_comes_back_up_on_an_interface_remembers(self):
        wire = Wire("a", "b")
        wire.advance(2.05)
        wire.kill("b")
        recorded = [frame for _, name, frame in wire.sent if name == "b"]
        before = wire["a"].beacon
        again = Beacon(MAC, before._settings, Sequence(), wire.now, before.sightings())
        assert {again.receive_frame(frame, wire.now) for frame in recorded} == {Ignored.REPLAY}
        assert [(s.node, s.live) for s in again.sightings()] == [("b", False)]

    def test_a_claim_out_of_order_is_malformed_and_changes_nothing(self):
        beacon = alone()
        backwards = b"\4" + b"\2" * 4 + b"\1" * 4 + b"\0\0"
        assert beacon.receive_frame(frame_of(section=backwards), 0.0) is Ignored.MALFORMED
        assert beacon.sightings() == []

    @given(st.lists(st.binary(max_size=100), max_size=5))
    def test_any_bytes_are_counted_and_nothing_else(self, frames):
        beacon = alone()
        for frame in frames:
            assert isinstance(beacon.receive_frame(frame, 0.0), Ignored)
        assert sum(beacon.drops.values()) == len(frames)
        assert not beacon.peers_changed

    def test_there_is_room_for_so_many_peers_and_the_one_dead_longest_gives_way(self):
        beacon = alone()
        for number in range(MAX_PEERS):
            assert beacon.receive_frame(frame_of(f"n{number}", misses=10 + number % 2), number / 1000) is None
        assert beacon.receive_frame(frame_of("late"), 0.3) is Ignored.TOO_MANY
        beacon.handle_timer(1.27)  # those with an odd number still live
        assert beacon.receive_frame(frame_of("late"), 1.27) is None
        known = {seen.node for seen in beacon.sightings()}
        assert len(known) == MAX_PEERS
        assert "n0" not in known
        assert {"n1", "n2", "late"} <= known


class TestMacs:
    def test_the_macs_of_live_peers_are_known_and_those_of_dead_ones_are_not(self):
        wire = Wire("a", "b", "c")
        wire.advance(1.0)
        assert wire["a"].beacon.peer_macs == {wire["b"].mac, wire["c"].mac}
        wire.kill("b")
        wire.advance(1.0)
        assert wire["a"].beacon.peer_macs == {wire["c"].mac}

    def test_a_peer_with_two_interfaces_on_one_lan_has_two(self):
        beacon = alone()
        second = bytes.fromhex("020000000012")
        for number in range(10):
            beacon.receive_frame(frame_of(sequence=2 * number + 1, hears=[US]), number * INTERVAL)
            beacon.receive_frame(frame_of(sequence=2 * number + 2, hears=[US], source=second), number * INTERVAL)
            beacon.handle_timer(number * INTERVAL)
        assert beacon.peer_macs == {PEER_MAC, second}

    def test_a_changed_mac_takes_the_place_of_the_old_one(self):
        beacon = alone()
        changed = bytes.fromhex("020000000012")
        beacon.receive_frame(frame_of(hears=[US]), 0.0)
        for number in range(1, 10):
            beacon.receive_frame(frame_of(sequence=1 + number, hears=[US], source=changed), number * INTERVAL)
            beacon.handle_timer(number * INTERVAL)
        assert beacon.peer_macs == {changed}

    def test_invented_macs_are_bounded(self):
        beacon = alone()
        for number in range(100):
            source = bytes([2, 0, 0, 0, 1, number])
            beacon.receive_frame(frame_of(sequence=1 + number, hears=[US], source=source), 0.0)
        assert len(beacon.peer_macs) == 8


def heard(wire, listener, speaker):
    """What the listener believes that the speaker claims."""
    return wire[listener].claims.get((speaker, wire[speaker].beacon._settings.boot), {})


class TestClaims:
    def test_a_claim_is_heard_at_once_and_not_only_with_the_next_heartbeat(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        wire["b"].claim(claims_of("192.0.2.1", "2001:db8::1"))
        wire.advance(0.02)
        assert heard(wire, "a", "b") == claims_of("192.0.2.1", "2001:db8::1")

    def test_a_withdrawn_claim_is_heard_too(self):
        wire = Wire("a", "b")
        wire["b"].claim(claims_of("192.0.2.1", "192.0.2.2"))
        wire.advance(1.0)
        wire["b"].claim({})
        wire.advance(0.02)
        assert heard(wire, "a", "b") == {}

    def test_what_has_not_changed_is_not_reported_again(self):
        wire = Wire("a", "b")
        wire["b"].claim(claims_of("192.0.2.1"))
        wire.advance(1.0)
        wire["a"].claims.clear()
        wire.advance(5.0)
        assert wire["a"].claims == {}

    def test_the_claims_of_one_that_is_not_live_are_reported_when_it_is(self):
        wire = Wire("a", "b")
        wire["b"].claim(claims_of("192.0.2.1"))
        wire.loses = lambda sender, receiver: sender == "a"
        wire.advance(2.0)
        assert wire["a"].claims == {}
        wire.loses = lambda sender, receiver: False
        wire.advance(3 * INTERVAL)
        assert heard(wire, "a", "b") == claims_of("192.0.2.1")

    def test_claims_are_taken_in_parts(self):
        beacon = alone()
        for number in range(5):
            address = IPv4Address(number << 8)
            part = heartbeat.Section(address, address + 255, ((address, Claim(1)),))
            said = frame_of(sequence=1 + number, hears=[US], section=heartbeat.encode_section(part))
            assert beacon.receive_frame(said, 0.0) is None
        taken = []
        while beacon.claims_changed:
            taken.append(len(beacon.take_claims(2)))
        assert taken == [2, 2, 1]
        assert beacon.take_claims(2) == []

    def test_other_cuts_of_the_same_space_take_the_place_of_the_old_ones(self):
        beacon = alone()
        low, high = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")
        vip = IPv4Address("192.0.2.1")
        whole = heartbeat.Section(low, high, ((vip, Claim(1)),))
        half = heartbeat.Section(IPv4Address("128.0.0.0"), high, ())
        for number, section in enumerate([whole, half, whole], 1):
            said = frame_of(sequence=number, hears=[US], section=heartbeat.encode_section(section))
            assert beacon.receive_frame(said, 0.0) is None
            assert [news.section for news in beacon.take_claims(9)] == [section]

    def test_what_is_remembered_of_one_peer_is_bounded(self, monkeypatch):
        monkeypatch.setattr("metallb_cli.layer2.peers.MAX_SECTIONS", 10)
        beacon = alone()
        for number in range(100):
            address = IPv4Address(number)
            said = heartbeat.encode_section(heartbeat.Section(address, address))
            beacon.receive_frame(frame_of(sequence=1 + number, hears=[US], section=said), 0.0)
        assert len(beacon.take_claims(1000)) == 10

    def test_10_000_claims_are_heard_within_a_third_of_a_second(self):
        wire = Wire("a", "b")
        wire.advance(1.0)
        claims = {IPv4Address("198.18.0.0") + 3 * number: Claim(number) for number in range(10_000)}
        wire["b"].claim(claims)
        wire.advance(0.3)
        assert heard(wire, "a", "b") == claims

    def test_who_becomes_live_hears_10_000_claims_within_a_second(self):
        wire = Wire("b")
        claims = {IPv4Address("198.18.0.0") + 3 * number: Claim(number) for number in range(10_000)}
        wire["b"].claim(claims)
        wire.advance(5.0)
        wire.start("a")
        wire.advance(1.0)
        assert heard(wire, "a", "b") == claims

    @settings(max_examples=settings.default.max_examples // 6)
    @given(st.integers(0, 10_000))
    def test_sections_converge_under_50_percent_loss(self, seed):
        wire = Wire("a", "b", "c", seed=seed)
        wire.loses = lambda sender, receiver: wire.random.random() < 0.5
        wire.delay = lambda: wire.random.uniform(0, 0.05)
        pools = {"a": "10.1.0.0", "b": "10.2.0.0", "c": "10.3.0.0"}
        claims = {}
        for step in range(3):
            for name, first in pools.items():
                chosen = wire.random.sample(range(2000), 400)
                claims[name] = {IPv4Address(first) + n: Claim(step + 1) for n in sorted(chosen)}
                wire[name].claim(claims[name])
            wire.advance(0.3)
        wire.advance(15.0)
        wire.loses = lambda sender, receiver: False
        wire.advance(2.0)  # half of all frames lost leaves hardly anybody live; what is cached is reported
        for listener in pools:
            for speaker in pools:
                if speaker != listener:
                    assert heard(wire, listener, speaker) == claims[speaker]


def test_what_one_heartbeat_costs(capsys):
    wire = Wire("a", "b")
    claims = {IPv4Address("198.18.0.0") + number: Claim(1) for number in range(64)}
    wire["b"].claim(claims)
    wire.advance(1.0)
    b, frames = wire["b"].beacon, []
    for beat in range(2000):
        b.handle_timer(wire.now + INTERVAL * (beat + 1))
        frames += b.frames_to_send()
    a = wire["a"].beacon
    began = time.perf_counter()
    ignored = [a.receive_frame(frame, wire.now) for frame in frames]
    spent = (time.perf_counter() - began) / len(frames)
    began = time.perf_counter()
    for _ in range(2000):
        a.receive_frame(frames[0][:60] + b"x" + frames[0][61:], wire.now)
    garbage = (time.perf_counter() - began) / 2000
    with capsys.disabled():
        print(
            f"\n  a heartbeat of an unchanged peer: {spent * 1e6:.1f} us, with a wrong signature: {garbage * 1e6:.1f}"
        )
    assert set(ignored) == {None}
    assert not a.take_claims(1)

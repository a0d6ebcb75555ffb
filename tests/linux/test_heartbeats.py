"""Link processes that hear each other on a real LAN: a bridge with a node on each port."""

import contextlib
import os
import signal
import socket
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from metallb_cli.layer2 import arp, heartbeat
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings
from metallb_cli.linux.heartbeat_socket import HeartbeatSocket
from metallb_cli.linux.netns import namespaces
from metallb_cli.model import AddressRange, Claim, Reason
from tests.support.wire import Tap, running_link

pytestmark = pytest.mark.live

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
INTERVAL, MISSES = 0.1, 3
TIMEOUT = INTERVAL * MISSES
VIP, VIP6 = IPv4Address("192.0.2.10"), IPv6Address("2001:db8::10")
POOL = (AddressRange(IPv4Address("192.0.2.10"), IPv4Address("192.0.2.99")),)
SLACK = 0.15  # seconds, for a busy machine


class Lan:
    """Nodes `n0`, `n1` … and a host, each with an interface `lan0`, on one bridge."""

    def __init__(self, switch, host, *nodes):
        self.switch, self.host, self.nodes = switch, host, nodes
        switch.add_bridge("lan")
        switch.set_up("lan")
        for number, namespace in enumerate((host, *nodes)):
            switch.add_veth(f"port{number}", "lan0", namespace, peer_mac=bytes([2, 0, 0, 0, 0, 16 + number]))
            switch.set_master(f"port{number}", "lan")
            switch.set_up(f"port{number}")
            namespace.set_up("lan0")
        self.tap = Tap(host, "lan0")

    def set_cable(self, node, *, plugged):
        """Plug the cable of a node in at the switch, or pull it."""
        port = f"port{self.nodes.index(node) + 1}"
        (self.switch.set_up if plugged else self.switch.set_down)(port)


@contextlib.contextmanager
def lan_of(count):
    names = ["switch", "host", *(f"n{number}" for number in range(count))]
    with namespaces("mlbt", *names) as made:
        lan = Lan(*made)
        with contextlib.closing(lan.tap):
            yield lan


@contextlib.contextmanager
def speakers(lan, keys=None, boots=None, **options):
    """A link process with heartbeats on every node, by name `n0`, `n1` …"""
    with contextlib.ExitStack() as stack:
        links = []
        for number, node in enumerate(lan.nodes):
            link = stack.enter_context(running_link(node, **options))
            link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
            link.settings = HeartbeatSettings(f"n{number}", time.time_ns(), (keys or {}).get(number, (KEY,)))
            links.append(link)
        for link in links:
            link.process.heartbeats(link.settings)
        yield links


def sees(*names):
    """Whether exactly these peers are live."""
    return lambda link: {peer.node for peer in link.peers.values() if peer.live} == set(names)


def all_see_all(links):
    names = {f"n{number}" for number in range(len(links))}
    for number, link in enumerate(links):
        link.wait(sees(*(names - {f"n{number}"})))


def reports_of(link):
    """What the link reports of its peers from now on."""
    reports = []
    forward = link.process._on_peers

    def listen(report):
        reports.append(report.peers)
        forward(report)

    link.process._on_peers = listen
    return reports


def announce(link, generation, *addresses, **more):
    link.process.announce(AnnouncementSet(generation, addresses, POOL, **more))
    link.wait(lambda link: link.state.generation == generation)


class TestSocket:
    def test_a_heartbeat_arrives_and_nothing_else(self):
        with lan_of(2) as lan:
            first, second = (
                node.run(lambda: HeartbeatSocket("lan0", socket.if_nametoindex("lan0"))) for node in lan.nodes
            )
            with first, second:
                said = heartbeat.Heartbeat(lan.nodes[0].mac("lan0"), 0, 1, 1, 100, 3, "n0", b"", heartbeat.NO_SECTION)
                frame = heartbeat.encode(said, KEY)
                sent = [b"\xff" * 6 + frame[6:], frame[:14] + b"\2" + frame[15:], frame.ljust(1246, b"\0")]
                assert first.send(sent) == 0
                received = []
                deadline = time.monotonic() + 3
                while not received and time.monotonic() < deadline:
                    received = second.receive(10)
                assert received == sent[-1:]
                assert first.receive(10) == []


class TestLiveness:
    def test_three_that_hear_each_other_are_live_within_half_a_second(self):
        with lan_of(3) as lan, speakers(lan) as links:
            began = time.monotonic()
            for number, link in enumerate(links):
                link.wait(sees(*({"n0", "n1", "n2"} - {f"n{number}"})), timeout=0.5 + SLACK)
            assert time.monotonic() - began < 0.5 + SLACK
            assert links[0].peers["n1"].interfaces == ("lan0",)
            assert links[0].peers["n1"].boot == links[1].settings.boot

    @pytest.mark.parametrize("l2_engine", ["packet", "tc"])
    def test_a_killed_node_is_dead_after_the_misses_and_not_before(self, l2_engine):
        with lan_of(3) as lan, speakers(lan, l2_engine=l2_engine) as links:
            for number, link in enumerate(links):
                link.wait(sees(*({"n0", "n1", "n2"} - {f"n{number}"})))
            os.kill(links[2].process.pid, signal.SIGKILL)
            killed = time.monotonic()
            for link, other in ((links[0], "n1"), (links[1], "n0")):
                link.wait(sees(other), timeout=1.0)
                assert TIMEOUT - INTERVAL - 0.05 <= time.monotonic() - killed <= TIMEOUT + INTERVAL + SLACK
                assert "n2" in link.peers  # dead and not unknown

    def test_a_pulled_cable_is_noticed_on_both_ends(self):
        with lan_of(3) as lan, speakers(lan) as links:
            for number, link in enumerate(links):
                link.wait(sees(*({"n0", "n1", "n2"} - {f"n{number}"})))
            lan.set_cable(lan.nodes[2], plugged=False)
            pulled = time.monotonic()
            links[2].wait(sees(), timeout=1.0)
            links[0].wait(sees("n1"), timeout=1.0)
            assert TIMEOUT - INTERVAL - 0.05 <= time.monotonic() - pulled <= TIMEOUT + INTERVAL + SLACK
            assert set(links[2].peers) == {"n0", "n1"}
            lan.set_cable(lan.nodes[2], plugged=True)
            links[0].wait(sees("n1", "n2"), timeout=5.0)
            links[2].wait(sees("n0", "n1"), timeout=5.0)

    @pytest.mark.parametrize("away", [0.0, 0.02, 0.05])
    @pytest.mark.parametrize("how", ["carrier", "interface", "mac"])
    def test_an_interface_that_flaps_is_missed_by_nobody(self, away, how):
        with lan_of(3) as lan, speakers(lan) as links:
            all_see_all(links)
            announce(links[2], 1, VIP, claims={VIP: Claim(1)})
            reports = [reports_of(link) for link in links]
            node, began = lan.nodes[2], time.monotonic()
            if how == "mac":
                node.set_link("lan0", address="02:00:00:00:01:12")
            elif how == "carrier":
                lan.set_cable(node, plugged=False)
                time.sleep(away)
                lan.set_cable(node, plugged=True)
            else:
                node.set_down("lan0")
                time.sleep(away)
                node.set_up("lan0")
            took = time.monotonic() - began
            assert any(lan.tap.ask(VIP, timeout=0.05) for _ in range(10))
            time.sleep(2 * TIMEOUT)
            if took < TIMEOUT / 2:  # else the machine was busy
                assert [[peer.node for report in all_of for peer in report if not peer.live] for all_of in reports] == [
                    [], [], []
                ]  # fmt: skip
                assert not links[2].state.fenced

    def test_one_without_a_cable_is_fenced_until_it_has_heard_what_the_others_did(self):
        with lan_of(2) as lan, speakers(lan) as links:
            all_see_all(links)
            announce(links[1], 1, VIP, claims={VIP: Claim(1)})
            lan.set_cable(lan.nodes[1], plugged=False)
            pulled = time.monotonic()
            links[1].wait(lambda link: link.verdict("lan0") is not Reason.USABLE)
            assert time.monotonic() - pulled <= SLACK
            assert sees("n0")(links[1]), "an absence counts as silence, which has only begun"
            links[1].wait(lambda link: link.state.fenced)
            links[1].wait(sees())
            assert TIMEOUT - INTERVAL - 0.05 <= time.monotonic() - pulled <= TIMEOUT + SLACK
            time.sleep(2 * TIMEOUT)
            assert links[1].state.fenced
            lan.tap.drain()
            lan.set_cable(lan.nodes[1], plugged=True)
            plugged = time.monotonic()
            assert lan.tap.expect(lambda frame: frame.sender_ip == VIP.packed, timeout=TIMEOUT - 0.05) is None
            links[1].wait(lambda link: not link.state.fenced)
            assert TIMEOUT <= time.monotonic() - plugged <= 1.0 + TIMEOUT + SLACK  # carriers take their time
            assert lan.tap.ask(VIP) is not None

    def test_one_that_lost_an_interface_without_peers_is_not_fenced(self):
        with lan_of(1) as lan, speakers(lan) as links:
            announce(links[0], 1, VIP)
            lan.set_cable(lan.nodes[0], plugged=False)
            links[0].wait(lambda link: link.verdict("lan0") is not Reason.USABLE)
            time.sleep(2 * TIMEOUT)
            assert not links[0].state.fenced

    def test_live_on_one_of_two_interfaces_is_live(self):
        with lan_of(2) as lan:
            lan.nodes[0].add_veth("lan1", "lan1", lan.nodes[1])
            for node in lan.nodes:
                node.set_up("lan1")
            with speakers(lan) as links:
                links[0].wait(lambda link: link.peers and link.peers["n1"].interfaces == ("lan0", "lan1"))
                lan.set_cable(lan.nodes[1], plugged=False)
                links[0].wait(lambda link: link.peers["n1"].interfaces == ("lan1",))
                lan.nodes[0].set_down("lan1")
                links[0].wait(sees())
                lan.nodes[0].set_up("lan1")
                links[0].wait(lambda link: link.peers["n1"].interfaces == ("lan1",))

    def test_two_interfaces_of_one_node_on_one_lan_do_no_harm(self):
        with lan_of(2) as lan:
            lan.switch.add_veth("second", "lan1", lan.nodes[1])
            lan.switch.set_master("second", "lan")
            lan.switch.set_up("second")
            lan.nodes[1].set_up("lan1")
            with speakers(lan) as links:
                links[0].wait(sees("n1"))
                links[1].wait(lambda link: link.peers and link.peers["n0"].interfaces == ("lan0", "lan1"))
                links[1].wait(lambda link: link.state.drops.get("HeartbeatOwn", 0) > 5)
                assert links[0].state.drops.get("HeartbeatReplay", 0) == 0
                lan.set_cable(lan.nodes[1], plugged=False)
                links[1].wait(lambda link: link.peers["n0"].interfaces == ("lan1",))
                assert sees("n1")(links[0])

    def test_a_small_mtu_carries_small_heartbeats(self):
        with lan_of(2) as lan:
            for node in lan.nodes:
                node.set_link("lan0", mtu=576)
            with speakers(lan) as links:
                links[0].wait(sees("n1"))
                many = {IPv4Address("192.0.2.10") + number: Claim(1) for number in range(90)}
                announce(links[0], 1, *many, claims=many)
                time.sleep(2 * INTERVAL)
                assert links[0].verdict("lan0") is Reason.USABLE

    def test_a_wrong_key_is_ignored_and_counted(self):
        with lan_of(3) as lan, speakers(lan, keys={2: (OTHER_KEY,)}) as links:
            links[0].wait(sees("n1"))
            links[0].wait(lambda link: link.state.drops.get("HeartbeatSignature", 0) >= 3)
            assert set(links[0].peers) == {"n1"}
            assert links[2].peers == {}

    def test_keys_are_exchanged_without_a_gap(self):
        with lan_of(2) as lan, speakers(lan) as links:
            reports = []
            for link, other in zip(links, ("n1", "n0"), strict=True):
                link.wait(sees(other))
                link.process._on_peers = reports.append
            for keys in [(KEY, OTHER_KEY), (OTHER_KEY, KEY), (OTHER_KEY,)]:
                for link in links:
                    settings = HeartbeatSettings(link.settings.node, link.settings.boot, keys)
                    link.process.heartbeats(settings)
                    time.sleep(0.25)
            assert reports == []
            assert links[0].state.drops.get("HeartbeatSignature", 0) == 0

    def test_leaving_and_claims_are_heard_at_once(self):
        with lan_of(2) as lan, speakers(lan) as links:
            links[0].wait(sees("n1"))
            links[1].wait(sees("n0"))
            said = {VIP: Claim(3, strong=True), VIP6: Claim(4, strong=False, contested=True)}
            began = time.monotonic()
            announce(links[1], 1, VIP, claims=said, leaving=True, unsteady=True)
            heard = {}

            def has_heard(link):
                heard.update(claim for news in link.claims for claim in news.section.claims)
                return heard == said and link.peers["n1"].leaving and link.peers["n1"].unsteady

            links[0].wait(has_heard)
            assert time.monotonic() - began < 0.1 + SLACK
            assert {news.boot for news in links[0].claims} == {links[1].settings.boot}


class TestFence:
    @pytest.mark.parametrize(
        "engine", [{"l2_engine": "packet"}, {"l2_engine": "packet", "spin": 200}, {"l2_engine": "tc"}]
    )
    def test_one_that_stood_still_answers_nothing_late_and_says_so(self, engine):
        with lan_of(2) as lan, speakers(lan, **engine) as links:
            links[0].wait(sees("n1"))
            links[1].wait(sees("n0"))
            announce(links[0], 1, VIP)
            assert lan.tap.ask(VIP) is not None
            os.kill(links[0].process.pid, signal.SIGSTOP)
            links[1].wait(sees(), timeout=1.0)
            time.sleep(0.6)
            lan.tap.drain()
            question = arp.request(lan.tap.mac, bytes([192, 0, 2, 1]), VIP.packed)
            for _ in range(200):  # more than are taken in one turn
                lan.tap.send(question)
            os.kill(links[0].process.pid, signal.SIGCONT)
            woken = time.monotonic()
            late = lan.tap.expect(lambda frame: frame.sender_ip == VIP.packed, timeout=TIMEOUT - 0.05)
            assert late is None
            assert links[0].state.fenced
            links[0].wait(lambda link: not link.state.fenced)
            assert TIMEOUT <= time.monotonic() - woken <= TIMEOUT + INTERVAL + SLACK
            assert lan.tap.ask(VIP) is not None
            assert links[0].wait(lambda link: link.state.drops.get("Fenced", 0) >= 200)

    @pytest.mark.parametrize("l2_engine", ["packet", "tc"])
    def test_one_without_peers_goes_on_after_standing_still(self, l2_engine):
        with lan_of(1) as lan, speakers(lan, l2_engine=l2_engine) as links:
            announce(links[0], 1, VIP)
            assert lan.tap.ask(VIP) is not None
            os.kill(links[0].process.pid, signal.SIGSTOP)
            time.sleep(0.6)
            os.kill(links[0].process.pid, signal.SIGCONT)
            assert lan.tap.ask(VIP, timeout=0.2 + SLACK) is not None
            assert not links[0].state.fenced

    def test_the_kernel_alone_answers_no_longer_than_others_wait(self):
        with lan_of(2) as lan, speakers(lan, l2_engine="tc") as links:
            links[0].wait(sees("n1"))
            announce(links[0], 1, VIP)
            assert lan.tap.ask(VIP) is not None
            os.kill(links[0].process.pid, signal.SIGSTOP)
            stopped = last = time.monotonic()
            while time.monotonic() < stopped + 1.0:
                if lan.tap.ask(VIP, timeout=0.02) is not None:
                    last = time.monotonic()
            assert last - stopped <= TIMEOUT + 0.02
            os.kill(links[0].process.pid, signal.SIGCONT)


class TestLoad:
    def test_a_flood_of_garbage_does_not_keep_arp_from_being_answered(self):
        with lan_of(2) as lan, speakers(lan, l2_engine="packet") as links:
            links[0].wait(sees("n1"))
            announce(links[0], 1, VIP)
            said = heartbeat.Heartbeat(lan.tap.mac, 0, 1, 1, 100, 3, "n1", b"", heartbeat.NO_SECTION)
            garbage = heartbeat.encode(said, OTHER_KEY).ljust(1246, b"\0")
            slowest = 0.0
            for _ in range(20):
                for _ in range(500):
                    lan.tap.send(garbage)
                began = time.monotonic()
                assert lan.tap.ask(VIP, timeout=1.0) is not None
                slowest = max(slowest, time.monotonic() - began)
            assert slowest < 0.1
            links[0].wait(lambda link: link.state.drops.get("HeartbeatSignature", 0) >= 256)
            assert sees("n1")(links[0])

"""The whole link process on a real wire, with the kernel of another namespace as its neighbour."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from metallb_cli.errors import LinkError
from metallb_cli.layer2 import arp
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.schedule import GRATUITOUS_INTERVAL
from metallb_cli.linux import link_client
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.linux.netns import Namespace, namespaces
from metallb_cli.linux.poller import MAX_SPIN
from metallb_cli.model import AddressRange, Reason
from tests.support.wire import Tap, running_link, send_datagram, wait_for_neighbour

pytestmark = pytest.mark.live

VIP, OTHER = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.11")
POOL = (AddressRange(IPv4Address("192.0.2.10"), IPv4Address("192.0.2.99")),)
MAC, NEW_MAC, HOST_MAC, STALE_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3, 4))


class Lan:
    """A node and a host on a cable, both with an interface `lan0`, and the host's view of the wire."""

    def __init__(self, node, host):
        self.node, self.host = node, host
        self.generation = 0
        self.tap = None

    def plug(self, mac=MAC):
        self.host.add_veth("lan0", "lan0", self.node, mac=HOST_MAC, peer_mac=mac)
        self.host.set_up("lan0")
        self.host.add_address("lan0", "192.0.2.1/24")
        self.tap = Tap(self.host, "lan0")
        self.node.set_up("lan0")

    def unplug(self):
        self.tap.close()
        self.node.delete_link("lan0")

    def set_neighbour(self, address, mac):
        """Have the host's kernel believe something."""
        arguments = ["replace", str(address), "lladdr", mac.hex(":"), "dev", "lan0", "nud", "stale"]
        with self.host.popen(["ip", "neigh", *arguments]) as process:
            assert process.wait(10) == 0

    def announce(self, link, *addresses, pool=POOL):
        self.generation += 1
        link.process.announce(AnnouncementSet(self.generation, addresses, pool))
        link.wait(lambda link: link.state.generation == self.generation)


@pytest.fixture
def lan():
    with namespaces("mlbt", "node", "host") as (node, host):
        lan = Lan(node, host)
        lan.plug()
        yield lan
        lan.tap.close()


@pytest.fixture(params=["packet", "tc"])
def link(lan, request):
    """A link process; the same is expected of both engines."""
    with running_link(lan.node, l2_engine=request.param) as link:
        link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
        yield link


class TestAnswering:
    def test_a_neighbours_kernel_learns_our_mac(self, lan, link):
        lan.announce(link, VIP)
        send_datagram(lan.host, str(VIP))
        assert wait_for_neighbour(lan.host, "lan0", str(VIP), MAC) == MAC

    def test_an_interface_needs_no_ip_address(self, lan, link):
        lan.announce(link, VIP)
        assert lan.tap.ask(VIP).sender_mac == MAC

    def test_a_probe_is_answered(self, lan, link):
        lan.announce(link, VIP)
        assert lan.tap.ask(VIP, sender="0.0.0.0").sender_mac == MAC

    def test_a_withdrawn_address_is_silent_and_the_others_are_not(self, lan, link):
        lan.announce(link, VIP, OTHER)
        assert lan.tap.ask(VIP) is not None
        lan.announce(link, OTHER)
        lan.tap.send(arp.request(HOST_MAC, bytes([192, 0, 2, 1]), VIP.packed))
        # The answer to the second question comes after the time for one to the first.
        assert lan.tap.ask(OTHER) is not None
        assert lan.tap.expect(lambda frame: frame.sender_ip == VIP.packed, timeout=0.2) is None

    def test_an_address_outside_the_ranges_is_answered_for_as_well(self, lan, link):
        lan.announce(link, IPv4Address("192.0.2.200"))
        assert lan.tap.ask("192.0.2.200") is not None

    def test_what_happened_is_counted_by_address(self, lan, link):
        lan.announce(link, VIP)
        for _ in range(3):
            assert lan.tap.ask(VIP) is not None
        counted = link.wait(lambda link: link.state.counters.get(VIP) and link.state.counters[VIP].responses == 3)
        assert counted.counters[VIP].requests == 3
        assert counted.counters[VIP].gratuitous >= 2
        assert counted.announced == (VIP,)


class TestGratuitous:
    @pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY], ids=["request", "reply"])
    def test_a_new_address_is_told_to_everybody_in_both_forms(self, lan, link, operation):
        lan.announce(link, VIP)
        assert lan.tap.gratuitous(VIP, operation).sender_mac == MAC

    def test_a_neighbours_kernel_that_believed_somebody_else_follows(self, lan, link):
        lan.set_neighbour(VIP, STALE_MAC)
        assert lan.host.neighbours("lan0")[str(VIP)] == STALE_MAC
        lan.announce(link, VIP)
        assert wait_for_neighbour(lan.host, "lan0", str(VIP), MAC) == MAC

    @pytest.mark.parametrize("form", [0, 1], ids=["request", "reply"])
    def test_either_form_alone_convinces_a_linux_neighbour(self, lan, form):
        lan.host.set_sysctl("net.ipv4.neigh.lan0.locktime", 0)  # else the kernel keeps a new entry for a second
        with contextlib.closing(Tap(lan.node, "lan0")) as node:
            lan.set_neighbour(VIP, STALE_MAC)
            for _ in range(20):  # one within the clock tick of the change before is ignored as well
                node.send(arp.gratuitous(MAC, VIP.packed)[form])
                if wait_for_neighbour(lan.host, "lan0", str(VIP), MAC, timeout=0.1) == MAC:
                    break
            assert lan.host.neighbours("lan0")[str(VIP)] == MAC

    def test_only_what_is_new_is_told(self, lan, link):
        lan.announce(link, VIP)
        assert lan.tap.gratuitous(VIP, arp.REPLY) is not None
        told_at = time.monotonic()
        lan.announce(link, VIP, OTHER)
        seen = lan.tap.expect(lambda frame: frame.destination == arp.BROADCAST)
        # On a machine that stood still meanwhile, the first one is due again.
        assert seen.sender_ip == OTHER.packed or time.monotonic() - told_at > GRATUITOUS_INTERVAL - 0.2


class TestInterfaces:
    def test_a_link_that_comes_up_again_tells_everybody_again(self, lan, link):
        lan.announce(link, VIP)
        assert lan.tap.gratuitous(VIP, arp.REPLY) is not None
        lan.node.set_down("lan0")
        link.wait(lambda link: link.verdict("lan0") is Reason.INTERFACE_DOWN)
        assert link.state.announced == ()
        lan.tap.close()
        lan.tap = Tap(lan.host, "lan0")
        lan.node.set_up("lan0")
        assert lan.tap.gratuitous(VIP) is not None
        assert lan.tap.ask(VIP) is not None
        assert link.wait(lambda link: link.state.announced == (VIP,))

    def test_the_other_end_pulled_is_no_carrier(self, lan, link):
        lan.announce(link, VIP)
        lan.host.set_down("lan0")
        link.wait(lambda link: link.verdict("lan0") is Reason.INTERFACE_NO_CARRIER)
        lan.host.set_up("lan0")
        link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
        lan.tap.close()
        lan.tap = Tap(lan.host, "lan0")
        assert lan.tap.ask(VIP) is not None

    def test_a_new_interface_is_used_at_once(self, lan, link):
        lan.announce(link, VIP)
        lan.host.add_veth("lan1", "lan1", lan.node)
        lan.host.set_up("lan1")
        with contextlib.closing(Tap(lan.host, "lan1")) as second:
            lan.node.set_up("lan1")
            assert second.gratuitous(VIP).sender_mac == lan.node.mac("lan1")
            assert second.ask(VIP).sender_mac == lan.node.mac("lan1")
        assert lan.tap.ask(VIP).sender_mac == MAC

    def test_an_interface_that_was_replaced_by_another_of_its_name_is_used(self, lan, link):
        lan.announce(link, VIP)
        assert lan.tap.ask(VIP).sender_mac == MAC
        lan.unplug()
        link.wait(lambda link: link.verdict("lan0") is None)
        lan.plug(NEW_MAC)
        link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
        assert lan.tap.ask(VIP).sender_mac == NEW_MAC

    def test_a_changed_mac_address_is_given_from_then_on_and_told_to_everybody(self, lan, link):
        lan.announce(link, VIP)
        assert lan.tap.ask(VIP).sender_mac == MAC
        lan.node.set_link("lan0", address=NEW_MAC.hex(":"))
        told = lan.tap.expect(lambda f: f.destination == arp.BROADCAST and f.sender_mac == NEW_MAC)
        assert told.sender_ip == VIP.packed
        assert lan.tap.ask(VIP).sender_mac == NEW_MAC
        link.wait(lambda link: any(interface.mac == NEW_MAC for interface in link.state.interfaces))

    def test_a_bridges_port_is_silent_and_the_bridge_answers_once(self, lan, link):
        lan.announce(link, VIP)
        lan.node.add_bridge("br0")
        lan.node.set_master("lan0", "br0")
        lan.node.set_up("br0")
        link.wait(lambda link: link.verdict("br0") is Reason.USABLE)
        assert link.verdict("lan0") is Reason.INTERFACE_ENSLAVED
        lan.tap.drain()
        assert lan.tap.ask(VIP) is not None
        again = lan.tap.expect(lambda frame: frame.destination == HOST_MAC, timeout=0.2)
        assert again is None

    def test_an_interface_without_arp_is_not_used(self, lan, link):
        lan.announce(link, VIP)
        lan.node.set_link("lan0", arp=False)
        link.wait(lambda link: link.verdict("lan0") is Reason.INTERFACE_NO_ARP)
        lan.node.set_link("lan0", arp=True)
        link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
        assert lan.tap.ask(VIP) is not None

    def test_an_excluded_interface_is_reported_and_not_used(self, lan):
        with running_link(lan.node, exclude=("^lan",)) as link:
            link.wait(lambda link: link.verdict("lan0") is Reason.INTERFACE_EXCLUDED)
            lan.announce(link, VIP)
            assert lan.tap.ask(VIP, timeout=0.2) is None
            assert link.state.announced == ()


class TestConflicts:
    def test_another_host_with_our_address_is_reported(self, lan, link):
        lan.announce(link, VIP)
        lan.host.add_address("lan0", f"{VIP}/24")
        lan.tap.send(arp.gratuitous(HOST_MAC, VIP.packed)[0])
        state = link.wait(lambda link: link.state.conflicts)
        assert [(c.address, c.mac) for c in state.conflicts] == [(VIP, HOST_MAC)]
        assert "02:00:00:00:00:03 claims 192.0.2.10" in state.last_error

    def test_two_interfaces_of_one_node_on_one_lan_are_none(self, lan, link):
        with Namespace.create("mlbt-switch") as switch:
            switch.add_bridge("lan")
            switch.set_up("lan")
            for number in (1, 2):
                switch.add_veth(f"port{number}", f"eth{number}", lan.node)
                switch.set_master(f"port{number}", "lan")
                switch.set_up(f"port{number}")
                lan.node.set_up(f"eth{number}")
            link.wait(lambda link: {link.verdict("eth1"), link.verdict("eth2")} == {Reason.USABLE})
            lan.announce(link, VIP)
            link.wait(lambda link: link.state.drops.get("OwnFrame", 0) >= 2)
            assert link.state.conflicts == ()


def timeslices(pid):
    """How often the process was given a processor since it began."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[2])


def cpu_seconds(pid):
    """Processor time of the process since it began."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class TestSleep:
    @pytest.mark.parametrize("spin", [0, MAX_SPIN])
    def test_it_sleeps_when_nobody_asks_and_still_does_at_once_what_it_is_told(self, lan, spin):
        with running_link(lan.node, l2_engine="packet", spin=spin) as link:
            link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
            lan.announce(link, pool=POOL)
            time.sleep(1.2)  # what the new interface and the report want is over
            before = cpu_seconds(link.process.pid)
            time.sleep(1.0)
            assert cpu_seconds(link.process.pid) - before < 0.01
            lan.announce(link, VIP)
            assert lan.tap.gratuitous(VIP, arp.REQUEST) is not None
            for _ in range(100):  # it is awake after each of these, and the next gratuitous frame leaves in time
                assert lan.tap.ask(VIP) is not None
            lan.tap.drain()
            assert lan.tap.gratuitous(VIP, arp.REQUEST, timeout=2.0) is not None
            assert link.wait(lambda link: link.state.counters.get(VIP) and link.state.counters[VIP].responses == 100)


class TestFilter:
    def test_foreign_arp_never_wakes_the_process_and_ours_does(self, lan, link):
        lan.announce(link, pool=POOL)
        # Nothing is announced, so nothing is due: what wakes the process now are frames.
        assert lan.tap.ask(VIP, timeout=0.05) is None
        link.wait(lambda link: link.state.drops == {"AnnounceIP": 1})
        before = timeslices(link.process.pid)
        foreign = [arp.request(HOST_MAC, bytes([192, 0, 2, 1]), bytes([198, 51, 100, n])) for n in range(250)]
        for frame in foreign * 8:
            lan.tap.send(frame)
        # Not one of 2000 frames did; what did may be news of the interface, or the kernel's lease: four times a second.
        assert timeslices(link.process.pid) <= before + 10
        lan.tap.send(arp.request(HOST_MAC, bytes([192, 0, 2, 1]), VIP.packed))
        link.wait(lambda link: link.state.drops == {"AnnounceIP": 2})
        assert timeslices(link.process.pid) > before

    def test_new_ranges_are_listened_to(self, lan, link):
        lan.announce(link, pool=())
        lan.announce(link, VIP, pool=POOL)
        assert lan.tap.ask(VIP) is not None

    def test_10_000_scattered_addresses_are_all_answered_for(self, lan, link):
        addresses = tuple(IPv4Address("198.18.0.0") + 3 * number for number in range(10_000))
        lan.announce(link, *addresses, pool=tuple(AddressRange(address, address) for address in addresses))
        for address in addresses[:: len(addresses) // 20]:
            assert lan.tap.ask(address) is not None
        state = link.wait(lambda link: len(link.state.counters) == 10_000, timeout=15)
        assert len(state.announced) == 10_000
        status = dict(line.split(":", 1) for line in Path(f"/proc/{link.process.pid}/status").read_text().splitlines())
        assert int(status["VmRSS"].split()[0]) <= 40 * 1024


PARENT = """
import sys, threading, time
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.linux.link_client import LinkProcess
from ipaddress import IPv4Address
ready = threading.Event()
link = LinkProcess(
    sys.argv[1],
    on_state=lambda state: ready.set() if state.announced else None,
    orphan_grace=float(sys.argv[2]),
    log_level="error",
)
link.start()
link.announce(AnnouncementSet(1, (IPv4Address("192.0.2.10"),)))
assert ready.wait(10)
print(link.pid, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def speaker_with_link(namespace, orphan_grace):
    """A process that stands for the speaker: (process, a descriptor that becomes readable when its link ended)."""
    argv = [sys.executable, "-c", PARENT, namespace.reference, str(orphan_grace)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        pidfd = os.pidfd_open(int(process.stdout.readline()))
        try:
            yield process, pidfd
        finally:
            process.kill()
            if not select.select([pidfd], [], [], 0)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


def ended(pidfd, timeout):
    return bool(select.select([pidfd], [], [], timeout)[0])


class TestLife:
    def test_a_killed_speaker_takes_its_link_process_with_it(self, lan):
        with speaker_with_link(lan.node, 0) as (process, pidfd):
            assert lan.tap.ask(VIP) is not None
            process.kill()
            assert ended(pidfd, 3.0)
        assert lan.tap.ask(VIP, timeout=0.2) is None

    def test_even_a_link_process_that_is_stopped_ends_with_its_speaker(self, lan):
        with speaker_with_link(lan.node, 0) as (process, pidfd):
            signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
            process.kill()
            assert ended(pidfd, 3.0)

    def test_with_a_grace_it_answers_that_long_and_no_longer(self, lan):
        with speaker_with_link(lan.node, 1.0) as (process, pidfd):
            assert lan.tap.ask(VIP) is not None
            process.kill()
            process.wait(5)
            assert not ended(pidfd, 0.1)
            assert lan.tap.ask(VIP) is not None
            assert ended(pidfd, 3.0)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_cleanly_and_the_speaker_learns_of_it(self, link, number):
        os.kill(link.process.pid, number)
        link.wait(lambda link: link.exit_code is not None)
        assert link.exit_code == 0
        with pytest.raises(LinkError, match="has ended"):
            link.process.announce(AnnouncementSet(9))

    def test_a_killed_link_process_is_noticed(self, link):
        os.kill(link.process.pid, signal.SIGKILL)
        link.wait(lambda link: link.exit_code is not None)
        assert link.exit_code == -signal.SIGKILL

    def test_one_that_does_not_react_is_killed_and_reaped(self, lan):
        with running_link(lan.node) as link:
            os.kill(link.process.pid, signal.SIGSTOP)
            began = time.monotonic()
            link.process.stop(timeout=0.2)
            assert time.monotonic() - began < 2
            assert link.exit_code == -signal.SIGKILL

    def test_one_that_takes_no_messages_is_killed(self, lan, monkeypatch):
        monkeypatch.setattr(link_client, "SEND_TIMEOUT", 0.1)
        scattered = tuple(IPv4Address("198.18.0.0") + 2 * number for number in range(50_000))
        with running_link(lan.node) as link:
            os.kill(link.process.pid, signal.SIGSTOP)
            with pytest.raises(LinkError, match="took no message"):
                link.process.announce(AnnouncementSet(1, scattered))
            link.wait(lambda link: link.exit_code == -signal.SIGKILL)

    def test_it_holds_one_capability_and_no_token(self, lan, monkeypatch):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        monkeypatch.setenv("KUBECONFIG", "/nonexistent")
        with running_link(lan.node, l2_engine="packet") as link:
            proc = Path(f"/proc/{link.process.pid}")
            status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
            assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0000000000002000"}
            assert status["NoNewPrivs"] == "1"
            environment = (proc / "environ").read_bytes()
            assert b"KUBE" not in environment
            assert {entry.split(b"=")[0].decode() for entry in environment.split(b"\0") if entry} <= {
                *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"),
            }

    def test_a_namespace_that_does_not_exist_is_said_once_by_the_speaker(self):
        link = LinkProcess("mlbt-no-such-namespace", log_level="error")
        with pytest.raises(LinkError, match="cannot open network namespace /run/netns/mlbt-no-such-namespace"):
            link.start()

    def test_a_bad_pattern_is_said_by_the_speaker(self, lan):
        link = LinkProcess(lan.node.reference, exclude=("(",), log_level="error")
        with pytest.raises(LinkError, match="no regular expression"):
            link.start()


HEAVY = ("kubernetes", "rich", "aiohttp", "asyncio", "pyroute2", "scapy", "prometheus_client", "yaml", "ssl")


def test_the_link_process_imports_nothing_heavy():
    code = (
        "import json, sys; import metallb_cli.cli, metallb_cli.commands.speaker_link;print(json.dumps([*sys.modules]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    loaded = set(json.loads(shown.stdout))
    assert "metallb_cli.linux.link" in loaded
    assert loaded.isdisjoint(HEAVY)
    ours = {name for name in loaded if name.startswith("metallb_cli.")}
    assert not {name for name in ours if name.split(".")[1] in ("kube", "view", "lab", "daemon", "config", "allocator")}


def test_started_by_hand_it_says_who_starts_it():
    argv = [sys.executable, "-m", "metallb_cli", "speaker-link", "--fd", "99"]
    shown = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert shown.returncode == 2
    assert shown.stderr == "Error: file descriptor 99 is no socket: only the speaker starts this command\n"


def wakings(link):
    """How often the link process has slept."""
    status = Path(f"/proc/{link.process.pid}/status").read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\t(\d+)", status, re.MULTILINE)[1])


def test_where_the_kernel_answers_questions_for_other_nodes_seldom_wake_the_process(lan):
    counts = {}
    for engine in ("packet", "tc"):
        with running_link(lan.node, l2_engine=engine) as link:
            link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
            lan.announce(link, VIP)
            link.wait(lambda link: VIP in link.state.announced)
            before = wakings(link)
            for _ in range(300):
                lan.tap.send(arp.request(HOST_MAC, bytes([192, 0, 2, 1]), OTHER.packed))
                time.sleep(0.005)
            link.wait(lambda link: link.state.drops.get("AnnounceIP", 0) == 300)
            counts[engine] = wakings(link) - before
    assert counts["tc"] < counts["packet"] / 3, counts

"""The tc engine on real interfaces, with the kernel of another namespace as the neighbour that asks."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from metallb_cli.errors import BpfError
from metallb_cli.layer2 import arp
from metallb_cli.layer2.engine import Counts
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.engine import TcEngine, discard
from metallb_cli.linux.ebpf.pins import bpf_file_system
from metallb_cli.linux.ndp_groups import NeighbourGroups
from tests.linux.ebpf.conftest import (
    CLIENT_MAC,
    NODE_MAC,
    OURS,
    answered,
    asking,
    attached_ids,
    check,
    exchange,
    question,
    wait_until_attached,
)
from tests.support.bpffs import BPF, with_bpf_file_system

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]


@pytest.fixture
def make(lan):
    """Makes engines on the node's interfaces and closes them at the end."""
    engines = []

    def start(name="n0", mac=NODE_MAC, addresses=OURS, lease=60.0, **options):
        engine = lan.node.run(TcEngine, lan.index(name), mac, **options)
        engines.append(engine)
        lan.node.run(engine.announce, addresses)
        engine.renew(time.monotonic() + lease)
        return engine

    yield start
    for engine in engines:
        with contextlib.suppress(ValueError, OSError):  # closed by the test
            engine.close()


class TestNeighbours:
    def test_the_kernel_of_a_neighbour_resolves_every_address(self, lan, make):
        make()
        assert {str(address): lan.resolve(str(address)) for address in OURS} == dict.fromkeys(map(str, OURS), NODE_MAC)

    def test_nobody_answers_for_an_address_that_is_not_announced(self, lan, make):
        make(addresses=OURS[:1])
        assert answered(lan) == OURS[:1]

    @pytest.mark.parametrize("address", ["10.9.1.1", "fd00:9::100"])
    def test_a_reachability_probe_of_the_neighbours_kernel_is_answered(self, lan, make, address):
        engine = make()
        assert lan.resolve(address) == NODE_MAC
        engine.take_counts()
        mac = NODE_MAC.hex(":")
        replace = ["ip", "neigh", "replace", address, "lladdr", mac, "dev", "c0", "nud", "probe"]
        assert lan.client.popen(replace).wait(5) == 0
        show = ["ip", "neigh", "show", address, "dev", "c0"]
        for _ in range(300):
            state = lan.client.popen(show, stdout=subprocess.PIPE, text=True).communicate(timeout=5)[0]
            if "REACHABLE" in state:
                break
            time.sleep(0.01)
        assert "REACHABLE" in state
        assert engine.take_counts() == {ip_address(address).packed: Counts(1, 1, 0)}

    def test_on_a_bridge(self, lan, make):
        lan.node.add_bridge("br0")
        lan.node.set_master("n0", "br0")
        lan.node.set_up("br0")
        mac = lan.node.mac("br0")
        make("br0", mac)
        assert lan.resolve("10.9.1.1") == mac
        assert lan.resolve("fd00:9::100") == mac

    def test_on_a_macvlan(self, lan, make):
        add = ["ip", "link", "add", "mv0", "link", "n0", "type", "macvlan", "mode", "bridge"]
        assert lan.node.popen(add).wait(5) == 0
        lan.node.set_up("mv0")
        mac = lan.node.mac("mv0")
        make("mv0", mac)
        assert mac != NODE_MAC
        assert lan.resolve("10.9.1.1") == mac
        groups = lan.node.run(NeighbourGroups, lan.index("mv0"))  # a macvlan passes on only the groups it is in
        try:
            groups.want([OURS[2]])
            lan.node.run(groups.advance)
            assert lan.resolve("fd00:9::100") == mac
        finally:
            groups.close()

    def test_before_the_programs_of_others_that_end_the_chain(self, lan, make):
        program = syscalls.program_load(syscalls.PROGRAM_TC, assemble("r0 = 0\nexit"), "test_other")  # TCX_PASS
        link = lan.node.run(syscalls.link_create, program, lan.index(), syscalls.ATTACH_TCX_INGRESS)
        try:
            make()
            assert answered(lan) == OURS
        finally:
            os.close(link)
            os.close(program)

    def test_a_frame_for_a_vlan_on_top_of_the_interface_is_left_alone(self, lan, make):
        engine = make()
        for address in OURS:
            frame = question(address)
            assert lan.ask(frame[:12] + b"\x81\x00\x00\x05" + frame[12:]) == []
        assert engine.take_counts() == {}

    def test_what_is_answered_reaches_no_packet_socket_and_a_conflict_does(self, lan, make):
        make()

        def listen():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
            sock.bind(("n0", 0x0806))
            return sock

        with lan.node.run(listen) as sock:
            sock.settimeout(2)
            assert lan.ask(question(OURS[0]))
            claim = arp.gratuitous(CLIENT_MAC, OURS[0].packed)[0]
            assert lan.ask(claim) == []
            assert sock.recv(2048)[:42] == claim


class TestAddresses:
    def test_announcing_replaces_the_whole_set(self, lan, make):
        engine = make(addresses=OURS[:3])
        lan.node.run(engine.announce, OURS[1:])
        assert answered(lan) == OURS[1:]

    def test_a_family_without_addresses_has_no_program_on_the_interface(self, lan, make):
        engine = make(addresses=OURS[:2])
        wait_until_attached(lan, "metallb_arp")
        lan.node.run(engine.announce, OURS)
        wait_until_attached(lan, "metallb_arp", "metallb_ndp")
        lan.node.run(engine.announce, OURS[2:])
        wait_until_attached(lan, "metallb_ndp")
        lan.node.run(engine.announce, [])
        wait_until_attached(lan)

    def test_a_set_of_other_addresses_leaves_the_program_where_it_is(self, lan, make):
        engine = make(addresses=OURS[:1])
        before = attached_ids(lan)
        lan.node.run(engine.announce, OURS[1:2])
        assert answered(lan) == OURS[1:2]
        assert attached_ids(lan) == before

    def test_more_addresses_than_slots_get_larger_maps_and_keep_their_counts(self, lan, make):
        engine = make(addresses=OURS, slots=4)
        assert answered(lan) == OURS
        more = [IPv4Address(int(OURS[0]) + n) for n in range(2, 30)]
        lan.node.run(engine.announce, [*OURS, *more])
        assert answered(lan, *OURS, *more) == [*OURS, *more]
        counts = engine.take_counts()
        assert [counts[address.packed].responses for address in OURS] == [2] * 4
        assert [counts[address.packed].responses for address in more] == [1] * 28

    def test_ten_thousand_are_installed_and_all_are_there(self, lan, make):
        addresses = [IPv4Address(int(OURS[0]) + n) for n in range(10_000)]
        engine = make(addresses=())
        started = time.monotonic()
        lan.node.run(engine.announce, addresses)
        elapsed = time.monotonic() - started
        assert elapsed < 0.5, f"installing 10 000 addresses took {elapsed * 1000:.0f} ms; 20 is usual"
        assert answered(lan, addresses[0], addresses[5000], addresses[-1]) == [
            addresses[0],
            addresses[5000],
            addresses[-1],
        ]
        assert answered(lan, IPv4Address(int(addresses[-1]) + 1)) == []


class TestCounts:
    def test_every_answer_is_counted_once_for_its_address(self, lan, make):
        engine = make()
        for repetitions, address in enumerate(OURS, 1):
            for _ in range(repetitions):
                assert lan.ask(question(address))
        assert engine.take_counts() == {a.packed: Counts(n, n, 0) for n, a in enumerate(OURS, 1)}
        assert engine.take_counts() == {}

    def test_counts_of_withdrawn_addresses_are_kept_and_their_slots_start_anew(self, lan, make):
        engine = make(addresses=OURS[:1], slots=2)
        assert lan.ask(question(OURS[0]))
        lan.node.run(engine.announce, OURS[1:3])
        assert lan.ask(question(OURS[1]))
        assert engine.take_counts() == {OURS[0].packed: Counts(1, 1, 0), OURS[1].packed: Counts(1, 1, 0)}

    def test_counts_are_taken_in_parts(self, lan, make):
        engine = make()
        answered(lan)
        first, second = engine.take_counts(3), engine.take_counts(3)
        assert (len(first), len(second)) == (3, 1)
        assert first.keys() | second.keys() == {address.packed for address in OURS}


class TestFence:
    def test_nothing_is_answered_before_the_first_renewal(self, lan):
        engine = lan.node.run(TcEngine, lan.index(), NODE_MAC)
        lan.node.run(engine.announce, OURS)
        assert answered(lan) == []
        engine.renew(time.monotonic() + 60)
        assert answered(lan) == OURS
        engine.renew(0)
        assert answered(lan) == []
        engine.close()

    @pytest.mark.parametrize("address", [OURS[0], OURS[2]], ids=["ARP", "NDP"])
    def test_answers_stop_at_the_deadline_and_not_before(self, lan, make, address):
        deadline = time.monotonic() + 0.3
        make().renew(deadline)
        check(asking(lan, address, 0.4), deadline)

    def test_a_stopped_process_renews_no_more_and_the_kernel_falls_silent(self, lan):
        with child(lan, 0.4) as (process, deadline):
            process.send_signal(signal.SIGSTOP)
            check(asking(lan, OURS[0], 0.5), deadline)

    def test_a_killed_process_takes_its_programs_along(self, lan):
        with child(lan, 60) as (process, _):
            assert lan.ask(question(OURS[0]))
            process.kill()
            process.wait(5)
            wait_until_attached(lan)
            assert answered(lan) == []

    def test_closing_silences_and_detaches(self, lan, make):
        engine = make()
        assert answered(lan) == OURS
        engine.close()
        assert answered(lan) == []
        wait_until_attached(lan)


class TestAdoption:
    @with_bpf_file_system
    def test_a_pinned_engine_survives_its_process_and_is_adopted_without_a_gap(self, lan, make):
        with child(lan, 60, BPF) as (process, _):
            process.kill()
            process.wait(5)
        assert answered(lan) == OURS
        counts_before_adoption = 1
        with lan.socket() as sock:
            engine = lan.node.run(TcEngine, lan.index(), NODE_MAC, pins=BPF)
            assert engine.adopted
            assert exchange(sock, question(OURS[0]), 0.02)
            lan.node.run(engine.announce, OURS[:3])
            assert exchange(sock, question(OURS[0]), 0.02)
        assert answered(lan) == OURS[:3]
        assert engine.take_counts()[OURS[0].packed] == Counts(2 + counts_before_adoption, 2 + counts_before_adoption, 0)
        engine.renew(0)
        assert answered(lan) == []
        engine.close()
        assert list(BPF.rglob("*/*")) == []

    @with_bpf_file_system
    def test_a_pinned_engine_without_a_process_stops_at_its_deadline(self, lan):
        with child(lan, 0.4, BPF) as (process, deadline):
            process.kill()
            process.wait(5)
            check(asking(lan, OURS[0], 0.5), deadline)
        discard(BPF)
        wait_until_attached(lan)

    @with_bpf_file_system
    def test_the_mac_of_an_adopted_engine_is_the_new_one(self, lan, make):
        first = make(pins=BPF)
        second = lan.node.run(TcEngine, lan.index(), b"\2\0\0\0\0\x77", pins=BPF)
        assert second.adopted
        (answer,) = lan.ask(question(OURS[0]))
        assert answer[6:12] == b"\2\0\0\0\0\x77"
        second.close()
        assert not (BPF / str(lan.index())).exists()
        del first

    @with_bpf_file_system
    def test_what_does_not_fit_is_silenced_and_replaced(self, lan, make):
        with child(lan, 60, BPF):
            pass
        (BPF / str(lan.index()) / "arp").unlink()  # half of an engine
        engine = make(pins=BPF, addresses=OURS[2:])
        assert not engine.adopted
        assert answered(lan) == OURS[2:]
        wait_until_attached(lan, "metallb_ndp")

    @with_bpf_file_system
    def test_a_mounted_bpf_file_system_is_found(self):
        mounts = Path("/proc/thread-self/mounts").read_text().splitlines()
        assert bpf_file_system() == next(Path(line.split()[1]) for line in mounts if line.split()[2] == "bpf")

    @with_bpf_file_system
    def test_discarding_keeps_the_interfaces_that_are_in_use(self, lan, make):
        make(pins=BPF)
        lan.node.run(discard, BPF, {lan.index()})
        assert answered(lan) == OURS
        lan.node.run(discard, BPF)
        assert answered(lan) == []


class TestErrors:
    def test_an_interface_that_is_not_there(self):
        engine = TcEngine(4242, NODE_MAC)
        try:
            with pytest.raises(BpfError, match=r"cannot attach to interface 4242: No such device"):
                engine.announce(OURS)
        finally:
            engine.close()

    def test_an_interface_that_vanishes(self, lan, make):
        engine = make()
        lan.node.delete_link("n0")
        lan.node.run(engine.announce, OURS[:1])
        assert engine.take_counts() == {}
        engine.close()

    def test_nothing_is_left_open(self, lan):
        before = sorted(os.listdir("/proc/self/fd"))
        engine = lan.node.run(TcEngine, lan.index(), NODE_MAC)
        lan.node.run(engine.announce, OURS)
        lan.node.run(engine.announce, OURS[2:])
        engine.close()
        assert sorted(os.listdir("/proc/self/fd")) == before


CHILD = """
import sys, time
from ipaddress import ip_address
from pathlib import Path
from metallb_cli.linux.ebpf.engine import TcEngine
index, mac, pins, *addresses = sys.argv[1:]
engine = TcEngine(int(index), bytes.fromhex(mac), pins=Path(pins) if pins else None)
engine.announce(map(ip_address, addresses))
deadline = time.monotonic() + LEASE
engine.renew(deadline)
print(deadline, flush=True)
time.sleep(30)
"""


@contextlib.contextmanager
def child(lan, lease, pins=""):
    """A process in the node's namespace with an engine for OURS that renews once; gives it and its deadline."""
    code = CHILD.replace("LEASE", str(lease))
    arguments = [str(lan.index()), NODE_MAC.hex(), str(pins), *map(str, OURS)]
    process = lan.node.popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process, float(process.stdout.readline())
    finally:
        process.kill()
        process.wait(5)
        process.stdout.close()

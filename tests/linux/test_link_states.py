"""Link processes that probe, find a foreign host, and hand over, on real wires, with both engines and both families."""

import contextlib
import socket
import threading
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from metallb_cli.layer2 import arp, ndp
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.probing import PROBE_INTERVAL, REPROBE_PERIOD
from metallb_cli.layer2.yielding import YIELD_LIMIT
from metallb_cli.linux.netns import namespaces
from metallb_cli.model import AddressRange, Reason
from tests.support.wire import running_link

pytestmark = pytest.mark.live

A_MAC, B_MAC, HOST_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3))


class V4:
    """What a client sends and hears."""

    vip, other = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.11")
    pool = (AddressRange(IPv4Address("192.0.2.10"), IPv4Address("192.0.2.99")),)
    ethertype, network = 0x0806, "192.0.2.{}/24"

    @classmethod
    def question(cls, number):
        return arp.request(HOST_MAC, (IPv4Address("198.18.0.0") + number).packed, cls.vip.packed)

    @classmethod
    def answered(cls, frame):
        """Which question a frame answers, and with which MAC; None when it is no answer."""
        seen = arp.parse(frame)
        if seen is None or seen.operation != arp.REPLY or seen.destination != HOST_MAC:
            return None
        return int(IPv4Address(seen.target_ip)) - int(IPv4Address("198.18.0.0")), seen.sender_mac

    @classmethod
    def is_probe(cls, frame):
        seen = arp.parse(frame)
        return seen is not None and (seen.sender_ip, seen.target_ip) == (bytes(4), cls.vip.packed)


class V6:
    """The same."""

    vip, other = IPv6Address("2001:db8::10"), IPv6Address("2001:db8::11")
    pool = (AddressRange(IPv6Address("2001:db8::10"), IPv6Address("2001:db8::99")),)
    ethertype, network = 0x86DD, "2001:db8::{}/64"

    @classmethod
    def question(cls, number):
        group = ndp.solicited_node(cls.vip.packed)
        asker = (IPv6Address("fe80::") + number).packed
        packet = ndp.Solicitation(ndp.group_mac(group), HOST_MAC, asker, group, cls.vip.packed, HOST_MAC)
        return ndp.encode_solicitation(packet)

    @classmethod
    def answered(cls, frame):
        seen = ndp.parse(frame)
        if not isinstance(seen, ndp.Advertisement) or not seen.flags & ndp.SOLICITED_FLAG:
            return None
        return int(IPv6Address(seen.destination)) - int(IPv6Address("fe80::")), seen.link_address

    @classmethod
    def is_probe(cls, frame):
        seen = ndp.parse(frame)
        return isinstance(seen, ndp.Solicitation) and (seen.source, seen.target) == (bytes(16), cls.vip.packed)


class Client:
    """Asks every 5 ms until it is closed, and remembers who answered which question."""

    def __init__(self, family, namespace):
        self.family = family
        self.answers = {}
        self.asked = 0
        self._sockets = [namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in range(2)]
        for sock in self._sockets:
            sock.bind(("lan0", family.ethertype))
        self._sockets[1].settimeout(0.05)
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._listen)]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        while not self._end.wait(0.005) and self.asked < 5000:
            self._sockets[0].send(self.family.question(self.asked + 1))
            self.asked += 1

    def _listen(self):
        silent_since = time.monotonic()
        while not self._end.is_set() or time.monotonic() - silent_since < 0.2:
            try:
                answer = self.family.answered(self._sockets[1].recv(2048))
            except TimeoutError:
                continue
            if answer is not None:
                silent_since = time.monotonic()
                self.answers.setdefault(answer[0], set()).add(answer[1])

    def close(self):
        """Stop, wait for the last answers, and return who answered the questions, in order."""
        self._end.set()
        for thread in self._threads:
            thread.join(10)
        for sock in self._sockets:
            sock.close()
        return [self.answers.get(number + 1, set()) for number in range(self.asked)]


@pytest.fixture(params=[V4, V6], ids=["v4", "v6"])
def family(request):
    return request.param


@pytest.fixture(params=["packet", "tc"])
def l2_engine(request):
    return request.param


@pytest.fixture
def lan():
    """Two nodes and a host, which stands for the client and for a machine with our address, on one switch."""
    with namespaces("mlbs", "a", "b", "host", "switch") as (a, b, host, switch):
        switch.add_bridge("lan")
        switch.set_up("lan")
        for name, namespace, mac in (("a", a, A_MAC), ("b", b, B_MAC), ("host", host, HOST_MAC)):
            switch.add_veth(f"port-{name}", "lan0", namespace, peer_mac=mac)
            switch.set_master(f"port-{name}", "lan")
            namespace.set_sysctl("net.ipv6.conf.lan0.accept_dad", 0)
            switch.set_up(f"port-{name}")
            namespace.set_up("lan0")
        yield a, b, host


class Node:
    """A link process, and the sets that it is given."""

    def __init__(self, family, link):
        self.family, self.link, self.generation = family, link, 0
        link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)

    def announce(self, *addresses, **kinds):
        self.generation += 1
        self.link.process.announce(AnnouncementSet(self.generation, addresses, self.family.pool, **kinds))
        return self.link.wait(lambda link: link.state.generation == self.generation)

    def wait(self, condition, timeout=5.0):
        return self.link.wait(lambda link: condition(link.state), timeout)


@contextlib.contextmanager
def node(family, namespace, l2_engine, **options):
    with running_link(namespace, l2_engine=l2_engine, **options) as link:
        yield Node(family, link)


class TestProbing:
    def test_an_address_that_nobody_has_is_announced_after_three_probes(self, lan, family, l2_engine):
        a, _, host = lan
        with node(family, a, l2_engine) as owner, host.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
            tap.bind(("lan0", family.ethertype))
            tap.settimeout(3.0)
            began = time.monotonic()
            state = owner.announce(family.vip, probe=(family.vip,))
            assert (state.announced, state.probing) == ((), (family.vip,))
            probes = 0
            while probes < 3:
                probes += family.is_probe(tap.recv(2048))
            state = owner.wait(lambda state: state.announced == (family.vip,))
            assert time.monotonic() - began >= 3 * PROBE_INTERVAL
            assert state.probing == ()

    def test_an_address_that_a_host_has_is_contested_and_silent(self, lan, family, l2_engine):
        a, _, host = lan
        host.add_address("lan0", family.network.format(10))
        with node(family, a, l2_engine) as owner:
            owner.announce(family.vip, probe=(family.vip,))
            state = owner.wait(lambda state: state.contested)
            assert [(c.address, c.mac) for c in state.contested] == [(family.vip, HOST_MAC)]
            assert (state.announced, state.probing) == ((), ())
            assert "so we do not announce it" in state.last_error
            client = Client(family, host)
            time.sleep(0.3)
            assert client.close() == [set()] * client.asked

    def test_a_host_on_one_of_two_lans_is_a_conflict_and_the_address_is_announced_on_the_other(self, lan, family):
        a, b, host = lan
        b.add_veth("lan1", "lan1", a)
        for namespace in (a, b):
            namespace.set_up("lan1")
        host.add_address("lan0", family.network.format(10))
        with node(family, a, "packet") as owner:
            owner.link.wait(lambda link: link.verdict("lan1") is Reason.USABLE)
            owner.announce(family.vip, probe=(family.vip,))
            state = owner.wait(lambda state: state.announced == (family.vip,))
            assert [(c.address, c.mac) for c in state.conflicts] == [(family.vip, HOST_MAC)]
            assert (state.contested, state.probing) == ((), ())
            client = Client(family, host)
            time.sleep(0.2)
            assert not any(client.close())

    @pytest.mark.parametrize("how", ["interface", "mac"])
    def test_what_was_answered_for_is_not_probed_again_when_the_interface_was_away_for_a_moment(
        self, lan, family, l2_engine, how
    ):
        a, _, host = lan
        with node(family, a, l2_engine) as owner, host.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
            owner.announce(family.vip, family.other, probe=(family.vip, family.other))
            owner.wait(lambda state: state.announced == (family.vip, family.other))
            tap.bind(("lan0", family.ethertype))
            tap.settimeout(0.05)
            if how == "mac":
                a.set_link("lan0", address="02:00:00:00:01:0a")
            else:
                a.set_down("lan0")
                owner.wait(lambda state: state.announced == ())
                a.set_up("lan0")
            began = time.monotonic()
            frames = []
            while time.monotonic() < began + PROBE_INTERVAL * 2:
                with contextlib.suppress(TimeoutError):
                    frames.append(tap.recv(2048))
            assert [frame for frame in frames if family.is_probe(frame)] == []
            assert owner.link.state.announced == (family.vip, family.other)

    def test_another_address_is_probed_when_the_interface_is_back(self, lan, l2_engine):
        a, _, _ = lan
        with node(V4, a, l2_engine) as owner:
            owner.announce(V4.vip, probe=(V4.vip,))
            owner.wait(lambda state: state.announced == (V4.vip,))
            a.set_down("lan0")
            owner.wait(lambda state: state.announced == ())
            owner.announce(V4.other, probe=(V4.other,))
            owner.announce(V4.vip, V4.other, probe=(V4.vip, V4.other))
            a.set_up("lan0")
            owner.wait(lambda state: set(state.probing) == {V4.vip, V4.other})

    @pytest.mark.slow
    def test_it_is_announced_when_the_host_has_it_no_more(self, lan, l2_engine):
        a, b, host = lan
        for family in (V4, V6):
            host.add_address("lan0", family.network.format(10))
        with node(V4, a, l2_engine) as first, node(V6, b, l2_engine) as second:
            for owner in (first, second):
                owner.announce(owner.family.vip, probe=(owner.family.vip,))
                owner.wait(lambda state: state.contested)
                host.delete_address("lan0", owner.family.network.format(10))
            for owner in (first, second):
                vip = owner.family.vip
                state = owner.wait(lambda state, vip=vip: state.announced == (vip,), timeout=REPROBE_PERIOD + 2)
                assert state.contested == ()


class TestYielding:
    def test_a_planned_move_leaves_no_question_unanswered_and_ends_the_old_owner(self, lan, family, l2_engine):
        a, b, host = lan
        vip = family.vip
        with node(family, a, l2_engine) as old, node(family, b, l2_engine) as new:
            new.announce()
            old.announce(vip)
            client = Client(family, host)
            time.sleep(0.2)
            old.announce(vip, yielding=(vip,))
            time.sleep(0.2)
            assert old.link.state.announced == (vip,)
            began = time.monotonic()
            new.announce(vip)
            state = old.wait(lambda state: state.released == (vip,))
            assert time.monotonic() - began < 0.5
            assert state.announced == ()
            at = client.asked
            time.sleep(0.2)
            answers = client.close()
        assert all(answers), f"{sum(map(bool, answers))} of {len(answers)} questions were answered"
        assert answers[0] == {A_MAC}
        assert set().union(*answers[at + 5 :]) == {B_MAC}

    def test_without_a_new_owner_it_ends_by_itself_and_comes_back_at_once(self, lan, family, l2_engine):
        a, _, host = lan
        vip = family.vip
        with node(family, a, l2_engine) as owner:
            owner.announce(vip)
            began = time.monotonic()
            owner.announce(vip, yielding=(vip,))
            owner.wait(lambda state: state.released == (vip,))
            assert YIELD_LIMIT - 0.1 < time.monotonic() - began < 2.0
            silent = Client(family, host)
            time.sleep(0.2)
            assert not any(silent.close())
            state = owner.announce(vip, probe=(vip,))
            assert (state.announced, state.released) == ((vip,), ())
            client = Client(family, host)
            time.sleep(0.2)
            assert all(client.close())

"""IP networks of interfaces by netlink: what the kernel says (pyroute2 is the second opinion), and what follows."""

import socket
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from metallb_cli.linux.links import Gone, Link, LinkWatcher
from metallb_cli.linux.netns import Namespace
from metallb_cli.linux.networks import InterfaceAddress, Networks, decode_addresses

NEW, DELETED = 20, 21
TENTATIVE, FAILED, PERMANENT, NO_PREFIX_ROUTE = 0x40, 0x08, 0x80, 0x200

interfaces = st.one_of(
    st.ip_addresses(v=4).flatmap(lambda a: st.integers(0, 32).map(lambda n: ip_interface(f"{a}/{n}"))),
    st.ip_addresses(v=6).flatmap(lambda a: st.integers(0, 128).map(lambda n: ip_interface(f"{a}/{n}"))),
)


def by_pyroute2(interface, message_type=NEW, index=2, flags=PERMANENT, peer=None):
    message = ifaddrmsg()
    message["family"] = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    message["prefixlen"], message["index"], message["flags"] = interface.network.prefixlen, index, flags & 0xFF
    local = [("IFA_LOCAL", str(interface.ip))] if interface.version == 4 or peer else []
    message["attrs"] = [("IFA_ADDRESS", str(peer or interface.ip)), *local, ("IFA_FLAGS", flags)]
    message["header"]["type"] = message_type
    message.encode()
    return bytes(message.data)


def read(text, **options):
    (address,) = decode_addresses(by_pyroute2(ip_interface(text), **options))
    return address.network


class TestDecode:
    @given(st.lists(interfaces, max_size=4))
    def test_every_message_that_pyroute2_writes_is_read(self, wanted):
        found = list(decode_addresses(b"".join(map(by_pyroute2, wanted))))
        assert len(found) == len(wanted)
        for address, interface in zip(found, wanted, strict=True):
            network = interface.network
            ignored = network.num_addresses == 1 or network.is_loopback or network.is_link_local
            assert address.network == (None if ignored else network)

    @pytest.mark.parametrize(
        ("text", "network"),
        [
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("192.0.2.7/31", "192.0.2.6/31"),
            ("2001:db8::7/64", "2001:db8::/64"),
            ("fd00::7/127", "fd00::6/127"),
        ],
    )
    def test_an_address_is_on_its_network(self, text, network):
        assert read(text) == ip_network(network)

    @pytest.mark.parametrize(
        "text", ["192.0.2.7/32", "2001:db8::7/128", "127.0.0.1/8", "::1/128", "169.254.3.4/16", "fe80::1/64"]
    )
    def test_single_hosts_loopback_and_link_local_addresses_say_nothing(self, text):
        assert read(text) is None

    def test_an_ipv6_address_that_somebody_else_has_says_nothing_and_one_under_test_does(self):
        assert read("2001:db8::7/64", flags=TENTATIVE | FAILED) is None
        assert read("2001:db8::7/64", flags=TENTATIVE) is not None

    def test_an_address_whose_routes_somebody_else_makes_counts(self):
        assert read("192.0.2.7/24", flags=PERMANENT | NO_PREFIX_ROUTE) is not None

    def test_the_network_of_a_point_to_point_address_is_that_of_its_far_end(self):
        assert read("192.0.2.7/30", peer="198.51.100.9") == ip_network("198.51.100.8/30")

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_without_an_error(self, data):
        assert all(isinstance(change, InterfaceAddress) for change in decode_addresses(data))

    @given(st.integers(0, 60), st.binary(min_size=1, max_size=8), st.sampled_from(["192.0.2.7/24", "2001:db8::7/64"]))
    def test_a_damaged_message_is_read_without_an_error(self, offset, damage, text):
        data = by_pyroute2(ip_interface(text))
        damaged = data[:offset] + damage + data[offset + len(damage) :]
        assert all(isinstance(change, InterfaceAddress) for change in decode_addresses(damaged))


class TestNetworks:
    def told(self, *messages):
        networks = Networks()
        for message in messages:
            for address in decode_addresses(message):
                networks.take(address)
        return networks.of(2)

    def test_two_addresses_on_one_network_are_one_network_until_both_are_gone(self):
        first, second = ip_interface("192.0.2.7/24"), ip_interface("192.0.2.8/24")
        both = by_pyroute2(first), by_pyroute2(second)
        assert self.told(*both) == (ip_network("192.0.2.0/24"),)
        assert self.told(*both, by_pyroute2(first, DELETED)) == (ip_network("192.0.2.0/24"),)
        assert self.told(*both, by_pyroute2(first, DELETED), by_pyroute2(second, DELETED)) == ()

    def test_they_are_sorted_and_those_of_other_interfaces_are_left_out(self):
        texts = ["2001:db8::7/64", "192.0.2.7/24", "10.0.0.7/8"]
        others = [by_pyroute2(ip_interface("172.16.0.1/12"), index=3)]
        assert self.told(*(by_pyroute2(ip_interface(text)) for text in texts), *others) == tuple(
            map(ip_network, ("10.0.0.0/8", "192.0.2.0/24", "2001:db8::/64"))
        )

    def test_an_address_that_turns_out_to_be_taken_is_forgotten(self):
        six = ip_interface("2001:db8::7/64")
        assert self.told(by_pyroute2(six, flags=TENTATIVE), by_pyroute2(six, flags=TENTATIVE | FAILED)) == ()

    def test_the_end_of_what_was_never_told_is_no_error(self):
        assert self.told(by_pyroute2(ip_interface("192.0.2.7/24"), DELETED)) == ()


@pytest.mark.live
class TestWatcher:
    @pytest.fixture
    def namespace(self):
        with Namespace.create("mlbt-networks") as namespace:
            namespace.add_veth("lan0", "lan1")
            yield namespace

    @pytest.fixture
    def watcher(self, namespace):
        watcher = namespace.run(LinkWatcher)
        yield watcher
        watcher.close()

    def networks(self, changes, name="lan0"):
        """What the last change says of the interface."""
        return next((c.networks for c in reversed(changes) if isinstance(c, Link) and c.name == name), None)

    def test_it_finds_the_networks_that_are_there(self, namespace, watcher):
        for address in ("192.0.2.7/24", "2001:db8::7/64", "198.51.100.1/32"):
            namespace.add_address("lan0", address)
        found = namespace.run(watcher.all)
        assert self.networks(found) == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/64"))
        assert self.networks(found, "lan1") == self.networks(found, "lo") == ()

    def test_it_is_told_of_networks_that_come_and_go(self, namespace, watcher):
        namespace.run(watcher.all)
        namespace.add_address("lan0", "192.0.2.7/24")
        assert self.networks(namespace.run(watcher.changes)) == (ip_network("192.0.2.0/24"),)
        namespace.add_address("lan0", "192.0.2.8/24")
        assert namespace.run(watcher.changes) == [], "the network is the same"
        namespace.add_address("lan0", "2001:db8::7/64")
        assert self.networks(namespace.run(watcher.changes)) == (
            ip_network("192.0.2.0/24"),
            ip_network("2001:db8::/64"),
        )
        namespace.delete_address("lan0", "192.0.2.7/24")  # takes the secondary one along
        namespace.delete_address("lan0", "2001:db8::7/64")
        assert self.networks(namespace.run(watcher.changes)) == ()

    def test_a_change_of_the_link_keeps_its_networks(self, namespace, watcher):
        namespace.add_address("lan0", "192.0.2.7/24")
        namespace.run(watcher.all)
        namespace.set_link("lan0", mtu=1400)
        namespace.set_up("lan0")
        assert self.networks(namespace.run(watcher.changes)) == (ip_network("192.0.2.0/24"),)

    def test_an_interface_of_the_same_name_begins_without_networks(self, namespace, watcher):
        namespace.add_address("lan0", "192.0.2.7/24")
        namespace.run(watcher.all)
        namespace.delete_link("lan0")
        namespace.add_veth("lan0", "lan1")
        changes = namespace.run(watcher.changes)
        assert any(isinstance(change, Gone) for change in changes)
        assert self.networks(changes) == ()

    def test_after_more_events_than_fit_it_looks_at_everything_again(self, namespace, watcher):
        namespace.run(watcher.all)
        watcher._socket.setsockopt(1, 8, 1)  # SOL_SOCKET, SO_RCVBUF: the least the kernel gives
        for number in range(40):
            namespace.add_address("lan0", f"10.0.{number}.1/24")
        namespace.delete_address("lan0", "10.0.0.1/24")
        changes = namespace.run(watcher.changes)
        assert self.networks(changes) == tuple(ip_network(f"10.0.{number}.0/24") for number in range(1, 40))
        assert namespace.run(watcher.changes) == [], "what was told before the loss is old"

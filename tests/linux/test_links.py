"""Interfaces by netlink: what the kernel says (pyroute2 is the second opinion), and what follows for each one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from metallb_cli.errors import UsageError
from metallb_cli.linux.links import DEFAULT_EXCLUDE, Excluded, Gone, Link, LinkWatcher, decode, judge
from metallb_cli.linux.netns import Namespace
from metallb_cli.model import Reason

NEW, DELETED = 16, 17
UP, BROADCAST, LOOPBACK, RUNNING, NOARP, LOWER_UP, DORMANT = 0x1, 0x2, 0x8, 0x40, 0x80, 0x10000, 0x20000
MAC = bytes.fromhex("020000000001")
GOOD = Link(2, "eth0", 1, UP | BROADCAST | RUNNING | LOWER_UP, MAC)

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=15)
links = st.builds(
    Link,
    index=st.integers(1, 2**31 - 1),
    name=names,
    kind=st.integers(0, 0xFFFF),
    flags=st.integers(0, 2**32 - 1),
    mac=st.binary(min_size=6, max_size=6),
    master=st.integers(0, 2**31 - 1),
    carrier_changes=st.integers(0, 2**32 - 1),
)


def by_pyroute2(link, message_type=NEW, family=0):
    message = ifinfmsg()
    message["family"], message["ifi_type"], message["index"], message["flags"] = (
        family,
        link.kind,
        link.index,
        link.flags,
    )
    message["attrs"] = [
        ("IFLA_MTU", 1500),
        ("IFLA_IFNAME", link.name),
        ("IFLA_ADDRESS", link.mac.hex(":")),
        ("IFLA_MASTER", link.master),
        ("IFLA_CARRIER_CHANGES", link.carrier_changes),
    ]
    message["header"]["type"] = message_type
    message.encode()
    return bytes(message.data)


class TestDecode:
    @given(st.lists(links, max_size=4))
    def test_every_message_that_pyroute2_writes_is_read(self, wanted):
        assert list(decode(b"".join(map(by_pyroute2, wanted)))) == wanted

    def test_a_deleted_interface_is_gone(self):
        assert list(decode(by_pyroute2(GOOD, DELETED))) == [Gone(2)]

    def test_a_bridges_note_about_its_port_is_no_interface(self):
        assert list(decode(by_pyroute2(GOOD, DELETED, family=7))) == []

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_without_an_error(self, data):
        assert all(isinstance(change, Link | Gone) for change in decode(data))

    @given(st.integers(0, 100), st.binary(min_size=1, max_size=8))
    def test_a_damaged_message_is_read_without_an_error(self, offset, damage):
        data = by_pyroute2(GOOD)
        damaged = data[:offset] + damage + data[offset + len(damage) :]
        assert all(isinstance(change, Link | Gone) for change in decode(damaged))


class TestVerdict:
    def judged(self, exclude=DEFAULT_EXCLUDE, **changes):
        fields = {field: getattr(GOOD, field) for field in Link.__slots__} | changes
        return judge(Link(**fields), Excluded(exclude))

    @pytest.mark.parametrize(
        ("changes", "verdict"),
        [
            ({}, Reason.USABLE),
            ({"name": "lo", "flags": UP | LOOPBACK | RUNNING, "kind": 772}, Reason.INTERFACE_LOOPBACK),
            ({"name": "veth12ab"}, Reason.INTERFACE_EXCLUDED),
            ({"kind": 65534}, Reason.INTERFACE_NOT_ETHERNET),
            ({"mac": b""}, Reason.INTERFACE_NOT_ETHERNET),
            ({"flags": UP | RUNNING | LOWER_UP}, Reason.INTERFACE_NOT_ETHERNET),
            ({"flags": UP | BROADCAST | LOWER_UP | NOARP}, Reason.INTERFACE_NO_ARP),
            ({"master": 7}, Reason.INTERFACE_ENSLAVED),
            ({"flags": BROADCAST}, Reason.INTERFACE_DOWN),
            ({"flags": UP | BROADCAST}, Reason.INTERFACE_NO_CARRIER),
            ({"flags": UP | BROADCAST | LOWER_UP | DORMANT}, Reason.INTERFACE_NO_CARRIER),
            ({"flags": UP | BROADCAST | LOWER_UP}, Reason.USABLE),
        ],
    )
    def test_an_interface_is_usable_or_has_a_reason(self, changes, verdict):
        assert self.judged(**changes) is verdict

    @pytest.mark.parametrize(
        "name",
        [
            *("docker0", "cbr0", "dummy1", "virbr0", "lxcbr0", "vethx", "cali12", "tunl0", "flannel.1", "kube-ipvs0"),
            *("cni0", "nodelocaldns", "lxc1234"),
        ],
    )
    def test_metallbs_list_is_kept_away_from(self, name):
        assert self.judged(name=name) is Reason.INTERFACE_EXCLUDED

    @pytest.mark.parametrize("name", ["eth0", "lan0", "bond0", "br0", "eth0.50", "lo1", "mydocker", "wlan0"])
    def test_other_names_are_not(self, name):
        assert self.judged(name=name) is Reason.USABLE

    def test_the_list_can_be_replaced(self):
        assert self.judged(["^eth"], name="eth0") is Reason.INTERFACE_EXCLUDED
        assert self.judged(["^eth"], name="docker0") is Reason.USABLE
        assert self.judged([], name="docker0") is Reason.USABLE

    def test_a_pattern_that_is_none_is_refused_with_its_text(self):
        with pytest.raises(UsageError, match=r"'\(eth' is no regular expression"):
            Excluded(["(eth"])


@pytest.mark.parametrize(
    ("changes", "replugged"),
    [
        ({}, False),
        ({"name": "eth7", "flags": UP | BROADCAST | LOWER_UP}, False),
        ({"carrier_changes": 2}, True),
    ],
)
def test_neighbours_are_told_again_after_a_pulled_cable(changes, replugged):
    after = Link(**({field: getattr(GOOD, field) for field in Link.__slots__} | changes))
    assert after.replugged(GOOD) is replugged


def test_neighbours_are_told_again_when_the_kernel_lets_frames_out():
    silent = Link(2, "eth0", 1, UP | BROADCAST | LOWER_UP, MAC)
    assert GOOD.replugged(silent)
    assert not silent.replugged(GOOD)


@pytest.mark.live
class TestWatcher:
    @pytest.fixture
    def namespace(self):
        with Namespace.create("mlbt-links") as namespace:
            yield namespace

    @pytest.fixture
    def watcher(self, namespace):
        watcher = namespace.run(LinkWatcher)
        yield watcher
        watcher.close()

    def test_it_finds_what_is_there(self, namespace, watcher):
        namespace.add_veth("lan0", "lan1", mac=MAC)
        found = {link.name: link for link in namespace.run(watcher.all)}
        assert set(found) == {"lo", "lan0", "lan1"}
        assert found["lan0"].mac == MAC

    def test_it_is_told_what_changes(self, namespace, watcher):
        namespace.run(watcher.all)
        namespace.add_veth("lan0", "lan1")
        index = next(c.index for c in namespace.run(watcher.changes) if isinstance(c, Link) and c.name == "lan0")
        namespace.set_up("lan0")
        assert any(c.flags & UP for c in namespace.run(watcher.changes) if isinstance(c, Link) and c.index == index)
        namespace.delete_link("lan0")
        assert Gone(index) in namespace.run(watcher.changes)
        assert namespace.run(watcher.changes) == []

    def test_after_more_events_than_fit_it_looks_at_everything_again(self, namespace, watcher):
        namespace.add_veth("lan0", "lan1")
        namespace.run(watcher.all)
        watcher._socket.setsockopt(1, 8, 1)  # SOL_SOCKET, SO_RCVBUF: the least the kernel gives
        for _ in range(10):
            namespace.set_up("lan0")
            namespace.set_down("lan0")
        namespace.delete_link("lan0")
        namespace.add_veth("lan2", "lan3")
        present = set()
        for change in namespace.run(watcher.changes):
            if isinstance(change, Gone):
                present.discard(change.index)
            else:
                present.add(change.index)
        assert present == {link.index for link in namespace.run(watcher.all) if isinstance(link, Link)}
        assert namespace.run(watcher.changes) == [], "what was told before the loss is old"

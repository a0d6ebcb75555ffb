"""Network namespaces: made, used and gone again, also where nobody is root."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from metallb_cli.errors import NetworkSetupError, PermissionMissingError
from metallb_cli.linux import netns
from metallb_cli.linux.netns import NAMED, Namespace, namespaces
from tests.support.wire import send_datagram, wait_for_neighbour

pytestmark = pytest.mark.live

NAME = f"mlbt-{os.getpid()}-ns"
MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


@pytest.fixture
def pair():
    with namespaces("mlbt", "one", "two") as both:
        yield both


def network_of(pid="self"):
    return os.stat(f"/proc/{pid}/ns/net").st_ino


class TestNamespace:
    def test_a_new_one_has_only_a_loopback_and_is_not_ours(self):
        with Namespace.create(NAME) as namespace:
            assert list(namespace.links()) == ["lo"]
            assert os.fstat(namespace.fileno()).st_ino != network_of()

    def test_a_function_runs_inside_and_this_thread_stays_outside(self):
        before = network_of("thread-self")
        with Namespace.create(NAME) as namespace:
            inside = namespace.run(network_of, "thread-self")
            assert inside == os.fstat(namespace.fileno()).st_ino
        assert network_of("thread-self") == before

    def test_what_the_function_raises_is_raised(self):
        with Namespace.create(NAME) as namespace, pytest.raises(ZeroDivisionError):
            namespace.run(lambda: 1 // 0)

    def test_a_process_runs_inside(self):
        with Namespace.create(NAME) as namespace:
            code = "import os; print(os.stat('/proc/self/ns/net').st_ino)"
            with namespace.popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
                assert int(process.communicate(timeout=10)[0]) == os.fstat(namespace.fileno()).st_ino

    def test_another_process_enters_by_the_reference(self):
        with Namespace.create(NAME) as namespace:
            code = (
                "import os, sys; from metallb_cli.linux import netns; netns.enter(sys.argv[1]);"
                "print(os.stat('/proc/self/ns/net').st_ino)"
            )
            shown = subprocess.run(
                [sys.executable, "-c", code, namespace.reference],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout
            assert int(shown) == os.fstat(namespace.fileno()).st_ino

    def test_it_is_gone_when_nothing_holds_it(self):
        with Namespace.create(NAME) as namespace:
            reference = namespace.reference
        with pytest.raises(NetworkSetupError, match="cannot open network namespace"):
            Namespace.open(reference)
        namespace.remove()

    def test_a_mounted_one_is_found_by_ip_netns_until_it_is_removed(self):
        with Namespace.create(NAME, mount=True) as namespace:
            if namespace.reference != str(NAMED / NAME):
                pytest.skip("mounting is not permitted here")
            subprocess.run(["ip", "netns", "exec", NAME, "ip", "link"], capture_output=True, timeout=10, check=True)
            with Namespace.open(NAME) as again:
                assert os.fstat(again.fileno()).st_ino == os.fstat(namespace.fileno()).st_ino
                again._mount = None  # only look at it
            with pytest.raises(NetworkSetupError, match=f"ip netns delete {NAME}"):
                Namespace.create(NAME, mount=True)
        assert not (NAMED / NAME).exists()

    def test_entering_one_that_does_not_exist_says_so(self):
        with pytest.raises(NetworkSetupError, match=r"cannot open network namespace /run/netns/mlbt-no-such"):
            netns.enter("mlbt-no-such")

    def test_a_failure_in_the_middle_removes_all_of_them(self):
        held = []
        with pytest.raises(RuntimeError), namespaces("mlbt", "one", "two") as both:
            held += both
            raise RuntimeError
        assert [namespace.fileno() for namespace in held] == [-1, -1]


class TestBuilding:
    def test_two_namespaces_on_a_cable_reach_each_other(self, pair):
        one, two = pair
        one.add_veth("lan0", "lan0", two, mac=MAC, peer_mac=PEER_MAC)
        for number, namespace in enumerate(pair, 1):
            namespace.set_up("lan0")
            namespace.add_address("lan0", f"192.0.2.{number}/24")
        send_datagram(one, "192.0.2.2")
        assert wait_for_neighbour(one, "lan0", "192.0.2.2", PEER_MAC) == PEER_MAC

    def test_a_bridge_joins_its_ports(self, pair):
        switch, one = pair
        with Namespace.create(NAME) as two:
            switch.add_bridge("lan")
            switch.set_up("lan")
            for number, namespace in enumerate((one, two), 1):
                switch.add_veth(f"port{number}", "eth0", namespace)
                switch.set_master(f"port{number}", "lan")
                switch.set_up(f"port{number}")
                namespace.set_up("eth0")
                namespace.add_address("eth0", f"192.0.2.{number}/24")
            send_datagram(one, "192.0.2.2")
            assert wait_for_neighbour(one, "eth0", "192.0.2.2", two.mac("eth0")) == two.mac("eth0")
            switch.set_master("port1", None)

    def test_routes_lead_where_they_are_told(self, pair):
        one, _ = pair
        one.add_veth("lan0", "lan1")
        one.set_up("lan0")
        one.set_up("lan1")
        one.add_address("lan0", "192.0.2.1/24")
        one.add_route("198.51.100.0/24", via="192.0.2.9")
        one.add_route("default", device="lan1")
        one.add_address("lan0", "2001:db8::1/64")
        one.add_route("2001:db8:1::/48", via="2001:db8::9")

        def source(family, address):
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((address, 9))
                return sock.getsockname()[0]

        assert one.run(source, socket.AF_INET, "198.51.100.7") == "192.0.2.1"
        assert one.run(source, socket.AF_INET6, "2001:db8:1::7") == "2001:db8::1"
        one.delete_address("lan0", "192.0.2.1/24")
        with pytest.raises(OSError, match="unreachable"):
            one.run(source, socket.AF_INET6, "2001:db8:2::7")

    def test_sysctls_are_the_namespaces_own(self, pair):
        one, two = pair
        one.set_sysctl("net.ipv4.ip_forward", 1)
        two.set_sysctl("net.ipv4.ip_forward", 0)
        assert (one.sysctl("net.ipv4.ip_forward"), two.sysctl("net.ipv4.ip_forward")) == ("1", "0")
        assert one.sysctl("net/ipv4/conf/lo/forwarding") == "1"

    @pytest.mark.parametrize(
        ("operation", "message"),
        [
            (lambda ns: ns.set_up("nope"), "cannot change nope .*there is no link nope"),
            (lambda ns: ns.delete_link("nope"), "cannot delete nope: there is no link nope"),
            (lambda ns: ns.add_veth("lo", "x"), "cannot create veth lo and x: File exists"),
            (lambda ns: ns.add_address("lo", "127.0.0.1/8"), "cannot add 127.0.0.1/8 on lo: File exists"),
            (lambda ns: ns.set_sysctl("net.ipv4.nope", 1), "cannot set sysctl net.ipv4.nope=1"),
            (lambda ns: ns.add_route("198.51.100.0/24", via="192.0.2.9"), "cannot route 198.51.100.0/24"),
        ],
    )
    def test_what_the_kernel_refuses_is_said_in_words(self, pair, operation, message):
        with pytest.raises(NetworkSetupError, match=message):
            operation(pair[0])


NO_RIGHTS = """
import sys
from metallb_cli.linux import privileges
from metallb_cli.linux.netns import Namespace
privileges.keep_only(())
try:
    Namespace.create("mlbt-refused")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_the_right_it_says_which_one_and_how_to_get_it():
    shown = subprocess.run([sys.executable, "-c", NO_RIGHTS], capture_output=True, text=True, timeout=10, check=True)
    assert shown.stdout.startswith(PermissionMissingError.__name__)
    assert "CAP_SYS_ADMIN" in shown.stdout
    assert "unshare -Urn" in shown.stdout


def test_everything_works_inside_a_user_namespace_without_root():
    command = ["unshare", "--user", "--map-root-user", "--net", "true"]
    allowed = shutil.which("unshare") and subprocess.run(command, capture_output=True, timeout=10, check=False)
    if not allowed or allowed.returncode:
        pytest.skip("user namespaces are not permitted here")
    code = (
        "from metallb_cli.linux.netns import namespaces\n"
        "with namespaces('mlbt', 'a', 'b', mount=True) as (a, b):\n"
        "    a.add_veth('lan0', 'lan0', b)\n"
        "    print(sorted(b.links()), a.reference.startswith('/proc/'))\n"
    )
    command[-1:] = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert shown.stdout == "['lan0', 'lo'] True\n"

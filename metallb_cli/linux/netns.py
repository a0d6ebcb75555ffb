"""Network namespaces and what is built in them: veth pairs, bridges, addresses, routes.

    enter(reference)                                  this thread moves in; sockets it makes from then on live there
    Namespace.create(name, mount=False) -> Namespace  a new one; also a context manager that removes it
    Namespace.open(reference) -> Namespace            an existing one
    namespaces(prefix, "a", "b")                      context manager: several new ones, removed however it ends
    namespace.name, .reference, .fileno()             `reference`: a path that another process may open
    namespace.run(function, *args, **kwargs)          call it in a thread inside, return its result
    namespace.popen(argv, **kwargs) -> Popen          a process inside
    namespace.add_veth(name, peer, peer_namespace=None, mac=None, peer_mac=None)
    namespace.add_bridge(name) · .set_master(name, bridge | None)
    namespace.set_up(name) · .set_down(name) · .set_link(name, **attributes) · .delete_link(name)
    namespace.add_address(name, "10.0.0.1/24") · .delete_address(...)
    namespace.add_route("10.1.0.0/16" | "default", via=None, device=None)
    namespace.set_sysctl("net.ipv4.ip_forward", 1) · .sysctl(name) -> str (net/ipv4/conf/eth0.5/… where a name has dots)
    namespace.links() -> {name: mac} · .mac(name) -> bytes · .neighbours(name) -> {address: mac}
    namespace.remove()

A namespace is held by a file descriptor, so it needs no writable /run/netns: inside a user namespace
(`unshare -Urn`) everything here works, and a namespace vanishes with the process that made it, even a killed one. With
`mount=True`, where mounting is permitted, it also appears under /run/netns for `ip netns exec NAME …`, and stays until
`remove`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from metallb_cli.errors import NetworkSetupError, PermissionMissingError
from metallb_cli.linux.privileges import require

P = ParamSpec("P")
T = TypeVar("T")

NAMED = Path("/run/netns")
"""Where iproute2 keeps its named namespaces."""

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def enter(reference: str) -> None:
    """Move the calling thread into a network namespace; sockets that it made before stay where they are.

    Args:
        reference: a name under /run/netns, or any path of a namespace, such as /proc/PID/ns/net.

    Raises:
        NetworkSetupError: there is no such namespace.
        PermissionMissingError: without CAP_SYS_ADMIN.
    """
    fd = _open(reference)
    try:
        _set(fd, reference)
    finally:
        os.close(fd)


class Namespace:
    """A network namespace, alive at least as long as this object is open.

    Links are named as in the namespace itself; MAC addresses are six bytes. Every method raises NetworkSetupError when
    the kernel refuses, and PermissionMissingError when a capability is missing.
    """

    def __init__(self, name: str, fd: int, mount: Path | None) -> None:
        self.name = name
        self._fd = fd
        self._mount = mount

    @classmethod
    def create(cls, name: str, *, mount: bool = False) -> Self:
        """Make a namespace with only a loopback interface, which is up.

        Args:
            name: for messages, and for /run/netns.
            mount: also mount it at /run/netns/NAME if that is permitted. Such a name stays until `remove`, even if
                this process is killed.
        """
        require({"CAP_SYS_ADMIN"}, purpose="create network namespaces")
        path = NAMED / name
        if mount and path.exists():
            raise NetworkSetupError(f"network namespace {name} exists; remove it with `ip netns delete {name}`")
        fd = _in_thread(_unshare)
        namespace = cls(name, fd, _mount(fd, path) if mount else None)
        try:
            namespace.set_up("lo")
        except BaseException:
            namespace.remove()
            raise
        return namespace

    @classmethod
    def open(cls, reference: str) -> Self:
        """Open an existing namespace by its name under /run/netns or by a path."""
        path = Path(reference)
        return cls(path.name, _open(reference), NAMED / reference if len(path.parts) == 1 else None)

    def fileno(self) -> int:
        """The file descriptor that holds the namespace."""
        return self._fd

    @property
    def reference(self) -> str:
        """A path by which another process of the same user can open the namespace while this one holds it."""
        return str(self._mount) if self._mount is not None else f"/proc/{os.getpid()}/fd/{self._fd}"

    def remove(self) -> None:
        """Unmount and let go. Its links vanish when no process or socket is left inside. Can be called twice."""
        if self._mount is not None:
            _libc.umount2(os.fsencode(self._mount), _MNT_DETACH)
            with contextlib.suppress(OSError):
                self._mount.unlink()
            self._mount = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a new thread inside the namespace; return its result or raise its exception.

        The sockets and processes that it makes stay in the namespace. A process that asks for a signal at its parent's
        death (PR_SET_PDEATHSIG) gets it when the thread ends, which is at once: start that one elsewhere.
        """

        def inside() -> T:
            _set(self._fd, self.name)
            return function(*args, **kwargs)

        return _in_thread(inside)

    def popen(self, argv: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:  # noqa: ANN401
        """Start a process inside, as `subprocess.Popen(argv, **kwargs)` does."""
        return self.run(lambda: subprocess.Popen(argv, **kwargs))

    # -- links

    def add_veth(
        self,
        name: str,
        peer: str,
        peer_namespace: Namespace | None = None,
        *,
        mac: bytes | None = None,
        peer_mac: bytes | None = None,
    ) -> None:
        """Make a virtual cable: `name` here and `peer` in `peer_namespace` (here when None). Both ends are down."""
        far: dict[str, Any] = {"ifname": peer}
        near: dict[str, Any] = {"ifname": name, "kind": "veth", "peer": far}
        if peer_namespace is not None:
            far["net_ns_fd"] = peer_namespace.fileno()
        if mac is not None:
            near["address"] = mac.hex(":")
        if peer_mac is not None:
            far["address"] = peer_mac.hex(":")
        self._netlink(f"create veth {name} and {peer}", lambda ip: ip.link("add", **near))

    def add_bridge(self, name: str) -> None:
        """Make a bridge without spanning tree, so that ports forward at once. It is down."""
        self._netlink(
            f"create bridge {name}", lambda ip: ip.link("add", ifname=name, kind="bridge", br_forward_delay=0)
        )

    def set_master(self, name: str, master: str | None) -> None:
        """Make the link a port of a bridge or bond, or release it."""
        self._netlink(
            f"attach {name} to {master}",
            lambda ip: ip.link("set", index=_index(ip, name), master=_index(ip, master) if master else 0),
        )

    def set_up(self, name: str) -> None:
        """Bring the link up."""
        self.set_link(name, state="up")

    def set_down(self, name: str) -> None:
        """Take the link down."""
        self.set_link(name, state="down")

    def set_link(self, name: str, **attributes: Any) -> None:  # noqa: ANN401
        """Change attributes of a link, in pyroute2's words: state, address, ifname, mtu, arp, net_ns_fd."""
        self._netlink(
            f"change {name} ({', '.join(attributes)})",
            lambda ip: ip.link("set", index=_index(ip, name), **attributes),
        )

    def delete_link(self, name: str) -> None:
        """Delete the link; of a veth, both ends."""
        self._netlink(f"delete {name}", lambda ip: ip.link("del", index=_index(ip, name)))

    def links(self) -> dict[str, bytes]:
        """Every link's name and hardware address (empty when it has none)."""
        return self._netlink(
            "list links",
            lambda ip: {link.get("ifname"): _mac_bytes(link.get("address")) for link in ip.get_links()},
        )

    def mac(self, name: str) -> bytes:
        """The link's hardware address."""
        return self.links()[name]

    # -- addresses, routes, settings

    def add_address(self, name: str, address: str) -> None:
        """Give the link an address, written with its prefix length: `10.0.0.1/24`. IPv6 without duplicate detection."""
        self._address("add", name, address)

    def delete_address(self, name: str, address: str) -> None:
        """Take an address off the link."""
        self._address("del", name, address)

    def _address(self, verb: str, name: str, address: str) -> None:
        host, _, length = address.partition("/")
        ipv6 = {"flags": 0x02} if ":" in host else {}  # IFA_F_NODAD: usable at once
        self._netlink(
            f"{verb} {address} on {name}",
            lambda ip: ip.addr(verb, index=_index(ip, name), address=host, prefixlen=int(length), **ipv6),
        )

    def add_route(self, destination: str, *, via: str | None = None, device: str | None = None) -> None:
        """Route a network (or `default`) by a gateway, a link, or both."""
        ipv6 = ":" in f"{destination}{via}"
        route: dict[str, Any] = {"dst": destination, "family": socket.AF_INET6 if ipv6 else socket.AF_INET}
        if via is not None:
            route["gateway"] = via
        self._netlink(
            f"route {destination}",
            lambda ip: ip.route("replace", **route, **({"oif": _index(ip, device)} if device else {})),
        )

    def neighbours(self, name: str) -> dict[str, bytes]:
        """The kernel's neighbour cache on a link: address to MAC, without unresolved entries."""

        def read(ip: Any) -> dict[str, bytes]:  # noqa: ANN401
            entries = ip.get_neighbours(ifindex=_index(ip, name))
            return {n.get("dst"): _mac_bytes(n.get("lladdr")) for n in entries if n.get("lladdr")}

        return self._netlink(f"read the neighbours on {name}", read)

    def set_sysctl(self, name: str, value: str | int) -> None:
        """Write a sysctl of this namespace, such as `net.ipv4.ip_forward`."""
        try:
            self.run(_sysctl_path(name).write_text, str(value))
        except OSError as error:
            raise NetworkSetupError(f"{self.name}: cannot set sysctl {name}={value}: {error.strerror}") from error

    def sysctl(self, name: str) -> str:
        """Read a sysctl of this namespace."""
        try:
            return self.run(_sysctl_path(name).read_text).strip()
        except OSError as error:
            raise NetworkSetupError(f"{self.name}: cannot read sysctl {name}: {error.strerror}") from error

    def _netlink(self, what: str, operation: Callable[[Any], T]) -> T:
        """Do something with an IPRoute inside; `what` completes the sentence "cannot …"."""
        from pyroute2 import IPRoute  # noqa: PLC0415 - 200 ms and 20 MiB: only for those who build networks
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

        def inside() -> T:
            with IPRoute() as ip:
                return operation(ip)

        try:
            return self.run(inside)
        except NetlinkError as error:
            if error.code in (errno.EPERM, errno.EACCES):
                raise PermissionMissingError(
                    f"{self.name}: cannot {what}: not permitted; this needs CAP_NET_ADMIN in the namespace"
                ) from error
            raise NetworkSetupError(f"{self.name}: cannot {what}: {os.strerror(error.code)}") from error
        except LookupError as error:
            raise NetworkSetupError(f"{self.name}: cannot {what}: {error.args[0]}") from error


@contextlib.contextmanager
def namespaces(prefix: str, *names: str, mount: bool = False) -> Iterator[tuple[Namespace, ...]]:
    """Make several namespaces called PREFIX-PID-NAME and remove all of them at the end, however it comes."""
    with contextlib.ExitStack() as stack:
        yield tuple(
            stack.enter_context(Namespace.create(f"{prefix}-{os.getpid()}-{name}", mount=mount)) for name in names
        )


def _in_thread(function: Callable[[], T]) -> T:
    """Call the function in a thread of its own: a thread that changed its namespace is good for nothing else."""
    outcome: Future[T] = Future()

    def body() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()


def _unshare() -> int:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise _refused("create a network namespace")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _open(reference: str) -> int:
    path = Path(reference) if "/" in reference else NAMED / reference
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise PermissionMissingError(f"cannot open network namespace {path}: {error.strerror}; run as root") from error
    except OSError as error:
        raise NetworkSetupError(f"cannot open network namespace {path}: {error.strerror}") from error


def _set(fd: int, reference: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise _refused(f"enter network namespace {reference}")


def _refused(what: str) -> NetworkSetupError | PermissionMissingError:
    code = ctypes.get_errno()
    if code == errno.EPERM:
        return PermissionMissingError(f"cannot {what}: not permitted; this needs CAP_SYS_ADMIN")
    return NetworkSetupError(f"cannot {what}: {os.strerror(code)}")


def _mount(fd: int, path: Path) -> Path | None:
    """Bind the namespace to a name as iproute2 does; None where mounting is not permitted."""
    directory = os.fsencode(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Shared, so that other mount namespaces see names come and go; the directory must be a mount for that.
        if _libc.mount(b"none", directory, b"none", _MS_SHARED | _MS_REC, None) != 0:
            _libc.mount(directory, directory, b"none", _MS_BIND | _MS_REC, None)
            _libc.mount(b"none", directory, b"none", _MS_SHARED | _MS_REC, None)
        path.touch(mode=0o444, exist_ok=False)
    except OSError:
        return None
    if _libc.mount(f"/proc/self/fd/{fd}".encode(), os.fsencode(path), b"none", _MS_BIND, None) != 0:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    return path


def _index(ip: Any, name: str) -> int:  # noqa: ANN401
    found = ip.link_lookup(ifname=name)
    if not found:
        raise LookupError(f"there is no link {name}")
    return int(found[0])


def _mac_bytes(text: str | None) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else b""


def _sysctl_path(name: str) -> Path:
    return Path("/proc/sys", name if "/" in name else name.replace(".", "/"))

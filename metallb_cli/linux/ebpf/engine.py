"""The `tc` engine: the kernel answers for the announced addresses by itself, as long as the lease is renewed.

Nothing here wakes this process. Announcing changes a map, renewing stores a number, counting reads memory. What the
programs leave alone (see `programs`) reaches the packet sockets of the interface as before.

When the process ends without `close`, the kernel closes its descriptors, which detaches the programs within about a
millisecond. With `pins`, a directory in a bpf file system, they stay instead: the answers go on until the lease's
deadline and no longer, and the next engine for the same interface adopts them without a gap.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from ipaddress import IPv4Address
from pathlib import Path

from metallb_cli.errors import BpfError
from metallb_cli.layer2.engine import Counts, add_counts
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.maps import Addresses, Hits, Lease
from metallb_cli.linux.ebpf.pins import Pins
from metallb_cli.linux.ebpf.programs import arp_program, ndp_program
from metallb_cli.linux.ebpf.syscalls import ATTACH_TCX_INGRESS, BEFORE_ALL, PROGRAM_TC
from metallb_cli.model import IPAddress

log = logging.getLogger(__name__)

SLOTS = 16384
"""Addresses of one interface until its maps are replaced by larger ones. Kernel memory: 1.4 MiB for each family."""


class _Family:
    """One protocol: its addresses, and its map and program while there are any.

    Attributes:
        slots: of each announced address.
        link: descriptor of the attachment.
    """

    def __init__(self, version: int, name: str, key_size: int, assemble: Callable[..., bytes]) -> None:
        self.version = version
        self.name = name
        self.key_size = key_size
        self.assemble = assemble
        self.slots: dict[bytes, int] = {}
        self.addresses: Addresses | None = None
        self.link: int | None = None


def _families() -> tuple[_Family, _Family]:
    return _Family(4, "arp", 4, arp_program), _Family(6, "ndp", 16, ndp_program)


class TcEngine:
    """The programs and maps of one interface with one MAC address. It answers nothing before `renew`.

    The programs are attached before all other tcx programs of the interface, because those of a container network may
    end the chain. Ours pass on whatever they do not answer.

    Args:
        index: the interface, in the network namespace of the calling thread.
        mac: what every answer gives, six bytes.
        pins: a directory in a bpf file system, of which the engine uses the subdirectory named by the index.
        slots: see SLOTS.

    Attributes:
        adopted: an earlier engine's maps go on, and its addresses until `announce` is called.

    Raises:
        BpfError: the kernel refuses.
    """

    def __init__(self, index: int, mac: bytes, *, pins: Path | None = None, slots: int = SLOTS) -> None:
        self._index = index
        self._mac = mac
        self._pins = Pins(None if pins is None else pins / str(index))
        self._families = _families()
        self._withdrawn: dict[bytes, Counts] = {}
        self.adopted = self._adopt()
        if not self.adopted:
            _silence(self._pins)
            self._lease = Lease()
            self._pins.put("lease", self._lease.fd)
            self._use_hits(Hits(slots))
            self._pins.put("hits", self._hits.fd)

    def announce(self, addresses: Iterable[IPAddress]) -> None:
        """Answer for exactly these addresses, as long as the lease lasts.

        Raises:
            BpfError: the kernel refuses; close the engine.
        """
        v4, v6 = set[bytes](), set[bytes]()
        for address in addresses:  # thousands: a test of the type is quicker than asking for the version
            (v4 if isinstance(address, IPv4Address) else v6).add(address.packed)
        self.answer_for(v4, v6)

    def answer_for(self, v4: Set[bytes], v6: Set[bytes]) -> None:
        """The same, with addresses in network order.

        Raises:
            BpfError: the kernel refuses; close the engine.
        """
        for family, wanted in zip(self._families, (v4, v6), strict=True):
            self._remove(family, family.slots.keys() - wanted, last=not wanted)
        if len(v4) + len(v6) > len(self._owners):
            self._grow(len(v4) + len(v6))
        for family, wanted in zip(self._families, (v4, v6), strict=True):
            self._add(family, list(wanted - family.slots.keys()))

    def renew(self, deadline: float) -> None:
        """Answer until the deadline, for all addresses: one store into memory, no system call for the map.

        Args:
            deadline: on CLOCK_MONOTONIC, in seconds. Count it from the start of whatever proves the right to answer,
                never from the moment that the proof arrived. 0 silences at once.
        """
        self._lease.renew(deadline)

    def take_counts(self, limit: int = sys.maxsize) -> dict[bytes, Counts]:
        """Take what was answered since the last call, of about `limit` addresses, as `Responder.take_counts` does."""
        counts = self._withdrawn
        self._withdrawn = {}
        hits, seen = self._hits.read(), self._seen
        if hits == seen:
            return counts
        for slot, total in enumerate(hits):
            if total == seen[slot]:
                continue
            if len(counts) >= limit:
                break
            new, seen[slot] = total - seen[slot], total
            owner = self._owners[slot]
            if owner is not None:  # None: a frame was being answered when its address was withdrawn
                add_counts(counts, owner, Counts(new, new, 0))
        return counts

    def close(self) -> None:
        """Fall silent, then detach, unpin and let go. Of no use afterwards."""
        self._lease.renew(0)
        try:
            for family in self._families:
                self._detach(family)
            self._pins.clear()
        except BpfError as error:
            log.warning("what answered on interface %d is silent, but stays: %s", self._index, error)
        self._hits.close()
        self._lease.close()

    # -- addresses and their slots

    def _use_hits(self, hits: Hits) -> None:
        self._hits = hits
        self._seen = hits.read()
        self._owners: list[bytes | None] = [None] * len(self._seen)
        self._free = list(range(len(self._seen) - 1, -1, -1))

    def _take_slots(self, addresses: Sequence[bytes]) -> Sequence[int]:
        first = len(self._free) - len(addresses)
        slots, self._free[first:] = self._free[first:], ()
        for slot, address in zip(slots, addresses, strict=True):
            self._owners[slot] = address
        return slots

    def _add(self, family: _Family, addresses: Sequence[bytes]) -> None:
        if not addresses:
            return
        slots = self._take_slots(addresses)
        family.slots.update(zip(addresses, slots, strict=True))
        if family.addresses is None:
            self._install(family)
        else:
            family.addresses.add(addresses, slots)

    def _remove(self, family: _Family, addresses: Collection[bytes], *, last: bool) -> None:
        if not addresses or family.addresses is None:
            return
        if last:
            self._detach(family)
        else:
            family.addresses.remove(addresses)
        self._withdrawn = self.take_counts()
        for address in addresses:
            slot = family.slots.pop(address)
            self._owners[slot] = None
            self._free.append(slot)

    def _grow(self, needed: int) -> None:
        """Go on with larger maps. The programs are exchanged between two frames, so none goes unanswered."""
        self._withdrawn = self.take_counts()
        old = self._hits
        self._use_hits(Hits(1 << (needed - 1).bit_length()))
        self._pins.put("hits", self._hits.fd)
        for family in self._families:
            if family.slots:
                addresses = list(family.slots)
                family.slots = dict(zip(addresses, self._take_slots(addresses), strict=True))
                self._install(family)
        old.close()

    # -- programs

    def _install(self, family: _Family) -> None:
        """Put the addresses of a family into a new map, and its program on the interface."""
        before = family.addresses
        family.addresses = Addresses(family.key_size, len(self._owners))
        family.addresses.add(list(family.slots), list(family.slots.values()))
        self._pins.put(family.name, family.addresses.fd)
        self._attach(family)
        if before is not None:
            before.close()

    def _attach(self, family: _Family) -> None:
        """Load the program with the present maps; exchange the attached one for it, or attach it."""
        assert family.addresses is not None
        maps = {"addresses": family.addresses.fd, "hits": self._hits.fd, "lease": self._lease.fd}
        code = family.assemble(self._mac, slots=len(self._owners), **maps)
        program = syscalls.program_load(PROGRAM_TC, code, f"metallb_{family.name}")
        try:
            if family.link is not None:
                syscalls.link_update(family.link, program)
                return
            family.link = syscalls.link_create(program, self._index, ATTACH_TCX_INGRESS, BEFORE_ALL)
            self._pins.put(f"{family.name}_link", family.link)
        finally:
            os.close(program)

    def _detach(self, family: _Family) -> None:
        if family.link is not None:
            self._pins.drop(f"{family.name}_link")
            os.close(family.link)
            family.link = None
        if family.addresses is not None:
            self._pins.drop(family.name)
            family.addresses.close()
            family.addresses = None

    # -- what an earlier engine left

    def _adopt(self) -> bool:
        """Take over the pinned maps and attachments, if they are whole and of this layout."""
        names = ["lease", "hits", *(f.name for f in self._families), *(f"{f.name}_link" for f in self._families)]
        found = {name: fd for name in names if (fd := self._pins.open(name)) is not None}
        try:
            if self._fits(found):
                self._take_over(found)
                return True
        except BpfError as error:
            log.warning("cannot adopt the programs on interface %d: %s", self._index, error)
            self._families = _families()
        for fd in found.values():
            os.close(fd)
        return False

    def _fits(self, found: Mapping[str, int]) -> bool:
        if "lease" not in found or "hits" not in found:
            return False
        slots = syscalls.map_info(found["hits"]).value_size // 8
        layouts = {"lease": Lease.LAYOUT, "hits": Hits.layout(slots)}
        layouts |= {family.name: Addresses.layout(family.key_size, slots) for family in self._families}
        maps = {name: fd for name, fd in found.items() if name in layouts}
        links = {name: fd for name, fd in found.items() if name not in layouts}
        return (
            all(syscalls.map_info(fd) == layouts[name] for name, fd in maps.items())
            and all(syscalls.tcx_link_interface(fd) == self._index for fd in links.values())
            and all((family.name in maps) == (f"{family.name}_link" in links) for family in self._families)
        )

    def _take_over(self, found: Mapping[str, int]) -> None:
        self._lease = Lease(found["lease"])
        self._use_hits(Hits(syscalls.map_info(found["hits"]).value_size // 8, found["hits"]))
        for family in self._families:
            if family.name in found:
                family.addresses = Addresses(family.key_size, len(self._owners), found[family.name])
                family.slots = family.addresses.items()
                family.link = found[f"{family.name}_link"]
                for address, slot in family.slots.items():
                    self._owners[slot] = address
        self._free = [slot for slot in self._free if self._owners[slot] is None]
        for family in self._families:
            if family.link is not None:
                self._attach(family)


def discard(pins: Path, keep: Collection[int] = ()) -> None:
    """Silence and remove what engines left pinned, but for the interfaces with the indexes in `keep`."""
    for directory in pins.iterdir() if pins.is_dir() else ():
        if directory.name.isdecimal() and int(directory.name) not in keep:
            try:
                _silence(Pins(directory))
            except BpfError as error:
                log.warning("cannot remove what is left of interface %s: %s", directory.name, error)


def _silence(pins: Pins) -> None:
    fd = pins.open("lease")
    if fd is not None:
        if syscalls.map_info(fd) == Lease.LAYOUT:
            lease = Lease(fd)
            lease.renew(0)
            lease.close()
        else:
            os.close(fd)
    pins.clear()

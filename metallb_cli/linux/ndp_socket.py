"""The packet socket for neighbour discovery: the sibling of `ArpSocket`. Needs CAP_NET_RAW."""

from __future__ import annotations

from collections.abc import Sequence

from metallb_cli.layer2.ndp import ETHERTYPE
from metallb_cli.layer2.ndp_filter import SNAP_LENGTH, compile_ndp_filter
from metallb_cli.linux.packet_socket import PacketSocket
from metallb_cli.model import AddressRange


class NdpSocket(PacketSocket):
    """Receives the neighbour discovery for addresses in `ranges`. Otherwise like PacketSocket.

    Solicitations only come to it when the interface is in the groups they are sent to: see `ndp_groups`.
    """

    def __init__(self, name: str, index: int, ranges: Sequence[AddressRange]) -> None:
        self._index = index
        super().__init__(name, index, ETHERTYPE, compile_ndp_filter(ranges, interface=index), SNAP_LENGTH)

    def set_ranges(self, ranges: Sequence[AddressRange]) -> None:
        """Receive neighbour discovery for these addresses from now on.

        Raises:
            OSError: the kernel refuses.
        """
        self.set_filter(compile_ndp_filter(ranges, interface=self._index))

"""The packet socket for neighbour discovery: the sibling of `open_arp_socket`. Needs CAP_NET_RAW."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from metallb_cli.layer2.ndp import ETHERTYPE
from metallb_cli.layer2.ndp_filter import compile_ndp_filter
from metallb_cli.linux.packet_socket import _set_receive_buffer, attach_filter
from metallb_cli.model import AddressRange


def open_ndp_socket(name: str, index: int, ranges: Sequence[AddressRange]) -> socket.socket:
    """Open a non-blocking socket that receives the neighbour discovery for these addresses, and no other frame ever.

    Solicitations only come to it when the interface is in the groups they are sent to: see `ndp_groups`. Read
    `ndp_filter.SNAP_LENGTH` bytes of a frame.

    Raises:
        OSError: the kernel refuses.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        set_ndp_filter(sock, index, ranges)
        _set_receive_buffer(sock)
        sock.bind((name, ETHERTYPE))
        if socket.if_nametoindex(name) != index:
            raise OSError(errno.ENODEV, "the interface was replaced by another of its name")
    except BaseException:
        sock.close()
        raise
    return sock


def set_ndp_filter(sock: socket.socket, index: int, ranges: Sequence[AddressRange]) -> None:
    """Replace the filter; the kernel exchanges it between two frames.

    Raises:
        OSError: the kernel refuses.
    """
    attach_filter(sock, compile_ndp_filter(ranges, interface=index))

"""AF_PACKET sockets (packet(7)): whole Ethernet frames of one interface and one protocol. Needs CAP_NET_RAW."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence

from metallb_cli.layer2.socket_filter import MAX_RANGES, Instruction, compile_filter, encode
from metallb_cli.model import AddressRange

ETHERTYPE_ARP = 0x0806

RECEIVE_BUFFER = 4 << 20
"""Bytes, as the kernel counts them: some 5000 waiting frames. Without CAP_NET_ADMIN, net.core.rmem_max limits it."""

_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_FEWER_RANGES = (MAX_RANGES, MAX_RANGES // 5, MAX_RANGES // 25, 1)


def open_arp_socket(name: str, index: int, ranges: Sequence[AddressRange]) -> socket.socket:
    """Open a non-blocking socket that receives the ARP frames for these addresses, and no other frame ever.

    Raises:
        OSError: the kernel refuses.
    """
    # Protocol 0 receives nothing: frames only come with the bind, when the filter is in place.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        set_arp_filter(sock, index, ranges)
        _set_receive_buffer(sock)
        sock.bind((name, ETHERTYPE_ARP))
        if socket.if_nametoindex(name) != index:
            raise OSError(errno.ENODEV, "the interface was replaced by another of its name")
    except BaseException:
        sock.close()
        raise
    return sock


def set_arp_filter(sock: socket.socket, index: int, ranges: Sequence[AddressRange]) -> None:
    """Replace the filter; the kernel exchanges it between two frames.

    Raises:
        OSError: the kernel refuses even the shortest program.
    """
    for limit in _FEWER_RANGES:
        try:
            attach_filter(sock, compile_filter(ranges, interface=index, max_ranges=limit))
            return
        except OSError as error:
            # Kernels before 6.9 allow a socket 20 KiB (net.core.optmem_max), less than the longest program.
            if error.errno != errno.ENOMEM or limit == _FEWER_RANGES[-1]:
                raise


def attach_filter(sock: socket.socket, program: list[Instruction]) -> None:
    """Give the socket a classic BPF program.

    Raises:
        OSError: the kernel refuses; ENOMEM means that the program is too long.
    """
    code = ctypes.create_string_buffer(encode(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def _set_receive_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def explain(error: OSError) -> str:
    """The error in words, with its number's name."""
    return f"{os.strerror(error.errno or 0)} ({errno.errorcode.get(error.errno or 0, error.errno)})"

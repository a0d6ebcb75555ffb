"""ARP frames against scapy, which encodes and decodes them on its own, in both directions."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from metallb_cli.layer2 import arp
from metallb_cli.layer2.arp import ArpFrame

MAC, OTHER_MAC = bytes.fromhex("0200005e1001"), bytes.fromhex("0200005e1002")
IP, OTHER_IP = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 9])

macs = st.binary(min_size=6, max_size=6)
ips = st.binary(min_size=4, max_size=4)
frames = st.builds(ArpFrame, macs, macs, st.integers(0, 0xFFFF), macs, ips, macs, ips)


def text(address):
    return address.hex(":") if len(address) == 6 else ".".join(map(str, address))


def by_scapy(frame):
    """The same frame, made by scapy."""
    return bytes(
        Ether(dst=text(frame.destination), src=text(frame.source), type=0x0806)
        / ARP(
            hwtype=1,
            ptype=0x0800,
            hwlen=6,
            plen=4,
            op=frame.operation,
            hwsrc=text(frame.sender_mac),
            psrc=text(frame.sender_ip),
            hwdst=text(frame.target_mac),
            pdst=text(frame.target_ip),
        )
    )


@given(frames)
def test_every_frame_has_the_bytes_that_scapy_gives_it(frame):
    assert frame.encode() == by_scapy(frame)
    assert len(frame.encode()) == arp.FRAME_LENGTH


@given(frames, st.binary(max_size=30))
def test_every_frame_that_scapy_makes_is_read_back_whatever_padding_follows(frame, padding):
    assert arp.parse(by_scapy(frame) + padding) == frame


@given(st.binary(max_size=100))
def test_bytes_are_taken_for_a_frame_only_if_scapy_reads_the_same_fields(data):
    parsed = arp.parse(data)
    if parsed is not None:
        assert parsed.encode() == data[: arp.FRAME_LENGTH]
        assert Ether(data)[ARP].pdst == text(parsed.target_ip)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(12, b"\x08\x00"), (14, b"\x00\x06"), (16, b"\x86\xdd"), (18, b"\x08"), (19, b"\x10")],
    ids=["ethertype", "hardware", "protocol", "MAC length", "address length"],
)
def test_arp_for_something_else_than_ipv4_over_ethernet_is_not_read(offset, value):
    frame = arp.request(MAC, IP, OTHER_IP)
    changed = frame[:offset] + value + frame[offset + len(value) :]
    assert arp.parse(frame) is not None
    assert arp.parse(changed) is None


def test_a_frame_that_is_cut_off_is_not_read():
    frame = arp.request(MAC, IP, OTHER_IP)
    assert [length for length in range(43) if arp.parse(frame[:length]) is not None] == [42]


def test_a_request_asks_everybody():
    assert arp.request(MAC, IP, OTHER_IP) == by_scapy(
        ArpFrame(b"\xff" * 6, MAC, 1, MAC, IP, bytes(6), OTHER_IP),
    )


def test_a_reply_goes_to_one_host():
    assert arp.reply(MAC, IP, OTHER_MAC, OTHER_IP) == by_scapy(
        ArpFrame(OTHER_MAC, MAC, 2, MAC, IP, OTHER_MAC, OTHER_IP)
    )


@given(macs, ips, macs, ips)
def test_a_reply_put_together_from_its_parts_is_the_same_reply(mac, ip, target_mac, target_ip):
    asker = target_mac + target_ip
    assert asker[:6] + arp.reply_head(mac) + ip + asker == arp.reply(mac, ip, target_mac, target_ip)


def test_gratuitous_arp_comes_as_request_and_as_reply_from_and_for_the_same_address():
    as_request, as_reply = arp.gratuitous(MAC, IP)
    assert as_request == by_scapy(ArpFrame(b"\xff" * 6, MAC, 1, MAC, IP, b"\xff" * 6, IP))
    assert as_reply == by_scapy(ArpFrame(b"\xff" * 6, MAC, 2, MAC, IP, b"\xff" * 6, IP))


def test_the_documented_offsets_hold():
    frame = arp.request(MAC, IP, OTHER_IP)
    assert struct.unpack_from("!H", frame, 20) == (1,)
    assert (frame[22:28], frame[28:32], frame[38:42]) == (MAC, IP, OTHER_IP)

"""`peers`: the routers to speak BGP with."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address

from metallb_cli.config.document import Node
from metallb_cli.config.durations import parse_duration
from metallb_cli.config.fields import Section, suggestion
from metallb_cli.config.problem import Code, Problems, quoted
from metallb_cli.config.selectors import read_selector
from metallb_cli.config.settings import BgpPeer
from metallb_cli.model import IPAddress, parse_address

KEYS = (
    "name",
    "my-asn",
    "peer-asn",
    "peer-address",
    "peer-port",
    "source-address",
    "hold-time",
    "keepalive-time",
    "router-id",
    "node-selectors",
    "password",
    "bfd-profile",
    "ebgp-multihop",
)
DEFAULT_PORT = 179  # RFC 4271 section 8.2.1
DEFAULT_HOLD_TIME = 90  # RFC 4271 section 10
LEAST_HOLD_TIME = 3  # RFC 4271 section 4.2
MOST_SECONDS = 0xFFFF  # RFC 4271 section 4.2: the hold time has two octets
_SECOND = 1_000_000_000


def read_peer(node: Node, number: int, bfd_profiles: Collection[str], problems: Problems) -> BgpPeer | None:
    """Read element `number` (counted from 1) of `peers`; None when an essential part is missing or wrong."""
    section = Section(node, f"peer #{number}", KEYS, problems)
    if section.broken:
        return None
    my_asn = _asn(section, "my-asn", Code.PEER_MY_ASN_MISSING, "missing local ASN", problems)
    peer_asn = _asn(section, "peer-asn", Code.PEER_ASN_MISSING, "missing peer ASN", problems)
    address = _peer_address(section, problems)
    hold_time = _seconds(section, "hold-time", Code.PEER_HOLD_TIME_INVALID, problems)
    if hold_time is None:
        hold_time = DEFAULT_HOLD_TIME
    keepalive_time = _keepalive_time(section, hold_time, problems)
    port = section.number("peer-port", 0, 0xFFFF)
    router_id = _router_id(section, problems)
    source = _address(section, "source-address", Code.PEER_SOURCE_ADDRESS_INVALID, "invalid source IP", problems)
    selectors = tuple(
        read_selector(item, section.subject, problems) for item in section.items("node-selectors", mappings=True)
    )
    multihop = _ebgp_multihop(section, my_asn, peer_asn, problems)
    bfd_profile = _bfd_profile(section, bfd_profiles, problems)
    name, password = section.text("name"), section.text("password")
    if my_asn is None or peer_asn is None or address is None:
        return None
    return BgpPeer(
        my_asn=my_asn,
        peer_asn=peer_asn,
        address=address,
        name=name.text if name else "",
        port=port or DEFAULT_PORT,
        hold_time=hold_time,
        keepalive_time=keepalive_time,
        router_id=router_id,
        source_address=source,
        node_selectors=selectors,
        password=password.text if password else "",
        bfd_profile=bfd_profile,
        ebgp_multihop=multihop,
    )


def _asn(section: Section, key: str, code: Code, message: str, problems: Problems) -> int | None:
    number = section.number(key, 0, 2**32 - 1)
    given = section.text(key)
    if number:
        return number
    if number == 0 or given is None:
        value = given.text if given else ""
        hint = f"Add {key}: with an autonomous system number of 1 to 4294967295."
        problems.error(code, given or section.node, f"{section.subject}: {message}", hint, value)
    return None


def _peer_address(section: Section, problems: Problems) -> IPAddress | None:
    code, message = Code.PEER_ADDRESS_INVALID, "invalid peer IP"
    if section.get("peer-address") is None:
        hint = "Add peer-address: with the router's IP address; a host name is not possible."
        problems.error(code, section.node, f'{section.subject}: {message} ""', hint)
        return None
    return _address(section, "peer-address", code, message, problems)


def _address(section: Section, key: str, code: Code, message: str, problems: Problems) -> IPAddress | None:
    scalar = section.text(key)
    if scalar is None:
        return None
    address = parse_address(scalar.text)
    if address is None and (scalar.text or key == "peer-address"):
        hint = "Write an IPv4 or IPv6 address; a host name or a CIDR is not possible."
        problems.error(code, scalar, f"{section.subject}: {message} {quoted(scalar.text)}", hint, scalar.text)
    return address


def _router_id(section: Section, problems: Problems) -> IPv4Address | None:
    code, message = Code.PEER_ROUTER_ID_INVALID, "invalid router ID"
    address = _address(section, "router-id", code, message, problems)
    if address is None or isinstance(address, IPv4Address):
        return address
    scalar = section.text("router-id") or section.node
    hint = "A router ID is written as an IPv4 address, for IPv6 sessions also."  # RFC 4271 section 4.2: four octets
    problems.error(code, scalar, f"{section.subject}: {message} {quoted(str(address))}", hint, str(address))
    return None


def _seconds(section: Section, key: str, code: Code, problems: Problems) -> int | None:
    """Return whole seconds, cut towards zero as MetalLB does; None when absent or wrong, which is reported."""
    scalar = section.text(key)
    if scalar is None or not scalar.text:
        return None
    duration = parse_duration(scalar.text)
    what = key.replace("-", " ")
    if isinstance(duration, str):
        reason, hint = duration, "Write a number with a unit, such as 90s."
    else:
        seconds = abs(duration) // _SECOND * (1 if duration >= 0 else -1)
        least = LEAST_HOLD_TIME if key == "hold-time" else 0
        if seconds == 0 or least <= seconds <= MOST_SECONDS:
            return seconds
        reason = f"must be 0 or >={least}s" if seconds < least else f"must be at most {MOST_SECONDS}s"
        hint = f"Use 0s, or {max(least, 1)}s to {MOST_SECONDS}s."
    message = f"{section.subject}: invalid {what} {quoted(scalar.text)}: {reason}"
    problems.error(code, scalar, message, hint, scalar.text)
    return None


def _keepalive_time(section: Section, hold_time: int, problems: Problems) -> int | None:
    seconds = _seconds(section, "keepalive-time", Code.PEER_KEEPALIVE_TIME_INVALID, problems)
    scalar = section.text("keepalive-time")
    if seconds is not None and scalar is not None and seconds > hold_time:
        message = f"{section.subject}: invalid keepalive time {quoted(scalar.text)}: must not exceed the hold time"
        hint = f"Use {hold_time // 3}s, a third of the hold time, or raise hold-time."
        problems.error(Code.PEER_KEEPALIVE_TIME_INVALID, scalar, message, hint, scalar.text)
    return seconds


def _ebgp_multihop(section: Section, my_asn: int | None, peer_asn: int | None, problems: Problems) -> bool:
    multihop = section.flag("ebgp-multihop", False)
    scalar = section.text("ebgp-multihop")
    if multihop and scalar is not None and my_asn is not None and my_asn == peer_asn:
        message = f"{section.subject}: invalid ebgp-multihop parameter set for an ibgp peer"
        hint = "Remove ebgp-multihop: my-asn and peer-asn are the same, and then sessions may span hops anyway."
        problems.error(Code.PEER_MULTIHOP_INVALID, scalar, message, hint, scalar.text)
    return multihop


def _bfd_profile(section: Section, known: Collection[str], problems: Problems) -> str:
    scalar = section.text("bfd-profile")
    if scalar is None:
        return ""
    if scalar.text and scalar.text not in known:
        message = f"{section.subject}: referencing non existing bfd profile {quoted(scalar.text)}"
        hint = suggestion(scalar.text, known, problems) or "Define it under bfd-profiles."
        problems.error(Code.PEER_BFD_PROFILE_UNKNOWN, scalar, message, hint, scalar.text)
    return scalar.text

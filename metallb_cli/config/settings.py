"""A configuration that has been read: frozen values, whichever generation of the format they were written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from metallb_cli.config.problem import Problem
from metallb_cli.model import IPAddress, Pool


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One of a selector's `match-expressions`. `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """Nodes with all of these labels that meet all of these requirements; with neither, every node."""

    labels: tuple[tuple[str, str], ...] = ()
    requirements: tuple[LabelRequirement, ...] = ()


@dataclass(frozen=True, slots=True)
class BgpPeer:
    """A router to speak BGP with.

    Attributes:
        hold_time: seconds; 0 means no hold timer (RFC 4271 section 4.2).
        keepalive_time: seconds, None for a third of the hold time.
        router_id: None for the node's address.
        node_selectors: the nodes that open a session, any of these; empty means all nodes.
        password: TCP MD5 password, empty for none. Never shown.
        bfd_profile: empty for none.
    """

    my_asn: int
    peer_asn: int
    address: IPAddress
    name: str = ""
    port: int = 179
    hold_time: int = 90
    keepalive_time: int | None = None
    router_id: IPv4Address | None = None
    source_address: IPAddress | None = None
    node_selectors: tuple[NodeSelector, ...] = ()
    password: str = field(default="", repr=False)
    bfd_profile: str = ""
    ebgp_multihop: bool = False


@dataclass(frozen=True, slots=True)
class BgpAdvertisement:
    """How the addresses of a pool are announced over BGP. Communities are 32-bit numbers (RFC 1997)."""

    aggregation_length: int = 32
    aggregation_length_v6: int = 128
    local_pref: int = 0
    communities: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class BfdProfile:
    """Timers of Bidirectional Forwarding Detection. Intervals in milliseconds; None leaves the default."""

    name: str
    receive_interval: int | None = None
    transmit_interval: int | None = None
    detect_multiplier: int | None = None
    echo_interval: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False
    minimum_ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration.

    Attributes:
        pools: in the order of the text; no two have the same name or an address in common.
        peers: in the order of the text.
        communities: alias to 32-bit community.
        bgp_advertisements: by pool name; every `bgp` pool has at least one.
        bfd_profiles: in the order of the text.
    """

    pools: tuple[Pool, ...] = ()
    peers: tuple[BgpPeer, ...] = ()
    communities: Mapping[str, int] = field(default_factory=dict)
    bgp_advertisements: Mapping[str, tuple[BgpAdvertisement, ...]] = field(default_factory=dict)
    bfd_profiles: tuple[BfdProfile, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says. `config` is None exactly when one of the problems is an error."""

    config: Config | None
    problems: tuple[Problem, ...] = ()

"""The bare configuration: the text under the key `config` of the ConfigMap."""

from __future__ import annotations

from metallb_cli.config.addresses import report_overlaps
from metallb_cli.config.advertisements import read_communities
from metallb_cli.config.bfd import read_bfd_profiles
from metallb_cli.config.document import NO_DOCUMENT, Document, Node, Scalar, Sequence, is_null
from metallb_cli.config.fields import Section
from metallb_cli.config.loader import load
from metallb_cli.config.peers import read_peer
from metallb_cli.config.pools import ReadPool, read_pool
from metallb_cli.config.problem import Code, Problems, quoted
from metallb_cli.config.settings import BfdProfile, BgpPeer, Config, Parsed

KEYS = ("peers", "bgp-communities", "address-pools", "bfd-profiles")


def parse(
    text: str, *, source: str = "config", first_line: int = 1, first_column: int = 1, inline: bool = False
) -> Parsed:
    """Read a configuration and report everything that is wrong with it. Never raises, whatever the text is.

    An empty text is a valid configuration without pools, as in MetalLB. Like MetalLB, only the first document counts.

    Args:
        text: YAML in either generation of the format.
        source: what problems call the text, such as a file name.
        first_line: where line 1 of the text stands in the source.
        first_column: where column 1 of every line of the text stands in the source.
        inline: the lines of the text are not lines of the source: problems are all put at first_line, first_column.
    """
    problems = Problems(source, first_line=first_line, first_column=first_column, inline=inline)
    stream = load(text)
    for extra in stream.documents[1:]:
        if not is_null(extra.root):
            message = "only the first YAML document of a configuration is used; this one is ignored"
            hint = "Move everything into one document, without --- lines."
            problems.warning(Code.EXTRA_DOCUMENT, extra.root, message, hint)
    if stream.fault is not None:
        stream.fault.report(problems)
        if not stream.documents:
            return Parsed(None, problems.result())
    return read_document(stream.documents[0] if stream.documents else NO_DOCUMENT, problems)


def read_document(document: Document, problems: Problems) -> Parsed:
    """Read a configuration from a YAML document."""
    document.report(problems)
    config = _read(document.root, problems)
    return Parsed(None if problems.errors else config, problems.result())


def _read(root: Node, problems: Problems) -> Config:
    section = Section(root, "the configuration", KEYS, problems)
    if section.broken:
        return Config()
    bfd_profiles = read_bfd_profiles(section.items("bfd-profiles", mappings=True), problems)
    peers = _peers(section, bfd_profiles, problems)
    communities = read_communities(section.pairs("bgp-communities"), problems)
    items = section.items("address-pools", mappings=True)
    read = [read_pool(item, number, communities, problems) for number, item in enumerate(items, 1)]
    _check_names(read, problems)
    report_overlaps([entry for pool in read for entry in pool.entries], problems)
    _check_echo_mode(read, peers, bfd_profiles, problems)
    if not items and isinstance(section.get("address-pools"), Sequence | None):
        hint = "Add address-pools: with at least one pool."
        place = section.place("address-pools")
        problems.warning(Code.NO_POOLS, place, "no address pools: no Service can get an address", hint)
    pools = [(pool.pool, pool.advertisements) for pool in read if pool.pool is not None]
    return Config(
        pools=tuple(pool for pool, _ in pools),
        peers=peers,
        communities=communities,
        bgp_advertisements={pool.name: advertisements for pool, advertisements in pools if advertisements},
        bfd_profiles=bfd_profiles,
    )


def _peers(section: Section, bfd_profiles: tuple[BfdProfile, ...], problems: Problems) -> tuple[BgpPeer, ...]:
    profiles = {profile.name for profile in bfd_profiles}
    peers: dict[BgpPeer, Node] = {}
    items = section.items("peers", mappings=True)
    for number, item in enumerate(items, 1):
        peer = read_peer(item, number, profiles, problems)
        if peer is not None and peer in peers:
            where = problems.where(peers[peer])
            message = f"peer #{number} already exists: it is the same as the one on {where}"
            problems.warning(Code.PEER_DUPLICATE, item, message, "Remove one of them.")
        elif peer is not None:
            peers[peer] = item
    if items:
        message = "BGP is not announced yet: no session is opened to these peers"
        hint = "Use pools with protocol: layer2 for addresses that must be reachable now."
        problems.warning(Code.BGP_NOT_ANNOUNCED, section.place("peers"), message, hint)
    return tuple(peers)


def _check_names(read: list[ReadPool], problems: Problems) -> None:
    seen: dict[str, Scalar] = {}
    for pool in read:
        name = pool.name
        if name is None:
            continue
        if name.text in seen:
            message = f"duplicate definition of pool {quoted(name.text)} (first on {problems.where(seen[name.text])})"
            problems.error(
                Code.POOL_DUPLICATE, name, message, "Rename one of them, or join their addresses.", name.text
            )
        else:
            seen[name.text] = name


def _check_echo_mode(
    read: list[ReadPool],
    peers: tuple[BgpPeer, ...],
    bfd_profiles: tuple[BfdProfile, ...],
    problems: Problems,
) -> None:
    """Refuse IPv6 pools that are announced to a peer in BFD echo mode, which exists for IPv4 only."""
    echoing = {profile.name for profile in bfd_profiles if profile.echo_mode}
    used = sorted({peer.bfd_profile for peer in peers} & echoing)
    if not used:
        return
    for pool in read:
        if pool.advertisements and pool.name is not None and any(e.range.version == 6 for e in pool.entries):
            message = (
                f"pool {quoted(pool.name.text)} has IPv6 addresses, and a peer uses BFD profile {quoted(used[0])} with "
                "echo-mode, which is for IPv4 only"
            )
            hint = "Turn echo-mode off in the profile, or use another profile for the peer."
            problems.error(Code.BFD_ECHO_IPV6, pool.name, message, hint, pool.name.text)

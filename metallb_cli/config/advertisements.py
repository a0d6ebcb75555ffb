"""`bgp-advertisements` of a pool, and `bgp-communities`, the aliases that they may use."""

from __future__ import annotations

import re

from metallb_cli.config.addresses import Entry
from metallb_cli.config.document import Node, Scalar
from metallb_cli.config.fields import Section, as_text, suggestion
from metallb_cli.config.problem import Code, Level, Problems, quoted
from metallb_cli.config.settings import BgpAdvertisement

KEYS = ("aggregation-length", "aggregation-length-v6", "localpref", "communities")
_SECTION = re.compile(r"[0-9]{1,10}", re.ASCII)
_ANY = 10**18


def parse_community(text: str) -> int | str:
    """Return the 32-bit community of `A:B` (RFC 1997), or why the text is not one."""
    parts = text.split(":")
    if len(parts) != 2:
        if parts[0] == "large" and len(parts) == 4:
            return "large communities are not part of the ConfigMap format"
        return f"invalid community string {quoted(text)}"
    for which, part in zip(("first", "second"), parts, strict=True):
        if not _SECTION.fullmatch(part) or int(part) > 0xFFFF:
            return f"invalid {which} section of community {quoted(part)}"
    return int(parts[0]) << 16 | int(parts[1])


def read_communities(pairs: tuple[tuple[Scalar, Scalar], ...], problems: Problems) -> dict[str, int]:
    """Return alias to community. A wrong one is reported, and stays defined so that its uses are not reported too."""
    communities = {}
    for name, value in pairs:
        community = parse_community(value.text)
        if isinstance(community, str):
            message = f"parsing community {quoted(name.text)}: {community}"
            hint = "Write two numbers of 0 to 65535 with a colon between, such as 64512:100."
            problems.error(Code.COMMUNITY_INVALID, value, message, hint, value.text)
            community = 0
        communities[name.text] = community
    return communities


def read_advertisements(
    items: tuple[Node, ...], subject: str, entries: tuple[Entry, ...], communities: dict[str, int], problems: Problems
) -> tuple[BgpAdvertisement, ...]:
    """Read the elements of a pool's `bgp-advertisements`; a null element is an advertisement with all defaults."""
    if not items:
        return ()
    prefixes = sorted(((entry.shortest_prefix, entry) for entry in entries), key=lambda found: -found[0])
    of_family = {version: [found for found in prefixes if found[1].range.version == version] for version in (4, 6)}
    advertisements = []
    for number, item in enumerate(items, 1):
        section = Section(item, f"{subject}: BGP advertisement #{number}", KEYS, problems)
        v4 = _aggregation_length(section, "aggregation-length", 32, of_family[4], problems)
        v6 = _aggregation_length(section, "aggregation-length-v6", 128, of_family[6], problems)
        local_pref = section.number("localpref", 0, 2**32 - 1)
        used = [_community(node, section.subject, communities, problems) for node in section.items("communities")]
        advertisements.append(BgpAdvertisement(v4, v6, local_pref or 0, frozenset(c for c in used if c is not None)))
    return tuple(advertisements)


def _aggregation_length(
    section: Section, key: str, longest: int, prefixes: list[tuple[int, Entry]], problems: Problems
) -> int:
    """Return the length; `prefixes` are the entries of its family with their prefix lengths, the longest first."""
    length = section.number(key, -_ANY, _ANY)
    scalar = section.text(key)
    if length is None or scalar is None:
        return longest
    if not 0 <= length <= longest:
        message = f"{section.subject}: invalid aggregation length {length}"
        hint = f"Use a number from 0 to {longest}."
        problems.error(Code.AGGREGATION_LENGTH_INVALID, scalar, message, hint, scalar.text)
        return longest
    for prefix, entry in prefixes:
        if prefix <= length or problems.full(Level.ERROR):
            break
        message = (
            f"{section.subject}: invalid aggregation length {length}: prefix {quoted(entry.scalar.text)} in this pool "
            "is more specific than the aggregation length"
        )
        hint = f"Use {prefix} or more, or the whole network as one entry of the pool."
        problems.error(Code.AGGREGATION_LENGTH_INVALID, scalar, message, hint, scalar.text)
    return length


def _community(node: Node, subject: str, communities: dict[str, int], problems: Problems) -> int | None:
    scalar = as_text(node, f"{subject}: a community", problems)
    if scalar is None:
        return None
    if scalar.text in communities:
        return communities[scalar.text]
    community = parse_community(scalar.text)
    if isinstance(community, str):
        message = f"{subject}: invalid community {quoted(scalar.text)} in BGP advertisement: {community}"
        hint = suggestion(scalar.text, communities, problems) or "Use a name from bgp-communities, or A:B."
        problems.error(Code.COMMUNITY_INVALID, scalar, message, hint, scalar.text)
        return None
    return community

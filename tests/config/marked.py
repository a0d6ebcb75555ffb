"""Texts that carry the position of the problem they are about: «» stand around the offending value, or are empty."""

from typing import NamedTuple

from metallb_cli.config import parse


class Marked(NamedTuple):
    text: str
    line: int
    column: int
    value: str


def marked(text):
    begin, end = text.index("«"), text.index("»")
    before = text[:begin]
    line = before.count("\n") + 1
    return Marked(
        text.replace("«", "").replace("»", ""),
        line,
        len(before) - (before.rfind("\n") + 1) + 1,
        text[begin + 1 : end],
    )


def problems_of(text, code=None):
    return [problem for problem in parse(text).problems if code in (None, problem.code)]


def codes_of(text):
    return [problem.code for problem in parse(text).problems]


def pool(*lines, name="a", protocol="layer2", addresses="[10.0.0.0/24]"):
    """A configuration with one pool; further lines are further keys of it."""
    first = {"name": name, "protocol": protocol, "addresses": addresses}
    keys = [f"{key}: {value}" for key, value in first.items() if value is not None] + list(lines)
    return "address-pools:\n- " + "\n  ".join(keys) + "\n"


def peer(*lines, **changes):
    """A configuration with one peer; `my_asn="0"` replaces a key, None removes it; further lines are further keys."""
    keys = {"my-asn": "64512", "peer-asn": "64513", "peer-address": "10.0.0.1"}
    keys.update({key.replace("_", "-"): value for key, value in changes.items()})
    written = [f"{key}: {value}" for key, value in keys.items() if value is not None] + list(lines)
    return "peers:\n- " + "\n  ".join(written) + "\n" + pool()

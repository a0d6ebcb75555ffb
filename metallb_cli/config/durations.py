"""Durations as Go writes them: `90s`, `1m30s`, `1.5h`."""

from __future__ import annotations

import re
from fractions import Fraction

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]{1,19}\.?[0-9]{0,19}|\.[0-9]{1,19})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 64
_MOST = 2**63 - 1


def parse_duration(text: str) -> int | str:
    """Return nanoseconds, or why the text is not a duration. Accepts what Go's time.ParseDuration accepts."""
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return 0
    if not unsigned or len(text) > _LONGEST:
        return "not a duration"
    total = Fraction(0)
    position = 0
    while position < len(unsigned):
        part = _PART.match(unsigned, position)
        if part is None:
            number = re.fullmatch(r"[0-9.]+", unsigned[position:], re.ASCII)
            return "missing unit" if number else "not a duration"
        total += Fraction(part[1].rstrip(".")) * _NANOSECONDS[part[2]]
        position = part.end()
    nanoseconds = int(total)
    if nanoseconds > _MOST:
        return "too long"
    return -nanoseconds if text.startswith("-") else nanoseconds

import pytest

from metallb_cli.config.durations import parse_duration

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("90s", 90 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1.5h", 5400 * SECOND),
        ("0", 0),
        ("-0", 0),
        ("+3s", 3 * SECOND),
        ("-1.5s", -1_500_000_000),
        (".5s", SECOND // 2),
        ("5.s", 5 * SECOND),
        ("300ms", 300_000_000),
        ("1us1ns", 1001),
        ("1µs", 1000),
        ("1μs", 1000),
        ("39h9m14.425s", 140_954_425_000_000),
        ("9223372036854775807ns", 2**63 - 1),
    ],
)
def test_a_duration_is_read_as_go_does(text, nanoseconds):
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("120", "missing unit"),
        ("1.5", "missing unit"),
        ("1m30", "missing unit"),
        ("", "not a duration"),
        ("-", "not a duration"),
        (".s", "not a duration"),
        ("s", "not a duration"),
        ("1 s", "not a duration"),
        ("3x", "not a duration"),
        ("--3s", "not a duration"),
        ("1S", "not a duration"),
        ("١s", "not a duration"),
        ("9223372036854775808ns", "too long"),
        ("9" * 65 + "h", "not a duration"),
    ],
)
def test_what_go_refuses_is_refused_with_a_reason(text, reason):
    assert parse_duration(text) == reason

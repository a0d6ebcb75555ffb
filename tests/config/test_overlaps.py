import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.config import Code, parse
from tests.config.marked import pool, problems_of


def pools(*lists):
    """One pool for each list of addresses."""
    lines = "".join(f"- {{name: p{n}, protocol: layer2, addresses: {a}}}\n" for n, a in enumerate(lists))
    return f"address-pools:\n{lines}"


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ("10.0.0.0/24", "10.0.1.0/24", False),
        ("10.0.0.0/24", "10.0.0.0/24", True),
        ("10.0.0.0/24", "10.0.0.255/32", True),
        ("10.0.0.255/32", "10.0.0.0/24", True),
        ("10.0.0.1-10.0.0.5", "10.0.0.6-10.0.0.9", False),
        ("10.0.0.1-10.0.0.5", "10.0.0.5-10.0.0.9", True),
        ("0.0.0.0/0", "'::/0'", False),
        ("'fc00::/7'", "'fd00::1/128'", True),
        ("0.0.0.0-255.255.255.255", "1.1.1.1/32", True),
    ],
)
def test_two_entries_overlap_when_an_address_is_in_both(first, second, overlap):
    assert (problems_of(pools(f"[{first}, {second}]"), Code.POOL_OVERLAP) != []) is overlap
    assert (problems_of(pools(f"[{first}]", f"[{second}]"), Code.POOL_OVERLAP) != []) is overlap


def test_the_later_one_in_the_text_is_at_fault_whichever_is_larger():
    for first, second in (("10.0.0.0/24", "10.0.0.0/25"), ("10.0.0.0/25", "10.0.0.0/24")):
        (problem,) = problems_of(pools(f"[{first}]", f"[{second}]"), Code.POOL_OVERLAP)
        assert (problem.line, problem.value) == (3, second)
        assert problem.message == (
            f'CIDR "{second}" in pool "p1" overlaps with already defined CIDR "{first}" in pool "p0" (line 2)'
        )
        assert problem.hint == "Both contain 10.0.0.0-10.0.0.127; leave it in one of them."


def test_an_entry_that_overlaps_with_two_is_reported_with_both():
    text = pools("[10.0.0.0/24]", "[10.0.1.0/24]", "[10.0.0.0/23]")
    assert [p.message.split("pool ")[-1] for p in problems_of(text, Code.POOL_OVERLAP)] == [
        '"p0" (line 2)',
        '"p1" (line 3)',
    ]


def test_every_pair_is_reported_when_one_entry_spans_several():
    text = pools("[10.0.0.0/8, 10.1.0.0/16, 10.2.0.0/16, 10.1.1.0/24]")
    assert len(problems_of(text, Code.POOL_OVERLAP)) == 4


def test_a_pool_that_is_wrong_otherwise_still_counts():
    text = pool(protocol="nonsense") + "- {protocol: layer2, cidr: [10.0.0.0/25]}\n"
    assert len(problems_of(text, Code.POOL_OVERLAP)) == 1


spans = st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(spans, max_size=12))
def test_exactly_the_overlapping_pairs_are_found(ranges):
    text = pools(*(f"[10.0.0.{first}-10.0.0.{last}]" for first, last in ranges))
    expected = [
        (j + 2, i + 2)
        for i in range(len(ranges))
        for j in range(i + 1, len(ranges))
        if ranges[i][0] <= ranges[j][1] and ranges[j][0] <= ranges[i][1]
    ]
    found = [(p.line, int(p.message.rpartition("line ")[2].rstrip(")"))) for p in problems_of(text, Code.POOL_OVERLAP)]
    assert sorted(found) == sorted(expected)


def test_the_time_grows_with_the_number_of_pools_and_not_with_its_square():
    def seconds(count):
        text = pools(
            *(
                f"[10.{n // 256}.{n % 256}.0/25, 10.{n // 256}.{n % 256}.200-10.{n // 256}.{n % 256}.210]"
                for n in range(count)
            )
        )
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            assert parse(text).problems == ()
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(2000) < 30 * seconds(250)  # 8 if linear, 64 if quadratic

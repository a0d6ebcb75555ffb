"""Whatever the text is, the parser answers: a configuration that keeps its promises, or problems with places."""

import string

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metallb_cli.config import Code, Level, advertisements, bfd, parse, parse_manifest, parser, peers, pools
from metallb_cli.config.durations import parse_duration
from metallb_cli.model import merge_ranges
from tests.config.marked import pool

KEYS = sorted({*pools.KEYS, *peers.KEYS, *bfd.KEYS, *advertisements.KEYS, *parser.KEYS, "kind", "data", "config", "<<"})
YAMLISH = st.text(alphabet="-:[]{}&*!|>'\"#%@`,?<~ \n\t\r\\ab10.é\x00\u2028\ufeff", max_size=80)
ADDRESSES = st.sampled_from(
    [
        "10.0.0.0/24",
        "10.0.0.1-10.0.0.9",
        "10.0.1.0/24",
        "fc00::/64",
        "fc00::1 - fc00::9",
        "10.0.0.9-10.0.0.1",
        "0.0.0.0/0",
        "x",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**33),
    st.floats(allow_nan=False),
    st.text(string.printable, max_size=8),
    ADDRESSES,
    st.sampled_from(["arp", "ndp", "layer2", "bgp", "a", "b", "90s", "1:1", "In", "Exists", "ConfigMap", "List", "v1"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)
POOLS = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcdefgh"),
        "protocol": st.sampled_from(["arp", "layer2", "bgp"]),
        "addresses": st.lists(
            st.tuples(st.integers(0, 300), st.integers(0, 40)).map(
                lambda s: f"10.0.{s[0] // 256}.{s[0] % 256}-10.0.{(s[0] + s[1]) // 256}.{(s[0] + s[1]) % 256}"
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "auto-assign": st.booleans(),
        "avoid-buggy-ips": st.booleans(),
        "arp-network": st.sampled_from(["10.0.0.0/16", "10.0.0.0/23", "10.0.0.0/24"]),
    },
)


def check(parsed):
    assert (parsed.config is None) == any(p.severity is Level.ERROR for p in parsed.problems)
    for problem in parsed.problems:
        assert problem.code in set(Code)
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message.isprintable()
        assert problem.message
        assert problem.hint
    if parsed.config is not None:
        check_config(parsed.config)


def check_config(config):
    """What the allocator relies on."""
    names = [found.name for found in config.pools]
    assert len(set(names)) == len(names)
    assert all(names)
    ranges = [r for found in config.pools for r in found.ranges]
    assert sum(r.size for r in ranges) == sum(r.size for r in merge_ranges(ranges))
    for found in config.pools:
        assert found.ranges
        assert 0 <= found.size() <= sum(r.size for r in found.ranges)
        assert (found.arp_network is not None) == (found.protocol.value == "arp")
        assert (found.name in config.bgp_advertisements) == (found.protocol.value == "bgp")


@given(st.text())
@example("\ud800")
@example("a: &a [*a]")
@example("? [a]\n: b")
@example("&a a: *a")
@example("%YAML 3.0\n---\na")
def test_any_text_gets_an_answer(text):
    check(parse(text))
    assert parse_manifest(text, "f").source == "f"


@given(YAMLISH)
def test_any_text_of_yaml_characters_gets_an_answer(text):
    check(parse(text))
    check(parse(pool() + text))
    assert parse_manifest(f"kind: ConfigMap\ndata:\n  config: {text}", "f").source == "f"


@given(st.binary())
def test_any_bytes_get_an_answer(data):
    manifest = parse_manifest(data, "f")
    assert manifest.parts or manifest.problems
    check(parse(data.decode("utf-8", "replace")))
    check(parse(data.decode("utf-8", "surrogateescape")))


@settings(max_examples=3 * settings.default.max_examples)
@given(TREES, st.booleans())
def test_any_structure_of_known_keys_gets_an_answer(tree, flow):
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    check(parse(text))
    for part in parse_manifest(text, "f").parts:
        check(part.parsed)


@settings(max_examples=3 * settings.default.max_examples)
@given(st.lists(POOLS, max_size=5))
def test_pools_that_are_accepted_keep_what_the_allocator_relies_on(found):
    check(parse(yaml.safe_dump({"address-pools": found})))


@given(st.lists(POOLS, max_size=4))
def test_a_manifest_says_the_same_as_the_text_in_it(found):
    text = yaml.safe_dump({"address-pools": found})
    (part,) = parse_manifest(
        yaml.safe_dump({"kind": "ConfigMap", "data": {"config": text}}, default_style="|"), "f"
    ).parts
    alone = parse(text)
    assert part.parsed.config == alone.config
    assert [(p.code, p.value) for p in part.parsed.problems] == [(p.code, p.value) for p in alone.problems]


@given(st.text(alphabet="0123456789.+-hmnsuµ ", max_size=12))
def test_any_duration_gets_an_answer(text):
    answer = parse_duration(text)
    assert isinstance(answer, int) or answer in ("missing unit", "not a duration", "too long")

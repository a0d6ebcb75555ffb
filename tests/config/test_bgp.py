import pytest

from metallb_cli.config import BfdProfile, BgpAdvertisement, Code, parse
from metallb_cli.config.advertisements import parse_community
from metallb_cli.model import Protocol
from tests.config.marked import peer, pool, problems_of


def advertisements_of(*lines, addresses="[10.0.0.0/24]", before=""):
    parsed = parse(before + pool(*lines, protocol="bgp", addresses=addresses))
    assert parsed.config is not None, parsed.problems
    return parsed.config.bgp_advertisements["a"]


def test_a_bgp_pool_without_advertisements_has_one_with_all_defaults():
    assert advertisements_of() == (BgpAdvertisement(32, 128, 0, frozenset()),)
    assert advertisements_of("bgp-advertisements:") == (BgpAdvertisement(),)
    assert advertisements_of("bgp-advertisements: []") == (BgpAdvertisement(),)


def test_a_null_advertisement_has_all_defaults():
    lines = ("bgp-advertisements:", "- ", "- localpref: 100")
    assert advertisements_of(*lines) == (BgpAdvertisement(), BgpAdvertisement(local_pref=100))


def test_a_layer2_pool_has_no_advertisements():
    assert parse(pool()).config.bgp_advertisements == {}
    assert parse(pool("bgp-advertisements: []")).config.bgp_advertisements == {}


def test_communities_are_aliases_or_literals():
    before = "bgp-communities: {no-export: 65535:65281}\n"
    (advertisement,) = advertisements_of("bgp-advertisements: [communities: [no-export, 100:7, 100:7]]", before=before)
    assert advertisement.communities == {0xFFFFFF01, 100 << 16 | 7}
    assert parse(before).config.communities == {"no-export": 0xFFFFFF01}


@pytest.mark.parametrize(("text", "value"), [("0:0", 0), ("65535:65535", 2**32 - 1), ("007:1", 7 << 16 | 1)])
def test_a_community_is_two_16_bit_numbers(text, value):
    assert parse_community(text) == value


@pytest.mark.parametrize(
    "text", ["", ":", "1:", ":1", "1", "1:2:3", "65536:0", "0:65536", "-1:0", "0x1:0", " 1:2", "١:1"]
)
def test_anything_else_is_no_community(text):
    assert isinstance(parse_community(text), str)


def test_a_large_community_is_said_to_be_one():
    assert parse_community("large:1:2:3") == "large communities are not part of the ConfigMap format"


def test_an_invalid_alias_is_reported_once_and_not_where_it_is_used():
    text = "bgp-communities: {a: x}\n" + pool("bgp-advertisements: [communities: [a]]", protocol="bgp")
    assert [p.line for p in problems_of(text, Code.COMMUNITY_INVALID)] == [1]


def test_a_misspelt_alias_gets_a_suggestion():
    text = "bgp-communities: {no-export: 1:1}\n" + pool("bgp-advertisements: [communities: [no-exprt]]", protocol="bgp")
    assert [p.hint for p in problems_of(text, Code.COMMUNITY_INVALID)] == ["Did you mean no-export?"]


@pytest.mark.parametrize(
    ("addresses", "length", "accepted"),
    [
        ("[10.0.0.0/24]", 24, True),
        ("[10.0.0.0/24]", 23, False),
        ("[10.0.0.0/24]", 32, True),
        ("[0.0.0.0/0]", 0, True),
        ("[10.0.0.0/24, 10.1.0.0/26]", 25, False),
        ("[3.3.3.2-3.3.3.254]", 26, True),
        ("[3.3.3.2-3.3.3.254]", 25, False),
        ("[3.3.3.2-3.3.3.254]", 24, False),
        ("[3.3.3.0-3.3.3.255]", 24, True),
        ("[10.0.0.0/24]", 33, False),
        ("[10.0.0.0/24]", -1, False),
        ("['fc00::/64']", 32, True),
    ],
)
def test_an_aggregation_length_must_not_be_shorter_than_a_prefix(addresses, length, accepted):
    text = pool(f"bgp-advertisements: [aggregation-length: {length}]", protocol="bgp", addresses=addresses)
    assert (problems_of(text, Code.AGGREGATION_LENGTH_INVALID) == []) is accepted


@pytest.mark.parametrize(("length", "accepted"), [(64, True), (63, False), (128, True), (129, False)])
def test_an_ipv6_entry_has_an_aggregation_length_of_its_own(length, accepted):
    lines = f"bgp-advertisements: [aggregation-length-v6: {length}]"
    text = pool(lines, protocol="bgp", addresses="['fc00::/64', 10.0.0.0/24]")
    assert (problems_of(text, Code.AGGREGATION_LENGTH_INVALID) == []) is accepted


def test_each_bgp_pool_says_once_that_nobody_announces_it():
    text = pool(protocol="bgp") + "- {name: b, protocol: bgp, cidr: [10.1.0.0/24]}\n"
    assert [p.value for p in problems_of(text, Code.BGP_NOT_ANNOUNCED)] == ["a", "b"]
    assert [p.protocol for p in parse(text).config.pools] == [Protocol.BGP, Protocol.BGP]


def test_a_bfd_profile_is_read_whole():
    text = (
        "bfd-profiles:\n- name: fast\n  receive-interval: 10\n  transmit-interval: 60000\n  detect-multiplier: 2\n"
        "  echo-interval: 50\n  echo-mode: true\n  passive-mode: true\n  minimum-ttl: 254\n- name: default\n"
    )
    assert parse(text).config.bfd_profiles == (
        BfdProfile("fast", 10, 60000, 2, 50, True, True, 254),
        BfdProfile("default"),
    )


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("receive-interval", 10, 60000),
        ("transmit-interval", 10, 60000),
        ("echo-interval", 10, 60000),
        ("detect-multiplier", 2, 255),
        ("minimum-ttl", 1, 254),
    ],
)
def test_bfd_values_have_bounds(key, low, high):
    for value, accepted in ((low, True), (high, True), (low - 1, False), (high + 1, False)):
        problems = problems_of(f"bfd-profiles: [{{name: a, {key}: {value}}}]", Code.NUMBER_OUT_OF_RANGE)
        assert (problems == []) is accepted, (key, value)


def test_echo_mode_is_fine_while_all_bgp_pools_are_ipv4():
    text = "bfd-profiles: [{name: e, echo-mode: true}]\n" + peer("bfd-profile: e")
    assert problems_of(text, Code.BFD_ECHO_IPV6) == []
    assert problems_of(text.replace("10.0.0.0/24", "fc00::/64"), Code.BFD_ECHO_IPV6) == []

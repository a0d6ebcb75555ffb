from ipaddress import ip_address, ip_network

import pytest

from metallb_cli.config import Code, Level, parse
from metallb_cli.config.pools import KEYS
from metallb_cli.model import AddressRange, Pool, Protocol
from tests.config.marked import codes_of, pool, problems_of


def between(first, last):
    return AddressRange(ip_address(first), ip_address(last))


def network(text):
    return AddressRange.of_network(ip_network(text))


def pools_of(text):
    parsed = parse(text)
    assert parsed.config is not None, parsed.problems
    return parsed.config.pools


def test_the_arp_example_of_v0_4_6_is_accepted_without_a_word():
    text = "address-pools:\n- name: my-ip-space\n  protocol: arp\n  cidr:\n  - 192.168.1.240/28\n"
    parsed = parse(text)
    assert parsed.problems == ()
    assert parsed.config.pools == (
        Pool(
            "my-ip-space",
            Protocol.ARP,
            (network("192.168.1.240/28"),),
            arp_network=ip_network("192.168.1.0/24"),
        ),
    )


def test_a_pool_of_the_later_format_has_ranges_and_both_families():
    (found,) = pools_of(pool(addresses="[10.0.0.1 - 10.0.0.9, 10.0.1.0/24, fc00::1-fc00::5, 10.2.0.1-10.2.0.1]"))
    assert found == Pool(
        "a",
        Protocol.LAYER2,
        (
            between("10.0.0.1", "10.0.0.9"),
            network("10.0.1.0/24"),
            between("fc00::1", "fc00::5"),
            network("10.2.0.1/32"),
        ),
    )


def test_cidr_follows_addresses_when_a_pool_has_both():
    (found,) = pools_of(pool("cidr: [10.0.0.0/24]", addresses="[10.1.0.1-10.1.0.2]"))
    assert found.ranges == (between("10.1.0.1", "10.1.0.2"), network("10.0.0.0/24"))


def test_the_two_formats_may_be_mixed():
    text = pool(protocol="arp") + (
        "- {name: b, protocol: layer2, cidr: [10.1.0.0/24]}\n"
        "- {name: c, protocol: ndp, addresses: ['fc00::/64']}\n"
        "- {name: d, protocol: bgp, cidr: [10.2.0.0/24, 'fc01::/64']}\n"
    )
    assert [(p.name, p.protocol.value) for p in pools_of(text)] == [
        ("a", "arp"),
        ("b", "layer2"),
        ("c", "ndp"),
        ("d", "bgp"),
    ]


def test_pools_keep_the_order_of_the_text():
    text = "address-pools:\n" + "".join(
        f"- {{name: p{n}, protocol: layer2, cidr: [10.{n}.0.0/24]}}\n" for n in (3, 1, 2)
    )
    assert [p.name for p in pools_of(text)] == ["p3", "p1", "p2"]


def test_host_bits_are_cleared():
    assert pools_of(pool(addresses="[10.20.30.40/24]"))[0].ranges == (network("10.20.30.0/24"),)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("True", True),
        ("false", False),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("on", True),
        ("n", False),
    ],
)
def test_flags_are_booleans_and_null_is_the_default(written, value):
    (found,) = pools_of(pool(f"auto-assign: {written}", f"avoid-buggy-ips: {written}"))
    assert found.auto_assign is (True if value is None else value)
    assert found.avoid_buggy_ips is (False if value is None else value)


@pytest.mark.parametrize(
    ("addresses", "accepted"),
    [
        ("[192.168.1.0/24]", True),
        ("[192.168.1.128/25, 192.168.1.0/26]", True),
        ("[192.168.1.1-192.168.1.9]", True),
        ("[192.168.0.0/23]", False),
        ("[192.168.1.0/25, 192.168.2.0/25]", False),
        ("[192.168.1.250-192.168.2.9]", False),
    ],
)
def test_without_arp_network_all_entries_lie_in_the_24_of_the_first(addresses, accepted):
    text = pool(protocol="arp", addresses=addresses)
    assert (problems_of(text, Code.ARP_NETWORK_NEEDED) == []) is accepted
    if accepted:
        assert pools_of(text)[0].arp_network == ip_network("192.168.1.0/24")


@pytest.mark.parametrize(
    ("arp_network", "accepted"),
    [
        ("10.0.0.0/24", True),
        ("10.0.0.0/23", True),
        ("10.0.0.77/16", True),
        ("10.0.0.0/25", False),
        ("10.1.0.0/24", False),
    ],
)
def test_a_given_arp_network_encloses_or_equals_every_entry(arp_network, accepted):
    text = pool(f"arp-network: {arp_network}", protocol="arp")
    assert (problems_of(text, Code.ARP_NETWORK_OUTSIDE) == []) is accepted
    if accepted:
        assert pools_of(text)[0].arp_network == ip_network(arp_network, strict=False)


def test_the_ends_of_the_arp_network_are_never_usable():
    (found,) = pools_of(pool(protocol="arp", addresses="[10.0.0.0/24]"))
    assert not found.usable(ip_address("10.0.0.0"))
    assert not found.usable(ip_address("10.0.0.255"))
    assert found.usable(ip_address("10.0.0.1"))


def test_an_empty_arp_network_is_none_at_all():
    assert pools_of(pool("arp-network:", protocol="bgp"))[0].arp_network is None
    assert pools_of(pool("arp-network: ''", protocol="bgp"))[0].arp_network is None


def test_a_wrong_first_entry_does_not_make_the_others_fall_outside():
    text = pool(protocol="arp", addresses="[10.0.0.0/33, 10.1.0.0/24, 10.2.0.0/24]")
    assert codes_of(text) == [Code.INVALID_CIDR]


def test_an_arp_network_that_cannot_be_read_is_one_problem():
    assert codes_of(pool("arp-network: x", protocol="arp", addresses="[10.0.0.0/16]")) == [Code.ARP_NETWORK_INVALID]


def test_every_mistake_of_a_pool_is_reported():
    text = "address-pools:\n- protocol: x\n  cidr: [y]\n  auto-assign: 7\n  zzz: 1\n"
    assert sorted(codes_of(text)) == [
        Code.INVALID_CIDR,
        Code.POOL_NAME_MISSING,
        Code.POOL_PROTOCOL_UNKNOWN,
        Code.UNKNOWN_KEY,
        Code.WRONG_TYPE,
    ]


def test_a_mistake_in_one_pool_does_not_hide_those_of_another():
    text = pool(protocol="x") + "- {name: b, protocol: y, cidr: [10.1.0.0/24]}\n"
    assert [p.value for p in problems_of(text, Code.POOL_PROTOCOL_UNKNOWN)] == ["x", "y"]


def test_a_pool_without_a_name_is_called_by_its_number():
    text = pool() + "- {protocol: layer2, cidr: [10.0.0.0/33]}\n"
    assert {p.message for p in problems_of(text)} == {
        "address pool #2: missing pool name",
        'invalid CIDR "10.0.0.0/33" in pool "#2"',
    }


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("auto-asign", "auto-assign"),
        ("autoAssign", "auto-assign"),
        ("auto_assign", "auto-assign"),
        ("adresses", "addresses"),
        ("cidrs", "cidr"),
        ("avoid-buggy-ip", "avoid-buggy-ips"),
    ],
)
def test_an_unknown_key_gets_a_suggestion(word, meant):
    (problem,) = problems_of(pool(f"{word}: x"), Code.UNKNOWN_KEY)
    assert (problem.severity, problem.hint) == (Level.WARNING, f"Did you mean {meant}?")


def test_a_key_like_no_other_gets_the_list_of_those_that_exist():
    (problem,) = problems_of(pool("qqqqqq: x"), Code.UNKNOWN_KEY)
    assert all(key in problem.hint for key in KEYS)


def test_a_single_address_without_prefix_length_says_how_to_write_it():
    hints = [p.hint for p in problems_of(pool(addresses="[10.0.0.1, 'fc00::1']"), Code.INVALID_CIDR)]
    assert hints == ["A single address is written 10.0.0.1/32.", "A single address is written fc00::1/128."]


def test_an_ipv6_address_that_yaml_takes_for_a_mapping_says_to_quote_it():
    (problem,) = problems_of(pool(addresses="\n  - fc00::"), Code.WRONG_TYPE)
    assert problem.hint == "Put an IPv6 address that ends in a colon in quotes."


def test_a_pool_given_without_a_list_is_still_checked():
    found = codes_of("address-pools:\n  name: a\n  protocol: x\n  cidr: [10.0.0.0/24]\n")
    assert sorted(found) == [Code.POOL_PROTOCOL_UNKNOWN, Code.WRONG_TYPE]


def test_text_where_pools_belong_is_one_problem():
    assert codes_of("address-pools: none") == [Code.WRONG_TYPE]
    assert codes_of("address-pools: [none]") == [Code.WRONG_TYPE]


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("10", True),
        ("010", True),
        ("1e3", True),
        ("1:30", True),
        ("yes", True),
        ("2024-01-01", True),
        ("'10'", False),
        ("10-net", False),
    ],
)
def test_a_name_that_looks_like_a_number_is_taken_as_written(name, warned):
    text = pool(name=name)
    assert pools_of(text)[0].name == name.strip("'")
    assert (problems_of(text, Code.UNQUOTED_NAME) != []) is warned

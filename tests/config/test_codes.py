"""One text for each problem code: the code, its severity, line, column, value, and words of its message."""

import re
from pathlib import Path

import pytest
import yaml

from metallb_cli.config import Code, Level, loader, parse, parse_manifest
from tests.config.marked import marked, peer, pool

DOCS = Path(__file__).resolve().parents[2] / "docs" / "config.md"
BGP = {"protocol": "bgp"}
CONFIGMAP = "kind: ConfigMap\nmetadata: {name: config, namespace: metal-system}\n"

# code, text with «value» at the place, words of the message; a third string is the value where it is not what is marked
ERRORS = [
    (Code.TEXT_CONTROL_CHARACTER, "peers: []\na: b«»\x00c", r"U\+0000", "U+0000"),
    (Code.TEXT_CONTROL_CHARACTER, "«»\ud800", r"U\+D800", "U+D800"),
    (Code.YAML_SYNTAX, "peers: []\naddress-pools: «»@x", "cannot start any token"),
    (Code.YAML_SYNTAX, 'a: «»"b\nc: d\n', "unexpected end of stream"),
    (Code.YAML_SYNTAX, "a: b\n«»- c\n", "did not find expected key|expected <block end>"),
    (Code.YAML_SYNTAX, "peer-address: fc00:«»:", "mapping values are not allowed"),
    (Code.YAML_TAB, "peers:\n«»\t- my-asn: 1", "a tab cannot be used", "\\t"),
    (Code.YAML_TOO_DEEP, "a: " + "[" * 49 + "«»[" + "]" * 50, "more than 50 levels"),
    (Code.YAML_ALIAS_UNKNOWN, "peers: «»*nobody", "no anchor before it"),
    (Code.YAML_ALIAS_RECURSIVE, "peers: &a [«»*a]", "contains itself"),
    (
        Code.YAML_ALIAS_EXPANSION,
        "a: &a [" + "x," * 999 + "x]\nb: &b [" + "*a," * 9 + "*a]\nc: [" + "*b," * 8 + "«»*b]",
        "more than 100000 values",
    ),
    (Code.YAML_TAG, "peers: «»!mine []", "tags have no meaning"),
    (Code.YAML_TAG, "peers: «»!a!b []", "tags have no meaning"),
    (Code.YAML_KEY, "a: {«»{ .Values.x }: 1}", "a key must be a single text"),
    (Code.YAML_MERGE, "<<: «»text", "only a mapping can be merged"),
    (Code.DUPLICATE_KEY, pool("«name»: b"), r'the key "name" occurs twice in this mapping \(first on line 2\)'),
    (Code.WRONG_TYPE, "«»- a", "the configuration must be a mapping, not a list"),
    (Code.WRONG_TYPE, "«»text", "the configuration must be a mapping, not text"),
    (Code.WRONG_TYPE, "peers: «»x", "peers must be a list, not text"),
    (Code.WRONG_TYPE, "address-pools:\n- «»x", "address pool #1 must be a mapping, not text"),
    (Code.WRONG_TYPE, "bgp-communities: «»[a]", "bgp-communities must be a mapping, not a list"),
    (Code.WRONG_TYPE, "bgp-communities: {a: «»[b]}", 'bgp-communities "a" must be text, not a list'),
    (Code.WRONG_TYPE, pool(name="«»[a]"), "name must be text, not a list"),
    (Code.WRONG_TYPE, pool(addresses="«»10.0.0.0/24"), 'pool "a": addresses must be a list, not text'),
    (Code.WRONG_TYPE, pool(addresses="\n  - «»fc00::"), "an element of addresses must be text, not a mapping"),
    (Code.WRONG_TYPE, pool("auto-assign: «maybe»"), 'auto-assign must be true or false, not "maybe"'),
    (Code.WRONG_TYPE, pool("auto-assign: «»'true'"), 'auto-assign must be true or false, not "true"', "true"),
    (Code.WRONG_TYPE, peer(my_asn="«1:30»"), 'my-asn must be a whole number, not "1:30"'),
    (Code.WRONG_TYPE, peer(my_asn="«012»"), 'my-asn must be a whole number, not "012"'),
    (Code.WRONG_TYPE, peer(my_asn="«0x1f»"), 'my-asn must be a whole number, not "0x1f"'),
    (Code.WRONG_TYPE, peer(my_asn="«»'64512'"), 'my-asn must be a whole number, not "64512"', "64512"),
    (Code.NUMBER_OUT_OF_RANGE, peer(my_asn="«4294967296»"), "my-asn 4294967296 is out of range"),
    (Code.NUMBER_OUT_OF_RANGE, peer("peer-port: «65536»"), "peer-port 65536 is out of range"),
    (Code.NUMBER_OUT_OF_RANGE, pool("bgp-advertisements: [localpref: «-1»]", **BGP), "localpref -1 is out of range"),
    (Code.NUMBER_OUT_OF_RANGE, "bfd-profiles: [{name: a, minimum-ttl: «255»}]", "minimum-ttl 255 is out of range"),
    (Code.POOL_NAME_MISSING, "address-pools:\n- «»protocol: layer2\n  addresses: [10.0.0.0/24]", "missing pool name"),
    (Code.POOL_NAME_MISSING, pool(name="«»''"), "missing pool name"),
    (Code.POOL_NAME_MISSING, "address-pools: [«»~]", "address pool #1: missing pool name"),
    (
        Code.POOL_DUPLICATE,
        pool() + "- name: «a»\n  protocol: layer2\n  cidr: [10.1.0.0/24]",
        r'duplicate definition of pool "a" \(first on line 2\)',
    ),
    (
        Code.POOL_PROTOCOL_MISSING,
        "address-pools:\n- «»name: a\n  cidr: [10.0.0.0/24]",
        'pool "a": address pool is missing the protocol field',
    ),
    (Code.POOL_PROTOCOL_MISSING, pool(protocol="«»''"), "address pool is missing the protocol field"),
    (Code.POOL_PROTOCOL_UNKNOWN, pool(protocol="«layer3»"), 'unknown protocol "layer3"'),
    (Code.POOL_PROTOCOL_UNKNOWN, pool(protocol="«ARP»"), 'unknown protocol "ARP"'),
    (Code.POOL_NO_ADDRESSES, "address-pools:\n- «»name: a\n  protocol: bgp", 'pool "a": pool has no prefixes defined'),
    (
        Code.POOL_NO_ADDRESSES,
        "address-pools:\n- name: a\n  protocol: arp\n  «»cidr: []",
        "pool has no prefixes defined",
    ),
    (Code.POOL_NO_ADDRESSES, "address-pools:\n- name: a\n  protocol: arp\n  «»cidr:\n", "pool has no prefixes defined"),
    (
        Code.POOL_OVERLAP,
        pool() + "- name: b\n  protocol: layer2\n  cidr: [«10.0.0.128/25»]",
        r'CIDR "10.0.0.128/25" in pool "b" overlaps with already defined CIDR "10.0.0.0/24" in pool "a" \(line 4\)',
    ),
    (
        Code.POOL_OVERLAP,
        pool(addresses="[10.0.0.0/24, «10.0.0.9-10.0.0.12»]"),
        'IP range "10.0.0.9-10.0.0.12" in pool "a" overlaps with already defined CIDR "10.0.0.0/24" in pool "a"',
    ),
    (Code.INVALID_CIDR, pool(addresses="[«10.0.0.0/33»]"), 'invalid CIDR "10.0.0.0/33" in pool "a"'),
    (Code.INVALID_CIDR, pool(addresses="[«10.0.0.0»]"), 'invalid CIDR "10.0.0.0" in pool "a"'),
    (Code.INVALID_CIDR, pool(addresses="['«» 10.0.0.0/24']").replace("'«» ", "«»' "), "invalid CIDR", " 10.0.0.0/24"),
    (Code.INVALID_CIDR, pool(addresses="[«10.0.0.0/255.255.255.0»]"), "invalid CIDR"),
    (Code.INVALID_CIDR, pool(addresses="[«10.0.0/24»]"), "invalid CIDR"),
    (Code.INVALID_CIDR, pool(addresses="[«10.0.0.010/32»]"), "invalid CIDR"),
    (Code.INVALID_CIDR, pool(addresses="[«fe80::1%eth0/64»]"), "invalid CIDR"),
    (
        Code.INVALID_CIDR,
        pool(addresses="['«»::ffff:10.0.0.0/120']").replace("'«»", "«»'"),
        "invalid",
        "::ffff:10.0.0.0/120",
    ),
    (Code.INVALID_CIDR, pool(addresses="[«»~]"), 'invalid CIDR ""'),
    (Code.INVALID_CIDR, pool("cidr: [«10.1.0.1-10.1.0.2»]", addresses=None), "invalid CIDR"),
    (Code.INVALID_CIDR, pool(addresses="[«10.0.0.1\u201310.0.0.2»]"), "invalid CIDR"),
    (Code.INVALID_RANGE, pool(addresses="[«10.0.0.1-10»]"), 'invalid IP range "10.0.0.1-10" in pool "a"'),
    (Code.INVALID_RANGE, pool(addresses="[«10.0.0.0/24-10.0.1.0/24»]"), "invalid IP range"),
    (Code.INVALID_RANGE, pool(addresses="[«10.0.0.1-10.0.0.2-10.0.0.3»]"), "invalid IP range"),
    (
        Code.RANGE_BACKWARDS,
        pool(addresses="[«10.0.0.2 - 10.0.0.1»]"),
        "start IP 10.0.0.2 is after the end IP 10.0.0.1",
    ),
    (Code.RANGE_MIXED_FAMILIES, pool(addresses="[«10.0.0.1-fc00::1»]"), "one end is IPv4, the other IPv6"),
    (
        Code.WRONG_FAMILY,
        pool(protocol="arp", addresses="[10.0.0.0/24, «fc00::/64»]"),
        "only IPv4 addresses can be used in ARP pools",
    ),
    (
        Code.WRONG_FAMILY,
        pool(protocol="ndp", addresses="[fc00::/64, «10.0.0.0/24»]"),
        "only IPv6 addresses can be used in NDP pools",
    ),
    (Code.ARP_NETWORK_INVALID, pool("arp-network: «10.0.0.0»", protocol="arp"), "parsing ARP network: "),
    (Code.ARP_NETWORK_INVALID, pool("arp-network: «fc00::/64»", protocol="arp"), "ARP is for IPv4 only"),
    (
        Code.ARP_NETWORK_OUTSIDE,
        pool("arp-network: 10.0.0.0/25", protocol="arp", addresses="[«10.0.0.0/24»]"),
        'CIDR "10.0.0.0/24" is not contained within the enclosing ARP network "10.0.0.0/25"',
    ),
    (
        Code.ARP_NETWORK_NEEDED,
        pool(protocol="arp", addresses="[10.0.0.0/25, «10.0.1.0/25»]"),
        'CIDR "10.0.1.0/25" falls outside the inferred arp-network "10.0.0.0/24" '
        r"\(maybe explicitly define arp-network\?\)",
    ),
    (Code.ARP_NETWORK_NEEDED, pool(protocol="arp", addresses="[«10.0.0.0/16»]"), "pool did not specify an arp-network"),
    (
        Code.ARP_NETWORK_IN_BGP,
        pool("arp-network: «10.0.0.0/24»", **BGP),
        "cannot have arp-network configuration element in a BGP address pool",
    ),
    (
        Code.ADVERTISEMENTS_NOT_BGP,
        pool("«»bgp-advertisements: [localpref: 1]", protocol="arp"),
        "cannot have bgp-advertisements configuration element in an ARP address pool",
    ),
    (
        Code.ADVERTISEMENTS_NOT_BGP,
        pool("«»bgp-advertisements: [{}]", protocol="ndp", addresses="[fc00::/64]"),
        "cannot have bgp-advertisements configuration element in an NDP address pool",
    ),
    (
        Code.ADVERTISEMENTS_NOT_BGP,
        pool("«»bgp-advertisements: [~]"),
        "cannot have bgp-advertisements configuration element in a layer2 address pool",
    ),
    (
        Code.AGGREGATION_LENGTH_INVALID,
        pool("bgp-advertisements: [aggregation-length: «33»]", **BGP),
        "invalid aggregation length 33",
    ),
    (
        Code.AGGREGATION_LENGTH_INVALID,
        pool("bgp-advertisements: [aggregation-length: «23»]", **BGP),
        'invalid aggregation length 23: prefix "10.0.0.0/24" in this pool is more specific than the aggregation length',
    ),
    (
        Code.AGGREGATION_LENGTH_INVALID,
        pool("bgp-advertisements: [aggregation-length-v6: «63»]", addresses="[fc00::/64]", **BGP),
        'invalid aggregation length 63: prefix "fc00::/64" in this pool is more specific',
    ),
    (Code.COMMUNITY_INVALID, "bgp-communities:\n  a: «1»", 'parsing community "a": invalid community string "1"'),
    (Code.COMMUNITY_INVALID, "bgp-communities:\n  a: «1:2:3»", 'invalid community string "1:2:3"'),
    (Code.COMMUNITY_INVALID, "bgp-communities:\n  a: «65536:1»", 'invalid first section of community "65536"'),
    (Code.COMMUNITY_INVALID, "bgp-communities:\n  a: «1:x»", 'invalid second section of community "x"'),
    (
        Code.COMMUNITY_INVALID,
        pool("bgp-advertisements: [communities: [«no-export»]]", **BGP),
        'invalid community "no-export" in BGP advertisement: ',
    ),
    (Code.PEER_MY_ASN_MISSING, "peers:\n- «»peer-asn: 1\n  peer-address: 10.0.0.1", "peer #1: missing local ASN"),
    (Code.PEER_MY_ASN_MISSING, peer(my_asn="«0»"), "missing local ASN"),
    (Code.PEER_ASN_MISSING, "peers:\n- «»my-asn: 1\n  peer-address: 10.0.0.1", "peer #1: missing peer ASN"),
    (Code.PEER_ASN_MISSING, peer(peer_asn="«0»"), "missing peer ASN"),
    (Code.PEER_ADDRESS_INVALID, "peers:\n- «»my-asn: 1\n  peer-asn: 1", 'peer #1: invalid peer IP ""'),
    (Code.PEER_ADDRESS_INVALID, peer(peer_address="«router.example»"), 'invalid peer IP "router.example"'),
    (Code.PEER_SOURCE_ADDRESS_INVALID, peer("source-address: «10.0.0.0/24»"), 'invalid source IP "10.0.0.0/24"'),
    (Code.PEER_ROUTER_ID_INVALID, peer("router-id: «r1»"), 'invalid router ID "r1"'),
    (Code.PEER_ROUTER_ID_INVALID, peer("router-id: «fc00::1»"), 'invalid router ID "fc00::1"'),
    (Code.PEER_HOLD_TIME_INVALID, peer("hold-time: «120»"), 'invalid hold time "120": missing unit'),
    (Code.PEER_HOLD_TIME_INVALID, peer("hold-time: «soon»"), 'invalid hold time "soon": not a duration'),
    (Code.PEER_HOLD_TIME_INVALID, peer("hold-time: «2999ms»"), 'invalid hold time "2999ms": must be 0 or >=3s'),
    (Code.PEER_HOLD_TIME_INVALID, peer("hold-time: «-5s»"), "must be 0 or >=3s"),
    (Code.PEER_HOLD_TIME_INVALID, peer("hold-time: «20h»"), "must be at most 65535s"),
    (Code.PEER_KEEPALIVE_TIME_INVALID, peer("keepalive-time: «10»"), 'invalid keepalive time "10": missing unit'),
    (Code.PEER_KEEPALIVE_TIME_INVALID, peer("keepalive-time: «91s»"), "must not exceed the hold time"),
    (
        Code.PEER_MULTIHOP_INVALID,
        peer("ebgp-multihop: «true»", peer_asn="64512"),
        "invalid ebgp-multihop parameter set for an ibgp peer",
    ),
    (Code.PEER_BFD_PROFILE_UNKNOWN, peer("bfd-profile: «fast»"), 'referencing non existing bfd profile "fast"'),
    (
        Code.PEER_SELECTOR_INVALID,
        peer("node-selectors: [match-labels: {«a b»: c}]"),
        'parsing node selector: invalid label key "a b"',
    ),
    (Code.BFD_NAME_MISSING, "bfd-profiles:\n- «»echo-mode: true", "BFD profile #1: missing name"),
    (
        Code.BFD_DUPLICATE,
        "bfd-profiles:\n- name: a\n- name: «a»",
        r'duplicate definition of BFD profile "a" \(first on line 2\)',
    ),
    (
        Code.BFD_ECHO_IPV6,
        "bfd-profiles: [{name: e, echo-mode: true}]\n"
        "peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, bfd-profile: e}]\n"
        + pool(name="«a»", addresses="[fc00::/64]", **BGP),
        'pool "a" has IPv6 addresses, and a peer uses BFD profile "e" with echo-mode',
    ),
]
WARNINGS = [
    (Code.EXTRA_DOCUMENT, pool() + "---\n«»peers: []", "only the first YAML document"),
    (Code.UNKNOWN_KEY, pool("«auto-asign»: true"), 'pool "a": unknown key "auto-asign" is ignored'),
    (Code.YAML_BOOLEAN, pool("auto-assign: «yes»"), "auto-assign: yes is a boolean only in YAML 1.1"),
    (Code.UNQUOTED_NAME, pool(name="«010»"), 'the pool name "010" is not text to every YAML reader'),
    (Code.UNQUOTED_NAME, pool(name="«on»"), 'the pool name "on" is not text'),
    (Code.NO_POOLS, "«»", "no address pools"),
    (Code.NO_POOLS, "«»peers: []", "no address pools"),
    (Code.NO_POOLS, "«»address-pools: []", "no address pools"),
    (Code.NO_POOLS, "peers: []\n«»address-pools:", "no address pools"),
    (
        Code.POOL_EMPTY,
        pool("avoid-buggy-ips: true", name="«a»", addresses="[10.0.0.0/32]"),
        "every address .* is reserved",
    ),
    (Code.POOL_EMPTY, pool(name="«a»", protocol="arp", addresses="[10.0.0.255/32]"), "every address .* is reserved"),
    (
        Code.CIDR_HOST_BITS,
        pool(addresses="[«10.20.30.40/24»]"),
        '"10.20.30.40/24" in pool "a" begins at 10.20.30.0, not where it says',
    ),
    (
        Code.SPECIAL_ADDRESSES,
        pool(addresses="[«127.0.0.1/32»]"),
        r"contains loopback addresses \(127.0.0.0-127.255.255",
    ),
    (Code.SPECIAL_ADDRESSES, pool(addresses="[«0.0.0.0/0»]"), "this host .*, loopback .*, link-local .*, multicast"),
    (Code.SPECIAL_ADDRESSES, pool(addresses="[«fe80::1-fe80::2»]"), "contains link-local addresses"),
    (Code.SPECIAL_ADDRESSES, pool(addresses="[«239.0.0.0/24»]"), "contains multicast addresses"),
    (Code.SPECIAL_ADDRESSES, pool(addresses="[«250.0.0.0/24»]"), "contains reserved addresses"),
    (Code.ARP_NETWORK_IGNORED, pool("arp-network: «10.0.0.0/24»"), "arp-network has no effect with protocol layer2"),
    (
        Code.ARP_NETWORK_IGNORED,
        pool("arp-network: «nonsense»", protocol="ndp", addresses="[fc00::/64]"),
        "arp-network has no effect with protocol ndp",
    ),
    (Code.BGP_NOT_ANNOUNCED, pool(name="a", protocol="«»bgp"), "BGP is not announced yet", "a"),
    (Code.BGP_NOT_ANNOUNCED, "«»" + peer(), "BGP is not announced yet: no session is opened"),
    (
        Code.PEER_DUPLICATE,
        "peers:\n- &p {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}\n- «»*p",
        "peer #2 already exists: it is the same as the one on line 2",
    ),
]
FILES = [
    (
        Code.MANIFEST_NO_CONFIG,
        "kind: Pod\n---\nkind: Node\n",
        Level.WARNING,
        (1, 1, ""),
        "no ConfigMap here, only Node, Pod",
    ),
    (
        Code.CONFIGMAP_NO_CONFIG,
        CONFIGMAP + "data: {other: x}",
        Level.WARNING,
        (1, 1, "metal-system/config"),
        'ConfigMap "metal-system/config" has no data key',
    ),
    (
        Code.CONFIGMAP_BINARY_DATA,
        CONFIGMAP + "binaryData: {config: eA==}",
        Level.ERROR,
        (3, 14, ""),
        "under binaryData",
    ),
    (
        Code.CONFIGMAP_CONFIG_NOT_TEXT,
        CONFIGMAP + "data:\n  config:\n    peers: []",
        Level.ERROR,
        (4, 3, ""),
        "must be text, not a mapping",
    ),
    (Code.TEXT_TOO_LARGE, "#" * (1 << 20) + "\n", Level.ERROR, (1, 1, ""), "larger than 1 MiB"),
    (Code.TEXT_NOT_UTF8, "a: é\nb: ".encode() + b"\xff", Level.ERROR, (2, 4, "0xff"), "byte 0xff is not valid UTF-8"),
    (
        Code.TOO_MANY_PROBLEMS,
        "address-pools:\n" + "- x\n" * 600,
        Level.ERROR,
        (502, 3, ""),
        "more than 500 errors; the rest is not shown",
    ),
]


def name(case):
    return str(case[0])


@pytest.mark.parametrize(
    ("level", "case"),
    [(Level.ERROR, case) for case in ERRORS] + [(Level.WARNING, case) for case in WARNINGS],
    ids=lambda value: name(value) if isinstance(value, tuple) else None,
)
def test_a_problem_is_reported_at_its_place(level, case):
    code, text, words, *value = case
    wanted = marked(text)
    parsed = parse(wanted.text, source="c.yml")
    found = [p for p in parsed.problems if p.code == code]
    assert len(found) == 1, parsed.problems
    assert (found[0].severity, found[0].source) == (level, "c.yml")
    assert (found[0].line, found[0].column) == (wanted.line, wanted.column)
    assert found[0].value == (value[0] if value else wanted.value)
    assert re.search(words, found[0].message), found[0].message
    assert found[0].hint.endswith((".", "?")), found[0].hint
    assert (parsed.config is None) == any(p.severity is Level.ERROR for p in parsed.problems)


@pytest.mark.parametrize(("code", "text", "level", "place", "words"), FILES, ids=[name(case) for case in FILES])
def test_a_problem_of_a_file_is_reported_at_its_place(code, text, level, place, words):
    found = [p for p in parse_manifest(text, "f.yml").problems if p.code == code]
    assert [(p.severity, p.line, p.column, p.value) for p in found] == [(level, *place)]
    assert words in found[0].message


def test_every_code_has_an_example_here():
    assert {case[0] for case in [*ERRORS, *WARNINGS, *FILES]} == set(Code)


def test_every_code_is_documented_with_its_severity():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (E|W|E W) \|", DOCS.read_text(), re.MULTILINE)
    documented = dict(rows)
    assert len(rows) == len(documented)
    assert set(documented) == {code.value for code in Code}
    for cases, letter in ((ERRORS, "E"), (WARNINGS, "W")):
        for code, *_ in cases:
            assert documented[code.value] == letter, code


@pytest.mark.parametrize("case", ERRORS, ids=name)
def test_the_parser_written_in_python_finds_the_same_place(case, monkeypatch):
    monkeypatch.setattr(loader, "_LOADER", yaml.SafeLoader)
    wanted = marked(case[1])
    found = [(p.line, p.column) for p in parse(wanted.text).problems if p.code == case[0]]
    assert found == [(wanted.line, wanted.column)]


def fits_in_a_block(case):
    text = marked(case[1]).text
    return text.strip() and "---" not in text and not any(c in text for c in "\x00\ud800\t")


@pytest.mark.parametrize("case", [case for case in [*ERRORS, *WARNINGS] if fits_in_a_block(case)], ids=name)
def test_a_problem_in_a_configmap_is_reported_where_it_stands_in_the_file(case):
    code, text, _, *_ = case
    wanted = marked(text)
    indented = "".join(f"      {line}\n" for line in wanted.text.split("\n"))
    file = "apiVersion: v1\nkind: ConfigMap\ndata:\n    config: | # MetalLB\n" + indented
    found = [(p.line, p.column) for p in parse_manifest(file, "f.yml").problems if p.code == code]
    assert found == [(wanted.line + 4, wanted.column + 6)]

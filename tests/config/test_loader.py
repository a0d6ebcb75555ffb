import pytest

from metallb_cli.config import Code, parse
from metallb_cli.config.document import Fault, Mapping, Scalar, Sequence
from metallb_cli.config.loader import MAX_BYTES, MAX_DEPTH, decode, load
from tests.config.marked import codes_of, pool


def root_of(text):
    stream = load(text)
    assert stream.fault is None, stream.fault
    assert [d.faults for d in stream.documents] == [()], stream.documents
    return stream.documents[0].root


def plain(node):
    """The node without its positions."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.entries}


def test_every_node_knows_its_line_and_column():
    root = root_of("a:\n- b\n-   {c: é, d: e}\n")
    assert isinstance(root, Mapping)
    ((key, items),) = root.entries
    assert [(n.line, n.column) for n in (root, key, items, *items.items)] == [(1, 1), (1, 1), (2, 1), (2, 3), (3, 5)]
    assert [(n.text, n.column) for pair in items.items[1].entries for n in pair] == [
        ("c", 6),
        ("é", 9),
        ("d", 12),
        ("e", 15),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\u2028"])
def test_lines_are_counted_whatever_ends_them(ending):
    root = root_of(f"a: b{ending}c: d{ending}")
    assert [key.line for key, _ in root.entries] == [1, 2]


def test_a_byte_order_mark_does_not_move_columns():
    assert root_of("\ufeffa: b").entries[0][0].column == 1


def test_scalars_stay_as_they_are_written():
    assert plain(root_of("[yes, 012, 1:30, 0x1f, 1e3, ~, 2024-01-01, 10.0.0.1, 'q', \"\\u0041\"]")) == [
        "yes",
        "012",
        "1:30",
        "0x1f",
        "1e3",
        "~",
        "2024-01-01",
        "10.0.0.1",
        "q",
        "A",
    ]


def test_aliases_stand_for_what_they_name():
    root = root_of("a: &x [1, 2]\nb: *x\nc: &y {d: *x}\ne: *y")
    assert plain(root) == {"a": ["1", "2"], "b": ["1", "2"], "c": {"d": ["1", "2"]}, "e": {"d": ["1", "2"]}}
    assert root.get("b").line == 2


def test_an_anchor_may_be_defined_again():
    assert plain(root_of("- &x 1\n- *x\n- &x 2\n- *x")) == ["1", "1", "2", "2"]


def test_merge_keys_add_what_is_not_there():
    bases = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\n"
    root = plain(root_of(bases + "one: {<<: *b, x: 9}\ntwo: {<<: [*m, *b], w: 0}\nquoted: {'<<': 1}"))
    assert (root["one"], root["two"]) == ({"x": "9", "y": "2"}, {"w": "0", "y": "3", "z": "4", "x": "1"})
    assert root["quoted"] == {"<<": "1"}


def test_pools_may_share_settings_through_a_merge_key():
    text = (
        "address-pools:\n"
        "- &first {name: a, protocol: layer2, avoid-buggy-ips: true, addresses: [10.0.0.0/24]}\n"
        "- {<<: *first, name: b, addresses: [10.1.0.0/24]}\n"
    )
    assert [(p.name, p.avoid_buggy_ips) for p in parse(text).config.pools] == [("a", True), ("b", True)]


def test_nesting_up_to_the_limit_is_read():
    assert load("[" * MAX_DEPTH + "]" * MAX_DEPTH).fault is None
    assert load("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).fault.code is Code.YAML_TOO_DEEP


def test_a_text_of_exactly_the_greatest_size_is_read():
    assert load("#" * MAX_BYTES).fault is None
    assert load("#" * (MAX_BYTES + 1)).fault.code is Code.TEXT_TOO_LARGE
    assert load("é" * (MAX_BYTES // 2 + 1)).fault.code is Code.TEXT_TOO_LARGE


def test_bytes_are_utf8_or_a_fault_at_the_first_wrong_byte():
    assert decode("é\n".encode()) == "é\n"
    fault = decode(b"a\r\nb\xc3\xa9\xff")
    assert isinstance(fault, Fault)
    assert (fault.code, fault.place.line, fault.place.column) == (Code.TEXT_NOT_UTF8, 2, 3)
    assert decode(b"#" * (MAX_BYTES + 1)).code is Code.TEXT_TOO_LARGE


def test_a_key_twice_names_the_line_of_the_first_and_the_first_counts():
    parsed = parse("address-pools: []\npeers: []\naddress-pools: x\n")
    (problem,) = [p for p in parsed.problems if p.code == Code.DUPLICATE_KEY]
    assert (problem.line, problem.message) == (
        3,
        'the key "address-pools" occurs twice in this mapping (first on line 1)',
    )


def test_all_duplicate_keys_are_found_also_where_nothing_else_is_read():
    assert codes_of("x: {y: 1, y: 2, y: 3}\n").count(Code.DUPLICATE_KEY) == 2


def test_a_template_that_was_not_rendered_is_recognised():
    (problem,) = [p for p in parse("address-pools: {{ .Values.pools }}").problems if p.code == Code.YAML_KEY]
    assert "template" in problem.hint
    (problem,) = [p for p in parse("{{ range }} x").problems if p.code == Code.YAML_SYNTAX]
    assert "template" in problem.hint


@pytest.mark.parametrize("text", ["peers: [fc00::]", "peers: [::1]", "peers: fc00::"])
def test_a_bare_ipv6_address_that_is_not_yaml_says_to_quote_it(text):
    (problem,) = parse(text).problems
    assert (problem.code, "quotes" in problem.hint) == (Code.YAML_SYNTAX, True)


def test_a_trailing_document_without_content_is_no_problem():
    assert codes_of(pool() + "---\n") == []
    assert codes_of("---\n" + pool() + "...\n") == []


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "billion laughs": LAUGHS,
    "quadratic blow-up": "c: &c [" + "10.0.0.0/32," * 2000 + "]\naddress-pools:\n" + "- {name: a, cidr: *c}\n" * 20000,
    "aliased pools": "address-pools:\n- &p {name: a, protocol: layer2, cidr: [10.0.0.0/24]}\n" + "- *p\n" * 12000,
    "merge bomb": "a: &a {" + ",".join(f"k{i}: 1" for i in range(1000)) + "}\n" + "b: {<<: *a}\n" * 20000,
    "overlaps": pool(addresses="[" + "10.0.0.0/8," * 60000 + "]"),
    "unknown keys": "".join(f"address-pool{i}: 1\n" for i in range(40000)),
    "errors": "address-pools:\n" + "- {}\n" * 150000,
    "open lists": "[" * 1000000,
    "open mappings": "{a: " * 200000,
    "dashes": "- " * 500000,
    "a long key": "? " + "a" * 1000000 + "\n: 1",
    "documents": "---\n" * 250000,
    "unknown aliases": "- *x\n" * 200000,
    "one line": "{" + "a: b, " * 170000 + "}",
    "advertisements": pool(
        "bgp-advertisements:\n" + "  - aggregation-length: 8\n" * 15000,
        protocol="bgp",
        addresses="[" + ",".join(f"10.0.{i // 256}.{i % 256}/32" for i in range(20000)) + "]",
    ),
    "aliases to guess from": "bgp-communities:\n"
    + "".join(f"  alias{i}: 1:1\n" for i in range(30000))
    + "address-pools:\n- bgp-advertisements:\n  - communities:\n"
    + "".join(f"    - alins{i}\n" for i in range(10000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_of_a_megabyte_ends_with_few_problems(text):
    """Each takes about 2 s. With a time that grew with the square of the length the test would run out of time."""
    assert 0 < len(parse(text).problems) <= 1002


def test_the_billion_laughs_are_stopped_while_reading():
    (problem,) = parse(LAUGHS).problems  # a list of 10**9 would run out of memory and time
    assert problem.code == Code.YAML_ALIAS_EXPANSION

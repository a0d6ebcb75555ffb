import pytest

from metallb_cli.config import Code, Config, Level, Parsed, parse
from tests.config.marked import codes_of, peer, pool, problems_of


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", "{}", "~", "null", "peers:", "\ufeff"])
def test_an_empty_configuration_is_valid_and_warns(text):
    parsed = parse(text)
    assert parsed.config == Config()
    assert [(p.code, p.severity) for p in parsed.problems] == [(Code.NO_POOLS, Level.WARNING)]


def test_a_good_configuration_has_no_problems():
    parsed = parse(pool())
    assert parsed.problems == ()
    assert [p.name for p in parsed.config.pools] == ["a"]


def test_any_error_means_no_configuration_at_all():
    parsed = parse(pool() + "- {name: b, protocol: layer2}\n")
    assert parsed.config is None
    assert [p.code for p in parsed.problems] == [Code.POOL_NO_ADDRESSES]


def test_problems_come_in_the_order_of_the_text():
    text = pool(protocol="x", addresses="[y]") + "zzz: 1\npeers: [{}]\n"
    places = [(p.line, p.column) for p in problems_of(text)]
    assert places == sorted(places)
    assert len(places) > 4


def test_problems_of_all_sections_are_reported_together():
    text = "peers: [{}]\nbgp-communities: {a: x}\nbfd-profiles: [{}]\n" + pool(protocol="x")
    assert set(codes_of(text)) >= {
        Code.PEER_MY_ASN_MISSING,
        Code.COMMUNITY_INVALID,
        Code.BFD_NAME_MISSING,
        Code.POOL_PROTOCOL_UNKNOWN,
    }


def test_positions_are_moved_to_where_the_text_stands():
    parsed = parse(pool(protocol="x"), source="f.yml", first_line=8, first_column=5)
    assert [(p.source, p.line, p.column) for p in parsed.problems] == [("f.yml", 10, 17)]
    assert str(parsed.problems[0]) == ('f.yml:10:17: error: pool "a": unknown protocol "x" [pool-protocol-unknown]')


def test_other_places_in_messages_are_moved_as_well():
    text = pool() + "- {name: a, protocol: layer2, cidr: [10.1.0.0/24]}\n"
    (problem,) = parse(text, first_line=8).problems
    assert problem.message.endswith("(first on line 9)")


def test_an_inline_text_keeps_one_position_and_tells_the_line_inside():
    (problem,) = parse(pool(protocol="x"), first_line=7, first_column=11, inline=True).problems
    assert (problem.line, problem.column) == (7, 11)
    assert problem.message.endswith("(line 3, column 13 of the text inside)")


def test_only_the_first_document_counts_as_in_metallb():
    parsed = parse(pool() + "---\n" + pool(name="b"))
    assert [p.name for p in parsed.config.pools] == ["a"]
    assert [p.code for p in parsed.problems] == [Code.EXTRA_DOCUMENT]


def test_a_second_document_that_is_no_yaml_is_an_error():
    assert codes_of(pool() + "---\n@") == [Code.YAML_SYNTAX]


@pytest.mark.parametrize("text", ["peers: ~", "address-pools: ~", "bgp-communities: ~", "bfd-profiles: ~"])
def test_null_is_the_same_as_absent(text):
    assert codes_of(text) == [Code.NO_POOLS]


def test_control_characters_in_values_do_not_reach_messages():
    (problem,) = problems_of(pool(protocol='"\\e[31mred\\u202e"'), Code.POOL_PROTOCOL_UNKNOWN)
    assert "\\x1b[31mred\\u202e" in problem.message
    assert problem.message.isprintable()
    assert problem.value.isprintable()


def test_long_values_are_cut_in_messages():
    (problem,) = problems_of(pool(protocol="x" * 5000), Code.POOL_PROTOCOL_UNKNOWN)
    assert len(problem.message) < 150
    assert len(problem.value) == 200


def test_more_problems_than_anybody_reads_are_cut_off_for_each_level():
    parsed = parse(
        "address-pools:\n" + "".join(f"- x{n}\n" for n in range(600)) + "".join(f"k{n}: 1\n" for n in range(700))
    )
    levels = [p.severity for p in parsed.problems]
    assert (levels.count(Level.ERROR), levels.count(Level.WARNING)) == (501, 501)
    assert [p.severity for p in parsed.problems if p.code == Code.TOO_MANY_PROBLEMS] == [Level.ERROR, Level.WARNING]


def test_an_error_after_hundreds_of_warnings_still_counts():
    parsed = parse("".join(f"k{n}: 1\n" for n in range(700)) + pool(protocol="x"))
    assert parsed.config is None
    assert Code.POOL_PROTOCOL_UNKNOWN in [p.code for p in parsed.problems]


def test_equal_texts_give_equal_configurations():
    text = peer() + "bgp-communities: {a: 1:1}\n"
    assert parse(text) == parse(text)
    assert isinstance(parse(text), Parsed)

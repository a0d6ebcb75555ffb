import json
from pathlib import Path

import pytest

from metallb_cli.config import Code, Level, parse_manifest
from tests.config.marked import pool

ROOT = Path(__file__).resolve().parents[2]
GOOD = pool()
BAD = pool(protocol="x")  # the problem is on line 3, column 13


def block(text, indent=4):
    return "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in text.splitlines())


def config_map(text, header="|", indent=4, name="config", namespace="metal-system"):
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"data:\n  config: {header}\n{block(text, indent)}"
    )


def places(text, code=Code.POOL_PROTOCOL_UNKNOWN):
    return [(p.line, p.column) for p in parse_manifest(text, "f.yml").problems if p.code == code]


def codes(text):
    return [p.code for p in parse_manifest(text, "f.yml").problems]


def names(text):
    return [(part.name, [p.name for p in part.parsed.config.pools]) for part in parse_manifest(text, "f.yml").parts]


def test_the_example_of_the_project_is_accepted_without_a_word():
    manifest = parse_manifest((ROOT / "examples" / "configmap.yml").read_bytes(), "configmap.yml")
    assert manifest.problems == ()
    assert [len(part.parsed.config.pools) for part in manifest.parts] == [1]


def test_a_config_map_is_read():
    assert names(config_map(GOOD)) == [("metal-system/config", ["a"])]


def test_the_bare_configuration_is_read():
    assert names(GOOD) == [("", ["a"])]
    assert places(BAD) == [(3, 13)]


@pytest.mark.parametrize("header", ["|", "|-", "|+", "| # the pools", "|2", "!!str |"])
def test_positions_in_a_literal_block_are_those_of_the_file(header):
    assert places(config_map(BAD, header=header)) == [(8, 17)]


@pytest.mark.parametrize("indent", [3, 4, 11])
def test_positions_follow_the_indentation_of_the_block(indent):
    assert places(config_map(BAD, indent=indent)) == [(8, 13 + indent)]


def test_blank_lines_and_comments_before_the_configuration_are_counted():
    assert places(config_map("\n\n# pools\n" + BAD)) == [(11, 17)]


def test_windows_line_ends_do_not_move_positions():
    assert places(config_map(BAD).replace("\n", "\r\n")) == [(8, 17)]


def test_a_byte_order_mark_does_not_move_positions():
    assert places("\ufeff" + config_map(BAD)) == [(8, 17)]
    assert [p.line for p in parse_manifest(("\ufeff" + config_map(BAD)).encode(), "f").problems] == [8]


FLOW = "address-pools: [{name: a, protocol: x, addresses: [10.0.0.0/24]}]"


@pytest.mark.parametrize(
    ("text", "opening", "inside"),
    [
        (json.dumps({"kind": "ConfigMap", "data": {"config": BAD}}), '"', "line 3, column 13"),
        ("kind: ConfigMap\ndata:\n  config: >\n" + block(BAD.replace("\n", "\n\n")), ">", "line 4, column 13"),
        (f"kind: ConfigMap\ndata:\n  config: '{FLOW}'", "'", "line 1, column 37"),
        (f"x: &c |\n{block(BAD)}kind: ConfigMap\ndata: {{config: *c}}", "*", "line 3, column 13"),
    ],
    ids=["json", "folded", "quoted", "alias"],
)
def test_a_text_without_lines_of_its_own_is_reported_where_it_begins(text, opening, inside):
    (problem,) = [p for p in parse_manifest(text, "f.yml").problems if p.code == Code.POOL_PROTOCOL_UNKNOWN]
    assert text.split("\n")[problem.line - 1][problem.column - 1] == opening
    assert problem.message.endswith(f"({inside} of the text inside)")


def test_several_documents_are_each_checked():
    text = config_map(GOOD) + "---\n" + config_map(GOOD, name="other") + "---\n" + GOOD
    assert names(text) == [("metal-system/config", ["a"]), ("metal-system/other", ["a"]), ("", ["a"])]
    assert codes(text) == []


def test_overlaps_between_two_config_maps_are_no_problem():
    assert parse_manifest(config_map(GOOD) + "---\n" + config_map(GOOD, name="other"), "f").valid


def test_an_error_in_one_config_map_leaves_the_other():
    manifest = parse_manifest(config_map(BAD) + "---\n" + config_map(GOOD, name="other"), "f")
    assert [part.parsed.config is None for part in manifest.parts] == [True, False]
    assert not manifest.valid


def test_a_list_is_searched_also_inside_another():
    inner = {"kind": "ConfigMapList", "items": [{"kind": "ConfigMap", "data": {"config": GOOD}}]}
    text = json.dumps({"kind": "List", "items": [{"kind": "Pod"}, inner, "x", None]})
    assert names(text) == [("without a name", ["a"])]


def test_positions_in_a_list_of_config_maps_are_those_of_the_file():
    text = "kind: List\nitems:\n" + block("- " + config_map(BAD).replace("\n", "\n  "), 0)
    assert places(text) == [(10, 19)]


def test_other_objects_are_ignored_with_all_their_peculiarities():
    text = "kind: Deployment\nspec: {a: 1, a: 2, b: !Ref x, <<: 3}\n---\n" + config_map(GOOD)
    assert codes(text) == []


def test_other_config_maps_are_ignored_when_one_has_the_configuration():
    text = "kind: ConfigMap\ndata: {Corefile: x}\n---\n" + config_map(GOOD)
    assert codes(text) == []


def test_a_key_twice_in_the_config_map_is_an_error():
    assert codes(config_map(GOOD) + "  config: x\n") == [Code.DUPLICATE_KEY]


def test_a_file_without_config_map_says_what_is_there():
    (problem,) = parse_manifest("kind: Pod\n---\napiVersion: v1\n", "f").problems
    assert (problem.code, problem.severity) == (Code.MANIFEST_NO_CONFIG, Level.WARNING)
    assert problem.message == "no ConfigMap here, only Pod"


def test_custom_resources_get_an_explanation():
    (problem,) = parse_manifest("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n", "f").problems
    assert problem.hint == "MetalLB's custom resources are not read yet; give the ConfigMap."


@pytest.mark.parametrize("data", ["", "data: ~", "data: {}", "data: {cfg: x}"])
def test_a_config_map_without_configuration_is_explained(data):
    manifest = parse_manifest(f"kind: ConfigMap\nmetadata: {{name: config}}\n{data}\n", "f")
    assert [p.code for p in manifest.problems] == [Code.CONFIGMAP_NO_CONFIG]
    assert (manifest.valid, manifest.parts) == (True, ())


@pytest.mark.parametrize("value", ["", "~", "''", "|", "|\n    # later\n"])
def test_a_config_map_with_an_empty_configuration_is_valid(value):
    manifest = parse_manifest(f"kind: ConfigMap\ndata:\n  config: {value}\n", "f")
    assert [p.code for p in manifest.problems] == [Code.NO_POOLS]
    assert manifest.valid


def test_a_configuration_without_the_vertical_bar_is_explained():
    text = "kind: ConfigMap\ndata:\n  config:\n" + block(GOOD)
    (problem,) = parse_manifest(text, "f").problems
    assert (problem.code, problem.line, problem.column) == (Code.CONFIGMAP_CONFIG_NOT_TEXT, 3, 3)
    assert '"config: |"' in problem.hint


def test_data_that_is_no_mapping_is_an_error():
    (problem,) = parse_manifest("kind: ConfigMap\ndata: |\n  config", "f").problems
    assert (problem.code, problem.message) == (
        Code.WRONG_TYPE,
        'ConfigMap "without a name": data must be a mapping, not text',
    )


def test_a_syntax_error_does_not_hide_the_documents_before_it():
    assert set(codes(config_map(BAD) + "---\na: @\n")) == {Code.POOL_PROTOCOL_UNKNOWN, Code.YAML_SYNTAX}


def test_an_empty_file_is_an_empty_configuration():
    for text in ("", "# nothing\n", "---\n---\n"):
        assert codes(text) == [Code.NO_POOLS]
        assert names(text) == [("", [])]


def test_a_file_of_countless_configurations_is_given_up_on():
    manifest = parse_manifest("--- a\n" * 5000, "f")
    assert len(manifest.problems) < 600
    assert (manifest.problems[-1].code, manifest.valid) == (Code.TOO_MANY_PROBLEMS, False)


def test_the_repr_of_a_manifest_does_not_show_its_text():
    assert "hunter2" not in repr(parse_manifest("peers: [{password: hunter2}]", "f"))

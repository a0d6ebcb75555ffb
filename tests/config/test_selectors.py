import pytest

from metallb_cli.config import Code, LabelRequirement, NodeSelector, parse
from tests.config.marked import marked, peer


def selectors_of(*lines):
    parsed = parse(peer("node-selectors:", *lines))
    assert parsed.config is not None, parsed.problems
    return parsed.config.peers[0].node_selectors


def test_labels_and_expressions_are_read_in_order():
    assert selectors_of(
        "- match-labels: {vlan: 50, example.com/rack: b}",
        "- match-expressions:",
        "  - {key: zone, operator: In, values: [a, 2]}",
        "  - {key: gpu, operator: DoesNotExist}",
    ) == (
        NodeSelector(labels=(("vlan", "50"), ("example.com/rack", "b"))),
        NodeSelector(
            requirements=(LabelRequirement("zone", "In", ("a", "2")), LabelRequirement("gpu", "DoesNotExist")),
        ),
    )


def test_an_element_with_nothing_inside_matches_every_node():
    assert selectors_of("- ", "- {}") == (NodeSelector(), NodeSelector())


def test_a_label_may_have_an_empty_value():
    assert selectors_of("- match-labels: {spot: }") == (NodeSelector(labels=(("spot", ""),)),)


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("{match-labels: {«a b»: c}}", 'invalid label key "a b"'),
        ("{match-labels: {«a/b/c»: d}}", 'invalid label key "a/b/c"'),
        ("{match-labels: {«Example.com/a»: d}}", "invalid label key"),
        ("{match-labels: {«/a»: d}}", "invalid label key"),
        ("{match-labels: {a: «b c»}}", 'invalid label value "b c"'),
        ("{match-labels: {a: «-b»}}", "invalid label value"),
        ("{match-labels: {a: «" + "x" * 64 + "»}}", "invalid label value"),
        ("{match-expressions: [«»{operator: Exists}]}", "a label needs a key"),
        ("{match-expressions: [«»{key: a}]}", "an expression without an operator"),
        ("{match-expressions: [{key: a, operator: «in», values: [b]}]}", '"in" is not a valid operator'),
        ("{match-expressions: [«»{key: a, operator: In}]}", "In needs at least one value"),
        ("{match-expressions: [{key: a, operator: NotIn, values: «»[]}]}", "NotIn needs at least one value"),
        ("{match-expressions: [{key: a, operator: Exists, values: «»[b]}]}", "Exists takes no values"),
        ("{match-expressions: [{key: a, operator: DoesNotExist, values: «»[b]}]}", "DoesNotExist takes no values"),
        ("{match-expressions: [{key: a, operator: In, values: [b, «c d»]}]}", 'invalid label value "c d"'),
        ("{match-expressions: [{key: «-a», operator: Exists}]}", 'invalid label key "-a"'),
    ],
)
def test_what_kubernetes_refuses_is_refused_at_its_place(selector, words):
    wanted = marked(peer(f"node-selectors: [{selector}]"))
    found = [p for p in parse(wanted.text).problems if p.code == Code.PEER_SELECTOR_INVALID]
    assert [(p.line, p.column) for p in found] == [(wanted.line, wanted.column)]
    assert found[0].message.startswith("peer #1: parsing node selector: ")
    assert words in found[0].message


def test_unknown_keys_of_a_selector_are_named():
    found = [p for p in parse(peer("node-selectors: [{matchLabels: {a: b}}]")).problems if p.code == Code.UNKNOWN_KEY]
    assert [(p.value, p.hint) for p in found] == [("matchLabels", "Did you mean match-labels?")]

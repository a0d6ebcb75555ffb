"""Label and field selectors, as kube-apiserver reads them from the query."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metallb_cli.lab.api.refusals import bad_request
from metallb_cli.lab.api.resources import Resource
from metallb_cli.lab.api.store import Stored

MAX_LENGTH = 16_384
REQUIREMENT = re.compile(
    r"""\s*(?:
        !\s*(?P<absent>[^\s,=!()<>]+)
      | (?P<key>[^\s,=!()<>]+)\s*(?:
            (?P<operator>==|=|!=|<|>)\s*(?P<value>[^\s,=!()<>]*)
          | (?:\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)
FIELD = re.compile(r"\s*(?P<field>[^=!,\s]+)\s*(?P<operator>==|=|!=)(?P<value>(?:[^,\\]|\\.)*)(?:,|$)")

Test = Callable[[Stored], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or a watch is about."""

    namespace: str
    tests: tuple[Test, ...] = ()

    def __contains__(self, stored: object) -> bool:
        return (
            isinstance(stored, Stored)
            and (not self.namespace or stored.namespace == self.namespace)
            and all(test(stored) for test in self.tests)
        )


def parse_selection(resource: Resource, namespace: str, query: Mapping[str, str]) -> Selection:
    """Read `labelSelector` and `fieldSelector`.

    Raises:
        Refusal: 400, a selector makes no sense.
    """
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if len(labels) > MAX_LENGTH or len(fields) > MAX_LENGTH:
        raise bad_request(f"a selector may have {MAX_LENGTH} characters")
    return Selection(namespace, (*_label_tests(labels), *_field_tests(resource, fields)))


def _label_tests(text: str) -> list[Test]:
    tests: list[Test] = []
    for match in _matches(REQUIREMENT, text):
        key = match["key"] or match["absent"]
        if match["absent"]:
            tests.append(lambda stored, key=key: key not in stored.labels)  # type: ignore[misc]
        elif match["set"]:
            values = frozenset(value.strip() for value in match["values"].split(","))
            tests.append(_one_of(key, values, wanted=match["set"] == "in"))
        elif match["operator"] in ("<", ">"):
            tests.append(_compared(key, match["operator"], match["value"]))
        elif match["operator"]:
            tests.append(_one_of(key, frozenset({match["value"]}), wanted=match["operator"] != "!="))
        else:
            tests.append(lambda stored, key=key: key in stored.labels)  # type: ignore[misc]
    return tests


def _one_of(key: str, values: frozenset[str], *, wanted: bool) -> Test:
    # A label that is absent has none of the values, so it passes `!=` and `notin`.
    return lambda stored: (key in stored.labels and stored.labels[key] in values) is wanted


def _compared(key: str, operator: str, text: str) -> Test:
    try:
        limit = int(text[:20])
    except ValueError:
        raise bad_request(
            f"values[0][{key}]: Invalid value: {text!r}: for '{operator}' the value must be an integer"
        ) from None

    def test(stored: Stored) -> bool:
        try:
            value = int(stored.labels.get(key, "")[:20])
        except ValueError:
            return False
        return value < limit if operator == "<" else value > limit

    return test


def _field_tests(resource: Resource, text: str) -> list[Test]:
    tests: list[Test] = []
    for match in _matches(FIELD, text):
        field, value = match["field"], re.sub(r"\\(.)", r"\1", match["value"])
        wanted = match["operator"] != "!="
        if field == "metadata.name":
            tests.append(lambda stored, value=value, wanted=wanted: (stored.name == value) is wanted)  # type: ignore[misc]
        elif field == "metadata.namespace":
            tests.append(lambda stored, value=value, wanted=wanted: (stored.namespace == value) is wanted)  # type: ignore[misc]
        elif field in resource.selectable:
            tests.append(
                lambda stored, field=field, value=value, wanted=wanted: (stored.fields.get(field) == value) is wanted  # type: ignore[misc]
            )
        else:
            known = ", ".join(f'"{each}"' for each in ("metadata.name", "metadata.namespace", *resource.selectable))
            raise bad_request(f'"{field}" is not a known field selector: only {known}')
    return tests


def _matches(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Match the whole text as a sequence of the pattern."""
    found, position = [], 0
    text = text.strip()
    while position < len(text):
        match = pattern.match(text, position)
        if match is None or match.end() == position:
            raise bad_request(f"unable to parse the selector {text!r} from character {position + 1} on")
        found.append(match)
        position = match.end()
    return found

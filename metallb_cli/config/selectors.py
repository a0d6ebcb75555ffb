"""`node-selectors` of a peer, with the rules that Kubernetes has for label selectors."""

from __future__ import annotations

import re

from metallb_cli.config.document import Node, Scalar, is_null
from metallb_cli.config.fields import Section, as_text, suggestion
from metallb_cli.config.problem import Code, Place, Problems, quoted
from metallb_cli.config.settings import LabelRequirement, NodeSelector

_KEYS = ("match-labels", "match-expressions")
_EXPRESSION_KEYS = ("key", "operator", "values")
_NEEDS_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LONGEST_SUBDOMAIN = 253


def read_selector(node: Node, subject: str, problems: Problems) -> NodeSelector:
    """Read one element of `node-selectors`. An element with nothing inside matches every node."""
    section = Section(node, subject, _KEYS, problems)
    labels = []
    for key, value in section.pairs("match-labels"):
        _check_key(key, key.text, subject, problems)
        _check_value(value, value.text, subject, problems)
        labels.append((key.text, value.text))
    requirements = [_requirement(item, subject, problems) for item in section.items("match-expressions", mappings=True)]
    return NodeSelector(tuple(labels), tuple(requirements))


def _requirement(node: Node, subject: str, problems: Problems) -> LabelRequirement:
    section = Section(node, f"{subject}: match expression", _EXPRESSION_KEYS, problems)
    if section.broken:
        return LabelRequirement("", "")
    key = section.text("key")
    _check_key(key or section.node, key.text if key else "", subject, problems)
    operator = section.text("operator")
    values = _values(section, subject, problems)
    name = operator.text if operator else ""
    if name not in _NEEDS_VALUES:
        reason = f"{quoted(name)} is not a valid operator" if name else "an expression without an operator"
        hint = f"{suggestion(name, _NEEDS_VALUES, problems)} Use In, NotIn, Exists or DoesNotExist.".strip()
        _report(operator or section.node, subject, reason, hint, name, problems)
    elif _NEEDS_VALUES[name] and not values:
        place = section.get("values") or section.node
        _report(place, subject, f"{name} needs at least one value", "Add values: and a list.", name, problems)
    elif values and not _NEEDS_VALUES[name]:
        place = section.get("values") or section.node
        _report(place, subject, f"{name} takes no values", "Remove values, or use In or NotIn.", name, problems)
    return LabelRequirement(key.text if key else "", name, values)


def _values(section: Section, subject: str, problems: Problems) -> tuple[str, ...]:
    values = []
    for item in section.items("values"):
        scalar = as_text(item, f"{section.subject}: a value", problems)
        if scalar is not None:
            value = "" if is_null(scalar) else scalar.text
            _check_value(scalar, value, subject, problems)
            values.append(value)
    return tuple(values)


def _check_key(place: Place, key: str, subject: str, problems: Problems) -> None:
    prefix, slash, name = key.rpartition("/")
    if not key:
        reason = "a label needs a key"
    elif not _LABEL.fullmatch(name) or (
        slash and (len(prefix) > _LONGEST_SUBDOMAIN or not _SUBDOMAIN.fullmatch(prefix))
    ):
        reason = f"invalid label key {quoted(key)}"
    else:
        return
    hint = "A label key is up to 63 letters, digits, -, _ and ., after an optional DNS name and a slash."
    _report(place, subject, reason, hint, key, problems)


def _check_value(scalar: Scalar, value: str, subject: str, problems: Problems) -> None:
    if value and not _LABEL.fullmatch(value):
        hint = "A label value is up to 63 letters, digits, -, _ and ., or empty."
        _report(scalar, subject, f"invalid label value {quoted(value)}", hint, value, problems)


def _report(place: Place, subject: str, reason: str, hint: str, value: str, problems: Problems) -> None:
    problems.error(Code.PEER_SELECTOR_INVALID, place, f"{subject}: parsing node selector: {reason}", hint, value)

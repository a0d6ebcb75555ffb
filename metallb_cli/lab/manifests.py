"""The example manifests, and `kubectl create -f` for the kinds in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from metallb_cli.errors import ConfigError, UsageError
from metallb_cli.kube.client import Api
from metallb_cli.kube.resources import CORE, namespaced
from metallb_cli.lab.workloads import Object, key_of

PACKAGED = Path(__file__).parent / "examples"
"""Where the wheel has the examples; in a checkout they are in the folder `examples` at the top."""

COLLECTIONS = {
    ("v1", "ConfigMap"): (CORE, "configmaps"),
    ("v1", "Service"): (CORE, "services"),
    ("apps/v1", "StatefulSet"): ("/apis/apps/v1", "statefulsets"),
}
"""By apiVersion and kind: what the lab can create in a namespace."""


def example(name: str) -> Path:
    """The path of an example manifest.

    Raises:
        UsageError: this installation lacks the examples.
    """
    for folder in (PACKAGED, Path(__file__).parents[2] / "examples"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"the example {name} is not installed: {PACKAGED} is missing; install the package again")


def read(path: Path) -> list[Object]:
    """The objects of a manifest, in order.

    Raises:
        UsageError: the file cannot be read.
        ConfigError: it holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> list[Object]:
    """The objects of a manifest's text, in order, with those of a List.

    Raises:
        ConfigError: it holds something else.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is no YAML: {error}") from error
    return [thing for document in documents if document is not None for thing in _objects(source, document)]


def _objects(source: str, document: object) -> Iterator[Object]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise ConfigError(f"{source}: a document is no Kubernetes object, which is a mapping with a `kind`")
    items = document.get("items")
    if document["kind"].endswith("List") and isinstance(items, list):
        for item in items:
            yield from _objects(source, item)
    else:
        yield document


def namespace(name: str) -> Object:
    """A Namespace object."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def create(api: Api, thing: Object) -> str:
    """Create an object, and say so in kubectl's words, such as `service/nginx created`.

    Raises:
        ConfigError: the lab knows no such kind.
        ApiError: the API server refused.
        ApiUnavailableError: it did not answer.
    """
    space, name = key_of(thing)
    version, kind = thing.get("apiVersion", ""), thing["kind"]
    if (version, kind) == ("v1", "Namespace"):
        api.request("POST", f"{CORE}/namespaces", body=thing)
    elif (version, kind) in COLLECTIONS:
        group, plural = COLLECTIONS[version, kind]
        api.request("POST", namespaced(group, space or "default", plural), body=thing)
    else:
        raise ConfigError(f"the lab cannot create {kind} {name} of {version}")
    group_suffix = f".{version.split('/')[0]}" if "/" in version else ""
    return f"{kind.lower()}{group_suffix}/{name} created"

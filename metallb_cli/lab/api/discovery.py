"""What tells clients which resources there are, and how their objects look."""

from __future__ import annotations

from collections.abc import Iterable

from metallb_cli.lab.api.refusals import Json, no_such_path
from metallb_cli.lab.api.resources import Registry, Resource

VERSION = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+metallb",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""Of /version: the Kubernetes release whose behaviour is followed where releases differ."""
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
SUBRESOURCE_KINDS = {"scale": ("autoscaling", "v1", "Scale"), "binding": ("", "v1", "Binding")}
PATCH_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


def core_versions() -> Json:
    """Answer /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(registry: Registry) -> Json:
    """Answer /apis."""
    names = dict.fromkeys(each.group for each in registry if each.group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, registry) for name in names]}


def group(name: str, registry: Registry) -> Json:
    """Answer /apis/GROUP."""
    if all(each.group != name for each in registry):
        raise no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, registry)}


def _group(name: str, registry: Registry) -> Json:
    versions = dict.fromkeys(each.version for each in registry if each.group == name)
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_version(group: str, version: str, registry: Registry) -> Json:
    """Answer /api/v1 and /apis/GROUP/VERSION."""
    found = [each for each in registry if (each.group, each.version) == (group, version)]
    if not found:
        raise no_such_path()
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].api_version,
        "resources": [entry for each in found for entry in _resource(each)],
    }


def _resource(resource: Resource) -> Iterable[Json]:
    yield {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": VERBS,
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
        **({"categories": list(resource.categories)} if resource.categories else {}),
    }
    for subresource in sorted(resource.subresources):
        entry = {
            "name": f"{resource.plural}/{subresource}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["create"] if subresource == "binding" else ["get", "patch", "update"],
        }
        if subresource in SUBRESOURCE_KINDS:
            entry["group"], entry["version"], entry["kind"] = SUBRESOURCE_KINDS[subresource]
        yield entry


def openapi_index(registry: Registry, version: int) -> Json:
    """Answer /openapi/v3. `version` changes the addresses when the content changes: clients cache by address."""
    prefixes = dict.fromkeys(each.prefix for each in registry)
    return {"paths": {each: {"serverRelativeURL": f"/openapi/v3/{each}?hash={version}"} for each in prefixes}}


def openapi(prefix: str, registry: Registry) -> Json:
    """Answer /openapi/v3/PREFIX: enough for kubectl to apply, explain, and leave the validation to the server."""
    found = [each for each in registry if each.prefix == prefix]
    if not found:
        raise no_such_path()
    paths: Json = {}
    schemas: Json = {}
    for each in found:
        kind = {"group": each.group, "version": each.version, "kind": each.kind}
        namespace = "namespaces/{namespace}/" if each.namespaced else ""
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in PATCH_PARAMETERS]
        operation = {
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": kind,
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
        }
        paths[f"/{prefix}/{namespace}{each.plural}/{{name}}"] = {"patch": operation}
        name = ".".join(part for part in (each.group, each.version, each.kind) if part)
        own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        schemas[name] = {
            "type": "object",
            **each.shape,
            "properties": {**each.shape["properties"], **own},
            "x-kubernetes-group-version-kind": [kind],
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }

"""Requests to an API server and RBAC rules in one form, so that they can be compared.

A permission is (API group, resource, verb, name, namespace). `name` is empty when the request is about no single
object, or when the rule allows every name; `namespace` is empty when they reach the whole cluster.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.manifests.objects import shipped, the

VERB_OF_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
DISCOVERY = ("api", "apis", "version", "healthz", "livez", "readyz", "openapi")
"""First parts of paths that every authenticated client may read: the ClusterRole system:discovery of Kubernetes."""


@dataclass(frozen=True, order=True)
class Permission:
    group: str
    resource: str
    verb: str
    name: str = ""
    namespace: str = ""

    def __str__(self):
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.group or 'core'}/{self.resource}{f' {self.name}' if self.name else ''}{where}"

    def allows(self, wanted):
        """Whether a rule with this permission lets the request through, as Kubernetes' RBAC authorizer decides."""
        return (
            (self.group, self.resource, self.verb) == (wanted.group, wanted.resource, wanted.verb)
            and self.name in ("", wanted.name)
            and self.namespace in ("", wanted.namespace)
        )


def permission_of(method, target):
    """The permission that a request needs; None for what every client may read.

    `target` is the path with its query. Follows how kube-apiserver reads a request: a field selector for one
    metadata.name gives a list or a watch that name.
    """
    url = urlsplit(target)
    parts = [part for part in url.path.split("/") if part]
    query = parse_qs(url.query)
    if parts[0] == "api" and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    elif parts[0] in DISCOVERY and method == "GET":
        return None
    else:
        raise ValueError(f"no API request: {method} {target}")
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    if method in ("GET", "HEAD"):
        watching = query.get("watch", ["0"])[0].lower() in ("1", "true")
        verb = "watch" if watching else "get" if name else "list"
    else:
        verb = VERB_OF_METHOD[method]
        if method == "DELETE" and not name:
            verb = "deletecollection"
    for selector in ",".join(query.get("fieldSelector", [])).split(","):
        key, _, value = selector.partition("=")
        if key == "metadata.name" and not name and verb in ("list", "watch"):
            name = value.lstrip("=")
    return Permission(group, f"{resource}/{subresource}" if subresource else resource, verb, name, namespace)


def granted(account, objects=None):
    """Every permission that the manifests give to the service account."""
    objects = shipped() if objects is None else objects
    permissions = set()
    for binding in objects:
        if account not in {subject["name"] for subject in binding.get("subjects", [])}:
            continue
        namespace = binding["metadata"].get("namespace", "")
        for rule in the(binding["roleRef"]["kind"], binding["roleRef"]["name"], objects)["rules"]:
            permissions |= {
                Permission(group, resource, verb, name, namespace)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    return permissions


def missing(requests, permissions):
    """The requests, as (method, target), that no permission allows."""
    needed = {permission_of(*request) for request in requests} - {None}
    return sorted(need for need in needed if not any(each.allows(need) for each in permissions))


def unused(requests, permissions):
    """The permissions that no request needs."""
    needed = {permission_of(*request) for request in requests} - {None}
    return sorted(each for each in permissions if not any(each.allows(need) for need in needed))

"""Which API server, and as whom: kubeconfig files as kubectl reads them, or the pod's service account.

Parsing certificates, tokens, exec plugins and auth providers is the official client's work. Its error messages can
quote a whole user entry with its token, so this module checks the shape of the files first and never passes such a
message on.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import yaml
from kubernetes.client.configuration import Configuration
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from metallb_cli.errors import UsageError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token, CA certificate and namespace."""

SECTIONS = {"clusters": "cluster", "contexts": "context", "users": "user"}
"""The lists of a kubeconfig, and the key that holds the content of an entry."""


@dataclass(frozen=True)
class Credentials:
    """A configured connection.

    Attributes:
        configuration: of the official client: server, certificates, proxy, and the token through its refresh hook.
        namespace: of the pod or of the kubeconfig's context; None when that names none.
        source: where this comes from, for messages.
    """

    configuration: Configuration
    namespace: str | None
    source: str


def find(kubeconfig: str | None, context: str | None, service_account: Path = SERVICE_ACCOUNT) -> Credentials:
    """Read the credentials in kubectl's order: the file given, $KUBECONFIG, ~/.kube/config, the pod's own.

    Args:
        kubeconfig: a file that must exist, or None.
        context: a context that must exist, or None for the file's current one.
        service_account: the directory of the pod's service account.

    Raises:
        UsageError: nothing was found, or what was found cannot be used.
    """
    paths = _paths(kubeconfig)
    if paths:
        return _from_files(paths, context)
    if context is not None:
        raise UsageError(f"there is no kubeconfig to look up the context {context!r} in: give --kubeconfig FILE")
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return _from_pod(service_account)
    raise UsageError(
        "no cluster is configured: give --kubeconfig FILE, set KUBECONFIG, or run inside a cluster "
        "(~/.kube/config does not exist)"
    )


def _paths(kubeconfig: str | None) -> list[Path]:
    if kubeconfig is not None:
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise UsageError(f"the kubeconfig {kubeconfig} does not exist")
        return [path]
    named = os.environ.get("KUBECONFIG", "")
    candidates = [Path(item).expanduser() for item in named.split(os.pathsep) if item]
    if not candidates:
        candidates = [Path("~/.kube/config").expanduser()]
    return [path for path in candidates if path.is_file()]


def _from_files(paths: list[Path], wanted: str | None) -> Credentials:
    files = [_read(path) for path in paths]
    names = ", ".join(str(path) for path in paths)
    entries = {section: _merge(files, section) for section in SECTIONS}
    name = wanted or next((text for file in files if (text := _text(file.get("current-context")))), None)
    if name is None:
        raise UsageError(f"{names} has no current-context: choose one with --context NAME")
    context = entries["contexts"].get(name)
    if context is None:
        known = ", ".join(sorted(entries["contexts"])) or "none"
        raise UsageError(f"{names} has no context {name!r}; it has: {known}")
    cluster = entries["clusters"].get(_text(context.get("cluster")) or "")
    if cluster is None:
        raise UsageError(f"{names}: the context {name!r} names a cluster that is not there: {context.get('cluster')!r}")
    if not _is_url(cluster.get("server")):
        raise UsageError(f"{names}: the server of the context {name!r} is not an http or https URL")
    user = _text(context.get("user"))
    if user is not None and user not in entries["users"]:
        raise UsageError(f"{names}: the context {name!r} names a user that is not there: {user!r}")
    configuration = _load(paths, name, names)
    if user is not None and "exec" in entries["users"][user] and not _authenticated(configuration):
        raise UsageError(
            f"{names}: the credential plugin (exec) of the user {user!r} failed; run it by hand to see why"
        )
    if not configuration.proxy:
        _use_environment_proxy(configuration)
    return Credentials(configuration, _text(context.get("namespace")), f"{names}, context {name}")


def _load(paths: list[Path], context: str, names: str) -> Configuration:
    configuration = Configuration(proxy="", no_proxy="")
    try:
        merged = KubeConfigMerger(os.pathsep.join(str(path) for path in paths))
        loader = KubeConfigLoader(
            merged.config, active_context=context, config_base_path=None, config_persister=merged.save_changes
        )
        loader.load_and_set(configuration)
    except Exception as error:  # the loader raises nearly anything when an entry is malformed
        raise UsageError(f"{names}: the context {context!r} cannot be used: {_harmless(error)}") from None
    return configuration


def _authenticated(configuration: Configuration) -> bool:
    return bool(configuration.api_key or configuration.cert_file)


def _harmless(error: Exception) -> str:
    """Describe the error without quoting any part of a user entry."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ConfigException) and str(error).startswith("File does not exist"):
        return str(error)
    return f"a malformed entry ({type(error).__name__})"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the kubeconfig {path} cannot be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"the kubeconfig {path} is not valid YAML: line {line}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"the kubeconfig {path} is not valid YAML") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a kubeconfig: it should be a mapping with clusters, users and contexts")
    for section, inner in SECTIONS.items():
        items = content.get(section) or []
        if not isinstance(items, list) or not all(_is_entry(item, inner) for item in items):
            raise UsageError(f"{path} is not a kubeconfig: each entry of {section} needs a name and a {inner}")
    return content


def _is_entry(item: object, inner: str) -> bool:
    return isinstance(item, dict) and _text(item.get("name")) is not None and isinstance(item.get(inner), dict)


def _merge(files: list[dict[str, Any]], section: str) -> dict[str, dict[str, Any]]:
    """Merge as kubectl does: the first file that has a name wins."""
    merged: dict[str, dict[str, Any]] = {}
    for file in files:
        for item in file.get(section) or []:
            merged.setdefault(item["name"], item[SECTIONS[section]])
    return merged


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _from_pod(directory: Path) -> Credentials:
    configuration = Configuration(proxy="", no_proxy="")
    token = directory / "token"
    try:
        InClusterConfigLoader(
            token_filename=str(token), cert_filename=str(directory / "ca.crt"), try_refresh_token=False
        ).load_and_set(configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise UsageError(
            f"this pod's service account in {directory} cannot be used: {error} "
            "Does the pod set automountServiceAccountToken: false?"
        ) from None

    def read_token(current: Configuration) -> None:
        # The kubelet replaces the file when the token rotates. Reading it costs less than knowing when.
        current.api_key["BearerToken"] = "Bearer " + token.read_text(encoding="ascii").strip()

    configuration.refresh_api_key_hook = read_token
    _use_environment_proxy(configuration)
    try:
        namespace = (directory / "namespace").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        namespace = None
    return Credentials(configuration, namespace, f"the service account in {directory}")


def _use_environment_proxy(configuration: Configuration) -> None:
    """Take HTTPS_PROXY or HTTP_PROXY as kubectl does: subject to NO_PROXY, and never for this machine itself."""
    url = urlsplit(configuration.host)
    if _is_loopback(url.hostname or ""):
        return
    proxies = getproxies_environment()
    configuration.proxy = proxies.get(url.scheme, "")
    configuration.no_proxy = proxies.get("no", "")


def _is_url(value: object) -> bool:
    try:
        parts = urlsplit(_text(value) or "")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

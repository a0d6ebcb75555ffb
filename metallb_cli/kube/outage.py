"""Why the API server did not answer, in the words of an operator."""

from __future__ import annotations

from http.client import IncompleteRead, RemoteDisconnected

from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)


def explain(error: Exception) -> str:
    """Say in a few words of an operator why there was no answer."""
    if isinstance(error, ProxyError):
        return f"the proxy does not answer: {explain(error.original_error)}"
    if isinstance(error, NameResolutionError):
        return "its name cannot be resolved; check the server in the kubeconfig and the DNS"
    if isinstance(error, NewConnectionError) and isinstance(error.__cause__, OSError):
        return f"{_errno_text(error.__cause__)}; is it running there?"
    if isinstance(error, ConnectTimeoutError):
        return "nobody answered the attempt to connect; check the address, the route and firewalls"
    if isinstance(error, ReadTimeoutError):
        return "it accepted the connection and then sent nothing for too long"
    if isinstance(error, SSLError):
        cause = error.args[0] if error.args else error
        why = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the TLS handshake failed"
        return f"TLS: {_short(why)}; check certificate-authority, tls-server-name and the scheme of the server"
    if isinstance(error, ProtocolError):
        return f"the connection broke ({_cut(error.args[-1] if error.args else error)})"
    if isinstance(error, OSError) and error.strerror:
        return _errno_text(error)
    return _short(f"{type(error).__name__}")


def _cut(cause: object) -> str:
    if isinstance(cause, RemoteDisconnected):
        return "closed by the server without an answer"
    if isinstance(cause, IncompleteRead):
        return "it ended in the middle of an answer"
    return _errno_text(cause) if isinstance(cause, OSError) else type(cause).__name__


def _errno_text(error: OSError) -> str:
    return _short(error.strerror or type(error).__name__).lower()


def _short(text: object) -> str:
    return str(text).replace("\n", " ")[:200]

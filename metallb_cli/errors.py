"""The exceptions of the project, and the exit code that each one ends a command with.

A message is one sentence an operator can act on: which object, which value, what to do. Commands print it without a
traceback; a traceback on the terminal is always a defect of ours.
"""


class MetalLBError(Exception):
    """Root of every error that a user can cause or meet. `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(MetalLBError):
    """The command line or the environment does not say what is needed."""

    exit_code = 2


class ConfigError(MetalLBError):
    """The configuration cannot be used. `metallb validate-config` shows every problem with its line."""


class NotPossibleError(MetalLBError):
    """What was asked for cannot be done in the cluster as it is. The message says why, and what to do."""


class ApiError(MetalLBError):
    """The API server answered, and refused.

    Attributes:
        status: HTTP status code.
        reason: Kubernetes' machine-readable reason, such as `Conflict` or `NotFound`; empty when it gave none.
        retry_after: seconds the server asks us to wait, or None.
    """

    def __init__(self, message: str, *, status: int, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class ApiUnavailableError(MetalLBError):
    """The API server did not answer: no connection, a timeout, a broken stream. The outcome of a write is unknown."""

    exit_code = 3


class PermissionMissingError(MetalLBError):
    """The kernel refused. The message names the missing right and how to get it."""


class NetworkSetupError(MetalLBError):
    """A network namespace, a link, an address or a route could not be made. The message names it."""


class BpfError(MetalLBError):
    """The kernel refused something asked of bpf(2). The message says what and why, with the verifier's log if any.

    Attributes:
        errno: the kernel's error number.
    """

    def __init__(self, message: str, *, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class LinkError(MetalLBError):
    """The link process, which owns the raw sockets, ended or broke its protocol."""

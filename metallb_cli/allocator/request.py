"""What is asked of the allocator, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from metallb_cli.errors import MetalLBError
from metallb_cli.model import IPAddress, Reason, ServiceKey, ServicePort


@dataclass(frozen=True, slots=True)
class Request:
    """What a Service wants. The strongest wish counts: addresses, then pool, then any pool with auto-assign.

    Attributes:
        versions: IP versions that the address must be of; empty means any. Two versions ask for one address of each.
        addresses: exactly these, and no others.
        pool: from this pool. Together with `addresses`, the pool must contain them.
        ports, sharing_key, backend_key: what two Services have to agree on before they can share an address.
    """

    service: ServiceKey
    versions: tuple[int, ...] = (4,)
    addresses: tuple[IPAddress, ...] = ()
    pool: str | None = None
    ports: tuple[ServicePort, ...] = ()
    sharing_key: str = ""
    backend_key: str = ""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a Service holds.

    Attributes:
        pool: the pool that the addresses come from; None when the present configuration would not give them out
            (they are stranded), which takes nothing away from the Service.
    """

    service: ServiceKey
    addresses: tuple[IPAddress, ...]
    pool: str | None
    ports: tuple[ServicePort, ...] = ()
    sharing_key: str = ""
    backend_key: str = ""


class AllocationRefused(MetalLBError):
    """The request cannot be met now. Prints as `cause; remedy`.

    Attributes:
        reason: why, for machines.
        cause: why, for operators.
        remedy: what would help.
    """

    def __init__(self, reason: Reason, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}")
        self.reason = reason
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """Addresses of one pool, counted. Totals leave out addresses that are never given out."""

    total_v4: int = 0
    used_v4: int = 0
    total_v6: int = 0
    used_v6: int = 0

    @property
    def free_v4(self) -> int:
        """IPv4 addresses that can still be given out."""
        return self.total_v4 - self.used_v4

    @property
    def free_v6(self) -> int:
        """IPv6 addresses that can still be given out."""
        return self.total_v6 - self.used_v6

    @property
    def total(self) -> int:
        """All addresses of both IP versions."""
        return self.total_v4 + self.total_v6

    @property
    def used(self) -> int:
        """Addresses of both IP versions that Services hold."""
        return self.used_v4 + self.used_v6

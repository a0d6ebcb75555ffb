"""Which address a Service gets. Pure: one object that a single thread owns."""

from metallb_cli.allocator.allocator import Allocator
from metallb_cli.allocator.pool_index import PoolIndex
from metallb_cli.allocator.request import Allocation, AllocationRefused, PoolUsage, Request

__all__ = ["Allocation", "AllocationRefused", "Allocator", "PoolIndex", "PoolUsage", "Request"]

"""The garbage collector, and large JSON documents."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic collector from running, in the whole process, for some milliseconds.

    JSON has no cycles, but its many new containers make the collector walk over all of them again and again: that is
    nearly half of the time that a list of 10 000 Services takes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

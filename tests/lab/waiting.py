"""Waiting in tests, with an end."""

import time


def until(condition, what, timeout=15.0):
    """Call the condition until it returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout:.0f} s"
        time.sleep(0.02)
    return value

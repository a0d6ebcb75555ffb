"""A bpf file system of a test's own, which no other process on the machine finds among its mounts."""

import ctypes
import functools
import os
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

BPF = Path("/sys/fs/bpf")
_CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


def with_bpf_file_system(test):
    """Run a test, and the processes that it starts, in a mount namespace of their own with a bpf file system at BPF.

    It begins after the fixtures and vanishes with the last of the processes, also when the test fails.
    """

    def inside(outcome, arguments, options):
        try:
            if _libc.unshare(_CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True, timeout=10)
            subprocess.run(["mount", "-t", "bpf", "metallb-test", BPF], check=True, timeout=10)
            outcome.set_result(test(*arguments, **options))
        except BaseException as error:
            outcome.set_exception(error)

    @functools.wraps(test)
    def wrapper(*arguments, **options):
        outcome = Future()
        thread = threading.Thread(target=inside, args=(outcome, arguments, options), name="bpffs")
        thread.start()
        thread.join()
        return outcome.result()

    return wrapper

"""Fixtures for everybody, the number of random examples, and the rule about skipped tests: see
`pytest_runtest_makereport`."""

import functools
import os
import shutil
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings

from tests.support import apiserver

STRICT = os.environ.get("CI") == "true"
GUARDED = ("live", "cluster")

# Where a script starts the tests in the background, SIGINT is ignored, and would be by all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No example is timed, and `--hypothesis-profile=fast` tries a quarter of them. A test that needs more or fewer than
# most says so as a multiple or a part of `settings.default.max_examples`.
settings.register_profile("all", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("all"), max_examples=settings.default.max_examples // 4)
settings.load_profile("all")

PROBE = """
import ctypes, os, socket, sys
CLONE_NEWNET = 0x40000000
if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
    sys.exit("network namespaces: " + os.strerror(ctypes.get_errno()))
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
except OSError as error:
    sys.exit(f"raw sockets: {error.strerror}")
"""


@functools.cache
def why_not_live():
    """What the live tests miss here and how to get it; empty when nothing."""
    if sys.platform != "linux":
        return f"live tests need Linux, this is {sys.platform}"
    if shutil.which("ip") is None:
        return "live tests need the command `ip`: apt-get install iproute2"
    probe = subprocess.run([sys.executable, "-c", PROBE], check=False, capture_output=True, text=True, timeout=30)
    if probe.returncode:
        return (
            f"live tests need the rights CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW ({probe.stderr.strip()}): "
            "run them as root, or in a container started with --privileged"
        )
    return ""


def pytest_runtest_setup(item):
    if item.get_closest_marker("live") and (reason := why_not_live()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Under CI=true a skipped `live` or `cluster` test is a failure: there nothing may be missing."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail") and any(map(item.get_closest_marker, GUARDED)):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI=true: a live or cluster test may not be skipped.\n{reason}"
    return report


def pytest_collection_finish(session):
    """Build the real kube-apiserver before the first test, where no test's time limit counts."""
    wanted = any(item.get_closest_marker("cluster") for item in session.items)
    if wanted and not session.config.option.collectonly and apiserver.missing_programs():
        terminal = session.config.pluginmanager.get_plugin("terminalreporter")
        try:
            apiserver.ensure_assets(terminal.write_line if terminal else print)
        except apiserver.AssetsMissing as error:
            session.config.stash[NO_ASSETS] = str(error)


NO_ASSETS = pytest.StashKey[str]()


@pytest.fixture
def embedded_api():
    """A running embedded API server of its own, empty but for the four standard namespaces."""
    from metallb_cli.lab.api import EmbeddedApi

    api = EmbeddedApi()
    api.start()
    try:
        yield api
    finally:
        api.stop()


@pytest.fixture(scope="session")
def real_api(request):
    """One real kube-apiserver for the whole run: give your objects a namespace of your own. See RealApi."""
    if reason := request.config.stash.get(NO_ASSETS, ""):
        pytest.skip(reason)
    try:
        api = apiserver.start_real_api()
    except apiserver.AssetsMissing as error:
        pytest.skip(str(error))
    try:
        yield api
    finally:
        api.stop()

"""Live tests of the benchmarks need what they need."""

import pytest

from metallb_cli.linux.ebpf.support import supported


@pytest.fixture(autouse=True)
def _right_to_bpf(request):
    if request.node.get_closest_marker("live") and (reason := supported()):
        pytest.skip(f"bpf(2): {reason}")

"""Why the tc engine cannot be used, told by a process that misses something."""

import os
import shutil
import subprocess
import sys

import pytest

from metallb_cli.linux.ebpf import support, syscalls
from metallb_cli.linux.ebpf.support import supported

ASK = "from metallb_cli.linux.ebpf.support import supported; print(supported())"


def ask(*wrapper):
    done = subprocess.run([*wrapper, sys.executable, "-c", ASK], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.live
class TestLive:
    def test_nothing_is_missing_here(self):
        assert supported() is None

    def test_probing_leaves_no_descriptor_open(self):
        before = os.listdir("/proc/self/fd")
        supported()
        assert os.listdir("/proc/self/fd") == before

    @pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
    @pytest.mark.parametrize(
        ("dropped", "said"),
        [
            ("-bpf", "CAP_BPF missing; in Kubernetes, give the container `securityContext: {capabilities: {add: [BPF]"),
            ("-net_admin", "CAP_NET_ADMIN missing"),
            ("-bpf,-net_admin", "CAP_BPF and CAP_NET_ADMIN missing"),
        ],
    )
    def test_a_missing_capability_is_named(self, dropped, said):
        assert ask("setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}").startswith(said)

    def test_capabilities_of_a_user_namespace_do_not_count(self):
        answer = ask("unshare", "-Ur")
        assert answer.startswith("cannot create map metallb_lease: Operation not permitted (EPERM)")
        assert "user namespace" in answer

    def test_shifted_clocks_are_noticed(self):
        assert "time namespace" in ask("unshare", "-T", "--boottime", "1000")

    def test_a_kernel_without_tcx_is_named(self, monkeypatch):
        # An attach type that this kernel does not know stands for tcx on one that does not.
        monkeypatch.setattr(support, "ATTACH_TCX_INGRESS", 9999)
        assert supported() == f"Linux {os.uname().release} has no tcx, which came with 6.6 (CONFIG_NET_XGRESS)"


def test_an_unknown_machine(monkeypatch):
    monkeypatch.setattr(support, "SYSCALL_NUMBERS", {})
    assert supported() == f"the number of the bpf system call on {os.uname().machine} is not known"


def test_the_number_of_this_machine_is_known():
    assert os.uname().machine in syscalls.SYSCALL_NUMBERS

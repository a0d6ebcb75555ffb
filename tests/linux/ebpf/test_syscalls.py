"""bpf(2) itself: maps, loading, errors that can be understood."""

import errno
import os

import pytest

from metallb_cli.errors import BpfError
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.syscalls import MAP_HASH, PROGRAM_TC, MapInfo

pytestmark = pytest.mark.live

SMALL = MapInfo(MAP_HASH, 4, 8, 100, 0)


@pytest.fixture
def small():
    fd = syscalls.map_create(SMALL, "test_small")
    yield fd
    os.close(fd)


def items(fd):
    return syscalls.map_items(fd, 4, 8, 100)


class TestMaps:
    def test_elements_are_set_read_and_deleted_in_one_call_each(self, small):
        keys = [bytes((1, 2, 3, n)) for n in range(100)]
        syscalls.map_update(small, keys, b"".join(n.to_bytes(8, "big") for n in range(100)))
        assert items(small) == {key: bytes(7) + key[3:] for key in keys}
        syscalls.map_delete(small, keys[:99])
        assert items(small) == {keys[99]: bytes(7) + b"\x63"}

    def test_nothing_to_set_or_delete_is_no_call(self, small):
        syscalls.map_update(small, [], b"")
        syscalls.map_delete(small, [])
        assert items(small) == {}

    def test_the_layout_can_be_asked_for(self, small):
        assert syscalls.map_info(small) == SMALL

    def test_a_full_map_says_so(self, small):
        keys = [n.to_bytes(4, "big") for n in range(101)]
        with pytest.raises(BpfError, match=r"cannot set 101 elements of a map: .*\(E2BIG\)") as raised:
            syscalls.map_update(small, keys, bytes(8 * 101))
        assert raised.value.errno == errno.E2BIG

    def test_a_map_that_cannot_be_names_itself(self):
        with pytest.raises(BpfError, match=r"cannot create map test_odd: Invalid argument \(EINVAL\)"):
            syscalls.map_create(MapInfo(MAP_HASH, 0, 8, 100, 0), "test_odd")


class TestPrograms:
    def test_a_program_runs(self):
        program = syscalls.program_load(PROGRAM_TC, assemble("r0 = 42\nexit"), "test_answer")
        try:
            run = syscalls.run_program(program, bytes(60))
        finally:
            os.close(program)
        assert (run.value, run.packet) == (42, bytes(60))

    def test_a_refused_program_comes_with_the_verifiers_reason(self):
        with pytest.raises(BpfError, match="R2 !read_ok") as raised:
            syscalls.program_load(PROGRAM_TC, assemble("r0 = r2\nexit"), "test_bad")
        assert str(raised.value).startswith("cannot load program test_bad: Permission denied (EACCES)\n")

    def test_the_verifier_tells_what_an_accepted_program_costs(self):
        assert "processed 2 insns" in syscalls.verifier_log(PROGRAM_TC, assemble("r0 = 0\nexit"), "test_good")

    def test_an_interface_that_is_not_there(self):
        program = syscalls.program_load(PROGRAM_TC, assemble("r0 = 0\nexit"), "test_good")
        try:
            with pytest.raises(BpfError, match=r"cannot attach to interface 4242: No such device \(ENODEV\)"):
                syscalls.link_create(program, 4242, syscalls.ATTACH_TCX_INGRESS)
        finally:
            os.close(program)


def test_an_unknown_machine_is_an_error_and_no_wrong_system_call(monkeypatch):
    monkeypatch.setattr(syscalls, "SYSCALL_NUMBERS", {})
    with pytest.raises(BpfError, match="ENOSYS"):
        syscalls.map_create(SMALL, "test_small")

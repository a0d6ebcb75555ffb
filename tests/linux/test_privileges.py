"""Giving up rights. Each test does it in a process of its own, for there is no way back."""

import subprocess
import sys

import pytest

from tests.support.bpffs import BPF, with_bpf_file_system


def outcome(code):
    """What the code prints, in a fresh process."""
    shown = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    return shown.stdout.split("\n")[:-1]


def test_a_missing_right_is_named_with_three_ways_to_get_it():
    (shown,) = outcome(
        "from metallb_cli.linux import privileges\n"
        "privileges.keep_only(())\n"
        "try:\n"
        "    privileges.require({'CAP_NET_RAW', 'CAP_SYS_ADMIN'}, purpose='open raw sockets')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    assert shown.startswith("PermissionMissingError this needs CAP_NET_RAW and CAP_SYS_ADMIN to open raw sockets")
    assert "{capabilities: {add: [NET_RAW, SYS_ADMIN]}}" in shown
    assert "sudo" in shown
    assert "unshare -Urn" in shown


@pytest.mark.live
def test_only_what_is_kept_is_left_and_no_exec_brings_the_rest_back():
    assert outcome(
        "import socket, subprocess, sys\n"
        "from metallb_cli.linux import privileges\n"
        "privileges.keep_only({'CAP_NET_RAW'})\n"
        "print(sorted(privileges.held()))\n"
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()\n"
        "code = 'from metallb_cli.linux import privileges; print(sorted(privileges.held() - {\"CAP_NET_RAW\"}))'\n"
        "print(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip())\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(status['NoNewPrivs'].strip())\n"
    ) == ["['CAP_NET_RAW']", "[]", "1"]


@pytest.mark.live
def test_a_right_that_was_given_up_cannot_be_kept():
    (shown,) = outcome(
        "from metallb_cli.linux import privileges\n"
        "privileges.keep_only(())\n"
        "try:\n"
        "    privileges.keep_only({'CAP_NET_RAW'})\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    assert shown.startswith("PermissionMissingError this needs CAP_NET_RAW")


def test_a_process_with_closed_files_opens_none_and_connects_to_nothing(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("secret")
    shown = outcome(
        "import socket, os\n"
        "from metallb_cli.linux import privileges\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        f"kept = open({str(secret)!r})\n"
        "closed = privileges.close_files()\n"
        "print(closed)\n"
        "def attempt(what):\n"
        "    try:\n"
        "        print('did', what())\n"
        "    except PermissionError:\n"
        "        print('refused')\n"
        f"attempt(lambda: open({str(secret)!r}).read())\n"
        f"attempt(lambda: os.listdir({str(tmp_path)!r}))\n"
        f"attempt(lambda: open({str(tmp_path / 'new')!r}, 'w'))\n"
        "attempt(lambda: socket.create_connection(listener.getsockname(), timeout=5))\n"
        "print(kept.read())\n"
    )
    if shown[0] == "False":
        pytest.skip("this kernel has no Landlock")
    assert shown[1:4] == ["refused"] * 3
    assert shown[4] == "refused" or shown[4].startswith("did")  # TCP since version 4 of Landlock
    assert shown[5] == "secret"


@pytest.mark.live
@with_bpf_file_system
def test_where_pins_stay_possible_every_other_file_is_closed(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("secret")
    shown = outcome(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from metallb_cli.errors import BpfError\n"
        "from metallb_cli.linux import privileges\n"
        "from metallb_cli.linux.ebpf.maps import Lease\n"
        "from metallb_cli.linux.ebpf.pins import PinDirectory, Pins\n"
        f"bpf, secret = Path({str(BPF)!r}), Path({str(secret)!r})\n"
        "foreign = bpf / 'metallb' / 'other'\n"
        "directory = PinDirectory(bpf)\n"
        "foreign.mkdir()\n"
        "lease = Lease()\n"
        "Pins(foreign).put('lease', lease.fd)\n"
        "if not privileges.close_files(directory.path):\n"
        "    sys.exit(print('no Landlock'))\n"
        "pins = Pins(directory.path / '2')\n"
        "pins.put('lease', lease.fd)\n"
        "pins.put('lease', lease.fd)\n"
        "print(sorted(os.listdir(directory.path)), pins.open('lease') is not None, pins.open('hits'))\n"
        "pins.clear()\n"
        "directory.remove()\n"
        "print(directory.path.exists())\n"
        "for attempt in (\n"
        "    secret.read_text,\n"
        "    secret.unlink,\n"
        "    (secret.parent / 'new').touch,\n"
        "    (foreign / 'lease').unlink,\n"
        "    (foreign / 'new').mkdir,\n"
        "    lambda: os.listdir(foreign),\n"
        "    lambda: os.listdir(bpf),\n"
        "    lambda: Pins(foreign).put('new', lease.fd),\n"
        "):\n"
        "    try:\n"
        "        print('did', attempt())\n"
        "    except (PermissionError, BpfError) as error:\n"
        "        print('refused')\n"
    )
    if shown == ["no Landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert shown == ["['2'] True None", "False", *["refused"] * 8]

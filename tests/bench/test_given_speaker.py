"""A speaker that METALLB_SPEAKER names is measured beside the others."""

import shlex
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bench import arp, given_speaker
from bench.responders import kernel
from bench.rounds import Effort, compare
from metallb_cli.config import parse

USAGE = {
    "v0.4.6": "Usage of speaker:\n"
    + "".join(f"  -{flag}\n" for flag in ("config string", "kubeconfig string", "logtostderr", "node-ip", "node-name")),
    "v0.12": "Usage of speaker:\n"
    + "".join(f"  -{flag}\n" for flag in ("config string", "kubeconfig string", "namespace", "node-name", "port int")),
}


def program(folder, usage, command):
    """A program that prints the text for --help, and else runs the command with its arguments."""
    path = Path(folder) / "speaker"
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --help ]; then echo {shlex.quote(usage)} >&2; exit 2; fi\nexec {command} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def test_without_the_variable_there_is_none(monkeypatch):
    monkeypatch.delenv(given_speaker.VARIABLE, raising=False)
    assert given_speaker.cases() == {}


def test_a_path_that_is_no_program_is_refused_with_what_to_give(monkeypatch, tmp_path):
    monkeypatch.setenv(given_speaker.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="none is not a program; give the path of a MetalLB speaker"):
        given_speaker.cases()


def test_each_release_gets_the_flags_that_it_knows():
    flags = {release: given_speaker.flags(usage, Path("/k"), "10.0.0.9") for release, usage in USAGE.items()}
    assert flags == {
        "v0.4.6": ["--kubeconfig=/k", "--config=config", "--node-name=node1", "--node-ip=10.0.0.9", "--logtostderr"],
        "v0.12": [
            "--kubeconfig=/k", "--config=config", "--node-name=node1", "--namespace=metallb-system", "--port=7472"
        ],
    }  # fmt: skip


@pytest.mark.parametrize("release", USAGE)
def test_the_configuration_of_each_release_has_the_addresses(release):
    addresses = [IPv4Address("10.77.0.1") + n for n in range(300)]
    (config,) = (
        each["data"]["config"]
        for each in given_speaker.objects(addresses, USAGE[release])
        if each["kind"] == "ConfigMap"
    )
    parsed = parse(config)
    assert parsed.problems == ()
    (pool,) = parsed.config.pools
    assert all(any(address in r for r in pool.ranges) for address in addresses)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("release", USAGE)
def test_a_given_speaker_is_measured_beside_the_kernel(monkeypatch, tmp_path, release):
    ours = f"{shlex.quote(sys.executable)} -m metallb_cli speaker"
    monkeypatch.setenv(given_speaker.VARIABLE, program(tmp_path, USAGE[release], ours))
    results = compare(arp.questions, {"kernel": kernel} | given_speaker.cases(), Effort((1, 10), 1, 1, 40, exact=False))
    for cases in results.values():
        assert list(cases) == ["kernel", "given speaker"]
        assert cases["given speaker"]["replies_per_s_vs_kernel"] > 0
        assert cases["given speaker"]["replies_checked"] > 40
        assert cases["given speaker"]["rss_mib"] > 0


@pytest.mark.live
@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("sh -c 'echo it is broken; exit 3'", "it ended with status 3"),
        ("sh -c 'echo it is broken; exec sleep 60'", "it does not answer for 1 addresses after 2 s"),
    ],
)
def test_one_that_does_not_answer_is_named_with_what_it_said(monkeypatch, tmp_path, command, what):
    monkeypatch.setattr(given_speaker, "LIMIT", 2.0)
    monkeypatch.setenv(given_speaker.VARIABLE, program(tmp_path, USAGE["v0.4.6"], command))
    with pytest.raises(SystemExit, match=f"{what}.*\n.*it is broken") as caught:
        compare(arp.questions, given_speaker.cases(), Effort((1,), 1, 1, 40, exact=False))
    assert "--node-ip=10.78.0.2" in str(caught.value)

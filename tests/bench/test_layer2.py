"""The layer-2 benchmarks work. How fast anybody is, is not looked at: the machine may be busy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import arp, ndp
from bench.cable import Cable
from bench.responders import kernel
from bench.rounds import COMPARED, QUICK
from metallb_cli.linux.ebpf.engine import TcEngine

ROOT = Path(__file__).parents[2]


@pytest.mark.live
@pytest.mark.slow
def test_a_quick_run_checks_every_reply_and_compares_everybody_with_the_kernel(tmp_path):
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.layer2", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    for protocol, more in (("ARP", ["packet, spin"]), ("NDP", [])):
        assert list(found[protocol]) == [str(count) for count in QUICK.counts]
        for cases in found[protocol].values():
            assert list(cases) == ["kernel", "tc", "packet", "naive", *more]
            for case, figures in cases.items():
                assert {f"{name}_vs_kernel" for name in COMPARED} <= figures.keys()
                assert figures["replies_checked"] > QUICK.asks
                if case in ("kernel", "tc"):  # they answer at once, so nothing can be dropped
                    assert figures["answered"] == figures["window_answered"] == figures["storm_answered"] == 1
    assert {"the process runs", "the process is stopped"} <= found["fence"].keys()
    assert "| tc | 10 |" in done.stdout


@pytest.mark.live
@pytest.mark.parametrize("protocol", [arp, ndp])
def test_wrong_replies_end_a_measurement(protocol):
    cable = Cable("wrong", protocol.questions(3))
    try:
        engine = cable.node.run(TcEngine, cable.index, b"\2\0\0\0\0\x77")
        cable.stack.callback(engine.close)
        cable.node.run(engine.announce, cable.questions.addresses)
        engine.renew(1e6)
        with pytest.raises(RuntimeError, match="128 wrong replies"):
            cable.flood(cable.own, 128)
        with pytest.raises(RuntimeError, match="4 wrong replies"):
            cable.window(4, 256)
        with pytest.raises(RuntimeError, match="0 right and 1 wrong of 1 replies"):
            cable.ask_one_by_one(1)
    finally:
        cable.close()


@pytest.mark.live
@pytest.mark.parametrize("protocol", [arp, ndp])
def test_a_window_gets_an_answer_to_each_of_its_questions(protocol):
    cable = Cable("window", protocol.questions(3))
    try:
        kernel(cable)
        flood = cable.window(8, 1000)
        assert (flood.sent, flood.right, flood.wrong) == (1008, 1008, 0)
    finally:
        cable.close()


def test_the_same_figures_make_the_same_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="the plot needs the extra `bench`")
    from bench import plot

    cases = {"kernel": {"replies_per_s": 1000.0}, "tc": {"replies_per_s_vs_kernel": 1.5}}
    for name in ("first.svg", "second.svg"):
        plot.draw(tmp_path / name, {"ARP": {1: cases, 10: cases}}, "a machine")
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
    assert "a machine" in (tmp_path / "first.svg").read_text()

"""What the lab prints where it is no terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from metallb_cli.view.lab import LabView


@pytest.fixture(params=["utf-8", "ascii"])
def out(request):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=request.param, write_through=True)
    view = LabView(Console(file=stream, highlight=False, width=60))
    view.marks = ("✓", "✗", "·") if request.param == "utf-8" else ("ok", "!!", "-")
    view.text = lambda: raw.getvalue().decode(request.param)
    return view


def test_a_step_is_one_line_with_its_detail_and_time(out):
    with out.step("LAN with 3 nodes") as step:
        step.detail = "172.30.1.0/24"
    assert out.text() == f"{out.marks[0]} LAN with 3 nodes {out.marks[2]} 172.30.1.0/24  0.0 s\n"


def test_a_step_that_fails_is_marked_and_its_error_goes_on(out):
    with pytest.raises(ValueError, match="broken"), out.step("LAN"):
        raise ValueError("broken")
    assert out.text() == f"{out.marks[1]} LAN  0.0 s\n"


def test_commands_and_their_output_are_never_broken_into_lines_or_read_as_markup(out):
    out.shell("kubectl get svc " + "x" * 80, ["[bold]", "y" * 100])
    assert out.text().splitlines() == ["    $ kubectl get svc " + "x" * 80, "    [bold]", "    " + "y" * 100]


def test_facts_are_aligned(out):
    out.facts([("address", "172.30.1.96"), ("time", "8 s")])
    assert [line.rstrip() for line in out.text().splitlines()] == ["    address  172.30.1.96", "    time     8 s"]


def test_the_ends_of_logs_come_with_their_files(out):
    out.logs([(Path("/tmp/a.log"), ["last words"]), (Path("/tmp/b.log"), [])], Path("/tmp"))
    lines = [line.strip() for line in out.text().splitlines() if line]
    assert lines == [
        "The end of /tmp/a.log:",
        "last words",
        "The end of /tmp/b.log:",
        "(empty)",
        "All logs stay in /tmp",
    ]

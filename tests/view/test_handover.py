"""What is shown of a drain and of a move."""

import io

import pytest
from rich.console import Console

from metallb_cli.reconcile.drain import DrainedAddress, Handover
from metallb_cli.view.handover import HandoverView


def shown(draw, *, encoding="utf-8", terminal=False, quiet=False):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(file=out, force_terminal=terminal, highlight=False, width=60, quiet=quiet)
    draw(HandoverView(console))
    return raw.getvalue().decode(encoding)


MOVED = DrainedAddress("10.0.0.1", "apps/web", Handover.MOVED, ("node2",), 0.42)
STAYS = DrainedAddress("10.0.0.2", "apps/dns", Handover.STAYS, explanation="there is no other node")
HELD = DrainedAddress("10.0.0.3", "apps/db", Handover.HELD)
RELEASED = DrainedAddress("10.0.0.4", None, Handover.RELEASED)
GONE = DrainedAddress("10.0.0.5", None, Handover.GONE)


@pytest.mark.parametrize(("encoding", "mark", "arrow"), [("utf-8", "✓", "→"), ("ascii", "ok", "->")])
def test_what_is_settled_is_a_line_and_what_is_not_is_none_yet(encoding, mark, arrow):
    text = shown(lambda view: view.drained("node1", (MOVED, STAYS, HELD, RELEASED, GONE)), encoding=encoding)
    assert text.splitlines() == [
        f"{mark} 10.0.0.1  apps/web  node1 {arrow} node2  0.4 s",
        f"{mark} 10.0.0.5  nobody shall answer for it any more",
    ]


def test_what_is_left_at_the_end_is_named_with_the_reason():
    text = shown(lambda view: view.left("node1", (MOVED, STAYS, HELD, RELEASED, GONE)))
    assert text.splitlines() == [
        "✗ 10.0.0.2  apps/dns  stays on node1: there is no other node",
        "✗ 10.0.0.3  apps/db  nobody has taken it over yet",
        "✗ 10.0.0.4  nobody says that it announces it",
    ]


def test_a_name_is_never_read_as_markup_nor_a_long_line_broken():
    text = shown(lambda view: view.moved("10.0.0.1", "apps/" + "x" * 80, "[bold]n1", "n2", 1.0))
    assert text == f"✓ 10.0.0.1  apps/{'x' * 80}  [bold]n1 → n2  1.0 s\n"


def wait(view):
    with view.waiting("waiting for node1"):
        view.still("2 addresses left on node1")
        view.say("in between")


def test_only_a_terminal_is_shown_what_is_waited_for():
    assert shown(wait) == "in between\n"
    assert "2 addresses left on node1" in shown(wait, terminal=True)


def test_a_quiet_view_writes_nothing_at_all():
    assert shown(wait, quiet=True, terminal=True) == ""

"""What `metallb drain` and `metallb move` show while addresses change hands: one line for each that did."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.status import Status
from rich.text import Text

from metallb_cli.reconcile.drain import DrainedAddress, Handover


class HandoverView:
    """Writes to a terminal with colours and a line that says what is waited for, to anything else plain lines.

    Args:
        console: where to; None for standard output.
        quiet: write nothing.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Console(highlight=False, quiet=quiet)
        plain = not (self._console.encoding or "").lower().startswith("utf")
        self._done, self._failed, self._arrow = ("ok ", "!! ", "->") if plain else ("✓ ", "✗ ", "→")
        self._status: Status | None = None

    def say(self, text: str) -> None:
        """A sentence."""
        self._line(Text(text))

    def warn(self, text: str) -> None:
        """A sentence about what is not as it should be."""
        self._line(Text.assemble((self._failed, "bold red"), text))

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show, on a terminal, that something is waited for."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(what)) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def still(self, what: str) -> None:
        """Say what is waited for now, where it can be seen."""
        if self._status is not None:
            self._status.update(Text(what))

    def moved(self, address: str, service: str | None, source: str, target: str, seconds: float) -> None:
        """An address has another owner."""
        self._line(
            Text.assemble(
                (self._done, "green"),
                (address, "bold"),
                (f"  {service}" if service else "", "dim"),
                f"  {source} {self._arrow} {target}",
                (f"  {seconds:.1f} s", "dim"),
            )
        )

    def drained(self, node: str, addresses: tuple[DrainedAddress, ...]) -> None:
        """What is new about addresses of a node that is being drained."""
        for each in addresses:
            if each.state is Handover.MOVED:
                self.moved(each.address, each.service, node, ", ".join(each.holders), each.seconds)
            elif each.state is Handover.GONE:
                self._line(
                    Text.assemble(
                        (self._done, "green"), (each.address, "bold"), "  nobody shall answer for it any more"
                    )
                )

    def left(self, node: str, addresses: tuple[DrainedAddress, ...]) -> None:
        """The addresses that were not handed over, and why."""
        for each in addresses:
            if each.settled:
                continue
            why = f"stays on {node}: {each.explanation}" if each.state is Handover.STAYS else _WHY[each.state]
            text = Text.assemble((self._failed, "bold red"), (each.address, "bold"))
            self._line(text.append(f"  {each.service}  " if each.service else "  ").append(why))

    def _line(self, text: Text) -> None:
        """One line, whatever its length: a terminal wraps it, a file keeps it, and both can be copied."""
        self._console.print(text, soft_wrap=True)


_WHY = {
    Handover.HELD: "nobody has taken it over yet",
    Handover.RELEASED: "nobody says that it announces it",
}

"""The parts of docs/benchmarks.md that benchmarks write, each between two lines; the first one names its command."""

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
END = "<!-- end -->"


def begin(command: str) -> str:
    """The line before the part that a command writes."""
    return f"<!-- begin: {command} writes this part -->"


def write(page: Path, command: str, text: str) -> None:
    """Exchange what is between the marks of a page.

    Raises:
        ValueError: it has no marks.
    """
    before, mark, rest = page.read_text().partition(begin(command))
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page} has no line {begin(command)!r} with a line {END!r} after it")
    page.write_text(f"{before}{mark}\n\n{text}\n\n{END}{after}")

"""The plot of the layer-2 benchmarks: replies per second as a ratio to the kernel's in the same run.

The only module that needs Matplotlib, of the `bench` extra. The same figures make the same file, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.rounds import Results

COLOURS = {"tc": "#0072b2", "packet": "#009e73", "naive": "#d55e00", "given speaker": "#cc79a7"}
"""Who is drawn, in order; distinct for every kind of colour vision. scapy would need three powers of ten more."""
STYLE = {
    "svg.hashsalt": "metallb",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH = 0.8
"""Of a group of bars, of the distance between groups."""


def draw(path: Path, protocols: Mapping[str, Results], caption: str) -> None:
    """Write the plot as SVG.

    Args:
        path: of the file.
        protocols: results by protocol, a panel for each.
        caption: when and on what they were measured.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        panels = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
        for panel, (protocol, results) in zip(panels, protocols.items(), strict=True):
            _draw_panel(panel, protocol, results)
        _scale(panels[0], [value for results in protocols.values() for value in _ratios(results).values()])
        panels[0].set_ylabel("replies/s, × kernel")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        figure.supxlabel(caption, fontsize=8, color="#555555")
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    # Matplotlib ends some lines with a blank.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))


def _ratios(results: Results) -> dict[tuple[int, str], float]:
    return {
        (count, case): cases[case]["replies_per_s_vs_kernel"]
        for count, cases in results.items()
        for case in COLOURS
        if case in cases
    }


def _draw_panel(panel: Axes, protocol: str, results: Results) -> None:
    """Bars from 1, which is the kernel: upwards who is faster, downwards who is slower."""
    ratios = _ratios(results)
    present = [case for case in COLOURS if any(name == case for _, name in ratios)]
    for place, case in enumerate(present):
        groups = [(group, ratios[count, case]) for group, count in enumerate(results) if (count, case) in ratios]
        where = [group + WIDTH * ((place + 0.5) / len(present) - 0.5) for group, _ in groups]
        heights = [ratio - 1 for _, ratio in groups]
        bars = panel.bar(where, heights, WIDTH / len(present), bottom=1, color=COLOURS[case], label=case)
        for bar, (_, ratio) in zip(bars, groups, strict=True):
            above = ratio >= 1
            panel.annotate(
                f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}",
                (bar.get_x() + bar.get_width() / 2, ratio),
                (0, 2 if above else -2),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=9,
            )
    panel.axhline(1, color="black", linewidth=1.2, label="kernel")
    panel.set_title(protocol)
    panel.set_xticks(range(len(results)), [_label(count, cases["kernel"]) for count, cases in results.items()])
    panel.tick_params(axis="x", length=0)


def _label(count: int, kernel: Mapping[str, float]) -> str:
    addresses = "1 address" if count == 1 else f"{count:,} addresses"
    return f"{addresses}\nkernel: {kernel['replies_per_s']:,.0f}/s"


def _scale(panel: Axes, ratios: list[float]) -> None:
    """Logarithmic, with room for the numbers at the ends."""
    low, high = math.log10(min([1.0, *ratios])), math.log10(max([1.0, *ratios]))
    room = 0.09 * (high - low) + 0.05
    panel.set_yscale("log")
    panel.set_ylim(10 ** (low - room), 10 ** (high + room))
    panel.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")

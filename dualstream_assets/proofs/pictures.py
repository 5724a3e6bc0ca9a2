"""Pictures as SVG text, drawn with matplotlib; one size, one palette, readable on a phone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STREAM_COLOURS = {"healthcare": "#0b7285", "trucking": "#b08900"}
OTHER_COLOURS = ("#5f3dc4", "#2b8a3e", "#a61e4d")
INK, MUTED = "#1f2933", "#7b8794"


def colour_of(stream: str, position: int) -> str:
    """The colour of a stream, the same in every picture."""
    return STREAM_COLOURS.get(stream, OTHER_COLOURS[position % len(OTHER_COLOURS)])


def _draw(width: float, height: float, paint: Any) -> str:
    """Render what `paint(axes)` draws as SVG text without XML prologue."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {"svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif", "svg.hashsalt": "ds"}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes: Axes = figure.subplots()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(MUTED)
        axes.tick_params(colors=INK)
        paint(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def sent_by_hour(hours: Mapping[str, Sequence[tuple[datetime, int]]], caps: Mapping[str, int]) -> str:
    """Bars of messages per clock hour and stream, the hourly cap of each as a dashed line."""

    def paint(axes: Axes) -> None:
        labels = sorted({hour for series in hours.values() for hour, _ in series})
        if not labels:
            axes.text(0.5, 0.5, "nothing sent yet", ha="center", transform=axes.transAxes, color=MUTED)
            return
        place = {hour: i for i, hour in enumerate(labels)}
        width = 0.8 / max(1, len(hours))
        for i, (stream, series) in enumerate(hours.items()):
            colour = colour_of(stream, i)
            axes.bar(
                [place[hour] + i * width for hour, _ in series],
                [count for _, count in series],
                width=width,
                color=colour,
                label=stream,
            )
            axes.axhline(caps[stream], color=colour, linestyle="--", linewidth=1)
        step = max(1, len(labels) // 8)
        axes.set_xticks(range(0, len(labels), step), [h.strftime("%a %H") for h in labels[::step]])
        axes.set_ylabel("messages an hour")
        axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.18))

    return _draw(6.4, 2.8, paint)


def funnel(steps: Sequence[tuple[str, int]]) -> str:
    """Horizontal bars from candidates to delivered."""

    def paint(axes: Axes) -> None:
        names = [name for name, _ in steps][::-1]
        counts = [count for _, count in steps][::-1]
        bars = axes.barh(names, counts, color="#0b7285")
        axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=3, color=INK)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.15)

    return _draw(6.4, 2.3, paint)


def operators(rows: Sequence[tuple[str, int, int, int]]) -> str:
    """Stacked bars per operator: delivered, waiting, failed."""

    def paint(axes: Axes) -> None:
        if not rows:
            axes.text(0.5, 0.5, "nothing sent yet", ha="center", transform=axes.transAxes, color=MUTED)
            return
        shown = list(rows[:10])[::-1]
        names = [name for name, *_ in shown]
        left = [0] * len(shown)
        counts = list(zip(*(row[1:] for row in shown), strict=True))
        parts = (("delivered", "#0b7285"), ("waiting", "#e0a800"), ("failed", "#c92a2a"))
        for (label, colour), values in zip(parts, counts, strict=True):
            axes.barh(names, values, left=left, color=colour, label=label)
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes.set_xlabel("messages")
        axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.16))

    return _draw(6.4, 0.9 + 0.28 * max(1, min(10, len(rows))), paint)

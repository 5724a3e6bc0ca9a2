"""Pictures as SVG text, drawn with matplotlib; one size, one palette, readable on a phone."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STREAM_COLOURS = {"healthcare": "#0b7285", "trucking": "#b08900"}
OTHER_COLOURS = ("#5f3dc4", "#2b8a3e", "#a61e4d")
INK, MUTED = "#1f2933", "#7b8794"
REJECT_COLOUR = "#adb5bd"
SEGMENT_COLOURS = {
    "institutional": "#0b7285",
    "consumer": "#b08900",
    "direct": "#5f3dc4",
    "review": "#a61e4d",
}


def colour_of(stream: str, position: int) -> str:
    """The colour of a stream, the same in every picture."""
    return STREAM_COLOURS.get(stream, OTHER_COLOURS[position % len(OTHER_COLOURS)])


def _draw(width: float, height: float, paint: Callable[[Axes], None]) -> str:
    """Render what `paint(axes)` draws as SVG text without XML prologue, on the page's own ground."""
    return _render(width, height, lambda figure: paint(_axes(figure.subplots())), transparent=True)


def _render(width: float, height: float, paint: Callable[[Figure], None], *, transparent: bool) -> str:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {"svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif", "svg.hashsalt": "ds"}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=transparent)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _axes(axes: Axes) -> Axes:
    """Our look: no box, quiet lines."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK)
    return axes


def in_markdown(title: str, draw: Callable[[], str]) -> str:
    """A picture as Markdown that Dagster's UI renders (an image by data URI; inline SVG it strips).

    Where drawing fails the text says so: a picture never stops what it shows.
    """
    try:
        svg = draw()
    except Exception as error:  # noqa: BLE001
        return f"(no picture: {type(error).__name__}; the numbers are in the tables)"
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


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


def audience_funnel(
    candidates: int, rejects: Mapping[str, int], segments: Mapping[str, int], *, shown: int = 8
) -> str:
    """A waterfall from candidates to the files: what each reason took, then what each file got.

    Args:
        rejects: reason -> candidates; the largest `shown` are drawn, the others as one bar.
        segments: file -> rows.
    """
    reasons = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in reasons[shown:])
    steps = [(name, count, REJECT_COLOUR) for name, count in reasons[:shown]]
    if rest:
        steps.append((f"{len(reasons) - shown} other reasons", rest, REJECT_COLOUR))
    kept = sum(segments.values())

    bars = [("candidates", candidates, 0, INK)]
    left = candidates
    for name, count, colour in steps:
        left -= count
        bars.append((name, count, left, colour))
    bars.append(("rows in files", kept, 0, INK))
    left = kept
    for name, count in segments.items():
        left -= count
        bars.append((name, count, left, SEGMENT_COLOURS.get(name, MUTED)))

    def paint(figure: Figure) -> None:
        axes = _axes(figure.subplots())
        places = range(len(bars))
        axes.barh(places, [b[1] for b in bars], left=[b[2] for b in bars], color=[b[3] for b in bars])
        for place, (name, count, start, _) in zip(places, bars, strict=True):
            sign = "-" if (name, count, REJECT_COLOUR) in steps else ""
            axes.annotate(
                f"{sign}{count:,}",
                (start + count, place),
                (4, 0),
                textcoords="offset points",
                va="center",
                color=INK,
            )
        axes.set_yticks(places, [b[0] for b in bars])
        axes.invert_yaxis()
        axes.set_xlim(0, max(1, candidates) * 1.14)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return _render(6.8, 0.5 + 0.24 * len(bars), paint, transparent=False)


def drift_picture(
    files: Mapping[str, tuple[int, int, int, int, int]],
    moves: Sequence[tuple[str, str, int]],
    limits: tuple[float, float],
) -> str:
    """Per file what left and came, as shares of the former rows, and the largest moves between files.

    Args:
        files: file -> (kept, added, left, moved in, moved out), addresses.
        moves: (from, to, addresses), largest first; six are drawn.
        limits: shares of the former rows that may be added and may leave, drawn as dashed lines.
    """
    moved = moves[:6]

    def paint(figure: Figure) -> None:
        heights = [0.6 + len(files), 0.6 + max(1, len(moved)) * 0.6]
        above, below = figure.subplots(2, 1, gridspec_kw={"height_ratios": heights})
        _changes(_axes(above), files, limits)
        _moves(_axes(below), moved)
        figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)

    height = 1.3 + 0.4 * len(files) + 0.25 * max(1, len(moved))
    return _render(6.8, height, paint, transparent=False)


def _changes(
    axes: Axes, files: Mapping[str, tuple[int, int, int, int, int]], limits: tuple[float, float]
) -> None:
    places = range(len(files))
    rows = list(files.values())
    base = [max(1, kept + gone + out) for kept, _, gone, _, out in rows]
    share = [[100 * n / b for n in row] for row, b in zip(rows, base, strict=True)]
    out, gone = [-s[4] for s in share], [-s[2] for s in share]
    came, new = [s[3] for s in share], [s[1] for s in share]
    axes.barh(places, out, height=0.6, color="#e8a33d", label="moved to another file")
    axes.barh(places, gone, left=out, height=0.6, color="#c92a2a", label="left")
    axes.barh(places, came, height=0.6, color="#74b8c4", label="moved here")
    axes.barh(places, new, left=came, height=0.6, color="#0b7285", label="added")
    reach_left = max([1.3 * 100 * limits[1], *(-a - b for a, b in zip(out, gone, strict=True))])
    reach_right = max([1.3 * 100 * limits[0], *(a + b for a, b in zip(came, new, strict=True))])
    reach_left, reach_right = min(reach_left, 110), min(reach_right, 210)
    for place, (_, added, gone_, came_, out_) in zip(places, rows, strict=True):
        said = f"-{gone_ + out_:,} / +{added + came_:,}"
        axes.text(1.01, place, said, transform=axes.get_yaxis_transform(), va="center", color=INK)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axvline(-100 * limits[1], color=MUTED, linestyle="--", linewidth=0.8)
    axes.axvline(100 * limits[0], color=MUTED, linestyle="--", linewidth=0.8)
    axes.set_yticks(places, [f"{name}\n{row[0]:,} kept" for name, row in files.items()])
    axes.invert_yaxis()
    axes.set_xlim(-1.05 * reach_left, 1.05 * reach_right)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f} %" if value else "0")
    axes.set_xlabel("share of the file's former addresses; dashed: limits of left and added", color=INK)


def _moves(axes: Axes, moves: Sequence[tuple[str, str, int]]) -> None:
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    if not moves:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing moved between files", ha="center", transform=axes.transAxes, color=MUTED)
        return
    bars = axes.barh(
        [f"{was} → {now}" for was, now, _ in moves],
        [count for *_, count in moves],
        color="#e8a33d",
        height=0.6,
    )
    axes.bar_label(bars, labels=[f"{count:,}" for *_, count in moves], padding=3, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.14)

"""What changed between the published audience and the kept rows of the release before: new, gone, moved; per rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.audience.manifest import PREVIOUS_ROWS, read_manifest
from dualstream_assets.audience.publish import FILES
from dualstream_assets.estate.model import Drift as Limits

if TYPE_CHECKING:
    import polars as pl

SEGMENTS = ("institutional", "consumer", "direct", "review")
DROPPED = "dropped"
COLUMNS = ("email", "npi", "segment", "rule", "revalidation_status")
"""Of the kept rows: one row per address, all text."""
UNMEASURED = "unmeasured"
SHOWN = 20
"""Rows of a table in the UI."""


class PreviousUnreadable(ValueError):
    """The kept rows of the release before cannot be read: drift is unknown, so it is not green."""


@dataclass(frozen=True)
class FileDrift:
    """Addresses of one segment: `before = kept + left + moved_out`, `now = kept + added + moved_in`.

    `added` and `left`: not in the other release at all. `moved_in`, `moved_out`: in another segment there.
    """

    kept: int = 0
    added: int = 0
    left: int = 0
    moved_in: int = 0
    moved_out: int = 0

    @property
    def before(self) -> int:
        """Addresses in the release before."""
        return self.kept + self.left + self.moved_out

    @property
    def now(self) -> int:
        """Addresses in this release."""
        return self.kept + self.added + self.moved_in


@dataclass(frozen=True)
class Finding:
    """One limit that is passed: a stable name (`institutional added`, `rule giant`), by how many addresses, in words.

    Attributes:
        count: addresses; negative where there are fewer than before (rules only).
    """

    name: str
    said: str
    count: int = 0


@dataclass(frozen=True)
class Drift:
    """What changed between two releases; an address that only rejects have counts as `dropped`.

    Attributes:
        before, now: name, kind, day and fingerprint of the two releases; `unmeasured` says why there are no rows of
            the one before although there was one.
        files: segment or `dropped` -> counts.
        moves: (segment before, segment now) -> addresses.
        statuses: (revalidation status before, now) -> addresses that are in a file both times.
        rules: rule -> (addresses before, now).
    """

    before: Mapping[str, Any]
    now: Mapping[str, Any]
    files: Mapping[str, FileDrift]
    moves: Mapping[tuple[str, str], int]
    statuses: Mapping[tuple[str, str], int]
    rules: Mapping[str, tuple[int, int]]

    def findings(self, limits: Limits) -> tuple[Finding, ...]:
        """What passes the limits. A file or rule of fewer than `rule_rows` addresses is measured as if it had these."""
        found = []
        if why := self.before.get(UNMEASURED):
            found.append(Finding(UNMEASURED, str(why), 1))
        for segment in SEGMENTS:
            file = self.files[segment]
            for what, count, share in (
                ("added", file.added, limits.added),
                ("left", file.left, limits.left),
                ("moved in", file.moved_in, limits.moved),
                ("moved out", file.moved_out, limits.moved),
            ):
                if count > share * max(file.before, limits.rule_rows):
                    said = f"{segment}: {count:,} {what} on {file.before:,} (limit {share:.0%})"
                    found.append(Finding(f"{segment} {what}", said, count))
        for rule, (before, now) in self.rules.items():
            if abs(now - before) > limits.rule * max(before, limits.rule_rows):
                said = f"rule {rule}: {before:,} before, {now:,} now (limit {limits.rule:.0%})"
                found.append(Finding(f"rule {rule}", said, now - before))
        return tuple(found)

    def tables(self) -> dict[str, str]:
        """Markdown tables: per file, per move, per change of status, per rule."""
        files = [
            (s, f.before, f.left, f.moved_out, f.kept, f.moved_in, f.added, f.now)
            for s, f in self.files.items()
        ]
        rules = sorted(self.rules.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), item[0]))
        return {
            "files": _table(
                ("file", "before", "left", "moved out", "kept", "moved in", "added", "now"), files
            ),
            "moves": _table(("from", "to", "addresses"), _pairs(self.moves)),
            "status": _table(("status before", "now", "addresses"), _pairs(self.statuses)),
            "rules": _table(
                ("rule", "before", "now", "change"), [(r, b, n, f"{n - b:+,}") for r, (b, n) in rules[:SHOWN]]
            ),
        }


def compare(folder: Path) -> Drift | None:
    """The published audience beside the kept rows; None where there was no release before, or nothing is published.

    Raises:
        PreviousUnreadable: the kept rows are damaged.
    """
    import polars as pl

    manifest, kept = read_manifest(folder), folder / PREVIOUS_ROWS
    if manifest is None or not kept.exists():
        return None
    try:
        was = _coded(pl.scan_parquet(kept)).collect()
        release = json.loads(pl.read_parquet_metadata(kept)["release"])
    except (pl.exceptions.PolarsError, KeyError, ValueError, OSError) as error:
        raise PreviousUnreadable(
            f"{kept} is damaged: put back a backup; or remove it, and this release counts as the first"
        ) from error
    now = published_rows(folder, _coded)
    both = was.join(now, on="email", how="full", suffix="_now", coalesce=True)
    pairs = both.group_by("segment", "segment_now").len().sort("segment", "segment_now")
    in_files = [pl.col(name) != DROPPED for name in ("segment", "segment_now")]
    statuses = (
        both.filter(*in_files, pl.col("revalidation_status") != pl.col("revalidation_status_now"))
        .group_by("revalidation_status", "revalidation_status_now")
        .len()
    )
    files, moves = _by_file(pairs)
    before, after = (dict(frame.group_by("rule").len().iter_rows()) for frame in (was, now))
    return Drift(
        before=release,
        now=manifest.release,
        files=files,
        moves=moves,
        statuses={(a, b): count for a, b, count in statuses.iter_rows()},
        rules={rule: (before.get(rule, 0), after.get(rule, 0)) for rule in sorted({*before, *after})},
    )


def published_rows(
    folder: Path, shape: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda rows: rows
) -> pl.DataFrame:
    """Columns `COLUMNS`, one row per address: that of its file, else the first of its rejects (by rule, then NPI).

    `shape` is laid over each file as it is read, one file after the other, so that a narrow shape costs little memory.
    """
    import polars as pl

    def part(segment: str) -> pl.LazyFrame:
        frame = pl.scan_csv(folder / FILES[segment], infer_schema=False)
        return frame.select(COLUMNS).with_columns(pl.all().fill_null(""))

    files = pl.concat([shape(part(segment)).collect(engine="streaming") for segment in SEGMENTS])
    named = part("rejects").filter(pl.col("email") != "")
    rejects = shape(named.sort("email", "rule", "npi").unique("email", keep="first", maintain_order=True))
    return pl.concat([files, rejects.collect(engine="streaming").join(files, on="email", how="anti")])


def _coded(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The address as a 64-bit hash (two of a million alike: once in 37 million times), codes for text that repeats."""
    import polars as pl

    texts = pl.col("segment", "rule", "revalidation_status").cast(pl.Categorical)
    return rows.select(pl.col("email").hash(), texts)


def _by_file(pairs: pl.DataFrame) -> tuple[dict[str, FileDrift], dict[tuple[str, str], int]]:
    counts: dict[str, dict[str, int]] = {segment: {} for segment in (*SEGMENTS, DROPPED)}
    moves: dict[tuple[str, str], int] = {}

    def put(segment: str, what: str, count: int) -> None:
        counts[segment][what] = counts[segment].get(what, 0) + count

    for was, now, count in pairs.iter_rows():
        if was == now:
            put(now, "kept", count)
        elif was is None:
            put(now, "added", count)
        elif now is None:
            put(was, "left", count)
        else:
            moves[was, now] = count
            put(was, "moved_out", count)
            put(now, "moved_in", count)
    return {segment: FileDrift(**found) for segment, found in counts.items()}, moves


def _pairs(counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(a or "(empty)", b or "(empty)", count) for (a, b), count in rows[:SHOWN]]


def _table(names: tuple[str, ...], rows: list[Any]) -> str:
    lines = [" | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) for row in rows]
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*head, *(f"| {line} |" for line in lines)])

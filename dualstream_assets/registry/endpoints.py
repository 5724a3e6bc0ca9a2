"""endpoint_pfile: every address that any row states, under any endpoint type, in the endpoint or in its description.

Selected by content, never by `Endpoint Type` (facts: nppes section 0.1). What an address is *for* is decided in
`audience/`, here only whether it is one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dualstream_assets.ahead import one_ahead
from dualstream_assets.registry.addresses import SIMPLE, SIMPLE_OCTETS, Found, extract
from dualstream_assets.registry.archive import Archive
from dualstream_assets.registry.columns import ENDPOINT_LAYOUT, ENDPOINT_PROJECTION, Layout, check_header
from dualstream_assets.registry.errors import PAGE, DamagedMember
from dualstream_assets.registry.inflate import BLOCK_BYTES, read_blocks
from dualstream_assets.registry.lines import Rows, read_rows, without_bom
from dualstream_assets.registry.mending import LineCounts

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("row", "int", "line of endpoint_pfile that the row begins on, the header being line 1"),
    ("npi", "string", "provider; null for a line that could not be read"),
    ("endpoint_type", "string", "as filed: DIRECT, CONNECT, FHIR, SOAP, OTHERS, …"),
    ("address", "string", "lower case; null where the text is no usable address"),
    ("reason", "string", "why there is no address; null where there is one"),
    ("text", "string", "what was filed, where it was refused"),
    ("description", "string", "Endpoint Description as filed"),
    ("affiliation", "string", "Affiliation Legal Business Name, where Affiliation is Y"),
)
UNREADABLE = "unreadable_line"
UNREADABLE_AT_MOST, UNREADABLE_SHARE = 1000, 0.01
"""Beyond both a member is not in the V2 form."""
_KNOWN_FORM = re.compile(r"[A-Z_ ]{0,24}")
OTHER_TYPE = "(other)"
"""Counts are shown to people: a type that is no word of CMS may be anything, an address too."""
ENDPOINT_BLOCK_BYTES = 8 << 20
"""Smaller than npidata's: every row is looked at, so what a block needs while it is worked on is a multiple of it."""
_MAILTO = "mailto:"
_AT = "[@\uff20]"
"""Also the full-width one, which `extract` makes plain."""


@dataclass
class EndpointCounts:
    """What endpoint_pfile held.

    Attributes:
        types: endpoint type -> rows; the set is CMS's and grows, so it is reported and never asserted.
        types_with_text: endpoint type -> rows with an `@` in the endpoint or its description.
        repairs: kind of normalisation -> addresses.
        refusals: reason -> texts with an `@` that are no address.
    """

    lines: LineCounts = field(default_factory=LineCounts)
    types: Counter[str] = field(default_factory=Counter)
    types_with_text: Counter[str] = field(default_factory=Counter)
    addresses: int = 0
    only_in_description: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)


def read_endpoints(archive: Archive) -> tuple[pl.DataFrame, EndpointCounts]:
    """Every candidate of the release: one row per (endpoint row, address), refused texts and unreadable lines included.

    Returns a frame with the columns of `COLUMNS`, in file order.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    import polars as pl

    counts = EndpointCounts()
    blocks = row_blocks(
        archive, ENDPOINT_LAYOUT, ENDPOINT_PROJECTION, counts.lines, block_bytes=ENDPOINT_BLOCK_BYTES
    )
    frames = [_candidates(block, counts) for block in one_ahead(blocks, "endpoint rows")]
    if counts.lines.unreadable:
        lines = [(u.line, None, None, None, UNREADABLE, u.why, None, None) for u in counts.lines.unreadable]
        frames.append(_held(_frame(lines)))
        counts.refusals[UNREADABLE] += len(counts.lines.unreadable)
    frame = pl.concat([*frames, _held(_frame([]))])
    if counts.lines.unreadable:
        frame = frame.sort("row", maintain_order=True)
    counts.addresses = frame["address"].drop_nulls().len()
    return frame, counts


def row_blocks(
    archive: Archive,
    layout: Layout,
    columns: tuple[str, ...],
    counts: LineCounts,
    *,
    wanted: NDArray[np.int64] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Rows]:
    """A member's rows, block by block, as text columns; the header is checked first, CRC and length at the end.

    Args:
        wanted: a sorted array of NPIs, to have their rows only.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    member = archive.member(layout.prefix)
    line = 1
    for block in read_blocks(archive, member, block_bytes):
        rows = block
        if line == 1:
            header, _, rows = without_bom(block).partition(b"\n")
            check_header(header.decode("cp1252", errors="replace").rstrip("\r"), layout, archive.path.name)
            line = 2
        if rows:
            read = read_rows(rows, layout, columns, line, counts, wanted)
            line += read.lines
            if len(counts.unreadable) > max(UNREADABLE_AT_MOST, UNREADABLE_SHARE * line):
                raise DamagedMember(
                    f"{archive.path.name}: {len(counts.unreadable):,} of {line:,} lines of {member.name} cannot be"
                    f" read, the first is line {counts.unreadable[0].line:,}; give the unchanged V2 release from {PAGE}"
                )
            yield read
    if line == 1:
        check_header("", layout, archive.path.name)


def _candidates(rows: Rows, counts: EndpointCounts) -> pl.DataFrame:
    """The candidates of one block, in file order; its columns are those of `ENDPOINT_PROJECTION`."""
    import polars as pl

    named = rows.frame.rename(dict(zip(ENDPOINT_PROJECTION, _SHORT, strict=True)))
    in_description = named["description"].str.contains(_AT)
    has_at = named["endpoint"].str.contains(_AT) | in_description
    _count_types(named, has_at, counts)
    address = pl.col("lower").str.strip_prefix(_MAILTO).str.strip_suffix(".")
    stated = (pl.col("affiliated") == "Y") & (pl.col("affiliation") != "")
    texts = (
        named.lazy()
        .with_columns(in_description.alias("in_description"), pl.Series("row", rows.numbers))
        .filter(has_at)
        .with_columns(
            pl.when(stated).then("affiliation").alias("affiliation"),
            pl.col("npi").str.strip_chars(),
            pl.col("endpoint").str.strip_chars().str.to_lowercase().alias("lower"),
        )
        .with_columns(address.alias("address"))
        .with_columns(
            simple=pl.col("address").str.contains(SIMPLE)
            & (pl.col("address").str.len_bytes() <= SIMPLE_OCTETS)
            & ~pl.col("address").str.starts_with("www.")
            & ~pl.col("in_description")
        )
        .collect()
    )
    plain = texts.filter("simple")
    _count_repairs(plain, counts.repairs)
    none = pl.lit(None, pl.String)
    easy = _held(plain.with_columns(none.alias("reason"), none.alias("text")))
    if plain.height == texts.height:
        return easy
    hard = [
        made
        for row in texts.filter(~pl.col("simple")).select("row", *_SHORT).iter_rows(named=True)
        for made in _looked_at(row, counts)
    ]
    return pl.concat([easy, _held(_frame(hard))]).sort("row", maintain_order=True)


def _held(candidates: pl.DataFrame) -> pl.DataFrame:
    """The columns of `COLUMNS`; texts that repeat are held once, so that no block's own bytes stay in memory."""
    import polars as pl

    return candidates.select(
        pl.col(name).cast(pl.Categorical) if name in _REPEATING else pl.col(name) for name, _, _ in COLUMNS
    )


def _count_repairs(plain: pl.DataFrame, into: Counter[str]) -> None:
    """What was done to the simple ones: the same names as `addresses.extract` gives."""
    import polars as pl

    mailto = pl.col("lower").str.starts_with(_MAILTO)
    behind = pl.when(mailto).then(len(_MAILTO)).otherwise(0)
    stripped = pl.col("endpoint").str.strip_chars()
    made = plain.filter(pl.col("endpoint") != pl.col("address")).select(
        space=(pl.col("endpoint") != stripped).sum(),
        case=(stripped.str.slice(behind) != pl.col("lower").str.slice(behind)).sum(),
        mailto=mailto.sum(),
        trailing_dot=pl.col("lower").str.ends_with(".").sum(),
    )
    into.update({name: made.item(0, name) for name in made.columns if made.item(0, name)})


_REPEATING = ("endpoint_type", "reason", "text", "description", "affiliation")
_SHORT = ("npi", "endpoint_type", "endpoint", "affiliated", "description", "affiliation")


def _looked_at(row: dict[str, object], counts: EndpointCounts) -> Iterator[tuple[object, ...]]:
    """Candidates of one row that needs a second look: the endpoint's, then what only the description has."""
    endpoint, description = str(row["endpoint"]), str(row["description"])
    in_endpoint = extract(endpoint)
    known = {one.address for one in in_endpoint if isinstance(one, Found)}
    in_description = [
        one for one in extract(description) if not (isinstance(one, Found) and one.address in known)
    ]
    if known:  # a description that merely talks about the endpoint's address is no candidate of its own
        in_description = [one for one in in_description if isinstance(one, Found)]
    if not known:
        counts.only_in_description += any(isinstance(one, Found) for one in in_description)
    head, tail = (row["row"], row["npi"], row["endpoint_type"]), (description, row["affiliation"])
    for one in (*in_endpoint, *in_description):
        if isinstance(one, Found):
            counts.repairs.update(one.repairs)
            yield (*head, one.address, None, None, *tail)
        else:
            counts.refusals[one.reason] += 1
            text = f"{one.text} (meant {one.suggestion}?)" if one.suggestion else one.text
            yield (*head, None, one.reason, text, *tail)


def _frame(rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    import polars as pl

    kinds = {"int": pl.Int64, "string": pl.String}
    return pl.DataFrame(rows, schema={name: kinds[kind] for name, kind, _ in COLUMNS}, orient="row")


def _count_types(rows: pl.DataFrame, has_at: pl.Series, counts: EndpointCounts) -> None:
    import polars as pl

    marked = rows.select("endpoint_type", has_at.alias("has_at"))
    counted = marked.group_by("endpoint_type").agg(pl.len(), pl.col("has_at").sum())
    for filed, every, with_at in counted.iter_rows():
        kind = filed if _KNOWN_FORM.fullmatch(filed) else OTHER_TYPE
        counts.types[kind] += every
        if with_at:
            counts.types_with_text[kind] += with_at

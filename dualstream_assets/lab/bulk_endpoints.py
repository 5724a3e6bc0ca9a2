"""endpoint_pfile of a full-scale release: exactly so many lines, and for each one what has to be found in it.

Lines stand in npidata's order, those of one NPI side by side. Exact repeats (5 %) and dirt come out of the rows without
an address, so that the plan's figures and the number of lines are both exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dualstream_assets.lab.bulk_dirt import (
    CP1252,
    CP1252_TEXT,
    DESCRIPTION_WEIGHTS,
    DESCRIPTIONS,
    NESTED,
    NESTED_TEXT,
    SEPARATORS,
    SEVERAL,
    SPELLINGS,
    UNREADABLE,
    UNREADABLE_TEXT,
    junk,
    odd_lines,
    spelt,
)
from dualstream_assets.lab.bulk_laws import Draws, Scale
from dualstream_assets.lab.bulk_mailboxes import Mailboxes
from dualstream_assets.lab.bulk_pools import BORDER, Pools
from dualstream_assets.lab.bulk_text import quoted_lines
from dualstream_assets.lab.filings import TYPE_DESCRIPTIONS
from dualstream_assets.lab.people import PLACES, TRADES

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from dualstream_assets.lab.bulk_providers import Registry

    Ints = NDArray[np.int64]

REPEATS = 0.05
TYPES = {
    "institutional": (0.62, 0.18, 0.185, 0.015),
    "consumer": (0.45, 0.27, 0.27, 0.01),
    "direct": (1.0, 0.0, 0.0, 0.0),
}
_TYPE_NAMES = ("DIRECT", "CONNECT", "OTHERS", "SOAP")
_DESCRIBED = {**TYPE_DESCRIPTIONS, "REST": "RESTful URL"}
_USES = (
    *[BORDER.join(("", "", ""))] * 9,
    *[BORDER.join(("DIRECT", "Direct", ""))] * 7,
    *[BORDER.join(("HIE", "Health Information Exchange (HIE)", ""))] * 3,
    BORDER.join(("OTHER", "Other", "CMS esMD eMDR")),
)
_CONTENTS = (
    *[BORDER.join(("", "", ""))] * 13,
    *[BORDER.join(("CSV", "CSV", ""))] * 5,
    BORDER.join(("OTHER", "Other", "")),
    BORDER.join(("OTHER", "Other", "email")),
)
BLOCK_ROWS = 65_536


def filer_rows(draws: Draws, endpoints: int, rows: int) -> Ints:
    """Sorted rows of npidata whose providers file an institutional or consumer address."""
    import numpy as np

    owners = Mailboxes(draws, Scale.of(endpoints)).mail_owners
    return np.sort(draws.scatter("owner", np.arange(owners), rows))


def file_lines(draws: Draws, endpoints: int, registry: Registry) -> pl.DataFrame:
    """Every line, in file order.

    Columns `row` (of npidata), `npi`, `address`, `second`, `segment`, `rule`, `reason`, `kind`, `stream`, `repeat`;
    `type` and `endpoint` where they do not follow from these.

    Raises:
        ValueError: npidata has too few rows for the NPIs.
    """
    import numpy as np
    import polars as pl

    scale = Scale.of(endpoints)
    if registry.rows < scale.npis:
        raise ValueError(
            f"--rows {registry.rows}: {endpoints} endpoint rows name {scale.npis} NPIs; give at least that many rows"
        )
    boxes = Mailboxes(draws, scale)
    practices = boxes.domain(np.arange(min(1_000, scale.domains - len(scale.giants))))
    stated = _with_kinds(draws, _merged(draws, boxes.pairs()))
    odd = odd_lines(draws, scale.institutional + scale.consumer, practices).with_columns(
        pl.lit("consumer").alias("stream")
    )
    repeats = round(endpoints * REPEATS)
    rest = endpoints - stated.height - odd.height - repeats
    others = pl.concat([odd, junk(draws, rest).with_columns(pl.lit("junk").alias("kind"))], how="diagonal")
    others = others.with_columns(
        pl.Series("owner", _other_owners(draws, others.height, boxes.owners, scale.npis))
    )
    lines = pl.concat([stated, others], how="diagonal").with_columns(pl.lit(value=False).alias("repeat"))
    lines = pl.concat([lines, _repeated(draws, lines, repeats)])
    lines = lines.with_columns(
        pl.Series("row", draws.scatter("owner", lines["owner"].to_numpy(), registry.rows))
    )
    lines = lines.with_columns(
        pl.Series("npi", registry.npis(lines["row"].to_numpy())).cast(pl.String),
        pl.Series("place", draws.bits("place", np.arange(lines.height))),
    ).sort("row", "place")
    return lines.drop("place", "owner")


def _merged(draws: Draws, pairs: pl.DataFrame) -> pl.DataFrame:
    """Some NPIs with two addresses file both in one field: `second`, and one line less."""
    import numpy as np
    import polars as pl

    mail = pl.col("stream") != "direct"
    wanted = round(SEVERAL * pairs.filter(mail).height)
    begins = (pl.col("owner") != pl.col("owner").shift(1)).fill_null(value=True)
    follows = (pl.col("owner").shift(-1) == pl.col("owner")) & (pl.col("rule").shift(-1) == pl.col("rule"))
    able = pairs.with_columns((mail & begins & follows).fill_null(value=False).alias("able"))[
        "able"
    ].to_numpy()
    chosen = np.flatnonzero(able)
    chosen = np.sort(chosen[draws.order("several", len(chosen))[:wanted]])
    takes = np.zeros(pairs.height, bool)
    takes[chosen] = True
    gone = np.zeros(pairs.height, bool)
    gone[chosen + 1] = True
    second = pl.when(pl.Series(takes)).then(pl.col("address").shift(-1)).alias("second")
    return pairs.with_columns(second).filter(~pl.Series(gone))


def _with_kinds(draws: Draws, stated: pl.DataFrame) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    index = np.arange(stated.height)
    names = pl.Series([*SPELLINGS, "plain"])
    kind = names.gather(draws.pick("spelling", index, [*SPELLINGS.values(), 1 - sum(SPELLINGS.values())]))
    separator = pl.Series(SEPARATORS).gather(index % len(SEPARATORS))
    several = pl.col("second").is_not_null()
    return stated.with_columns(
        pl.when(several).then(pl.lit("several")).otherwise(kind).alias("kind"), separator.alias("separator")
    )


def _other_owners(draws: Draws, count: int, first: int, npis: int) -> Ints:
    """Each NPI that is still without a line gets one, the others go to anybody."""
    import numpy as np

    own = np.arange(first, npis)[:count]
    anybody = draws.below("junk owner", np.arange(count - len(own)), npis)
    return np.concatenate([own, anybody])[draws.order("junk order", count)]


def _repeated(draws: Draws, lines: pl.DataFrame, count: int) -> pl.DataFrame:
    """One to four copies of some lines, `count` in all; one plain copy in five is spelt with a capital."""
    import numpy as np
    import polars as pl

    originals = draws.order("repeated", lines.height)[:count]
    copies = np.repeat(originals, 1 + draws.below("copies", originals, 4))[:count]
    capital = pl.Series(draws.unit("copy case", np.arange(count)) < 0.2) & (pl.col("kind") == "plain")  # noqa: PLR2004
    return lines[copies].with_columns(
        pl.lit(value=True).alias("repeat"),
        pl.when(capital).then(pl.lit("case")).otherwise("kind").alias("kind"),
    )


def finished(draws: Draws, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The lines block by block, with `type`, `endpoint` and `description` as they are filed; some lines are broken."""
    import numpy as np
    import polars as pl

    total = lines.height
    at_junk = np.flatnonzero((lines["kind"] == "junk").to_numpy())
    broken = at_junk[draws.order("unreadable", len(at_junk))[: -(-total // UNREADABLE)]]
    names = pl.Series(_TYPE_NAMES)
    for start in range(0, total, BLOCK_ROWS):
        block = lines[start : start + BLOCK_ROWS]
        index = np.arange(start, start + block.height)
        types = {
            stream: names.gather(draws.pick("type", index, chances)) for stream, chances in TYPES.items()
        }
        unreadable = pl.Series(np.isin(index, broken))
        nested, cp1252 = (
            pl.Series(index % one_in == offset % min(one_in, total))
            for one_in, offset in ((NESTED, 3_141), (CP1252, 27_182))
        )
        yield block.with_columns(
            pl.coalesce("type", *(pl.when(pl.col("stream") == s).then(t) for s, t in types.items())).alias(
                "type"
            ),
            spelt().alias("endpoint"),
            pl.when(unreadable).then(pl.lit("unreadable")).otherwise("kind").alias("kind"),
            pl.when(unreadable).then(pl.lit("unreadable_line")).otherwise("reason").alias("reason"),
            pl.when(unreadable)
            .then(pl.lit(UNREADABLE_TEXT))
            .when(pl.col("kind") == "described")
            .then("address")
            .when(nested)
            .then(pl.lit(NESTED_TEXT))
            .when(cp1252)
            .then(pl.lit(CP1252_TEXT))
            .otherwise(pl.Series(DESCRIPTIONS).gather(draws.pick("description", index, DESCRIPTION_WEIGHTS)))
            .alias("description"),
        )


def render(draws: Draws, blocks: Iterable[pl.DataFrame], registry: Registry) -> Iterator[bytes]:
    """Finished lines as the file has them, without the header; bytes beyond ASCII are Windows-1252."""
    import numpy as np
    import polars as pl

    addresses = _as_endpoint_file_has_it(registry.pools)
    legal = pl.Series([f"{p.title()} {trade} LLC" for p in PLACES for _, trade in TRADES])
    start = 0
    for block in blocks:
        index = np.arange(start, start + block.height)
        start += block.height
        affiliated = draws.unit("affiliated", index) < 0.11  # noqa: PLR2004
        names = legal.gather(draws.below("legal", index, len(legal)))
        yield quoted_lines(
            [
                block["npi"],
                block["type"],
                block["type"].replace_strict(_DESCRIBED),
                block["endpoint"],
                pl.Series(["N", "Y"]).gather(affiliated.astype(np.int64)),
                block["description"],
                pl.select(pl.when(pl.Series(affiliated)).then(names).otherwise(pl.lit(""))).to_series(),
                pl.Series(_USES).gather(draws.below("use", index, len(_USES))),
                pl.Series(_CONTENTS).gather(draws.below("content", index, len(_CONTENTS))),
                addresses.gather(registry.address_of(block["row"].to_numpy())),
            ]
        )


def _as_endpoint_file_has_it(pools: Pools) -> pl.Series:
    """The pool of addresses in this file's order: lines one and two, city, state, country, postal code."""
    import polars as pl

    made = []
    for text in pools.address.to_list():
        one, two, city, state, postal, country = text.split(BORDER)
        made.append(BORDER.join((one.title(), two.title(), city.title(), state, country, postal)))
    return pl.Series(made)

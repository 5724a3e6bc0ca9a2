"""Lines that a strict reader chokes on: repaired and counted, or rejected by number; the next row is never lost."""

from pathlib import Path

import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import open_archive
from dualstream_assets.registry.columns import ENDPOINT
from dualstream_assets.registry.endpoints import EndpointCounts, read_endpoints
from dualstream_assets.registry.errors import DamagedMember
from dualstream_assets_tests.registry.making import filed, line, release_zip, table

FIRST, LAST = filed("1003000126", "first@clinic.example"), filed("1003000134", "last@clinic.example")


def read(folder: Path, *between: dict[str, str] | str | bytes) -> tuple[list[str], EndpointCounts]:
    data = table(ENDPOINT, [FIRST])
    for row in between:
        data += row if isinstance(row, bytes) else table(ENDPOINT, [row]).partition(b"\n")[2]
    data += table(ENDPOINT, [LAST]).partition(b"\n")[2]
    path = release_zip(folder, members={"endpoint_pfile": data})
    frame, counts = read_endpoints(open_archive(path, Limits(zip_ratio=1000)))
    return frame["address"].drop_nulls().to_list(), counts


def test_stray_quotes_are_made_single_and_counted(tmp_path: Path) -> None:
    row = filed("1003000142", "mid@clinic.example", description='call "front desk" first')
    addresses, counts = read(tmp_path, row)
    assert addresses == ["first@clinic.example", "mid@clinic.example", "last@clinic.example"]
    assert (counts.lines.stray_quotes, counts.lines.rows) == (1, 3)


@pytest.mark.parametrize("description", ['"', '""', '6" cast', '"quoted"', 'a "b" c "d"'])
def test_no_form_of_stray_quote_loses_the_row_after_it(tmp_path: Path, description: str) -> None:
    addresses, counts = read(tmp_path, filed("1003000142", "mid@clinic.example", description=description))
    assert addresses == ["first@clinic.example", "mid@clinic.example", "last@clinic.example"]
    assert not counts.lines.unreadable


def test_a_line_break_inside_a_value_is_joined(tmp_path: Path) -> None:
    addresses, counts = read(tmp_path, filed("1003000142", "mid@clinic.example", description="two\nlines"))
    assert addresses == ["first@clinic.example", "mid@clinic.example", "last@clinic.example"]
    assert counts.lines.line_breaks == 1


def test_an_unquoted_line_is_read_when_its_columns_are_right(tmp_path: Path) -> None:
    bare = ",".join(filed("1003000142", "mid@clinic.example").get(name, "") for name in ENDPOINT) + "\n"
    addresses, counts = read(tmp_path, bare.encode())
    assert "mid@clinic.example" in addresses
    assert counts.lines.unquoted == 1


@pytest.mark.parametrize(
    "broken",
    [
        line(["1003000142", "DIRECT", "", "lost@clinic.example"]),
        line(["1003000142"] * 25),
        "1003000142 DIRECT lost@clinic.example\n",
        '"1003000142","DIRECT","","lost@clinic.example\n',
    ],
)
def test_a_line_that_cannot_be_repaired_is_rejected_with_its_number(tmp_path: Path, broken: str) -> None:
    addresses, counts = read(tmp_path, broken.encode())
    assert addresses == ["first@clinic.example", "last@clinic.example"]
    assert [u.line for u in counts.lines.unreadable] == [3]
    assert counts.refusals["unreadable_line"] == 1


def test_a_line_that_is_not_utf8_is_read_as_windows_1252_and_counted(tmp_path: Path) -> None:
    latin = line(
        filed("1003000142", "mid@clinic.example", description="Clínica").get(n, "") for n in ENDPOINT
    )
    plain = filed("1003000159", "utf@clinic.example", description="Peña")
    addresses, counts = read(tmp_path, latin.encode("cp1252"), plain)
    assert len(addresses) == 4
    assert counts.lines.cp1252 == 1


def test_values_with_commas_braces_and_apostrophes_stay_in_their_column(tmp_path: Path) -> None:
    rows = [
        filed("1003000142", f"mid{i}@clinic.example", description=d)
        for i, d in enumerate(("a, b", "{}", "it's"))
    ]
    addresses, counts = read(tmp_path, *rows)
    assert len(addresses) == 5
    assert sum(counts.lines.repairs().values()) == 0


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + table(ENDPOINT, [FIRST, LAST]).replace(b"\n", b"\r\n")
    path = release_zip(tmp_path, members={"endpoint_pfile": data})
    frame, _ = read_endpoints(open_archive(path, Limits(zip_ratio=1000)))
    assert frame["address"].to_list() == ["first@clinic.example", "last@clinic.example"]


def test_a_last_line_without_line_break_is_read(tmp_path: Path) -> None:
    path = release_zip(tmp_path, members={"endpoint_pfile": table(ENDPOINT, [FIRST, LAST]).rstrip(b"\n")})
    frame, _ = read_endpoints(open_archive(path, Limits(zip_ratio=1000)))
    assert frame.height == 2


def test_an_empty_line_is_no_row_and_no_fault(tmp_path: Path) -> None:
    addresses, counts = read(tmp_path, b"\n")
    assert addresses == ["first@clinic.example", "last@clinic.example"]
    assert not counts.lines.unreadable


def many(broken: dict[int, str | bytes], rows: int = 700) -> bytes:
    """Sound lines, `a0` to `a699`, with some of them replaced."""
    lines = [
        table(ENDPOINT, [filed("1003000142", f"a{i}@clinic.example")]).partition(b"\n")[2]
        for i in range(rows)
    ]
    for at, text in broken.items():
        lines[at] = text if isinstance(text, bytes) else text.encode()
    return b"".join(lines)


def read_many(folder: Path, broken: dict[int, str | bytes]) -> tuple[set[str], EndpointCounts]:
    path = release_zip(folder, members={"endpoint_pfile": line(ENDPOINT).encode() + many(broken)})
    frame, counts = read_endpoints(open_archive(path, Limits(zip_ratio=1000)))
    return set(frame["address"].drop_nulls()), counts


def stray(i: int) -> str:
    return (
        '"'
        + '","'.join(["1003000142", "DIRECT", "", f"a{i}@clinic.example", "N", 'a "b" c', *[""] * 13])
        + '"\n'
    )


@pytest.mark.parametrize("at", [0, 127, 128, 255, 256, 699])
def test_a_bad_line_anywhere_in_a_block_costs_no_other(tmp_path: Path, at: int) -> None:
    found, counts = read_many(tmp_path, {at: stray(at)})
    assert found == {f"a{i}@clinic.example" for i in range(700)}
    assert (counts.lines.rows, counts.lines.stray_quotes) == (700, 1)
    found, counts = read_many(tmp_path, {at: "no line at all\n"})
    assert found == {f"a{i}@clinic.example" for i in range(700) if i != at}
    assert [u.line for u in counts.lines.unreadable] == [at + 2]


def test_a_record_broken_where_two_looks_meet_is_joined(tmp_path: Path) -> None:
    first, _, second = stray(127).replace('a "b" c', "two\nlines").partition("\n")
    found, counts = read_many(tmp_path, {127: first + "\n", 128: second})
    assert len(found) == 699
    assert (counts.lines.line_breaks, counts.lines.rows, counts.lines.unreadable) == (1, 699, [])


def test_two_faults_that_make_up_for_each_other_are_both_found(tmp_path: Path) -> None:
    short = '"' + '","'.join(["1003000142", "DIRECT", "", "lost@clinic.example", *[""] * 13]) + '"\n'
    long = '"' + '","'.join(["1003000142", "DIRECT", "", "lost@clinic.example", *[""] * 17]) + '"\n'
    found, counts = read_many(tmp_path, {3: short, 5: long, 400: stray(400)})
    assert found == {f"a{i}@clinic.example" for i in range(700) if i not in (3, 5)}
    assert [u.line for u in counts.lines.unreadable] == [5, 7]
    assert (counts.lines.stray_quotes, counts.lines.rows) == (1, 698)


def test_bytes_that_are_not_utf8_are_counted_by_line_and_spoil_no_other(tmp_path: Path) -> None:
    latin = stray(300).replace('a "b" c', "Cl\u00ednica").encode("cp1252")
    utf8 = stray(20).replace('a "b" c', "Pe\u00f1a").encode()
    found, counts = read_many(tmp_path, {300: latin, 20: utf8})
    assert len(found) == 700
    assert (counts.lines.cp1252, counts.lines.stray_quotes) == (1, 0)


@pytest.mark.parametrize("before", [" ", "\t", "\u00a0", "\ufeff"])
def test_what_stands_before_the_first_quote_is_taken_away(tmp_path: Path, before: str) -> None:
    found, counts = read_many(tmp_path, {9: (before + stray(9).replace('a "b" c', "x")).encode()})
    assert len(found) == 700
    assert (counts.lines.unquoted, counts.lines.unreadable) == (1, [])


@pytest.mark.parametrize(
    "line_of",
    [
        '"1003000142","DIRECT","","a9@clinic.example","",,"Bob""s Clinic"' + ',""' * 12 + "\n",
        '"1003000142",,"it""s","a9@clinic.example"' + ',""' * 15 + "\n",
    ],
)
def test_values_without_quotes_beside_doubled_ones_are_read_whole(tmp_path: Path, line_of: str) -> None:
    """Their quotes add up to the right number; polars gives nulls, and a null is neither yes nor no."""
    found, counts = read_many(tmp_path, {9: line_of})
    assert found == {f"a{i}@clinic.example" for i in range(700)}
    assert counts.lines.unquoted == 1


@pytest.mark.parametrize(
    "line_of", ['","DIRECT"' + ',""' * 17 + "\n", '"1003000142","DIRECT"X"' + ',""' * 16 + ',"\n']
)
def test_a_line_whose_edge_is_a_border_is_unreadable_and_stops_nothing(tmp_path: Path, line_of: str) -> None:
    found, counts = read_many(tmp_path, {9: line_of, 300: stray(300)})
    assert found == {f"a{i}@clinic.example" for i in range(700) if i != 9}
    assert [u.line for u in counts.lines.unreadable] == [11]


def test_a_broken_record_that_is_not_utf8_is_read_as_windows_1252(tmp_path: Path) -> None:
    latin = stray(9).replace('a "b" c', "Cl\u00ednica\nNorte").encode("cp1252")
    path = release_zip(tmp_path, members={"endpoint_pfile": line(ENDPOINT).encode() + many({9: latin})})
    frame, counts = read_endpoints(open_archive(path, Limits(zip_ratio=1000)))
    assert "Cl\u00ednica Norte" in frame["description"].to_list()
    assert (counts.lines.cp1252, counts.lines.line_breaks) == (1, 1)


def test_a_member_that_is_mostly_unreadable_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = release_zip(tmp_path, members={"endpoint_pfile": line(ENDPOINT).encode() + b"x\n" * 2_000})
    with pytest.raises(
        DamagedMember, match=r"2,000 of 2,002 lines of endpoint_pfile\S+ cannot be read, the first is line 2"
    ):
        read_endpoints(open_archive(path, Limits(zip_ratio=1000)))

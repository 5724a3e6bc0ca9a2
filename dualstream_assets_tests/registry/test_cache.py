"""The cache of read releases and lists: never needed and never wrong; damaged, full or crowded it gives the tables."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry import cache
from dualstream_assets.registry.cache import (
    SEAL,
    Cache,
    reader_version,
    version_of,
)
from dualstream_assets.registry.errors import DamagedMember, ListUnreadable
from dualstream_assets.registry.medicare import ListKind
from dualstream_assets.registry.release import ListFile, find_lists
from dualstream_assets.registry.shelf import ListTables, ReleaseTables, read_lists, read_release
from dualstream_assets_tests.registry.making import filed, person, release_zip, weekly_zip

LIMITS = Limits(zip_ratio=1000)
A = "1003000126"
LIST = "National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n{},{},\n"


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    return release_zip(
        tmp_path, [person(A)], [filed(A, "Office@clinic.example"), filed(A, "bad@@clinic.example")]
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one whenever files are read and not the cache."""
    done: list[str] = []

    def counting(name: str, read: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            done.append(name)
            return read(*arguments)

        return counted

    monkeypatch.setattr(cache, "read_chain", counting("release", cache.read_chain))
    monkeypatch.setattr(cache, "_keep_lists_apart", counting("lists", cache._keep_lists_apart))
    return done


@pytest.fixture
def said() -> list[str]:
    return []


def read_release_cached(
    path: Path, limits: Limits, weeklies: Sequence[Path], folder: Path, **how: Any
) -> ReleaseTables:
    return Cache(folder, **how).release(path, limits, weeklies)


def read_lists_cached(files: Mapping[ListKind, ListFile], folder: Path) -> ListTables:
    return Cache(folder).lists(files)


def same(one: ReleaseTables, two: ReleaseTables) -> bool:
    return (
        one.endpoints.equals(two.endpoints)
        and one.providers.equals(two.providers)
        and one.endpoints.schema == two.endpoints.schema
        and one.providers.schema == two.providers.schema
        and (one.facts, one.endpoint_counts, one.provider_counts)
        == (two.facts, two.endpoint_counts, two.provider_counts)
    )


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_second_reading_is_from_the_cache_and_gives_the_same(
    zipped: Path, tmp_path: Path, reads: list[str]
) -> None:
    weekly = weekly_zip(tmp_path, [person(A)], [filed(A, "moved@clinic.example")])
    for weeklies in ((), (weekly,)):
        reads.clear()
        expected = read_release(zipped, LIMITS, weeklies)
        found = [read_release_cached(zipped, LIMITS, weeklies, tmp_path / "c") for _ in range(3)]
        assert all(same(expected, one) for one in found)
        assert reads == ["release"]


def test_a_cached_release_needs_no_inflating(
    zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    monkeypatch.setattr("dualstream_assets.registry.endpoints.read_blocks", None)
    assert same(expected, read_release_cached(zipped, LIMITS, (), tmp_path / "c"))


def test_fresh_reads_the_zip_again_and_replaces_the_entry(
    zipped: Path, tmp_path: Path, reads: list[str]
) -> None:
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    (entry,) = entries(tmp_path / "c")
    os.utime(entry / SEAL, (0, 0))
    read_release_cached(zipped, LIMITS, (), tmp_path / "c", fresh=True)
    assert reads == ["release", "release"]
    assert entries(tmp_path / "c") == [entry]
    assert (entry / SEAL).stat().st_mtime > 0


def test_a_touched_zip_is_read_again(zipped: Path, tmp_path: Path, reads: list[str]) -> None:
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    os.utime(zipped)
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    assert reads == ["release", "release"]


def test_bytes_changed_inside_with_the_old_size_and_mtime_are_noticed_by_the_ctime(
    zipped: Path, tmp_path: Path
) -> None:
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    stat, data = zipped.stat(), bytearray(zipped.read_bytes())
    at = data.index(b"endpoint_pfile_20050523-20261108.csv") + 40
    data[at : at + 40] = bytes(40)
    zipped.write_bytes(bytes(data))
    os.utime(zipped, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DamagedMember):
        read_release_cached(zipped, LIMITS, (), tmp_path / "c")


def test_other_code_limits_or_weeklies_are_another_entry(
    zipped: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    read_release_cached(zipped, Limits(zip_ratio=1001), (), tmp_path / "c")
    read_release_cached(zipped, LIMITS, [weekly_zip(tmp_path, [person(A)])], tmp_path / "c")
    monkeypatch.setattr(cache, "reader_version", lambda: "other")
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    assert len(reads) == 4


def test_the_readers_version_is_that_of_its_code_without_the_rim(tmp_path: Path) -> None:
    room = Path(cache.__file__).parent
    for name in ("endpoints.py", "assets.py"):
        (tmp_path / name).write_bytes((room / name).read_bytes())
    before = version_of(tmp_path)
    (tmp_path / "assets.py").write_text("# the rim reads nothing\n")
    assert version_of(tmp_path) == before
    with (tmp_path / "endpoints.py").open("a") as file:
        file.write("# other code\n")
    assert version_of(tmp_path) != before
    assert reader_version() == version_of(room)


@pytest.mark.parametrize("part", ["endpoints.parquet", "providers.parquet", "endpoints.json", SEAL])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "empty"])
def test_a_damaged_entry_is_said_and_made_again(
    zipped: Path, tmp_path: Path, reads: list[str], said: list[str], part: str, damage: str
) -> None:
    expected = read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    (entry,) = entries(tmp_path / "c")
    path = entry / part
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    content = {"flipped": bytes(data), "cut": bytes(data[: len(data) // 2]), "empty": b""}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    assert same(expected, read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append))
    assert len(said) == 1
    assert "is damaged" in said[0]
    assert reads == ["release", "release"]
    assert same(expected, read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append))
    assert (len(said), len(reads)) == (1, 2)  # it is whole again


def test_the_two_last_used_entries_stay_and_what_a_killed_run_left_goes(
    zipped: Path, tmp_path: Path, reads: list[str]
) -> None:
    folder = tmp_path / "c"
    for left in (".new-killed", ".old-killed", ".new-running"):
        (folder / left).mkdir(parents=True)
    for left in (".new-killed", ".old-killed"):
        os.utime(folder / left, (0, 0))
    limits = [Limits(zip_ratio=1000 + n) for n in range(3)]
    for second, one in enumerate((limits[0], limits[1]), start=1):
        before = set(entries(folder))
        read_release_cached(zipped, one, (), folder)
        (made,) = {p for p in set(entries(folder)) - before if p.name.startswith("release-")}
        os.utime(made, (second, second))
    read_release_cached(zipped, limits[0], (), folder)  # used again: it stays
    read_release_cached(zipped, limits[2], (), folder)
    names = [path.name for path in entries(folder)]
    assert len(names) == 3
    assert ".new-running" in names
    read_release_cached(zipped, limits[0], (), folder)
    assert len(reads) == 3


def test_a_full_disk_fails_nothing(
    zipped: Path, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    tables = read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append)
    assert tables.endpoints.height == 2
    assert len(said) == 1
    assert said[0].startswith("not cached, the next run reads the files again: no room")
    assert entries(tmp_path / "c") == []


def test_a_folder_that_cannot_be_made_fails_nothing(zipped: Path, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "c").write_text("a file is in the way")
    assert read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append).endpoints.height == 2
    assert "not cached" in said[0]


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = cache.read_chain

    def slow(chain: object) -> ReleaseTables:
        tables = read(chain)  # pyright: ignore[reportArgumentType]
        os.utime(zipped)
        return tables

    monkeypatch.setattr(cache, "read_chain", slow)
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_two_processes_at_once_both_get_the_tables_and_leave_one_entry(zipped: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dualstream_assets.estate.model import Limits\n"
        "from dualstream_assets.registry.cache import Cache\n"
        "sys.stdin.readline()\n"
        "for fresh in (False, True, True, True, True):\n"
        "    t = Cache(Path(sys.argv[2]), fresh=fresh).release(Path(sys.argv[1]), Limits(zip_ratio=1000))\n"
        "    assert t.endpoints.height == 2\n"
    )
    command = [sys.executable, "-c", code, str(zipped), str(tmp_path / "c")]
    runs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
    (entry,) = entries(tmp_path / "c")
    said: list[str] = []
    read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append)
    assert not said
    assert entry.name.startswith("release-")


def test_who_comes_second_leaves_the_entry_of_the_first(
    zipped: Path, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = cache.read_chain

    def overtaken(chain: object) -> ReleaseTables:
        monkeypatch.setattr(cache, "read_chain", read)
        read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append)
        (entry,) = entries(tmp_path / "c")
        os.utime(entry / SEAL, (0, 0))
        return read(chain)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(cache, "read_chain", overtaken)
    assert read_release_cached(zipped, LIMITS, (), tmp_path / "c", say=said.append).endpoints.height == 2
    (entry,) = entries(tmp_path / "c")
    assert (entry / SEAL).stat().st_mtime == 0
    assert said == []


def test_what_is_skipped_is_told_of_todays_weeklies_not_of_the_entrys(zipped: Path, tmp_path: Path) -> None:
    read_release_cached(zipped, LIMITS, (), tmp_path / "c")
    monthly = release_zip(tmp_path, [], name="other.zip")
    found = read_release_cached(zipped, LIMITS, [monthly], tmp_path / "c")
    assert [one["name"] for one in found.facts["skipped"]] == ["other.zip"]


def same_lists(one: ListTables, two: ListTables) -> bool:
    dates = [t.revalidation.collect() for t in (one, two) if t.revalidation is not None]
    equal = len(dates) != 1 and all(d.equals(dates[0]) and d.schema == dates[0].schema for d in dates)
    return equal and one.exclusions.collect().equals(two.exclusions.collect()) and one.sources == two.sources


def test_lists_are_read_once_until_one_changes(tmp_path: Path, reads: list[str]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "revalidation_base.csv").write_text(LIST.format(A, "2026-09-30"))
    (inbox / "Opt_Out_Affidavits_2026.11.08.csv").write_text(
        f"NPI,Optout Effective Date,Optout End Date,Last updated\n{A},01/01/2026,01/01/2028,11/01/2026\n"
    )
    expected = read_lists(find_lists(inbox))
    for _ in range(2):
        assert same_lists(expected, read_lists_cached(find_lists(inbox), tmp_path / "c"))
    assert reads == ["lists"]
    (inbox / "revalidation_base.csv").write_text(LIST.format(A, "2026-10-31"))
    changed = read_lists_cached(find_lists(inbox), tmp_path / "c")
    assert changed.revalidation is not None
    assert str(changed.revalidation.collect()["due_date"][0]) == "2026-10-31"


def test_missing_lists_stay_missing_in_the_cache(tmp_path: Path, reads: list[str]) -> None:
    for _ in range(2):
        tables = read_lists_cached({}, tmp_path / "c")
        assert tables.revalidation is None
        assert set(tables.missing) == {kind.value for kind in ListKind} - {"ppef"}
    assert reads == []


def test_entries_of_lists_and_releases_do_not_push_each_other_out(
    zipped: Path, tmp_path: Path, reads: list[str]
) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "revalidation_base.csv").write_text(LIST.format(A, "2026-09-30"))
    for _ in range(2):
        read_release_cached(zipped, LIMITS, (), tmp_path / "c")
        read_release_cached(zipped, Limits(zip_ratio=999), (), tmp_path / "c")
        read_lists_cached(find_lists(lists), tmp_path / "c")
    assert sorted(reads) == ["lists", "release", "release"]


def test_a_list_that_cannot_be_read_says_so_though_another_process_reads_it(tmp_path: Path) -> None:
    (tmp_path / "revalidation_base.csv").write_text("no,list\n1,2\n")
    with pytest.raises(ListUnreadable, match="no column 'National Provider Identifier'"):
        read_lists_cached(find_lists(tmp_path), tmp_path / "c")

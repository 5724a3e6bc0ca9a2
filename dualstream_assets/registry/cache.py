"""What was read once and need not be read again: releases and lists as Parquet, for the command line and tests.

An entry belongs to the very files it was made from (their directory's fingerprint, place, size, mtime and ctime), to
the estate's limits and to the code of this room. Opening a ZIP reads its central directory only, so asking costs
nothing. What is not noticed: bytes that rot inside a ZIP whose size and times stay the same; their CRC is compared only
when the ZIP is read (`fresh`).

An entry is a shelf (`shelf.save_release`, `save_lists`) made beside its place, sealed with the hashes of its files and
renamed into place, so it is whole or not there; two builds at once both succeed. It is never needed: one that is
damaged is dropped, one that cannot be written (a full disk) is not, and both are said and the files are read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.chain import open_chain, stamp_of
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.registry.medicare import ListKind
from dualstream_assets.registry.release import ListFile
from dualstream_assets.registry.shelf import (
    ListTables,
    ReleaseTables,
    load_lists,
    load_release,
    read_chain,
    read_lists,
    save_lists,
    save_release,
)
from dualstream_assets.store.files import sha256_of

KEPT = 2
"""Entries of each kind that stay, the last used."""
SEAL = "facts.json"
"""Written last: what the entry was made from, and the SHA-256 of its files."""
_LEFT_OVER_S = 3600
_ROOM = Path(__file__).parent
_RIM = frozenset({"assets.py", "checks.py", "automation.py"})
_Tables = TypeVar("_Tables", ReleaseTables, ListTables)


def _say_nothing(line: str) -> None:
    del line


@dataclass(frozen=True)
class Cache:
    """What was read, in a folder.

    Attributes:
        fresh: read the files again (and compare the ZIPs' CRCs) whatever there is.
        say: told in one line when an entry was damaged or could not be kept.
    """

    folder: Path
    fresh: bool = False
    say: Callable[[str], None] = _say_nothing

    def release(self, path: Path, limits: Limits, weeklies: Sequence[Path] = ()) -> ReleaseTables:
        """`shelf.read_release`.

        Raises:
            RegistryError: what is wrong with a file, and the cure.
        """
        stamp = stamp_of([path, *weeklies]) if all(p.is_file() for p in (path, *weeklies)) else ""
        chain = open_chain(path, limits, weeklies)
        files = [archive.path for archive in chain.archives]
        key = _key("release", chain.fingerprint, stamp_of(files), repr(limits))

        def unchanged() -> bool:
            return stamp_of([path, *weeklies]) == stamp

        tables = self._cached(key, load_release, lambda: read_chain(chain), save_release, unchanged)
        # What was skipped is of today's files, not of the entry's.
        return replace(tables, facts=chain.facts())

    def lists(self, files: Mapping[ListKind, ListFile], limits: Limits | None = None) -> ListTables:
        """`shelf.read_lists`: once they are kept, only what is asked for comes into memory.

        Raises:
            ListUnreadable: a list is there and is not in the form we know.
        """
        paths = [file.path for file in files.values()]
        stamp = stamp_of(paths)
        days = "\n".join(f"{kind} {file.day} {file.day_from}" for kind, file in files.items())
        key = _key("lists", stamp, days, repr(limits))
        entry = self.folder / key
        if files and (self.fresh or not entry.is_dir()):
            _keep_lists_apart(entry, files, limits, stamp)

        def unchanged() -> bool:
            return stamp_of(paths) == stamp

        tables = replace(self, fresh=self.fresh and not entry.is_dir())._cached(
            key, load_lists, lambda: read_lists(files, limits), save_lists, unchanged
        )
        return load_lists(entry) if entry.is_dir() else tables

    def _cached(
        self,
        key: str,
        load: Callable[[Path], _Tables],
        read: Callable[[], _Tables],
        save: Callable[[Path, _Tables], None],
        unchanged: Callable[[], bool],
    ) -> _Tables:
        import polars as pl

        entry, replaced = self.folder / key, self.fresh
        if not self.fresh and entry.is_dir():
            try:
                return _loaded(entry, load)
            except (OSError, ValueError, RegistryError, pl.exceptions.PolarsError) as error:
                replaced = True
                self.say(f"the cache entry {key} is damaged ({_first_line(error)}); the files are read again")
        tables = read()
        try:
            if replaced:
                _drop(entry)
            if unchanged():
                _keep(entry, lambda new: save(new, tables))
        except (OSError, pl.exceptions.PolarsError) as error:
            self.say(f"not cached, the next run reads the files again: {_first_line(error)}")
        return tables


def _keep_lists_apart(
    entry: Path, files: Mapping[ListKind, ListFile], limits: Limits | None, stamp: str
) -> None:
    """Read the lists and keep them, in a process of its own: what millions of rows needed is given back whole.

    Whatever goes wrong there goes wrong again, and is said, when the caller finds no entry and reads them itself.
    """
    _drop(entry)
    subprocess.run(
        [sys.executable, "-c", f"from {__name__} import keep_lists; keep_lists()"],
        input=pickle.dumps((entry, dict(files), limits, stamp)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def keep_lists() -> None:
    """What the process of its own does; its arguments come pickled on the standard input."""
    entry, files, limits, stamp = pickle.load(sys.stdin.buffer)  # noqa: S301  # from our own parent
    tables = read_lists(files, limits)
    if stamp_of([file.path for file in files.values()]) == stamp:
        _keep(entry, lambda new: save_lists(new, tables))


@cache
def reader_version() -> str:
    """Hash of the code that reads: an entry made by other code is another entry."""
    return version_of(_ROOM)


def version_of(room: Path) -> str:
    """Hash of a room's modules, its rim apart, and of polars' version."""
    import polars as pl

    digest = hashlib.sha256(pl.__version__.encode())
    for module in sorted(room.glob("*.py")):
        if module.name not in _RIM:
            digest.update(module.name.encode() + b"\0" + module.read_bytes() + b"\0")
    return digest.hexdigest()


def _key(kind: str, *parts: str) -> str:
    text = "\n".join((reader_version(), *parts))
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _loaded(entry: Path, load: Callable[[Path], _Tables]) -> _Tables:
    """The tables of an entry.

    Raises:
        OSError, ValueError, RegistryError, PolarsError: the entry is not what was kept.
    """
    seal = json.loads((entry / SEAL).read_text(encoding="utf-8"))
    hashes = seal.get("sha256") if isinstance(seal, dict) else None
    if not isinstance(hashes, dict):
        raise ValueError(f"{SEAL} holds no hashes")  # noqa: TRY004  # a damaged file, not a wrong argument
    for name, digest in hashes.items():
        if sha256_of(entry / name) != digest:
            raise ValueError(f"{name} is not the file that was kept")
    tables = load(entry)
    with suppress(OSError):
        os.utime(entry)  # the last used are kept
    return tables


def _keep(entry: Path, write: Callable[[Path], None]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
    try:
        write(new)
        hashes = {path.name: sha256_of(path) for path in sorted(new.iterdir())}
        (new / SEAL).write_text(json.dumps({"sha256": hashes}, indent=2), encoding="utf-8")
        try:
            new.rename(entry)
        except OSError as error:
            if error.errno not in (
                errno.ENOTEMPTY,
                errno.EEXIST,
            ):  # else another run was first: the same content
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _tidy(entry)


def _tidy(entry: Path) -> None:
    """Keep the last used entries of this kind, and nothing that a killed run left behind."""
    folder, kind = entry.parent, entry.name.partition("-")[0]
    dated = [(_changed_s(path), path) for path in folder.iterdir() if path.is_dir()]
    mine = sorted(
        ((at, path) for at, path in dated if path.name.startswith(f"{kind}-") and path != entry), reverse=True
    )
    for _, path in mine[KEPT - 1 :]:
        _drop(path)
    for at, path in dated:
        if path.name.startswith((".new-", ".old-")) and at < time.time() - _LEFT_OVER_S:
            shutil.rmtree(path, ignore_errors=True)


def _changed_s(path: Path) -> float:
    """Time of the last change (Unix seconds); 0 for what another run has just dropped."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _drop(entry: Path) -> None:
    """Take an entry away at once, then delete it: nobody reads half of one."""
    if not entry.exists():
        return
    old = Path(tempfile.mkdtemp(prefix=".old-", dir=entry.parent))
    with suppress(FileNotFoundError):
        entry.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

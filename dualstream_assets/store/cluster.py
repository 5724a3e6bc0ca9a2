"""The embedded PostgreSQL server itself: make its data folder, run it, stop it. Runs inside the supervisor.

`python -m dualstream_assets.store.cluster BIN SOCKETS FOLDER` is what the lease starts. Data in `FOLDER/data`, no
TCP, the socket in a folder of mode 0700, so whoever may enter that folder is trusted. Every setting that loses data
on a crash (fsync, full_page_writes, synchronous_commit) stays at its safe value: the ledger lives here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from dualstream_assets.store.lease import serve_while_leased

SUPERUSER = "dualstream"
READY_FILE = "postgres.json"
NOBODY = 65534
START_S = 60.0
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
    "max_parallel_workers_per_gather": "0",  # parallel workers need /dev/shm, which is small in containers
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class ClusterError(RuntimeError):
    """The embedded server cannot be made or run; one line with the cure."""


def socket_folder(folder: Path, owners: tuple[int, ...]) -> Path:
    """Make the folder for the socket (mode 0700), or check the one that is there.

    Raises:
        ClusterError: it belongs to another user, or is no folder.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise ClusterError(f"cannot make the socket folder {folder}: {error.strerror}") from None
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise ClusterError(
            f"the socket folder {folder} is not ours (uid {found.st_uid}): remove it, or set XDG_RUNTIME_DIR to a"
            " folder of this user"
        )
    folder.chmod(0o700)
    return folder


@dataclass
class Cluster:
    """One data folder and the server on it."""

    binaries: Path
    sockets: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    drop_to: int | None = None
    prefix: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def start(self) -> None:
        """Make the data folder where there is none, start the server, and wait until it answers.

        Raises:
            ClusterError: with the server's own words.
        """
        self._choose_user()
        owner = os.geteuid() if self.drop_to is None else self.drop_to
        socket_folder(self.sockets, (os.geteuid(), owner))
        if owner != os.geteuid():
            os.chown(self.sockets, owner, owner)
            os.chown(self.folder, owner, owner)
        self._clean_up_after_a_dead_supervisor()
        if not self.data.exists():
            self._initdb()
        self._check_version()
        words = ["postgres", "-D", str(self.data), "-k", str(self.sockets)]
        for name, value in SETTINGS.items():
            words += ["-c", f"{name}={value}"]
        # If this supervisor is killed, the kernel asks the server to stop (fast): nothing is left behind.
        dying = [_tool("setpriv"), "--pdeathsig", "INT", "--"]
        log = self.folder / "postgres.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*self.prefix, *dying, str(self.binaries / words[0]), *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **self._identity(),
            )
        deadline = time.monotonic() + START_S
        while self._status() != "ready":
            if self.process.poll() is not None:
                raise ClusterError(f"PostgreSQL in {self.data} did not start: {_last_line(log)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"PostgreSQL in {self.data} was not ready after {START_S:.0f} s; see {log}")
            time.sleep(0.01)

    def alive(self) -> bool:
        """Whether the server still runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Stop it, fast: sessions are ended, everything committed is kept."""
        if self.process is not None and self.process.poll() is None:
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                self.process.send_signal(how)
                try:
                    self.process.wait(STOP_S)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self.sockets.exists() and not any(self.sockets.iterdir()):
            self.sockets.rmdir()

    def ready_text(self) -> str:
        """What clients need to know to connect."""
        return json.dumps({"sockets": str(self.sockets), "user": SUPERUSER})

    def _choose_user(self) -> None:
        """PostgreSQL refuses root. In a user namespace root is uid 1 and stays itself outside: no user is made."""
        if os.geteuid() != 0:
            return
        owner = self.data.stat().st_uid if self.data.exists() else 0
        namespace = [_tool("unshare"), "--user", "--map-user=1", "--map-group=1", "--"]
        if owner == 0:
            if subprocess.run([*namespace, _tool("true")], capture_output=True, check=False).returncode == 0:
                self.prefix = namespace
                return
            if self.data.exists():
                raise ClusterError(
                    f"{self.data} was made by root in a user namespace, and namespaces are refused here: run where"
                    " they are allowed, or name a server with DUALSTREAM_PG_URL"
                )
        self.drop_to = owner or NOBODY
        self._check_reach(self.drop_to)

    def _check_reach(self, uid: int) -> None:
        """A dropped server must reach its binaries, and the folders above its data."""
        blocked = next((p for p in reversed(self.folder.parents) if not p.stat().st_mode & stat.S_IXOTH), None)
        tried = subprocess.run(
            [_tool("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", "test", "-x"]
            + [str(self.binaries / "postgres")],
            capture_output=True,
            check=False,
        )
        if blocked is None and tried.returncode == 0:
            return
        what = self.binaries if blocked is None else blocked
        raise ClusterError(
            f"user namespaces are refused here, and without them PostgreSQL runs as uid {uid}, which cannot enter {what}:"
            " set DUALSTREAM_STATE (and the virtual environment) to folders that others may enter, run as an ordinary"
            " user, or name a server with DUALSTREAM_PG_URL"
        )

    def _identity(self) -> dict[str, object]:
        if self.drop_to is None:
            return {}
        return {"user": self.drop_to, "group": self.drop_to, "extra_groups": []}

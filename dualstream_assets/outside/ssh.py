"""Running commands on a machine of ours: the one place where words are quoted for a shell.

A command is a list of words. On this machine it runs without a shell; over SSH the words are quoted once, here.
Host keys are checked against known_hosts; an unknown one is refused. Another machine is reachable only in production.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dualstream_assets.estate.model import Host

TIMEOUT_S = 30.0
OUTPUT_BYTES = 8_000_000


class RunnerError(RuntimeError):
    """A command could not be run at all (unreachable, refused, timed out); the message says what to check."""


@dataclass(frozen=True)
class Ran:
    """What a command did: its words, exit code and output (UTF-8, bad bytes replaced)."""

    words: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it exited 0."""
        return self.exit_code == 0

    def require(self) -> Ran:
        """Itself if it exited 0.

        Raises:
            RunnerError: another exit code; names the command and the last line it said.
        """
        if not self.ok:
            said = (self.stderr.strip() or self.stdout.strip()).splitlines()
            raise RunnerError(
                f"{quoted(self.words)}: exit code {self.exit_code}{f': {said[-1]}' if said else ''}"
            )
        return self


class Runner(Protocol):
    """Runs commands and moves small text files on one machine."""

    def run(self, words: Sequence[str], *, text: str | None = None, timeout_s: float = TIMEOUT_S) -> Ran:
        """Run a command; `text` is its standard input.

        Raises:
            RunnerError: it could not be run or did not end in `timeout_s`.
        """
        ...


def quoted(words: Sequence[str]) -> str:
    """A command as one line that a POSIX shell splits into exactly these words."""
    return shlex.join(words)


def read_file(runner: Runner, path: str) -> str | None:
    """The text of a file; None if there is none.

    Raises:
        RunnerError: it exists and cannot be read.
    """
    if runner.run(["test", "-e", path]).exit_code == 1:
        return None
    return runner.run(["cat", "--", path]).require().stdout


def write_file(runner: Runner, path: str, text: str, *, mode: str = "0644") -> None:
    """Replace a file at once: written beside it, then renamed over it.

    Raises:
        RunnerError: a step failed; the old file is untouched.
    """
    part = f"{path}.dualstream-part"
    runner.run(["mkdir", "-p", "--", str(Path(path).parent)]).require()
    runner.run(["tee", "--", part], text=text).require()
    runner.run(["chmod", mode, "--", part]).require()
    runner.run(["mv", "-f", "--", part, path]).require()


class LocalRunner:
    """This machine; no shell is involved."""

    def run(self, words: Sequence[str], *, text: str | None = None, timeout_s: float = TIMEOUT_S) -> Ran:
        """Run a command here."""
        try:
            done = subprocess.run(
                list(words), input=(text or "").encode(), capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RunnerError(f"{quoted(words)}: not done after {timeout_s:g} s") from error
        except OSError as error:
            raise RunnerError(f"{words[0]}: {error.strerror}: is it installed, and on PATH?") from error
        return Ran(tuple(words), done.returncode, _text(done.stdout), _text(done.stderr))


class SshRunner:
    """Another machine of the estate, over one SSH connection that is opened when first needed.

    Args:
        host: its table in the estate; `address` must be declared.
        environment: must be `production`.
        known_hosts: a file of host keys; None takes the user's own.

    Raises:
        RunnerError: not production, or no address is declared.
    """

    def __init__(self, host: Host, environment: str, *, known_hosts: Path | None = None) -> None:
        if environment != "production":
            raise RunnerError(f"no other machine is touched in the {environment} environment")
        if host.address is None:
            raise RunnerError(f"the address of the host ({host.role}) is not declared: hosts.<name>.address")
        self._host = host
        self._known_hosts = known_hosts
        self._client: Any = None

    def run(self, words: Sequence[str], *, text: str | None = None, timeout_s: float = TIMEOUT_S) -> Ran:
        """Run a command there."""
        import paramiko

        try:
            stdin, stdout, stderr = self._connected().exec_command(quoted(words), timeout=timeout_s)
            stdin.write((text or "").encode())
            stdin.channel.shutdown_write()
            out, err = stdout.read(OUTPUT_BYTES), stderr.read(OUTPUT_BYTES)
            return Ran(tuple(words), stdout.channel.recv_exit_status(), _text(out), _text(err))
        except TimeoutError as error:
            self.close()
            raise RunnerError(f"{self._named}: {words[0]}: not done after {timeout_s:g} s") from error
        except (paramiko.SSHException, OSError) as error:
            self.close()
            raise RunnerError(f"{self._named}: {error}") from error

    def close(self) -> None:
        """End the connection; the next command opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _named(self) -> str:
        return f"{self._host.ssh_user}@{self._host.address}:{self._host.ssh_port}"

    def _connected(self) -> Any:
        import paramiko

        if self._client is None:
            client = paramiko.SSHClient()
            if self._known_hosts is None:
                client.load_system_host_keys()
            else:
                client.load_host_keys(str(self._known_hosts))
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            client.connect(
                str(self._host.address),
                port=self._host.ssh_port,
                username=self._host.ssh_user,
                key_filename=str(Path(self._host.ssh_key).expanduser()),
                timeout=TIMEOUT_S,
                banner_timeout=TIMEOUT_S,
                auth_timeout=TIMEOUT_S,
                look_for_keys=False,
                allow_agent=True,
            )
            self._client = client
        return self._client


def runner_for(host: Host, environment: str) -> Runner:
    """The runner of a machine: local if its declared address is loopback, else over SSH (production only).

    Raises:
        RunnerError: see `SshRunner`.
    """
    if host.address in ("localhost", "127.0.0.1"):
        return LocalRunner()
    return SshRunner(host, environment)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")

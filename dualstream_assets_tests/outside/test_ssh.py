"""Commands on a machine of ours: quoted once, host keys checked, other machines only in production."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from dualstream_assets.estate.model import Host
from dualstream_assets.outside.ssh import (
    LocalRunner,
    Runner,
    RunnerError,
    SshRunner,
    quoted,
    read_file,
    runner_for,
    write_file,
)

AWKWARD = ["a b", "$HOME", "`id`", "it's", 'say "no"', "*", "", "x;y", "line\nbreak", "--"]


class _Shell(paramiko.ServerInterface):
    """An SSH server for one key that runs each command line in /bin/sh, as sshd does."""

    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "root" and key == self._key
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, line: str) -> None:
        given = b"".join(iter(lambda: channel.recv(65536), b""))
        done = subprocess.run(["/bin/sh", "-c", line], input=given, capture_output=True, check=False)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[tuple[Host, Path]]:
    """An SSH server on loopback; yields its estate table and a known_hosts file that knows it."""
    server_key, user_key = paramiko.RSAKey.generate(2048), paramiko.RSAKey.generate(2048)
    user_key.write_private_key_file(str(tmp_path / "id"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {server_key.get_name()} {server_key.get_base64()}\n")
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(server_key)
            transports.append(transport)
            try:
                transport.start_server(server=_Shell(user_key))
            except (paramiko.SSHException, EOFError):
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host = Host(address="127.0.0.1", ssh_port=port, ssh_key=str(tmp_path / "id"), role="test")
    yield host, known
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)
    for transport in transports:
        transport.close()


@pytest.fixture(params=["local", "ssh"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Both runners behave the same."""
    if request.param == "local":
        return LocalRunner()
    host, known = request.getfixturevalue("sshd")
    return SshRunner(host, "production", known_hosts=known)


def test_awkward_words_arrive_as_they_are(runner: Runner):
    ran = runner.run(["printf", "%s\\0", *AWKWARD])
    assert ran.stdout.split("\0")[:-1] == AWKWARD


def test_exit_code_and_both_outputs_come_back(runner: Runner):
    ran = runner.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (ran.exit_code, ran.stdout, ran.stderr, ran.ok) == (7, "out\n", "err\n", False)
    with pytest.raises(RunnerError, match=r"exit code 7: err"):
        ran.require()


def test_text_is_given_as_standard_input(runner: Runner):
    assert runner.run(["cat"], text="hello\n").stdout == "hello\n"


def test_a_file_is_written_and_read_back(runner: Runner, tmp_path: Path):
    path = str(tmp_path / "new folder" / "it's here")
    assert read_file(runner, path) is None
    write_file(runner, path, "one\ntwo\n")
    assert read_file(runner, path) == "one\ntwo\n"
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["it's here"]


def test_a_file_that_cannot_be_written_keeps_its_old_text(tmp_path: Path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(RunnerError, match="mkdir"):
        write_file(LocalRunner(), str(tmp_path / "file" / "below"), "new")
    assert (tmp_path / "file").read_text() == "old"


def test_a_command_that_does_not_end_is_an_error(runner: Runner):
    with pytest.raises(RunnerError, match=r"not done after 0\.2 s"):
        runner.run(["sleep", "5"], timeout_s=0.2)


def test_a_missing_program_is_named():
    with pytest.raises(RunnerError, match="no-such-program"):
        LocalRunner().run(["no-such-program"])


def test_an_unknown_host_key_is_refused(sshd: tuple[Host, Path], tmp_path: Path):
    host, _ = sshd
    (tmp_path / "empty").write_text("")
    with pytest.raises(RunnerError, match="not found in known_hosts"):
        SshRunner(host, "production", known_hosts=tmp_path / "empty").run(["true"])


@pytest.mark.parametrize("environment", ["lab", "dev"])
def test_no_other_machine_is_touched_outside_production(environment: str):
    with pytest.raises(RunnerError, match=f"no other machine is touched in the {environment}"):
        runner_for(Host(address="192.0.2.1", role="name server"), environment)


def test_a_host_without_a_declared_address_is_refused():
    with pytest.raises(RunnerError, match="not declared"):
        runner_for(Host(role="Postfix"), "production")


def test_a_loopback_host_is_this_machine():
    assert isinstance(runner_for(Host(address="127.0.0.1", role="Postfix"), "lab"), LocalRunner)


def test_quoting_is_what_a_shell_takes_apart_again():
    done = subprocess.run(
        ["/bin/sh", "-c", quoted(["printf", "%s|", *AWKWARD])], capture_output=True, check=True
    )
    assert done.stdout.decode() == "".join(f"{word}|" for word in AWKWARD)

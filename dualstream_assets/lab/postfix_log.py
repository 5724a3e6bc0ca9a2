"""The lab's mail log: the lines that Postfix 3.7 and OpenDKIM write, with lab time, one write per line.

Only the words are here. Every line is appended by one `write` to a file opened with O_APPEND, so that a kill leaves
whole lines and a reader never sees two mixed.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from dualstream_assets.clock import Clock

LONG_ID_LETTERS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
HOST = "app"
CLIENT = "localhost[127.0.0.1]"


def _base(number: int, base: int, width: int = 0) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, base)
        digits = LONG_ID_LETTERS[rest] + digits
    return digits.rjust(width, "0")


def queue_id(at: datetime, inode: int) -> str:
    """A long queue id (Postfix `mail_queue.h`): seconds and microseconds in base 52, `z`, inode in base 51."""
    return f"{_base(int(at.timestamp()), 52, 6)}{_base(at.microsecond, 52, 4)}z{_base(inode, 51, 4)}"


class PostfixLog:
    """Writes the log.

    Args:
        path: the file; its folder is made.
        clock: lab time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._pids: dict[str, int] = {}

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def line(self, program: str, text: str, pid: int | None = None) -> None:
        """One line of `program` (`postfix/hcout1/smtp`); each program has a process id that lasts."""
        if pid is None:
            pid = self._pids.setdefault(program, 1000 + len(self._pids))
        stamp = self._clock.now().isoformat(timespec="microseconds")
        one_line = text.replace("\r", "").replace("\n", " ")
        os.write(self._fd, f"{stamp} {HOST} {program}[{pid}]: {one_line}\n".encode())

    def refused(
        self,
        program: str,
        action: str,
        stage: str,
        text: str,
        envelope: tuple[str, str, str],
        queue_id: str | None = None,
    ) -> None:
        """smtpd's or cleanup's `reject:`, `hold:`, `milter-reject:`; `envelope` is (sender, recipient, helo)."""
        sender, recipient, helo = envelope
        self.line(
            program,
            f"{queue_id or 'NOQUEUE'}: {action}: {stage} from {CLIENT}: {text}; from=<{sender}> to=<{recipient}>"
            f" proto=ESMTP helo=<{helo}>",
        )

    def header(self, cleanup: str, queue_id: str, header: str, envelope: tuple[str, str, str]) -> None:
        """cleanup's INFO action on a header."""
        sender, recipient, helo = envelope
        self.line(
            f"{cleanup}/cleanup",
            f"{queue_id}: info: header {header} from {CLIENT}; from=<{sender}> to=<{recipient}> proto=ESMTP"
            f" helo=<{helo}>",
        )

    def active(self, queue_id: str, sender: str, size: int) -> None:
        """The queue manager takes a message up, first or again."""
        self.line("postfix/qmgr", f"{queue_id}: from=<{sender}>, size={size}, nrcpt=1 (queue active)")

    def attempt(
        self,
        transport: str,
        queue_id: str,
        recipient: str,
        *,
        relay: str,
        delay_s: float,
        dsn: str,
        status: str,
        reply: str,
    ) -> None:
        """One delivery attempt; `relay` is `mx.example[127.30.1.1]:25` or `none`."""
        delay = f"{delay_s:.0f}" if delay_s >= 10 else f"{round(delay_s, 2):g}"  # noqa: PLR2004  # as Postfix rounds
        self.line(
            f"postfix/{transport}/smtp",
            f"{queue_id}: to=<{recipient}>, relay={relay}, delay={delay}, delays={delay}/0/0/0, dsn={dsn},"
            f" status={status} ({reply})",
        )

    def removed(self, queue_id: str, program: str = "postfix/qmgr") -> None:
        """A queue file is gone: by the queue manager, or by `postfix/postsuper`."""
        self.line(program, f"{queue_id}: removed")

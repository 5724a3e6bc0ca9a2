"""What can go wrong between us and a listmonk, each with its cause and its cure.

No message carries a person's address: what listmonk says is cleaned before it is repeated.
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"[^\s'\"<>(),;:=\[\]]+@[^\s'\"<>(),;:=\[\]]+")


def cleaned(text: str) -> str:
    """`text` as listmonk said it, on one line, without any address, at most 200 characters."""
    return _ADDRESS.sub("<address>", " ".join(text.split()))[:200]


class ListmonkError(RuntimeError):
    """A listmonk did not do what was asked.

    Attributes:
        cause: what happened, and where.
        cure: what to do next.
    """

    def __init__(self, cause: str, cure: str) -> None:
        self.cause = cause
        self.cure = cure
        super().__init__(f"{cause}. Next: {cure}")


class Unreachable(ListmonkError):
    """No answer: refused, timed out, or cut off."""


class Denied(ListmonkError):
    """403: these credentials may not do this."""


class Invalid(ListmonkError):
    """400, 404, 405, 409: listmonk does not accept what was asked (an unknown id is a 400 there, not a 404)."""


class Faulty(ListmonkError):
    """5xx, or an answer that is not what listmonk answers."""


class PlanChanged(ListmonkError):
    """The settings, or what is wanted of them, changed since the plan was read: nothing was written."""


class CampaignRunning(ListmonkError):
    """A campaign is running: a change of settings would restart listmonk under it, and lose the rest of its batch."""


class RestartPending(ListmonkError):
    """Settings are stored but not in force until listmonk restarts."""


class NotAsDeclared(ListmonkError):
    """What was read back differs from what was written."""


class UnsafeRow(ListmonkError):
    """A row that may not be imported is in a file that must not hold it: the whole import is refused."""


class ImportNotVerified(ListmonkError):
    """The importer says it is done, but the counts do not add up."""


class MembersNotListed(ListmonkError):
    """Some members of a wave cannot be put on its list: they opted out, are blocklisted, or were never imported."""


class WaveMismatch(ListmonkError):
    """What listmonk holds under a wave's tag is not this wave."""


class CommittedNotStarted(ListmonkError):
    """The wave is released in the ledger, its campaign was not started. `resume` is safe: it only starts a draft."""

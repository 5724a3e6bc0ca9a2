"""Plan, then apply: every change to something outside is computed, shown, applied by its hash and read back (D7).

A room says what differs (`Plan`), how to act and how to look again; the order of guards is here and nowhere else.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database

ChangeKind = Literal["add", "change", "delete"]
SHOWN_LINES = 400
"""A diff longer than this is cut in metadata; the hash still covers all of it."""


class PlanError(RuntimeError):
    """A plan was not applied, or did not take; the message says which and what to do."""


class PlanChanged(PlanError):
    """The outside is no longer as it was when the plan was read."""


class ReadBackFailed(PlanError):
    """After applying, the outside still differs from what was declared."""


@dataclass(frozen=True)
class Change:
    """One difference between declared and found.

    Attributes:
        kind: what applying does.
        target: what changes (`/etc/postfix/hc/header_checks`, `PTR 107.0.124.127.in-addr.arpa`).
        before: as found; None where there is nothing.
        after: as declared; None where it goes away.
        note: for people: why, or the exact command.
    """

    kind: ChangeKind
    target: str
    before: str | None
    after: str | None
    note: str = ""

    @property
    def inverse(self) -> Change:
        """What takes this change back."""
        kind: ChangeKind = {"add": "delete", "delete": "add", "change": "change"}[self.kind]  # type: ignore[assignment]
        return Change(
            kind, self.target, self.after, self.before, f"takes back: {self.note}" if self.note else ""
        )


def difference(target: str, before: str | None, after: str | None, note: str = "") -> Change | None:
    """The change from `before` to `after`; None if there is none."""
    if before == after:
        return None
    kind: ChangeKind = "add" if before is None else "delete" if after is None else "change"
    return Change(kind, target, before, after, note)


@dataclass(frozen=True)
class Plan:
    """What applying would change on one target, in order."""

    target: str
    changes: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether the outside is as declared."""
        return not self.changes

    @property
    def plan_hash(self) -> str:
        """Hex digest over target and changes: the same plan has the same hash, on any machine."""
        text = json.dumps([self.target, [asdict(c) for c in self.changes]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def inverse(self) -> Plan:
        """The plan that takes this one back, last change first."""
        return Plan(self.target, tuple(c.inverse for c in reversed(self.changes)))

    def render_diff(self) -> str:
        """The plan as markdown, for an asset's metadata."""
        if self.empty:
            return f"**{self.target}**: as declared, nothing to change."
        parts = [f"**{self.target}**: {len(self.changes)} to change. Plan `{self.plan_hash[:12]}`"]
        for change in self.changes:
            parts.append(f"{change.kind} `{change.target}`{f': {change.note}' if change.note else ''}")
            parts.append("```diff\n" + "\n".join(_diff_lines(change)) + "\n```")
        return "\n\n".join(parts)


def _diff_lines(change: Change) -> list[str]:
    before, after = (change.before or "").splitlines(), (change.after or "").splitlines()
    if len(before) <= 1 and len(after) <= 1:
        return [*(f"- {line}" for line in before), *(f"+ {line}" for line in after)]
    lines = [
        line.rstrip("\n") for line in difflib.unified_diff(before, after, "found", "declared", lineterm="")
    ]
    left = len(lines) - SHOWN_LINES
    return lines if left <= 0 else [*lines[:SHOWN_LINES], f"… {left} more lines"]


@dataclass(frozen=True)
class Applied:
    """A plan that took: the row of `applied_plan` (None for an empty plan, which leaves no row)."""

    row_id: int | None
    plan: Plan


def apply_plan(
    database: Database,
    clock: Clock,
    plan: Plan,
    given_hash: str,
    do: Callable[[Plan], None],
    read_back: Callable[[], Plan],
) -> Applied:
    """Apply a plan that somebody read, and prove that it took.

    Under a lock per target: plans again and refuses if anything moved, stores the changes with their inverse *before*
    acting (a crash leaves the way back), acts, plans once more; that last plan must be empty.

    Args:
        plan: the plan as computed now.
        given_hash: the hash of the plan that was read; full, or its first 12 characters or more.
        do: makes the changes.
        read_back: looks at the outside and plans again.

    Raises:
        PlanChanged: `given_hash` is not the hash of the plan as it is now. Nothing was touched.
        ReadBackFailed: differences remain; the row is kept with what was left.
    """
    _refuse_unless_same(plan, given_hash)
    with database.advisory_lock(f"apply {plan.target}"):
        current = read_back()
        _refuse_unless_same(current, given_hash)
        if current.empty:
            return Applied(None, current)
        row_id = _store(database, clock, current)
        try:
            do(current)
        except Exception as error:
            _finish(database, row_id, f"failed while applying: {type(error).__name__}")
            raise
        left = read_back()
        _finish(
            database,
            row_id,
            "as declared" if left.empty else f"still differs: {', '.join(c.target for c in left.changes)}",
        )
    if not left.empty:
        raise ReadBackFailed(
            f"{plan.target}: applied, but {len(left.changes)} difference(s) remain, the first at"
            f" {left.changes[0].target}. The inverse is row {row_id} of applied_plan. Read the plan again"
        )
    return Applied(row_id, current)


def _refuse_unless_same(plan: Plan, given_hash: str) -> None:
    shortest = 12
    if len(given_hash) < shortest or not plan.plan_hash.startswith(given_hash):
        raise PlanChanged(
            f"{plan.target}: the plan is now {plan.plan_hash[:12]}, not {given_hash[:12] or '(none given)'}; nothing"
            " was changed. Read the new plan and give its hash"
        )


def _store(database: Database, clock: Clock, plan: Plan) -> int:
    changes, inverse = (json.dumps([asdict(c) for c in p.changes]) for p in (plan, plan.inverse))
    with database.transaction() as connection:
        row = connection.execute(
            "insert into applied_plan (target, plan_hash, changes, inverse, applied_at, read_back)"
            " values (%s, %s, %s, %s, %s, 'being applied') returning id",
            (plan.target, plan.plan_hash, changes, inverse, clock.now()),
        ).fetchone()
    assert row is not None  # noqa: S101
    return int(row[0])


def _finish(database: Database, row_id: int, read_back: str) -> None:
    with database.transaction() as connection:
        connection.execute("update applied_plan set read_back = %s where id = %s", (read_back, row_id))

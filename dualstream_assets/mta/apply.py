"""Deploying the render: whole files backed up, written, checked by Postfix, reloaded, read back.

In production only by the job that sets `act` and gives the hash of the plan it read; queues, transport maps and the
warmup stamp are never touched, and `postsuper -r` is never run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualstream_assets.mta.live import HostTarget, MtaError, Target, plan_mta
from dualstream_assets.mta.names import ported_streams
from dualstream_assets.outside.plan import Applied, Plan, apply_plan

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

BACKUPS = "/var/backups/dualstream"


def apply_mta(workplace: Workplace, target: Target, given_hash: str | None) -> Applied:
    """Apply the plan that was read.

    Args:
        given_hash: its hash; only the lab may leave it out, and takes the plan as it is.

    Raises:
        MtaError: no hash, or the live configuration has something that applying would hide.
        PlanChanged, ReadBackFailed: see `outside.plan`.
    """
    if workplace.environment != "lab" and given_hash is None:
        raise MtaError(
            "apply takes the hash of the plan that you read: materialize mta/deployed, read its plan, give plan_hash"
        )
    plan = plan_mta(workplace.estate, workplace.environment, target)
    _refuse_hiding(workplace, target, plan)
    stamp = workplace.clock.now().strftime("%Y%m%dT%H%M%SZ")

    def do(current: Plan) -> None:
        for change in current.changes:
            if change.before is not None and isinstance(target, HostTarget):
                target.write(f"{BACKUPS}/{stamp}{change.target}", change.before)
        for change in current.changes:
            target.write(change.target, change.after)
        try:
            target.activate()
        except MtaError:
            for change in current.inverse.changes:
                target.write(change.target, change.after)
            raise

    return apply_plan(
        workplace.database,
        workplace.clock,
        plan,
        plan.plan_hash if given_hash is None else given_hash,
        do,
        lambda: plan_mta(workplace.estate, workplace.environment, target),
    )


def _refuse_hiding(workplace: Workplace, target: Target, plan: Plan) -> None:
    """Our option on :25 would replace main.cf's own sender rules there: a person must merge those first."""
    if plan.empty or not ported_streams(workplace.estate) or not isinstance(target, HostTarget):
        return
    rules = target.main().get("smtpd_sender_restrictions", "")
    if rules:
        raise MtaError(
            f"{target.name}: main.cf has smtpd_sender_restrictions = {rules}, which our rule on :25 would hide."
            " Move them into smtpd_client_restrictions first; nothing was changed"
        )

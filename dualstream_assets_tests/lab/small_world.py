"""A small world for the tests of this room."""

from __future__ import annotations

from dualstream_assets.estate import Estate, load_estate
from dualstream_assets.estate.load import packaged_lab_estate
from dualstream_assets.lab.world import Mailbox, MailboxTruth, Nature, World

SEED = 7


def estate_of_lab() -> Estate:
    return load_estate(packaged_lab_estate())


def small_world(domains: int = 80, seed: int = SEED) -> World:
    return World.build(seed, domains, estate_of_lab())


def mailbox(world: World, truth: MailboxTruth, operator: str = "", nature: Nature | None = None) -> Mailbox:
    """The first practice mailbox of that truth (and operator, and nature of its domain)."""
    return next(
        m
        for m in world.mailboxes
        if m.truth is truth
        and (domain := world.domain_of[m.domain]).owner
        and operator in ("", domain.operator)
        and nature in (None, domain.nature)
    )

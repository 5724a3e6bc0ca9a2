"""The answer of one identity look: a verdict, what was seen, and the record that would cure it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dualstream_assets.store.evidence import Verdict


@dataclass(frozen=True)
class Finding:
    """What was found about one fact.

    Attributes:
        subject: an IP or a domain.
        fact: `fcrdns`, `helo`, `spf`, `dkim`, `dmarc`, …
        verdict: pass, fail, or unknown where a lookup did not complete.
        evidence: what was seen, in one line.
        cure: what to publish or do; empty when nothing is wrong.
    """

    subject: str
    fact: str
    verdict: Verdict
    evidence: str
    cure: str = ""

    @property
    def said(self) -> str:
        """Evidence and cure in one line."""
        return f"{self.evidence}. Cure: {self.cure}" if self.cure else self.evidence


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail if any failed, else unknown if any is unknown or there is none at all, else pass."""
    found = set(verdicts)
    if Verdict.FAIL in found:
        return Verdict.FAIL
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found or not found else Verdict.PASS


def table(findings: Iterable[Finding]) -> str:
    """The findings as a markdown table."""
    rows = [f"| {f.subject} | {f.fact} | {f.verdict} | {_cell(f.said)} |" for f in findings]
    return "\n".join(["| subject | fact | verdict | evidence |", "| --- | --- | --- | --- |", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

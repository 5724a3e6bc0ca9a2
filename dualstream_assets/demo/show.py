"""`dualstream demo`: the whole operation in a pretend internet, two virtual days, seen red and then green.

Everything it shows is done by the same code as in production; only the outside is pretended. Nothing is left running.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.demo.day import Day
from dualstream_assets.demo.faults import (
    HOT,
    DemoFailed,
    break_fcrdns,
    expect,
    kill_mid_wave,
    mend_fcrdns,
    run_child,
)
from dualstream_assets.demo.runs import RunFailed, materialise
from dualstream_assets.lab.dev import dagster_home
from dualstream_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from dualstream_assets.clock import Clock
    from dualstream_assets.workplace import Workplace

FOREIGN_PER_DAY = 40
MODULE = "dualstream_assets.definitions"


def run_demo(folder: Path, seed: int | None = None) -> int:
    """Run the demo in `folder`; returns the exit code: 0 only if every promise held and the audit is clean."""
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    folder = folder.absolute()
    state = folder / "state"
    if state.exists():
        _wait_until_free(state)
        shutil.rmtree(state)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("DUALSTREAM_ESTATE", None)
    os.environ |= {"DUALSTREAM_ENV": "lab", "DUALSTREAM_STATE": str(state)}
    if seed is not None:
        os.environ["DUALSTREAM_ESTATE"] = str(_estate_with_seed(folder, seed))
    os.environ["DAGSTER_HOME"] = str(dagster_home(state))
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    try:
        return _run(folder, console)
    except (DemoFailed, RunFailed) as error:
        console.print(str(error), style="red", markup=False)
        return 1


def _wait_until_free(state: Path) -> None:
    """A lab of the run before may still be stopping: wait until nobody owns it."""
    from dualstream_assets.store.lease import wait_until_free

    for name in ("lab", "pg"):
        wait_until_free(state / name, timeout_s=20)


def _estate_with_seed(folder: Path, seed: int) -> Path:
    import re

    from dualstream_assets.estate.load import packaged_lab_estate

    path = folder / "estate.toml"
    path.write_text(re.sub(r"(?m)^seed = \d+", f"seed = {seed}", packaged_lab_estate().read_text()))
    return path


def _run(folder: Path, console: Console) -> int:
    from dualstream_assets.clock import LabClock
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.lab.recipients import Recipients
    from dualstream_assets.lab.world import World
    from dualstream_assets.proofs.collect import collect
    from dualstream_assets.proofs.report import summary, write_report

    began = time.monotonic()
    workplace = open_workplace(Settings.read())
    steps: dict[str, Any] = {}
    with _step(console, steps, "a pretend internet: DNS, MX hosts, two listmonks, a submission host"):
        at = workplace.endpoints
    lab = workplace.estate.lab
    assert lab is not None  # noqa: S101  # open_estate refuses a lab without it
    world = World.build(lab.seed, lab.domains, workplace.estate)
    clock = workplace.clock
    assert isinstance(clock, LabClock)  # noqa: S101  # the environment is lab
    recipients = Recipients(
        at.sinks or Path(os.devnull), {s: listmonk.url for s, listmonk in at.listmonk.items()}, world.opts_out
    )
    with _step(
        console, steps, "the chain: registry, audience, verification, listmonk, identity, Postfix, gate"
    ):
        materialise("*")

    truckers = [trucker.email for trucker in world.truckers]
    days, red = [], {}
    for number in (1, 2):
        day = Day(workplace, clock, recipients, lambda said: console.print(f"    {said}", style="dim"))
        if number > 1:
            _sleep_until_next_morning(day)
        with _step(console, steps, f"day {number}: caps at 07:20, a tick every six minutes"):
            day.set_caps()
            if number > 1:
                _recheck(workplace)
            special = (
                {1: lambda: _see_red(workplace, red), 4: lambda: _kill(workplace, red)} if number == 1 else {}
            )
            foreign = truckers[(number - 1) * FOREIGN_PER_DAY : number * FOREIGN_PER_DAY]
            days.append(day.run(foreign, special))
            _cap_reached(days[-1].last_reason.get(HOT, ""), red)
    with _step(console, steps, "the log read to its end, five proofs, the report page"):
        _finish(workplace, clock)
        materialise("group:proofs", "group:maillog", "group:operations")
        found = collect(workplace)
        page = write_report(workplace, folder / "report.html", found)
    result = summary(workplace, found) | {
        "seen_red": red,
        "days": [vars(day) for day in days],
        "seconds": {**steps, "total": round(time.monotonic() - began, 1)},
    }
    (folder / "summary.json").write_text(json.dumps(result, indent=2, default=str) + "\n")
    _show(console, result, page, folder)
    expect(found.audit.clean, "leaked, over cap, handed over twice, lost, opted out but mailed are all zero")
    red_proofs = [proof.name for proof in found.proofs if proof.outcome == "fail"]
    expect(not red_proofs, f"no proof is red ({', '.join(red_proofs)})")
    expect(result["deliveries_per_stream"][HOT] > 0, "mail was delivered")
    return 0


@contextmanager
def _step(console: Console, steps: dict[str, Any], what: str) -> Iterator[None]:
    began = time.monotonic()
    console.print(f"[bold]{what}[/]")
    yield
    steps[what.split(":", maxsplit=1)[0]] = round(time.monotonic() - began, 1)
    console.print(f"    done in {time.monotonic() - began:.1f} s", style="dim")


def _recheck(workplace: Workplace) -> None:
    """What the daemon's schedules would have looked at meanwhile: identity, Postfix, listmonk, opt-outs."""
    streams = workplace.estate.streams
    per_stream = ("identity", "listmonk", "subscribers", "rampcap", "campaign", "gate")
    wanted = [f"{s}/{n}" for s in streams for n in per_stream]
    shared = (
        "mta/config",
        "mta/deployed",
        "mta/drift",
        "sending/suppression",
        "maillog/log",
        "maillog/outcomes",
    )
    scores = [f"{s}/message_score" for s in streams]
    fresh = ("verification/verified_institutional",)
    materialise(*(f'key:"{key}"' for key in (*wanted, *shared, *scores, *fresh)))


def _see_red(workplace: Workplace, red: dict[str, str]) -> None:
    """FCrDNS broken in the lab's DNS: refused from plain Python, the command line and a Dagster run; then mended."""
    from dualstream_assets.sending.parts import tick

    address = break_fcrdns(workplace)
    try:
        result = tick(workplace, HOT)
        expect(result.outcome == "refused" and address in result.headline, "a wave without FCrDNS is refused")
        red["fcrdns broken, plain Python"] = result.headline
        for name, words in (
            ("command line", ["dualstream_assets", "wave", "release", HOT]),
            ("dagster run", ["dagster", "asset", "materialize", "--select", f"{HOT}/waves", "-m", MODULE]),
        ):
            code, said = run_child(workplace, words)
            line = next((x for x in said.splitlines() if "gate shut" in x), "")
            expect(code != 0 and address in line, f"a wave without FCrDNS is refused from the {name}")
            red[f"fcrdns broken, {name}"] = f"exit {code}: {line[line.index('healthcare: gate') :].strip()}"
    finally:
        mend_fcrdns(workplace)
    materialise(f'key:"{HOT}/identity"')


def _kill(workplace: Workplace, red: dict[str, str]) -> None:
    red["kill -9 mid-wave"] = (
        f"killed while its wave was {kill_mid_wave(workplace)}; nobody twice, nobody lost"
    )


def _cap_reached(reason: str, red: dict[str, str]) -> None:
    expect("cap" in reason, f"the daily cap ends the day (it said: {reason})")
    red["cap reached"] = reason


def _sleep_until_next_morning(day: Day) -> None:
    tomorrow = day.at(7, 0).timestamp() + 86400
    day.clock.sleep(tomorrow - day.clock.now().timestamp())


def _finish(workplace: Workplace, clock: Clock) -> None:
    """Let deferred mail be retried, read the log to its end, settle the waves."""
    from dualstream_assets.demo.day import settle_mail
    from dualstream_assets.sending.parts import tick

    for _ in range(4):
        clock.sleep(20 * 60)
        _wait_for_retries(workplace, clock)
        settle_mail(workplace)
        for stream in workplace.estate.streams:
            tick(workplace, stream)


def _wait_for_retries(workplace: Workplace, clock: Clock, patience_s: float = 5.0) -> None:
    """The submission host retries in real time what the clock's jump made due: wait until nothing is overdue."""
    from dualstream_assets.lab.submission_queue import listing

    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        now = clock.now().timestamp()
        if all(e.state == "hold" or e.next_at > now for e in listing(workplace.paths.lab / "queue")):
            return
        time.sleep(0.03)


def _show(console: Console, result: dict[str, Any], page: Path, folder: Path) -> None:
    from rich.table import Table

    figures = Table(title="What happened", show_header=False)
    for name, value in (
        ("segments", ", ".join(f"{k} {v}" for k, v in result["segments"].items())),
        ("verdicts", ", ".join(f"{k} {v}" for k, v in result["verdicts"].items())),
        ("waves", ", ".join(f"{k} {v}" for k, v in result["waves"].items())),
        ("deliveries per egress, as the receivers saw them", ""),
        *((f"    {ip}", str(count)) for ip, count in result["deliveries_per_egress"].items()),
        ("caps", ", ".join(f"{k} {v['per_hour']}/h {v['per_day']}/day" for k, v in result["caps"].items())),
        ("proofs", ", ".join(f"{k} {v}" for k, v in result["proofs"].items())),
        ("auditor", ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in result["audit"].items())),
    ):
        figures.add_row(name, value)
    console.print(figures)
    console.print("Seen red, then green:")
    for what, said in result["seen_red"].items():
        console.print(f"  {what}: {said}", markup=False)
    console.print(f"\nSummary  {folder / 'summary.json'}\nReport   {page}\nUI       make dev")
    console.print(f"{result['seconds']['total']} s in all, nothing left running")

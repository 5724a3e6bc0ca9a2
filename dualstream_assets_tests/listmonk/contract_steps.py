"""Steps that the contract tests share: waiting, raw calls, a wave to prepare."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from dualstream_assets.listmonk import campaigns, drafts
from dualstream_assets.listmonk.campaigns import Status
from dualstream_assets.listmonk.errors import (
    Unreachable,
)
from dualstream_assets.listmonk.importing import CsvRow, run_import
from dualstream_assets.listmonk.people import quoted
from dualstream_assets_tests.listmonk.conftest import Bench

WORKERS = 2
"""How far `sent` may lag behind for ever: a worker reports a message done before it counts it, and the campaign's last
act may come in between (seen on v5.1.0 and v6.2.0). Why the mail log is the truth and listmonk's counters are not."""


@dataclass(frozen=True)
class AWave:
    id: int
    stream: str = "healthcare"
    campaign: str = "contract"


@dataclass(frozen=True)
class AContent:
    subject: str = "Your date"
    from_email: str = "Performance West <help@performancewest.test>"
    headers: tuple[dict[str, str], ...] = ({"Reply-To": "reply@performancewest.test"},)
    html: str = (
        '<html><body><p><a href="{{ TrackLink "https://performancewest.test/npi" }}">look up</a></p>'
        '<a href="https://performancewest.test/p?k={{ .Subscriber.Attribs.product_key }}">buy</a>'
        '<a href="{{ UnsubscribeURL }}">Unsubscribe</a>{{ TrackView }}</body></html>'
    )
    text: str = "Hello,\nUnsubscribe: {{ UnsubscribeURL }}\n"


def until(done: Callable[[], bool], timeout_s: float = 40.0) -> None:
    ends = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < ends, "did not happen in time"
        time.sleep(0.05)


def boot_line(bench: Bench) -> str | None:
    """The first line of its log; None between two processes."""
    try:
        return str(bench.client.get("/logs")[0])
    except Unreachable:
        return None


def post_bounce(bench: Bench, address: str, kind: str) -> None:
    answer = requests.post(
        f"{bench.client.url}/webhooks/bounce",
        json={"email": address, "source": "maillog", "type": kind, "meta": {"code": "5.1.1"}},
        headers={"Authorization": f"token {bench.client.user}:{bench.client._token}"},
        timeout=5,
    )
    assert answer.json() == {"data": True}


def known(bench: Bench, count: int, list_id: int | None = None) -> list[str]:
    """People whom listmonk knows, on a list."""
    people = bench.people(count)
    rows = [CsvRow(address, f"Person {n}", {"product_key": f"npi{n}"}) for n, address in enumerate(people)]
    run_import(bench.client, rows, "subscribe", (list_id or bench.new_list(),))
    return people


def raw_import(bench: Bench, people: list[str], list_id: int, **flags: object) -> None:
    """An import with flags that our driver never uses."""
    lines = "".join(f"{address},x,{{}}\n" for address in people).replace("{}", '"{}"')
    params = {"mode": "subscribe", "delim": ",", "lists": [list_id], **flags}
    bench.client.upload(
        "/import/subscribers", json.dumps(params), "x.csv", f"email,name,attributes\n{lines}".encode()
    )
    until(lambda: bench.client.get("/import/subscribers")["status"] == "finished")


def row_status(bench: Bench, address: str, list_id: int) -> str | None:
    found = bench.client.get("/subscribers", query=f"subscribers.email = {quoted(address)}")["results"][0]
    return next((one["subscription_status"] for one in found["lists"] if one["id"] == list_id), None)


def prepared(bench: Bench, count: int = 3) -> tuple[AWave, list[str], drafts.Prepared]:
    people, wave = known(bench, count), AWave(bench.wave_id())
    return wave, people, campaigns.prepare(bench.client, wave, people, AContent())


def ended(bench: Bench, campaign_id: int) -> campaigns.CampaignState:
    until(lambda: campaigns.state(bench.client, campaign_id).status not in (Status.RUNNING, Status.SCHEDULED))
    return campaigns.state(bench.client, campaign_id)

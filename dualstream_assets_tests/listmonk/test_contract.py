"""What our driver relies on in listmonk, asked of the stand-in and, where there is one, of a real listmonk.

Real: DUALSTREAM_LISTMONK_URL, DUALSTREAM_LISTMONK_USER (default dualstream), DUALSTREAM_LISTMONK_TOKEN. It must be a
scratch one on this machine: its settings are overwritten and its mail goes to this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import requests

from dualstream_assets.listmonk import campaigns, drafts
from dualstream_assets.listmonk.applying import apply, read_cap, read_plan, read_window, set_cap
from dualstream_assets.listmonk.campaigns import Status
from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.declared import without_secrets
from dualstream_assets.listmonk.errors import (
    CampaignRunning,
    Denied,
    Faulty,
    ImportNotVerified,
    Invalid,
    MembersNotListed,
    NotAsDeclared,
    PlanChanged,
    Unreachable,
    WaveMismatch,
)
from dualstream_assets.listmonk.importing import CsvRow, run_import
from dualstream_assets.listmonk.people import find, listed, listed_count, quoted
from dualstream_assets.listmonk.subscribers import counts, not_blocklisted, pull_optouts, push_suppression
from dualstream_assets_tests.listmonk.conftest import REAL_URL, Bench

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


@pytest.mark.listmonk
def test_a_real_listmonk_was_asked_too() -> None:
    if not REAL_URL:
        pytest.skip("no real listmonk: set DUALSTREAM_LISTMONK_URL, _USER and _TOKEN (docs/listmonk.md)")
    assert Client(REAL_URL, "nobody", "x").healthy()


class TestAccess:
    def test_a_token_and_basic_both_open(self, bench: Bench) -> None:
        assert bench.client.version >= (6, 0, 0)
        answer = requests.get(
            f"{bench.client.url}/api/config", auth=(bench.client.user, bench.client._token), timeout=5
        )
        assert answer.status_code == 200

    def test_a_wrong_token_is_refused_with_the_cure(self, bench: Bench) -> None:
        with pytest.raises(Denied, match=r"invalid API credentials.*type 'api'"):
            Client(bench.client.url, bench.client.user, "wrong").config()

    def test_a_session_cookie_makes_the_header_worthless(self, bench: Bench) -> None:
        headers = {"Authorization": f"token {bench.client.user}:{bench.client._token}", "Cookie": "session=x"}
        answer = requests.get(f"{bench.client.url}/api/config", headers=headers, timeout=5)
        assert (answer.status_code, answer.json()) == (403, {"message": "invalid session"})

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (None, "invalid session"),
            ("Bearer x", "code=400, message=unknown Authorization scheme"),
            ("token nobody", "code=400, message=api_key:token missing"),
        ],
    )
    def test_other_credentials_are_403_with_a_message(
        self, bench: Bench, header: str | None, message: str
    ) -> None:
        headers = {"Authorization": header} if header else {}
        answer = requests.get(f"{bench.client.url}/api/config", headers=headers, timeout=5)
        assert (answer.status_code, answer.json()) == (403, {"message": message})

    def test_an_unknown_endpoint_is_404_and_an_unknown_id_is_400(self, bench: Bench) -> None:
        headers = {"Authorization": f"token {bench.client.user}:{bench.client._token}"}
        url = f"{bench.client.url}/api"
        assert requests.get(f"{url}/nothing", headers=headers, timeout=5).status_code == 404
        for path in ("/lists/99999999", "/campaigns/99999999", "/lists/abc"):
            answer = requests.get(url + path, headers=headers, timeout=5)
            assert answer.status_code == 400, path
            assert set(answer.json()) == {"message"}

    def test_health_is_open_to_everybody(self, bench: Bench) -> None:
        assert requests.get(f"{bench.client.url}/health", timeout=5).json() == {"data": True}


class TestSettings:
    def test_after_an_apply_the_plan_is_empty_and_nothing_is_written_again(self, bench: Bench) -> None:
        plan = read_plan(bench.client, bench.declared)
        assert plan.changed == ()
        before = bench.client.get("/logs")[0]
        assert not apply(bench.client, bench.declared, plan.hash).written
        assert bench.client.get("/logs")[0] == before

    def test_secrets_are_masked_with_one_bullet_per_character(self, bench: Bench) -> None:
        whole = bench.client.get("/settings")
        assert whole["bounce.mailboxes"][0]["password"] == "•" * len("password")

    def test_a_write_restarts_it_and_keeps_the_rest(self, bench: Bench) -> None:
        before, boot = bench.client.get("/settings"), bench.client.get("/logs")[0]
        set_cap(bench.client, 60_000)
        after = bench.client.get("/settings")
        assert bench.client.get("/logs")[0] != boot
        changed = {key for key in after if after[key] != before[key]}
        assert changed <= {
            "app.message_sliding_window_rate",
            "bounce.mailboxes",
        }  # a mailbox gets its first UUID
        assert after["bounce.mailboxes"][0]["password"] == "•" * len("password")
        window = read_window(bench.client)
        assert window is not None
        assert (window.rate, window.minutes, read_cap(bench.client)) == (6001, 6, 60_010)

    def test_a_plan_that_is_not_the_one_read_is_refused(self, bench: Bench) -> None:
        with pytest.raises(PlanChanged, match="read the new diff"):
            apply(bench.client, bench.declared, "another hash")

    def test_a_name_is_stored_normalised(self, bench: Bench) -> None:
        names = [server["name"] for server in bench.client.get("/settings")["smtp"]]
        assert names == ["email-hcout1", "email-hcout2"]
        assert bench.client.config()["messengers"] == ["email", "email-hcout1", "email-hcout2"]

    def test_no_enabled_server_is_refused(self, bench: Bench) -> None:
        whole = bench.client.get("/settings")
        whole["smtp"] = []
        with pytest.raises(Invalid, match="SMTP"):
            bench.client.put("/settings", whole)


class TestImport:
    def test_new_people_are_listed_unconfirmed_and_counted(self, bench: Bench) -> None:
        list_id = bench.new_list()
        people = known(bench, 5, list_id)
        assert listed_count(bench.client, list_id) == 5
        assert {s.address for s in listed(bench.client, list_id)} == set(people)
        assert row_status(bench, people[0], list_id) == "unconfirmed"
        assert bench.client.get("/import/subscribers") == {
            "name": "dualstream.csv",
            "total": 5,
            "imported": 5,
            "status": "finished",
        }

    def test_importing_again_changes_nobody(self, bench: Bench) -> None:
        list_id = bench.new_list()
        people = known(bench, 2, list_id)
        bench.client.put(
            "/subscribers/query/lists",
            {
                "query": f"subscribers.email = {quoted(people[0])}",
                "action": "unsubscribe",
                "target_list_ids": [list_id],
            },
        )
        run_import(bench.client, [CsvRow(a, "Other", {}) for a in people], "subscribe", (list_id,))
        assert row_status(bench, people[0], list_id) == "unsubscribed"
        found = bench.client.get("/subscribers", query=f"subscribers.email = {quoted(people[1])}")["results"][
            0
        ]
        assert (found["name"], found["attribs"]) == ("Person 1", {"product_key": "npi1"})

    def test_overwriting_the_status_would_revive_an_opt_out(self, bench: Bench) -> None:
        """Why the driver never sends that flag."""
        list_id = bench.new_list()
        people = known(bench, 1, list_id)
        ids = [s.id for s in find(bench.client, people)]
        bench.client.put(
            "/subscribers/lists", {"ids": ids, "action": "unsubscribe", "target_list_ids": [list_id]}
        )
        raw_import(bench, people, list_id, overwrite_userinfo=True)
        assert row_status(bench, people[0], list_id) == "unsubscribed"
        raw_import(bench, people, list_id, overwrite_subscription_status=True)
        assert row_status(bench, people[0], list_id) == "unconfirmed"

    def test_an_opt_out_of_one_list_does_not_keep_off_another(self, bench: Bench) -> None:
        """Why every opt-out becomes a blocklisting before anybody is selected."""
        first, second = bench.new_list(), bench.new_list()
        people = known(bench, 1, first)
        ids = [s.id for s in find(bench.client, people)]
        bench.client.put(
            "/subscribers/lists", {"ids": ids, "action": "unsubscribe", "target_list_ids": [first]}
        )
        run_import(bench.client, [CsvRow(people[0], "", {})], "subscribe", (second,))
        assert row_status(bench, people[0], second) == "unconfirmed"

    def test_a_blocklisted_person_stays_so_whatever_is_imported(self, bench: Bench) -> None:
        list_id = bench.new_list()
        people = bench.people(1)
        run_import(bench.client, [CsvRow(people[0], "", {})], "blocklist", ())
        raw_import(bench, people, list_id, overwrite=True)
        assert row_status(bench, people[0], list_id) == "unsubscribed"
        assert [s.status for s in find(bench.client, people)] == ["blocklisted"]

    def test_finished_with_fewer_than_asked_is_not_believed(self, bench: Bench) -> None:
        mark = bench.people(1)[0].partition("@")[0]
        rows = [
            CsvRow(f"{mark}@{d}", "", {})
            for d in ("consumer.example", "mx.hosted.example", "practice.example")
        ]
        with pytest.raises(ImportNotVerified, match=r"'finished': 1 of 3 imported, 2 lines skipped"):
            run_import(bench.client, rows, "subscribe", (bench.new_list(),))

    def test_names_with_quotes_and_line_breaks_survive(self, bench: Bench) -> None:
        address = bench.people(1)[0]
        run_import(
            bench.client,
            [CsvRow(address, 'Dr. "Bo", O\'Neil\nMD', {"k": 'a "b"'})],
            "subscribe",
            (bench.new_list(),),
        )
        found = bench.client.get("/subscribers", query=f"subscribers.email = {quoted(address)}")["results"][0]
        assert (found["name"], found["attribs"]) == ('Dr. "Bo", O\'Neil MD', {"k": 'a "b"'})

    def test_an_import_without_a_list_is_403(self, bench: Bench) -> None:
        with pytest.raises(Denied):
            run_import(bench.client, [CsvRow("a@practice.example", "", {})], "subscribe", ())


class TestOptOuts:
    def test_adding_by_query_touches_nobodys_row_but_by_ids_it_does(self, bench: Bench) -> None:
        """Why waves are filled by query."""
        list_id = bench.new_list()
        people = known(bench, 1, list_id)
        ids = [s.id for s in find(bench.client, people)]
        bench.client.put(
            "/subscribers/lists", {"ids": ids, "action": "unsubscribe", "target_list_ids": [list_id]}
        )
        bench.client.put(
            "/subscribers/query/lists",
            {
                "query": f"subscribers.email = {quoted(people[0])}",
                "action": "add",
                "target_list_ids": [list_id],
                "status": "confirmed",
            },
        )
        assert row_status(bench, people[0], list_id) == "unsubscribed"
        bench.client.put(
            "/subscribers/lists",
            {"ids": ids, "action": "add", "target_list_ids": [list_id], "status": "confirmed"},
        )
        assert row_status(bench, people[0], list_id) == "confirmed"

    def test_one_click_unsubscribes_from_that_campaigns_list_only(self, bench: Bench) -> None:
        other = bench.new_list()
        people, wave = known(bench, 1, other), AWave(bench.wave_id())
        made = campaigns.prepare(bench.client, wave, people, AContent())
        uuid = made.subscribers[people[0]][1]
        answer = requests.post(
            f"{bench.client.url}/subscription/{made.campaign_uuid}/{uuid}",
            data={"List-Unsubscribe": "One-Click"},
            timeout=5,
        )
        assert answer.status_code == 200
        assert row_status(bench, people[0], made.list_id) == "unsubscribed"
        assert row_status(bench, people[0], other) == "unconfirmed"
        found = [o for o in pull_optouts(bench.client) if o.address == people[0]]
        assert [(o.reason, o.source) for o in found] == [("unsubscribed", "listmonk:subscribers")]
        assert found[0].at is not None

    def test_one_click_of_an_unknown_person_is_404(self, bench: Bench) -> None:
        made = prepared(bench, 1)[2]
        answer = requests.post(
            f"{bench.client.url}/subscription/{made.campaign_uuid}/00000000-0000-4000-8000-000000000000",
            timeout=5,
        )
        assert answer.status_code == 404

    def test_a_push_blocklists_the_known_and_inserts_the_unknown(self, bench: Bench) -> None:
        list_id = bench.new_list()
        people = known(bench, 2, list_id)
        stranger = bench.people(1)[0]
        before = counts(bench.client)
        pushed = push_suppression(bench.client, [people[0], stranger])
        assert (pushed.blocklisted, pushed.inserted) == (1, 1)
        assert counts(bench.client).blocklisted == before.blocklisted + 2
        assert row_status(bench, people[0], list_id) == "unsubscribed"
        assert row_status(bench, people[1], list_id) == "unconfirmed"
        again = push_suppression(bench.client, [people[0], stranger])
        assert (again.blocklisted, again.inserted) == (0, 0)
        assert {o.reason for o in pull_optouts(bench.client) if o.address == stranger} == {"blocklisted"}

    def test_a_soft_bounce_is_no_opt_out_and_a_complaint_outranks_a_hard_one(self, bench: Bench) -> None:
        people = known(bench, 2)
        post_bounce(bench, people[0], "soft")
        post_bounce(bench, people[1], "complaint")
        until(lambda: [s.status for s in find(bench.client, people[1:])] == ["blocklisted"])
        found = {o.address: o.reason for o in pull_optouts(bench.client) if o.address in people}
        assert found == {people[1]: "complaint"}

    def test_a_push_leaves_out_strangers_whom_no_import_could_bring_in(self, bench: Bench) -> None:
        mark = bench.people(1)[0].partition("@")[0]
        refused = [f"{mark}@{d}" for d in ("consumer.example", "mx.hosted.example", "hosted.example")]
        taken = [
            f"{mark}@{d}" for d in ("deep.mx.hosted.example", "sub.consumer.example")
        ]  # one label deep, no more
        assert push_suppression(bench.client, [*refused, *taken]).inserted == 2
        assert {s.address for s in find(bench.client, [*refused, *taken])} == set(taken)

    def test_a_suppressed_domain_takes_everybody_there_and_below(self, bench: Bench) -> None:
        mark = bench.people(1)[0].partition("@")[0].replace(".", "")
        rows = [
            CsvRow(f"a@{d}", "", {}) for d in (f"{mark}.example", f"mail.{mark}.example", f"x{mark}.example")
        ]
        run_import(bench.client, rows, "subscribe", (bench.new_list(),))
        assert not_blocklisted(bench.client, [f"@{mark}.example"]) == 2
        assert push_suppression(bench.client, [f"@{mark}.example"]).blocklisted == 2
        assert [s.status for s in find(bench.client, [rows[2].address])] == ["enabled"]

    def test_a_hard_bounce_blocklists_and_is_pulled_as_one(self, bench: Bench) -> None:
        people = known(bench, 1)
        post_bounce(bench, people[0], "hard")
        until(lambda: [s.status for s in find(bench.client, people)] == ["blocklisted"])
        found = [o for o in pull_optouts(bench.client) if o.address == people[0]]
        assert [(o.reason, o.source) for o in found] == [("hard_bounce", "listmonk:bounces:maillog")]

    def test_a_push_that_did_not_take_is_an_error(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people = known(bench, 1)
        monkeypatch.setattr(bench.client, "put", lambda path, body: True)
        with pytest.raises(NotAsDeclared, match="1 suppressed people are still not blocklisted"):
            push_suppression(bench.client, people)

    def test_bad_sql_is_400_when_read_and_500_when_written(self, bench: Bench) -> None:
        with pytest.raises(Invalid):
            bench.client.get("/subscribers", query="subscribers.nothing = 1")
        with pytest.raises(Faulty):
            bench.client.put(
                "/subscribers/query/lists",
                {"query": "subscribers.nothing = 1", "action": "add", "target_list_ids": [bench.new_list()]},
            )

    def test_a_foreign_table_may_not_be_read(self, bench: Bench) -> None:
        with pytest.raises(Invalid):
            bench.client.get("/subscribers", query="EXISTS (SELECT 1 FROM users)")


class TestWaves:
    def test_a_wave_reaches_each_member_once_as_prepared(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 12)
        assert campaigns.state(bench.client, made.campaign_id).status is Status.DRAFT
        campaigns.resume(bench.client, made.campaign_id)
        state = ended(bench, made.campaign_id)
        assert (state.status, state.to_send) == (Status.FINISHED, 12)
        assert 12 - WORKERS <= state.sent <= 12
        got = bench.sink.to(set(people))
        assert sorted(r.recipient for r in got) == sorted(people)
        for one in got:
            uuid = made.subscribers[one.recipient][1]
            assert one.sender == "bounces@bounce-hc.performancewest.test"
            assert one.helo in ("hcmta01.performancewest.test", "hcmta02.performancewest.test")
            assert one.message["X-Listmonk-Campaign"] == made.campaign_uuid
            assert one.message["X-Listmonk-Subscriber"] == uuid
            assert one.message["Reply-To"] == "reply@performancewest.test"
            assert one.message["Return-Path"] is None
            link = f"https://lists-hc.performancewest.test/subscription/{made.campaign_uuid}/{uuid}"
            assert one.message["List-Unsubscribe"] == f"<{link}>"
            assert one.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert one.message["Message-Id"].endswith("@performancewest.test>")
            text, html = (part.get_payload(decode=True).decode() for part in one.message.get_payload())  # type: ignore[union-attr]
            assert link in text
            assert f"k=npi{people.index(one.recipient)}" in html
            assert html.count(link) == 1, "listmonk's default template would add a second opt-out link"
            assert html.count("/px.png") == 1

    def test_both_servers_are_used(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 16)
        campaigns.resume(bench.client, made.campaign_id)
        bench.sink.wait_for(set(people), 16)
        assert len({r.helo for r in bench.sink.to(set(people))}) == 2
        ended(bench, made.campaign_id)

    def test_preparing_twice_makes_one_list_and_one_campaign(self, bench: Bench) -> None:
        wave, people, made = prepared(bench)
        again = campaigns.prepare(bench.client, wave, people, AContent())
        assert (again.list_id, again.campaign_id, again.campaign_uuid) == (
            made.list_id,
            made.campaign_id,
            made.campaign_uuid,
        )
        assert bench.client.total("/lists", tag=drafts.wave_tag(wave.id)) == 1

    def test_a_draft_that_says_something_else_is_refused(self, bench: Bench) -> None:
        wave, people, _ = prepared(bench)
        with pytest.raises(WaveMismatch, match="subject"):
            campaigns.prepare(bench.client, wave, people, AContent(subject="Another"))

    def test_somebody_who_opted_out_anywhere_cannot_be_prepared(self, bench: Bench) -> None:
        list_id = bench.new_list()
        people = known(bench, 3, list_id)
        ids = [s.id for s in find(bench.client, people[:1])]
        bench.client.put(
            "/subscribers/lists", {"ids": ids, "action": "unsubscribe", "target_list_ids": [list_id]}
        )
        with pytest.raises(MembersNotListed, match="1 of 3"):
            campaigns.prepare(bench.client, AWave(bench.wave_id()), people, AContent())

    def test_an_opt_out_before_the_fetch_is_not_mailed(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 3)
        push_suppression(bench.client, people[:1])
        campaigns.resume(bench.client, made.campaign_id)
        ended(bench, made.campaign_id)
        assert {r.recipient for r in bench.sink.to(set(people))} == set(people[1:])

    def test_a_bounce_before_the_fetch_is_enough(self, bench: Bench) -> None:
        """It blocklists the person and leaves their rows as they are: the status alone keeps the mail off."""
        _, people, made = prepared(bench, 2)
        post_bounce(bench, people[0], "hard")
        until(lambda: [s.status for s in find(bench.client, people[:1])] == ["blocklisted"])
        assert row_status(bench, people[0], made.list_id) == "unconfirmed"
        campaigns.resume(bench.client, made.campaign_id)
        ended(bench, made.campaign_id)
        assert {r.recipient for r in bench.sink.to(set(people))} == {people[1]}

    def test_a_campaign_of_nobody_finishes_with_zero(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 1)
        push_suppression(bench.client, people)
        campaigns.resume(bench.client, made.campaign_id)
        state = ended(bench, made.campaign_id)
        assert (state.status, state.to_send, state.sent) == (Status.FINISHED, 0, 0)

    def test_resuming_what_has_finished_sends_nothing_again(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 1)
        campaigns.resume(bench.client, made.campaign_id)
        ended(bench, made.campaign_id)
        assert campaigns.resume(bench.client, made.campaign_id).status is Status.FINISHED
        assert len(bench.sink.to(set(people))) == 1

    @pytest.mark.parametrize("status", ["paused", "cancelled", "draft", "scheduled"])
    def test_a_draft_can_only_be_started(self, bench: Bench, status: str) -> None:
        made = prepared(bench, 1)[2]
        with pytest.raises(Invalid):
            bench.client.put(f"/campaigns/{made.campaign_id}/status", {"status": status})

    def test_a_finished_campaign_cannot_be_started(self, bench: Bench) -> None:
        made = prepared(bench, 1)[2]
        campaigns.resume(bench.client, made.campaign_id)
        ended(bench, made.campaign_id)
        with pytest.raises(Invalid):
            bench.client.put(f"/campaigns/{made.campaign_id}/status", {"status": "running"})

    def test_an_unavailable_named_messenger_silently_becomes_email(self, bench: Bench) -> None:
        """Why a campaign is read back."""
        base = {"name": "x", "subject": "x", "lists": [bench.new_list()], "body": "x", "content_type": "html"}
        assert bench.client.post("/campaigns", {**base, "messenger": "email-gone"})["messenger"] == "email"
        with pytest.raises(Invalid):
            bench.client.post("/campaigns", {**base, "messenger": "pigeon"})

    def test_a_campaign_without_a_list_or_with_a_bad_tag_is_refused(self, bench: Bench) -> None:
        base = {"name": "x", "subject": "x", "body": "x", "content_type": "html"}
        with pytest.raises(Invalid):
            bench.client.post("/campaigns", {**base, "lists": []})
        with pytest.raises(Invalid):
            bench.client.post("/campaigns", {**base, "lists": [bench.new_list()], "body": "{{ Nonsense . }}"})

    def test_an_archived_list_keeps_its_people_and_its_tag(self, bench: Bench) -> None:
        wave, people, made = prepared(bench, 1)
        assert campaigns.archive_list(bench.client, made.list_id)
        found = bench.client.get(f"/lists/{made.list_id}")
        assert (found["status"], found["tags"]) == ("archived", [drafts.wave_tag(wave.id)])
        assert [s.address for s in listed(bench.client, made.list_id)] == people

    def test_views_and_clicks_are_counted(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 1)
        campaigns.resume(bench.client, made.campaign_id)
        html = (
            bench.sink.wait_for(set(people), 1)[0].message.get_payload()[1].get_payload(decode=True).decode()
        )  # type: ignore[index,union-attr]
        ended(bench, made.campaign_id)
        path = html.partition("https://lists-hc.performancewest.test/link/")[2].partition('"')[0]
        uuid = made.subscribers[people[0]][1]
        pixel = requests.get(f"{bench.client.url}/campaign/{made.campaign_uuid}/{uuid}/px.png", timeout=5)
        assert pixel.headers["content-type"] == "image/png"
        clicked = requests.get(f"{bench.client.url}/link/{path}", timeout=5, allow_redirects=False)
        assert (clicked.status_code, clicked.headers["location"]) == (307, "https://performancewest.test/npi")
        state = campaigns.state(bench.client, made.campaign_id)
        assert (state.views, state.clicks) == (1, 1)


class TestTrouble:
    @pytest.mark.parametrize("reply", ["550 5.1.1 unknown", "450 4.7.1 later"])
    def test_any_reply_is_final(self, bench: Bench, reply: str) -> None:
        _, people, made = prepared(bench, 3)
        bench.sink.script.append(reply)
        campaigns.resume(bench.client, made.campaign_id)
        state = ended(bench, made.campaign_id)
        assert (state.status, state.to_send) == (Status.FINISHED, 3)
        assert state.sent <= 2
        assert len(bench.sink.to(set(people))) == 2

    def test_a_cut_line_is_tried_again(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 3)
        bench.sink.script.extend(["drop", "drop"])
        campaigns.resume(bench.client, made.campaign_id)
        ended(bench, made.campaign_id)
        assert sorted(r.recipient for r in bench.sink.to(set(people))) == sorted(people)

    def test_too_many_errors_pause_the_campaign(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 8)
        bench.sink.always = "451 4.3.0 no"
        campaigns.resume(bench.client, made.campaign_id)
        assert ended(bench, made.campaign_id).status is Status.PAUSED
        assert bench.sink.to(set(people)) == []

    def test_settings_are_not_written_under_a_running_campaign(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 4)
        bench.sink.slow_s = 0.5
        campaigns.resume(bench.client, made.campaign_id)
        with pytest.raises(CampaignRunning, match="would lose the rest of a batch"):
            set_cap(bench.client, 5_000)
        bench.sink.wait_for(set(people), 4)
        ended(bench, made.campaign_id)


class TestRestartAndWindow:
    """Last: these change settings that the others rely on, and put them back."""

    def test_settings_stored_under_a_campaign_wait_for_a_restart(self, bench: Bench) -> None:
        _, people, made = prepared(bench, 4)
        bench.sink.slow_s = 0.5
        campaigns.resume(bench.client, made.campaign_id)
        bench.sink.wait_for(set(people), 1)
        whole = without_secrets(bench.client.get("/settings"))
        assert bench.client.put("/settings", {**whole, "app.site_name": "x"}) == {"needs_restart": True}
        assert bench.client.config()["needs_restart"] is True
        bench.sink.wait_for(set(people), 4)
        ended(bench, made.campaign_id)
        boot = bench.client.get("/logs")[0]
        applied = apply(bench.client, bench.declared, read_plan(bench.client, bench.declared).hash)
        assert not applied.written, "nothing differs: it was only restarted"
        assert bench.client.get("/logs")[0] != boot
        assert bench.client.config()["needs_restart"] is False

    def test_an_unchanged_object_restarts_it_too(self, bench: Bench) -> None:
        """Why nothing is written without a difference."""
        boot = bench.client.get("/logs")[0]
        assert bench.client.put("/settings", without_secrets(bench.client.get("/settings"))) is True
        until(lambda: boot_line(bench) not in (None, boot))

    def test_the_window_lets_its_rate_through_and_then_sleeps_it_out(self, bench: Bench) -> None:
        whole, boot = without_secrets(bench.client.get("/settings")), bench.client.get("/logs")[0]
        window = {"app.message_sliding_window_duration": "6s", "app.message_sliding_window_rate": 3}
        bench.client.put("/settings", {**whole, "app.message_sliding_window": True, **window})
        until(lambda: boot_line(bench) not in (None, boot))
        bench.pass_time(6)  # a new process begins a window of its own
        _, people, made = prepared(bench, 7)
        campaigns.resume(bench.client, made.campaign_id)
        bench.sink.wait_for(set(people), 3)
        time.sleep(0.5)
        assert len(bench.sink.to(set(people))) == 3
        bench.pass_time(6)
        bench.sink.wait_for(set(people), 6)
        bench.pass_time(6)
        ended(bench, made.campaign_id)
        assert len(bench.sink.to(set(people))) == 7
        apply(bench.client, bench.declared, read_plan(bench.client, bench.declared).hash)

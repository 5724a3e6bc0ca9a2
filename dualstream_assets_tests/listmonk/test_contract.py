"""What our driver relies on in listmonk, asked of the stand-in and, where there is one, of a real listmonk.

Real: DUALSTREAM_LISTMONK_URL, DUALSTREAM_LISTMONK_USER (default dualstream), DUALSTREAM_LISTMONK_TOKEN. It must be a
scratch one on this machine: its settings are overwritten and its mail goes to this process.
"""

from __future__ import annotations

import pytest
import requests

from dualstream_assets.listmonk import campaigns
from dualstream_assets.listmonk.applying import apply, read_cap, read_plan, read_window, set_cap
from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.errors import (
    Denied,
    Faulty,
    ImportNotVerified,
    Invalid,
    NotAsDeclared,
    PlanChanged,
)
from dualstream_assets.listmonk.importing import CsvRow, run_import
from dualstream_assets.listmonk.people import find, listed, listed_count, quoted
from dualstream_assets.listmonk.subscribers import counts, not_blocklisted, pull_optouts, push_suppression
from dualstream_assets_tests.listmonk.conftest import REAL_URL, Bench
from dualstream_assets_tests.listmonk.contract_steps import (
    AContent,
    AWave,
    known,
    post_bounce,
    prepared,
    raw_import,
    row_status,
    until,
)


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

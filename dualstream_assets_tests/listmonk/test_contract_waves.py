"""The contract, second half: waves, trouble, restarts. See test_contract.py."""

from __future__ import annotations

import time

import pytest
import requests

from dualstream_assets.listmonk import campaigns, drafts
from dualstream_assets.listmonk.applying import apply, read_plan, set_cap
from dualstream_assets.listmonk.campaigns import Status
from dualstream_assets.listmonk.declared import without_secrets
from dualstream_assets.listmonk.errors import (
    CampaignRunning,
    Invalid,
    MembersNotListed,
    WaveMismatch,
)
from dualstream_assets.listmonk.people import find, listed
from dualstream_assets.listmonk.subscribers import push_suppression
from dualstream_assets_tests.listmonk.conftest import Bench
from dualstream_assets_tests.listmonk.contract_steps import (
    WORKERS,
    AContent,
    AWave,
    boot_line,
    ended,
    known,
    post_bounce,
    prepared,
    row_status,
    until,
)


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

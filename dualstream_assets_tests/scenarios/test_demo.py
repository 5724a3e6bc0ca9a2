"""`make demo`: what it promises, from its exit code, its summary, its page, and what it leaves behind."""

from __future__ import annotations

import re
from pathlib import Path

from dualstream_assets_tests.scenarios.conftest import processes_naming, wait_until

HOT_IPS = {"127.124.0.107", "127.124.0.108", "127.124.0.109"}
OLD_IPS = {"127.124.0.94", "127.124.0.95", "127.124.0.96"}


def test_the_demo_ends_well(demo):
    assert demo.said.code == 0, demo.said.text[-4000:]


def test_the_auditors_five_figures_are_zero(demo):
    assert demo.summary["audit"] == {
        "leaked": 0,
        "over_cap": 0,
        "handed_over_twice": 0,
        "lost": 0,
        "opted_out_but_mailed": 0,
    }


def test_both_streams_mailed_and_each_only_from_its_own_addresses(demo):
    counts = demo.summary["deliveries_per_egress"]
    assert set(counts) == HOT_IPS | OLD_IPS
    assert all(counts.values())
    streams = demo.summary["deliveries_per_stream"]
    assert sum(counts[ip] for ip in HOT_IPS) == streams["healthcare"]
    assert sum(counts[ip] for ip in OLD_IPS) == streams["trucking"]


def test_the_daily_cap_was_used_up_on_each_of_two_days(demo):
    released = [day["released"]["healthcare"] for day in demo.summary["days"]]
    cap = demo.summary["caps"]["healthcare"]["per_day"]
    assert len(released) == 2
    assert all(0.9 * cap <= people <= cap for people in released), released


def test_three_files_were_split_and_the_rest_is_accounted_for(demo):
    segments = demo.summary["segments"]
    assert segments["institutional"] > segments["verified"] > 200
    assert segments["consumer"] > 0
    assert segments["direct"] > 0
    assert segments["rejects"] > 0


def test_verdicts_of_every_kind_of_mailbox_were_found(demo):
    assert {"deliverable", "catch_all", "undeliverable", "full", "blocked"} <= set(demo.summary["verdicts"])


def test_people_opted_out_and_were_left_alone(demo):
    assert sum(day["opted_out"] for day in demo.summary["days"]) > 0
    assert demo.summary["suppressed"] > 0
    assert demo.summary["audit"]["opted_out_but_mailed"] == 0


def test_broken_fcrdns_was_refused_three_ways_with_the_evidence_named(demo):
    red = demo.summary["seen_red"]
    for way in ("plain Python", "command line", "dagster run"):
        assert "healthcare: gate shut: 127.124.0.107 fcrdns" in red[f"fcrdns broken, {way}"], way


def test_a_wave_whose_process_was_killed_lost_nobody(demo):
    assert demo.summary["seen_red"]["kill -9 mid-wave"].startswith("killed while its wave was ")
    assert demo.summary["audit"]["lost"] == demo.summary["audit"]["handed_over_twice"] == 0


def test_the_cap_ended_the_day(demo):
    assert "cap" in demo.summary["seen_red"]["cap reached"]


def test_no_proof_is_red_and_isolation_and_cap_hold(demo):
    proofs = demo.summary["proofs"]
    assert proofs["isolation"] == proofs["cap"] == proofs["identity"] == "pass"
    assert "fail" not in proofs.values()


def test_the_report_page_is_self_contained_and_shows_no_persons_address(demo):
    page = (demo.folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert not re.search(r'(src|href)="https?://', page)
    assert not re.search(
        r"[a-z0-9._+-]+@[a-z0-9-]+(\.[a-z0-9-]+)*\.(test|com|net|org)\b", page, re.IGNORECASE
    )


def test_nothing_is_left_running(demo):
    assert wait_until(lambda: not processes_naming(str(demo.folder))), processes_naming(str(demo.folder))


def test_dagsters_metadata_holds_no_persons_address(demo):
    """Every event of every run, as the UI would show it."""
    import psycopg

    from dualstream_assets.settings import Settings
    from dualstream_assets.store.postgres import server_url

    settings = Settings.read({"DUALSTREAM_STATE": str(Path(demo.folder) / "state")})
    with psycopg.connect(server_url(settings, "dagster")) as connection:
        rows = connection.execute(
            "select event from event_logs union all select run_body from runs"
        ).fetchall()
    text = "\n".join(row[0] for row in rows)
    ours = r"[\w.-]+@(?:[\w-]+\.)*(performancewest|mailboxcheck)\.test"
    found = {m for m in re.findall(r"[\w.+=-]+@[\w-]+(?:\.[\w-]+)+", text) if not re.fullmatch(ours, m)}
    assert len(rows) > 100
    assert not found, f"{len(found)} addresses in metadata"

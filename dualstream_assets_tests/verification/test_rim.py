"""The Dagster rim: the graph over shards, the acting switch, the verified file, the evidence of its checks."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dualstream_assets import keys
from dualstream_assets.audience.manifest import MANIFEST, FileFacts, Manifest
from dualstream_assets.settings import Settings
from dualstream_assets.store.evidence import Verdict, newest
from dualstream_assets.store.files import sha256_of
from dualstream_assets.verification import work
from dualstream_assets.verification.assets import assets
from dualstream_assets.verification.automation import automation
from dualstream_assets.verification.candidates import CandidatesMissing
from dualstream_assets.verification.checks import checks
from dualstream_assets.verification.targets import ProbeRefused
from dualstream_assets.verification.verdicts import write_verified
from dualstream_assets.workplace import Endpoints, Workplace
from dualstream_assets_tests.verification.conftest import Verifier
from dualstream_assets_tests.verification.smtpd import Host, unknown_unless

COLUMNS = ("npi", "email", "domain", "rank", "segment")


@dataclass
class Rim:
    """The room's definitions over a verifier's world."""

    verifier: Verifier
    workplace: Workplace
    environment: str = "lab"
    extra: dict[str, Any] = field(default_factory=dict)

    def file(self, *addresses: str, segment: str = "institutional") -> None:
        """Publish the institutional file with its manifest."""
        path = self.workplace.paths.audience / keys.INSTITUTIONAL_CSV
        with path.open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerow(COLUMNS)
            for rank, address in enumerate(addresses, 1):
                writer.writerow([f"{rank:010d}", address, address.partition("@")[2], rank, segment])
        facts = FileFacts(len(addresses), path.stat().st_size, sha256_of(path))
        manifest = Manifest({path.name: facts}, {}, {}, "2026-11-30", "", "", {}, {}, {})
        (path.parent / MANIFEST).write_text(manifest.text())

    def definitions(self) -> dg.Definitions:
        parts = (self.verifier.estate, self.environment)
        upstream = dg.AssetSpec(list(keys.AUDIENCE_INSTITUTIONAL))
        return dg.Definitions(
            assets=[upstream, *assets(*parts)],
            asset_checks=checks(*parts),
            jobs=automation(*parts).jobs,
            resources={"workplace": self.workplace},
            executor=dg.in_process_executor,
        )

    def materialize(self, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        job = self.definitions().resolve_implicit_global_asset_job_def()
        return job.execute_in_process(run_config=config or {}, raise_on_error=False)

    def verified(self) -> list[dict[str, str]]:
        with (self.workplace.paths.audience / keys.VERIFIED_CSV).open(newline="") as file:
            return list(csv.DictReader(file))

    def metadata(self, result: dg.ExecuteInProcessResult, key: keys.Key) -> dict[str, Any]:
        events = [
            e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(list(key))
        ]
        return {name: value.value for name, value in events[-1].materialization.metadata.items()}

    def evidence(self) -> dict[str, Verdict]:
        with self.verifier.database.transaction() as connection:
            found = newest(connection, "healthcare")
        return {s.fact: e.verdict for s, e in found.items() if s.subject == "verification"}


@pytest.fixture
def rim(verifier: Verifier, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rim:
    monkeypatch.setattr(work, "_resolver", lambda _nameservers: verifier.resolver)
    verifier.domain("a.test", "127.40.1.1", Host(unknown_unless("live@a.test")))
    verifier.domain("b.test", "127.40.1.2", Host(), mx="aspmx.l.google.com")
    verifier.domain("c.test", "127.40.1.3", Host(), mx="mta5.am0.yahoodns.net")
    endpoints = Endpoints((), verifier.smtpd.port, "", {}, {}, None, None, tmp_path, tmp_path)
    workplace = Workplace(settings, verifier.estate, verifier.clock, endpoints, verifier.database)
    made = Rim(verifier, workplace)
    made.file("live@a.test", "any@b.test", "dead@a.test", "one@c.test")
    return made


def as_production(rim: Rim) -> Rim:
    settings = replace(rim.workplace.settings, environment="production")
    return Rim(rim.verifier, replace(rim.workplace, settings=settings), "production")


def test_the_whole_room_materializes_and_writes_only_the_live_in_rank_order(rim: Rim) -> None:
    result = rim.materialize()
    assert result.success
    assert [(r["email"], r["verdict"], r["mx_host"]) for r in rim.verified()] == [
        ("live@a.test", "deliverable", "mail.a.test")
    ]
    assert list(rim.verified()[0]) == [*COLUMNS, "verdict", "verified_at", "operator", "mx_host"]
    assert rim.verified()[0]["verified_at"].endswith("Z")
    assert rim.evidence() == {"verified_fresh": Verdict.PASS, "probe_ip_apart": Verdict.PASS}


def test_metadata_has_counts_and_no_address(rim: Rim) -> None:
    result = rim.materialize()
    seen = rim.metadata(result, keys.VERIFICATION_VERDICTS)
    assert {k: seen[k] for k in ("deliverable", "catch_all", "undeliverable", "risky", "due")} == {
        "deliverable": 1,
        "catch_all": 1,
        "undeliverable": 1,
        "risky": 1,
        "due": 0,
    }
    assert seen["outcome"].startswith("3 shards asked")
    for key in (keys.VERIFICATION_MX, keys.VERIFICATION_VERDICTS, keys.VERIFIED_INSTITUTIONAL):
        assert "@" not in str(rim.metadata(result, key))


def test_catch_all_people_are_kept_where_the_policy_says_so(rim: Rim) -> None:
    policy = rim.verifier.estate.verification.model_copy(update={"catch_all_policy": "send"})
    rim.workplace.estate = rim.verifier.estate.model_copy(update={"verification": policy})
    rim.materialize()
    assert [r["email"] for r in rim.verified()] == ["live@a.test", "any@b.test"]


def test_in_production_nobody_is_asked_unless_the_run_says_so(rim: Rim) -> None:
    production = as_production(rim)
    result = production.materialize()
    assert not rim.verifier.smtpd.connections
    assert not rim.verifier.resolver.asked
    assert production.metadata(result, keys.VERIFICATION_VERDICTS)["outcome"].startswith(
        "PLANNED, nobody asked"
    )
    assert (
        production.metadata(result, keys.VERIFICATION_MX)["outcome"]
        == "PLANNED, nobody asked: 3 domains are due"
    )


def test_in_production_the_job_asks_but_never_a_loopback_address(rim: Rim) -> None:
    production = as_production(rim)
    job = production.definitions().resolve_job_def("verify_mailboxes")
    job.execute_in_process(raise_on_error=False)
    assert len(rim.verifier.resolver.asked) == 3
    assert not rim.verifier.smtpd.connections
    assert rim.verifier.rules()["live@a.test"] == "target_refused"


def test_in_dev_nobody_is_asked_even_on_request(rim: Rim) -> None:
    settings = replace(rim.workplace.settings, environment="dev")
    with pytest.raises(ProbeRefused, match="dev asks nobody"):
        work.verify(replace(rim.workplace, settings=settings), timedelta(0), None)


def test_a_probe_address_that_sends_stops_everything_and_says_so(rim: Rim) -> None:
    egress = rim.verifier.estate.egress[0]
    probe = rim.verifier.estate.probe.model_copy(update={"ip": egress.ip})
    rim.workplace.estate = rim.verifier.estate.model_copy(update={"probe": probe})
    result = rim.materialize()
    assert not result.success
    assert not rim.verifier.smtpd.connections


def test_a_changed_file_and_old_verdicts_shut_the_gate(rim: Rim) -> None:
    from dualstream_assets.verification.findings import verified_fresh

    rim.materialize()
    assert verified_fresh(rim.workplace).holds
    path = rim.workplace.paths.audience / keys.VERIFIED_CSV
    whole = path.read_text()
    path.write_text(whole + '"9","smuggled@a.test","a.test","9","deliverable","","",""\n')
    assert "somebody changed it" in verified_fresh(rim.workplace).text
    path.write_text(whole)
    rim.verifier.clock.sleep(46 * 24 * 3600)
    assert verified_fresh(rim.workplace).holds is False


def test_an_audience_that_was_built_again_shuts_the_gate_until_its_copy_is_made_again(rim: Rim) -> None:
    from dualstream_assets.sending.stock import StockUnsafe, read_stock
    from dualstream_assets.verification.findings import verified_fresh

    rim.file("live@a.test", "any@b.test", "other@a.test")
    rim.verifier.smtpd.hosts["127.40.1.1"].rcpt = unknown_unless("live@a.test", "other@a.test")
    rim.materialize()
    folder = rim.workplace.paths.audience
    assert verified_fresh(rim.workplace).holds
    assert len(read_stock(folder, "institutional").people) == 2
    rim.file("live@a.test", "any@b.test")  # other@a.test is excluded now
    found = verified_fresh(rim.workplace)
    assert found.holds is False
    assert "the audience was built again since. Next: dagster asset materialize --select" in found.text
    with pytest.raises(StockUnsafe, match="built again since"):
        read_stock(folder, "institutional")
    rim.materialize()
    assert verified_fresh(rim.workplace).holds
    assert [person.address for person in read_stock(folder, "institutional").people] == ["live@a.test"]


@pytest.mark.parametrize("harm", ["", "[]", "{}", '{"sha256": 1}'])
def test_a_damaged_manifest_of_either_file_shuts_the_gate(rim: Rim, harm: str) -> None:
    from dualstream_assets.verification.findings import verified_fresh
    from dualstream_assets.verification.verdicts import manifest_path

    rim.materialize()
    for path in (manifest_path(rim.workplace.paths.audience), rim.workplace.paths.audience / MANIFEST):
        whole = path.read_text()
        path.write_text(harm)
        assert verified_fresh(rim.workplace).holds is False
        path.write_text(whole)
    assert verified_fresh(rim.workplace).holds


def test_a_direct_file_under_the_institutional_name_is_never_copied(rim: Rim) -> None:
    rim.file("office@direct.clinic.test", segment="direct")
    with pytest.raises(CandidatesMissing, match="holds a row of segment direct"):
        write_verified(
            rim.workplace.database, rim.workplace.clock, rim.workplace.estate, rim.workplace.paths.audience
        )
    assert not (rim.workplace.paths.audience / keys.VERIFIED_CSV).exists()


def test_a_check_that_raises_leaves_unknown_behind(rim: Rim, monkeypatch: pytest.MonkeyPatch) -> None:
    from dualstream_assets.verification import findings

    rim.materialize()

    def broken(_workplace: Workplace) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(findings, "verified_fresh", broken)
    rim.materialize()
    assert rim.evidence()["verified_fresh"] is Verdict.UNKNOWN
    assert rim.evidence()["probe_ip_apart"] is Verdict.PASS


def test_a_missing_institutional_file_names_the_next_command(rim: Rim) -> None:
    (rim.workplace.paths.audience / keys.INSTITUTIONAL_CSV).unlink()
    with pytest.raises(FileNotFoundError, match=r"--select '\+audience/institutional'"):
        work.verify(rim.workplace, timedelta(0), None)


def test_large_operators_have_shards_of_their_own(rim: Rim) -> None:
    work.look_up(rim.workplace, act=True)
    shards = work.shards_due(rim.workplace)
    assert {"google", "by-dns"} < set(shards)
    assert len(shards) == 3

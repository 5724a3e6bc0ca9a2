"""Deploying: by plan and hash, read back, whole files kept, refused where it would hide or leak something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.mta.apply import BACKUPS, apply_mta
from dualstream_assets.mta.files import STOCK_MASTER
from dualstream_assets.mta.live import (
    MASTER,
    FolderTarget,
    HostTarget,
    MtaError,
    assumptions,
    plan_mta,
    read_live,
    settings,
    target_for,
)
from dualstream_assets.mta.render import render
from dualstream_assets.outside.plan import PlanChanged
from dualstream_assets.outside.ssh import Ran, RunnerError
from dualstream_assets.workplace import Workplace


class PretendHost:
    """A machine in a dict: the files and the Postfix programs that deploying calls."""

    def __init__(
        self, *, version: str = "3.7.11", check: str = "", main: str = "myhostname = app.test\n"
    ) -> None:
        self.files: dict[str, str] = {MASTER: STOCK_MASTER, "/etc/postfix/main.cf": main}
        self.version, self.check, self.set_in_main = version, check, main
        self.ran: list[str] = []

    def run(self, words: Sequence[str], *, text: str | None = None, timeout_s: float = 30.0) -> Ran:
        program, path = words[0], words[-1]
        out, err, code = "", "", 0
        match program:
            case "test":
                code = 0 if path in self.files else 1
            case "cat":
                out = self.files[path]
            case "tee":
                self.files[path] = text or ""
            case "mv":
                self.files[path] = self.files.pop(words[-2])
            case "rm":
                self.files.pop(path, None)
            case "postconf" if path == "mail_version":
                out = self.version
            case "postconf" if path == "-n":
                out = self.set_in_main
            case "postfix":
                self.ran.append(path)
                err = self.check if path == "check" else ""
        return Ran(tuple(words), code, out, err)


@pytest.fixture
def host() -> PretendHost:
    return PretendHost()


def on(host: PretendHost) -> HostTarget:
    return HostTarget(host, "the host")


def test_the_lab_deploys_into_its_folder_and_the_second_plan_is_empty(workplace: Workplace):
    target = target_for(workplace)
    assert not plan_mta(workplace.estate, "lab", target).empty
    applied = apply_mta(workplace, target, None)
    assert applied.row_id is not None
    assert plan_mta(workplace.estate, "lab", target).empty
    assert (workplace.paths.mta / "deployed/etc/postfix/hc/command_filter").exists()
    assert apply_mta(workplace, target, None).row_id is None


def test_what_is_deployed_binds_each_transport_to_its_own_address(workplace: Workplace):
    target = target_for(workplace)
    apply_mta(workplace, target, None)
    live = read_live(target, render(workplace.estate, "lab"))
    assert live.bound == {"hcout1": "127.124.0.107", "hcout2": "127.124.0.108", "hcout3": "127.124.0.109"}


def test_dev_uses_a_folder_too_and_needs_the_hash(workplace: Workplace):
    dev = replace(workplace, settings=replace(workplace.settings, environment="dev"))
    target = target_for(dev)
    assert isinstance(target, FolderTarget)
    with pytest.raises(MtaError, match="takes the hash of the plan"):
        apply_mta(dev, target, None)
    assert target.read(MASTER) is None


def test_another_hash_is_refused_and_nothing_is_written(workplace: Workplace):
    target = target_for(workplace)
    with pytest.raises(PlanChanged):
        apply_mta(workplace, target, "0" * 64)
    assert target.read(MASTER) is None


def test_production_without_an_address_of_the_host_says_where_to_declare_it(workplace: Workplace):
    estate = workplace.estate
    app = estate.hosts["app"].model_copy(update={"address": None})
    bare = estate.model_copy(update={"hosts": {**estate.hosts, "app": app}})
    production = replace(
        workplace, estate=bare, settings=replace(workplace.settings, environment="production")
    )
    with pytest.raises(MtaError, match=r"hosts\.app\.address"):
        target_for(production)


def test_a_host_gets_its_files_is_checked_then_reloaded_and_keeps_backups(
    workplace: Workplace, host: PretendHost
):
    plan = plan_mta(workplace.estate, "lab", on(host))
    apply_mta(workplace, on(host), plan.plan_hash)
    assert host.ran == ["check", "reload"]
    assert host.files["/etc/postfix/main.cf"].startswith("myhostname = app.test\n")
    backups = {path: text for path, text in host.files.items() if path.startswith(BACKUPS)}
    assert STOCK_MASTER in backups.values()
    assert plan_mta(workplace.estate, "lab", on(host)).empty
    assert not [path for path in host.files if path.endswith("-part")]


def test_what_postfix_refuses_is_taken_back_and_never_reloaded(workplace: Workplace):
    host = PretendHost(check="postfix/postfix-script: fatal: bad table")
    before = dict(host.files)
    plan = plan_mta(workplace.estate, "lab", on(host))
    with pytest.raises(MtaError, match="bad table; not reloaded"):
        apply_mta(workplace, on(host), plan.plan_hash)
    assert host.ran == ["check"]
    assert {p: t for p, t in host.files.items() if not p.startswith(BACKUPS)} == before


def test_a_rule_of_truckings_that_ours_would_hide_stops_the_apply(workplace: Workplace):
    host = PretendHost(main="smtpd_sender_restrictions = reject_unknown_sender_domain\n")
    plan = plan_mta(workplace.estate, "lab", on(host))
    with pytest.raises(MtaError, match="would hide"):
        apply_mta(workplace, on(host), plan.plan_hash)
    assert host.ran == []


def test_a_postfix_that_does_not_enforce_an_address_is_refused(workplace: Workplace):
    with pytest.raises(MtaError, match=r"3\.5\.25 does not enforce"):
        plan_mta(workplace.estate, "lab", on(PretendHost(version="3.5.25")))


def test_a_host_without_pickup_is_no_postfix_we_know(workplace: Workplace, host: PretendHost):
    host.files[MASTER] = "smtp inet n - - - - smtpd\n"
    with pytest.raises(MtaError, match="no service pickup/unix"):
        plan_mta(workplace.estate, "lab", on(host))


def test_an_unreachable_host_is_an_error_not_an_empty_plan(lab_estate: Estate):
    class Gone:
        def run(self, words: Sequence[str], *, text: str | None = None, timeout_s: float = 30.0) -> Ran:
            raise RunnerError("root@192.0.2.1:22: timed out")

    with pytest.raises(RunnerError, match="timed out"):
        plan_mta(lab_estate, "lab", HostTarget(Gone(), "the host"))


def test_what_main_cf_assumes_otherwise_is_named():
    good = settings(
        "enable_long_queue_ids = yes\nsmtpd_milters =\n    inet:127.0.0.1:8891\n# delay_warning_time = 4h\n"
    )
    assert list(assumptions(good)) == []
    bad = settings("delay_warning_time = 4h\nsmtp_fallback_relay = relay.test\n")
    said = " ".join(assumptions(bad))
    for name in (
        "delay_warning_time = 4h",
        "smtp_fallback_relay",
        "enable_long_queue_ids = no",
        "smtpd_milters",
    ):
        assert name in said

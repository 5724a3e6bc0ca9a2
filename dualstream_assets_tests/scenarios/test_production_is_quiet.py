"""'Materialize all' with production settings: no mail, no probe, no write outside; a guard sits on every socket."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dualstream_assets_tests.scenarios.conftest import ROOT, environment

ANSWERS = (
    ('domain = "performancewest.net"',
     'domain = "performancewest.net"\ntime_zone = "America/New_York"\nalert_target = "x"\ndead_man_url = "x"'),
    ("[probe]", '[probe]\nip = "192.0.2.10"\nhelo = "verify.mailboxcheck.test"\nmail_from = "v@mailboxcheck.test"'),
    ("price_usd = 399", 'price_usd = 399\nfrom_address = "help@performancewest.net"\nfrom_name = "PW"\n'
     'reply_to = "reply@performancewest.net"\ntool_url = "https://performancewest.net/npi"\n'
     'product_url = "https://performancewest.net/pecos"\npostal_address = "100 Example Street, Springfield, IL 62701"'),
    ("valid_days = 45", 'valid_days = 45\ncatch_all_policy = "hold"'),
    ('role = "Postfix and listmonk"', 'role = "Postfix and listmonk"\naddress = "192.0.2.20"'),
    ('clients = ["127.0.0.1/32"]           #', 'clients = ["127.0.0.1/32", "172.18.0.5/32"] #'),
    ("# bridge_if: a question.", 'bridge_if = "br0"'),
    ("# url: a question.", 'url = "http://192.0.2.21:9100"'),
    ('return_path_domain = "bounce-hc.performancewest.net"',
     'return_path_domain = "bounce-hc.performancewest.net"\n'
     'return_path.address = "bounces@bounce-hc.performancewest.net"\nreply_to.address = "reply@performancewest.net"'),
    ("[organisation]", 'seeds = ["seed@seed.test"]\n\n[organisation]'),
)  # fmt: skip

GUARDED = """
import json, socket, sys

touched = []

def guard(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        family = args[0].family
        if family == socket.AF_UNIX:
            return
        address = args[1] if len(args) > 1 else None
        touched.append((event, str(address)))
        raise ConnectionRefusedError("the guard of this test")

sys.addaudithook(guard)
from dualstream_assets.definitions import defs
import dagster as dg

with dg.DagsterInstance.get() as instance:
    done = defs.get_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
states = {}
for event in done.all_events:
    if event.step_key and event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"):
        states[event.step_key] = event.event_type_value
from dualstream_assets.entry import open_workplace
with open_workplace().database.transaction() as connection:
    rows = {t: connection.execute(f"select count(*) from {t}").fetchone()[0]
            for t in ("wave", "permit", "probe_journal", "applied_plan", "cap_history")}
print("RESULT " + json.dumps({"touched": touched, "states": states, "rows": rows}))
"""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("production")
    text = (ROOT / "infra" / "estate.toml").read_text()
    for old, new in ANSWERS:
        assert old in text, old
        text = text.replace(old, new, 1)
    estate = folder / "estate.toml"
    estate.write_text(text)
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dualstream_assets/store/dagster.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-c", GUARDED],
        env=environment(
            folder / "state",
            DUALSTREAM_ENV="production",
            DUALSTREAM_ESTATE=str(estate),
            DAGSTER_HOME=str(home),
            DUALSTREAM_LISTMONK_HC_TOKEN="a-token",
            DUALSTREAM_LISTMONK_TRUCKING_TOKEN="another",
        ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    line = next((x for x in done.stdout.splitlines() if x.startswith("RESULT ")), None)
    assert line, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(line.removeprefix("RESULT ")) | {"folder": folder}


def test_no_submission_port_and_no_mail_host_is_touched(quiet):
    ports = {address.rpartition(",")[2].strip(" )'") for _, address in quiet["touched"]}
    assert not ports & {"25", "465", "587", "2526", "2527", "2528"}, quiet["touched"]


def test_only_questions_are_asked_outside(quiet):
    """DNS, SSH and listmonk's API are read; nothing else is spoken to."""
    ports = {address.rpartition(",")[2].strip(" )'") for _, address in quiet["touched"]}
    assert ports <= {"53", "22", "9100", "9101"}, quiet["touched"]


def test_no_wave_no_permit_no_probe_no_apply_no_cap_is_recorded(quiet):
    assert quiet["rows"] == {"wave": 0, "permit": 0, "probe_journal": 0, "applied_plan": 0, "cap_history": 0}


def test_the_run_was_real(quiet):
    """It fails closed where the outside is missing; what needs no outside has run."""
    assert quiet["states"]["mta__config"] == "STEP_SUCCESS"
    assert len(quiet["states"]) > 20


def test_nothing_was_written_outside_the_state_folder(quiet):
    folder: Path = quiet["folder"]
    assert {p.name for p in folder.iterdir()} <= {"estate.toml", "dagster", "state"}

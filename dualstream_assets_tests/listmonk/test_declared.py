"""The declared settings and the plan that leads there."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.lab.listmonk_settings import FRESH, accepted, masked
from dualstream_assets.listmonk.declared import (
    Declared,
    belt_rate,
    declared_for,
    minutes_of,
    normalised_name,
    plan,
    plan_window,
    without_secrets,
)


def fresh() -> dict[str, Any]:
    """A fresh installation, as GET shows it."""
    return masked(copy.deepcopy(dict(FRESH)))


def after(current: dict[str, Any], declared: Declared) -> dict[str, Any]:
    """What GET shows once the plan is written."""
    return masked(accepted(plan(current, declared).whole, copy.deepcopy(dict(FRESH))))


def test_healthcare_gets_one_server_per_port_and_its_return_path(hc_declared: Declared) -> None:
    servers = [(s["name"], s["host"], s["port"], s["hello_hostname"]) for s in hc_declared.servers]
    assert servers == [
        ("email-hcout1", "127.0.0.1", 2526, "hcmta01.performancewest.test"),
        ("email-hcout2", "127.0.0.1", 2527, "hcmta02.performancewest.test"),
        ("email-hcout3", "127.0.0.1", 2528, "hcmta03.performancewest.test"),
    ]
    for server in hc_declared.servers:
        assert server["email_headers"] == [{"Return-Path": "bounces@bounce-hc.performancewest.test"}]
        assert server["max_msg_retries"] >= server["max_conns"] + 2
        assert hc_declared.values["app.concurrency"] <= server["max_conns"]


def test_trucking_keeps_its_envelope_and_its_one_port(lab_estate: Estate) -> None:
    declared = declared_for(lab_estate, "trucking", "lab")
    assert [(s["port"], s["email_headers"]) for s in declared.servers] == [(25, [])]
    assert "privacy.domain_blocklist" not in declared.values


def test_a_container_reaches_postfix_over_the_bridge(lab_estate: Estate) -> None:
    listen = {"listen": ("127.0.0.1", "172.18.0.1"), "clients": ("127.0.0.1/32",)}
    raw = lab_estate.model_dump()
    raw["environments"]["lab"] = {**raw["environments"]["lab"], **listen}
    raw["streams"]["healthcare"]["listmonk"]["container"] = "listmonk-hc"
    estate = Estate.model_validate(raw)
    assert {s["host"] for s in declared_for(estate, "healthcare", "lab").servers} == {"172.18.0.1"}
    assert {s["host"] for s in declared_for(estate, "trucking", "lab").servers} == {"127.0.0.1"}


def test_a_fresh_installation_loses_its_enabled_sample_server(hc_declared: Declared) -> None:
    found = plan(fresh(), hc_declared)
    removed = [c.target for c in found.plan.changes if c.kind == "delete"]
    assert removed == ["smtp[smtp.yoursite.invalid:25]"]
    assert [s["port"] for s in found.whole["smtp"]] == [2526, 2527, 2528]


def test_once_written_there_is_nothing_left_to_write(hc_declared: Declared) -> None:
    assert plan(after(fresh(), hc_declared), hc_declared).empty


def test_no_secret_is_in_the_plan_and_masks_go_back_empty(hc_declared: Declared) -> None:
    current = fresh()
    found = plan(current, hc_declared)
    assert "•" not in json.dumps(dict(found.whole), ensure_ascii=False)
    assert "•" not in found.plan.render_diff()
    assert found.whole["bounce.mailboxes"][0]["password"] == ""
    assert current["bounce.mailboxes"][0]["password"] == "••••••••", "the argument is left alone"


def test_a_servers_uuid_is_kept_so_that_its_password_is(hc_declared: Declared) -> None:
    current = after(fresh(), hc_declared)
    current["smtp"][0].update(uuid="u-1", password="•••", port=9999)
    found = plan(current, hc_declared)
    assert found.changed == ("smtp[email-hcout1].port",)
    assert (found.whole["smtp"][0]["uuid"], found.whole["smtp"][0]["password"]) == ("u-1", "")


def test_a_server_that_was_renamed_is_known_by_its_port(hc_declared: Declared) -> None:
    current = after(fresh(), hc_declared)
    current["smtp"][1]["name"] = "email-other"
    assert plan(current, hc_declared).changed == ("smtp[email-hcout2].name",)


def test_keys_that_this_version_lacks_are_told_not_written(hc_declared: Declared) -> None:
    current = after(fresh(), hc_declared)
    del current["privacy.disable_tracking"]
    found = plan(current, hc_declared)
    assert (found.empty, found.absent) == (True, ("privacy.disable_tracking",))
    assert "privacy.disable_tracking" not in found.whole


def test_the_order_of_a_domain_list_is_no_difference(lab_estate: Estate) -> None:
    declared = declared_for(lab_estate, "healthcare", "lab", ("a.example", "b.example"))
    current = after(fresh(), declared)
    current["privacy.domain_blocklist"] = ["b.example", "a.example"]
    assert plan(current, declared).empty


@pytest.mark.parametrize(
    ("on", "length", "rate", "left_alone"),
    [
        (True, "6m", 7, True),
        (True, "6m0s", 61, True),  # the highest stage of the estate
        (True, "360s", 37, True),
        (True, "6m", 62, False),
        (True, "6m", 1, False),  # listmonk sends 2
        (True, "1h", 61, False),
        (False, "6m", 7, False),
    ],
)
def test_a_window_that_rampcap_may_have_set_is_left_alone(
    hc_declared: Declared, on: bool, length: str, rate: int, left_alone: bool
) -> None:
    current = after(fresh(), hc_declared)
    current |= {
        "app.message_sliding_window": on,
        "app.message_sliding_window_duration": length,
        "app.message_sliding_window_rate": rate,
    }
    found = plan(current, hc_declared)
    assert found.empty is left_alone
    if not left_alone:
        assert found.whole["app.message_sliding_window_rate"] == belt_rate(60), (
            "the lowest stage, never the highest"
        )


def test_the_belt_is_one_more_than_a_tenth_of_the_cap() -> None:
    assert [belt_rate(cap) for cap in (60, 100, 300, 600, 1000)] == [7, 11, 31, 61, 101]


def test_a_window_plan_touches_the_window_only(hc_declared: Declared) -> None:
    current = fresh()
    found = plan_window(current, 11, 6)
    differing = {k for k in current if found.whole[k] != without_secrets(current)[k]}
    assert differing == {
        "app.message_sliding_window",
        "app.message_sliding_window_duration",
        "app.message_sliding_window_rate",
    }


def test_the_hash_is_that_of_the_differences(hc_declared: Declared) -> None:
    current = fresh()
    one = plan(current, hc_declared).hash
    current["app.site_name"] = "renamed by somebody"
    assert plan(current, hc_declared).hash == one, "what is not ours may change meanwhile"
    current["app.batch_size"] = 500
    assert plan(current, hc_declared).hash != one


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("6m", 6), ("1h", 60), ("1h30m", 90), ("360s", 6), ("6m0s", 6), ("", None), ("6", None), ("soon", None)],
)
def test_durations_are_read_as_go_writes_them(text: str, minutes: float | None) -> None:
    assert minutes_of(text) == minutes


def test_names_are_normalised_as_listmonk_does() -> None:
    assert [normalised_name(n) for n in ("HC out.1", "email-x", "")] == ["email-hc-out-1", "email-x", ""]

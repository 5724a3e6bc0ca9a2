"""The graph: every asset of the design is present, the edges are exactly these, and it loads without a cycle."""

from __future__ import annotations

import dagster as dg
import pytest

from dualstream_assets import keys
from dualstream_assets.definitions import build_defs

SHARED_EDGES = {
    "nppes/endpoints": {"nppes/release"},
    "nppes/providers": {"nppes/release", "nppes/endpoints"},
    "cms/revalidation": {"nppes/release"},
    "cms/exclusions": {"nppes/release"},
    **{
        f"audience/{name}": {"nppes/endpoints", "nppes/providers", "cms/revalidation", "cms/exclusions"}
        for name in ("institutional", "consumer", "direct", "review", "rejects")
    },
    "verification/mx": {"audience/institutional"},
    "verification/verdicts": {"verification/mx"},
    "verification/verified_institutional": {"verification/verdicts", "audience/institutional"},
    "mta/deployed": {"mta/config"},
    "mta/drift": {"mta/deployed"},
    "maillog/outcomes": {"maillog/log"},
    "sending/suppression": {"maillog/outcomes", "healthcare/listmonk", "trucking/listmonk"},
    "sending/forecast": {"healthcare/rampcap", "trucking/rampcap", "verification/verified_institutional"},
    "proofs/isolation": {"maillog/outcomes", "mta/drift"},
    "proofs/cap": {"maillog/outcomes", "healthcare/rampcap", "trucking/rampcap"},
    "proofs/identity": {
        "healthcare/identity",
        "trucking/identity",
        "healthcare/message_score",
        "trucking/message_score",
    },
    "proofs/deliverability": {"healthcare/delivery", "trucking/delivery"},
    "proofs/no_regression": {"healthcare/delivery", "trucking/delivery"},
    "proofs/report": {keys.text(key) for key in keys.PROOFS},
    "operations/board": {keys.text(key) for key in keys.PROOFS} | {"healthcare/gate", "trucking/gate"},
}
ROOTS = {"nppes/release", "identity/dns_plan", "mta/config", "maillog/log"}
AUDIENCE_OF = {"healthcare": "verification/verified_institutional", "trucking": "audience/consumer"}


def stream_edges(stream: str) -> dict[str, set[str]]:
    own = lambda *names: {f"{stream}/{name}" for name in names}  # noqa: E731
    return {
        f"{stream}/listmonk": set(),
        f"{stream}/campaign": set(),
        f"{stream}/identity": {"identity/dns_plan"},
        f"{stream}/message_score": own("identity", "campaign") | {"mta/deployed"},
        f"{stream}/subscribers": own("listmonk") | {"sending/suppression", AUDIENCE_OF[stream]},
        f"{stream}/delivery": {"maillog/outcomes"},
        f"{stream}/rampcap": own("delivery", "listmonk"),
        f"{stream}/gate": own("identity", "message_score", "campaign", "subscribers", "rampcap")
        | {"mta/deployed", "mta/drift", "sending/suppression"},
        f"{stream}/waves": own("gate", "subscribers", "rampcap", "identity", "campaign")
        | {"maillog/outcomes", "sending/suppression", "mta/deployed"},
        f"{stream}/engagement": own("listmonk"),
    }


@pytest.fixture(scope="module")
def defs(lab_estate, tmp_path_factory):
    from dualstream_assets.settings import Settings

    settings = Settings.read({"DUALSTREAM_STATE": str(tmp_path_factory.mktemp("graph"))})
    return build_defs(lab_estate, settings)


@pytest.fixture(scope="module")
def edges(defs) -> dict[str, set[str]]:
    graph = defs.get_repository_def().asset_graph
    return {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }


def test_the_edge_list_is_the_designs(edges):
    wanted = {root: set() for root in ROOTS} | SHARED_EDGES
    for stream in ("healthcare", "trucking"):
        wanted |= stream_edges(stream)
    assert edges == wanted


def test_the_definitions_are_loadable(defs):
    dg.Definitions.validate_loadable(defs)


def test_the_mail_log_has_no_arrow_from_the_waves(edges):
    assert edges["maillog/log"] == set()


def test_every_asset_says_what_it_is_what_makes_it_red_and_what_to_do(defs):
    graph = defs.get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert "**Red when**" in node.description, key
        assert "**Then**" in node.description, key
        assert "operations/board" in node.description, key
        assert node.tags["dualstream/environment"] == "lab", key
        assert node.owners, key


def test_stream_assets_carry_their_stream_as_a_tag(defs):
    graph = defs.get_repository_def().asset_graph
    for name, _room in keys.STREAM_ASSETS:
        for stream in ("healthcare", "trucking"):
            assert graph.get(dg.AssetKey([stream, name])).tags["dualstream/stream"] == stream


def test_groups_are_the_rooms(defs):
    graph = defs.get_repository_def().asset_graph
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {
        "registry",
        "audience",
        "verification",
        "identity",
        "mta",
        "listmonk",
        "maillog",
        "sending",
        "proofs",
        "operations",
    }


def test_what_sends_is_off_and_what_protects_is_on(lab_estate, tmp_path):
    from dualstream_assets.estate.load import load_estate
    from dualstream_assets.settings import Settings

    estate = load_estate(_production_file())
    settings = Settings.read({"DUALSTREAM_STATE": str(tmp_path), "DUALSTREAM_ENV": "dev"})
    repository = build_defs(estate, settings).get_repository_def()
    running = {s.name for s in repository.schedule_defs if s.default_status.value == "RUNNING"}
    running |= {s.name for s in repository.sensor_defs if s.default_status.value == "RUNNING"}
    names = {s.name for s in [*repository.schedule_defs, *repository.sensor_defs]}
    sending = {name for name in names if "wave" in name or "send" in name}
    assert sending, names
    assert not sending & running


def _production_file():
    from pathlib import Path

    return Path(__file__).resolve().parents[2] / "infra" / "estate.toml"

"""Runs of both rooms in this process, and what they left."""

from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from dualstream_assets.audience.assets import assets as audience_assets
from dualstream_assets.audience.checks import checks as audience_checks
from dualstream_assets.registry.assets import assets as registry_assets
from dualstream_assets.registry.checks import checks as registry_checks
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.registry.making import deactivation_report

OF = "2026.11.08"


def run(workplace: Workplace, **options: object) -> dg.ExecuteInProcessResult:
    parts = {"estate": workplace.estate, "environment": "lab"}
    return dg.materialize(
        [
            *registry_assets(**parts),
            *audience_assets(**parts),
            *registry_checks(**parts),
            *audience_checks(**parts),
        ],
        resources={"workplace": workplace},
        raise_on_error=False,
        **options,  # pyright: ignore[reportArgumentType]
    )


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{e.asset_key.to_user_string()} {e.check_name}": e.passed
        for e in result.get_asset_check_evaluations()
    }


def lists(inbox: Path, excluded: Iterable[str] = ("1003000118",)) -> None:
    """Every list, each with a row about somebody else; `excluded` NPIs are on LEIE."""
    other = "1003000118"
    (inbox / f"revalidation_{OF}.csv").write_text(
        f"National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n{other},2026-01-01,\n"
    )
    (inbox / f"UPDATED_{OF}.csv").write_text(
        "LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\n"
        + "".join(f"X,Y,{npi},NY,20240101,00000000\n" for npi in excluded)
    )
    (inbox / f"Revocation_Extract_{OF}.csv").write_text(
        f"NPI,REVOCATION_EFCTV_DT,REENROLLMENT_BAR_EXPRTN_DT\n{other},2020-01-01,2020-02-01\n"
    )
    (inbox / f"Opt_Out_Affidavits_{OF}.csv").write_text(
        f"NPI,Optout Effective Date,Optout End Date,Last updated\n{other},2020-01-01,2020-01-02,2020-01-01\n"
    )
    deactivation_report(inbox / "NPPES_Deactivated_NPI_Report_110826_V2.zip", [(other, "01/01/2006")])

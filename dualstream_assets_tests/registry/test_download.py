"""Fetching from a local server that behaves, breaks off, lies about lengths, or answers with pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from dualstream_assets.commands.release import release
from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Limits
from dualstream_assets.lab.release import release_files
from dualstream_assets.lab.world import World
from dualstream_assets.registry import download
from dualstream_assets.registry.download import fetch
from dualstream_assets.registry.errors import DownloadFailed
from dualstream_assets.registry.medicare import ListKind
from dualstream_assets.registry.published import EVERYTHING, Sources
from dualstream_assets.registry.release import find_lists, find_release
from dualstream_assets_tests.registry.making import weekly_zip

CHANGED = datetime(2026, 11, 9, 12, tzinfo=UTC)
LIMITS = Limits(zip_ratio=1000)
MONTHLY = "NPPES_Data_Dissemination_November_2026_V2.zip"


@dataclass
class Site:
    """What the server has, how it misbehaves, and what it was asked.

    Attributes:
        stop_after: path -> bytes after which the connection breaks, once.
        stated: path -> a Content-Length that is not true.
        piece: the most bytes of a 206 answer.
    """

    files: dict[str, bytes]
    url: str = ""
    stop_after: dict[str, int] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    resumes: bool = True
    piece: int | None = None
    etag: str = '"one"'
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def sources(self) -> Sources:
        return Sources(
            page=f"{self.url}/nppes/NPI_Files.html",
            catalogue=f"{self.url}/data.json",
            leie=f"{self.url}/exclusions/UPDATED.csv",
        )


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(self.path)
            name = path.rsplit("/", 1)[-1]
            wanted = self.headers.get("Range")
            site.asked.append((name, wanted))
            body = site.files.get(path)
            if name in site.status or body is None:
                self.send_response(site.status.get(name, 404))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if wanted and site.resumes and self.headers.get("If-Range", site.etag) == site.etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            end = len(body) if not start or site.piece is None else start + site.piece
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.send_header("Content-Length", str(site.stated.get(name, end - start)))
            self.send_header("Last-Modified", format_datetime(CHANGED, usegmt=True))
            self.send_header("ETag", site.etag)
            self.end_headers()
            stop = site.stop_after.pop(name, None)
            self.wfile.write(body[start : stop or end])
            if stop is not None or name in site.stated:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing on the terminal."""

    return Handler


@pytest.fixture(scope="module")
def published(lab_estate: Estate) -> dict[str, bytes]:
    """The lab's release and lists."""
    return release_files(World.build(7, 40, lab_estate))


@pytest.fixture
def site(published: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    nppes = [name for name in published if name.startswith("NPPES")]
    old = "NPPES_Data_Dissemination_October_2026_V2.zip"
    weekly = "NPPES_Data_Dissemination_110926_111526_Weekly_V2.zip"
    links = [*nppes, old, old.replace("_V2", ""), "NPPES_Deactivated_NPI_Report_101226_V2.zip", weekly]
    page = "".join(f"<li><a href='./{name}'>{name}</a></li>" for name in links)
    made = Site({"/nppes/NPI_Files.html": f"<html>{page}</html>".encode()})
    made.files |= {f"/nppes/{name}": published[name] for name in nppes}
    made.files[f"/nppes/{weekly}"] = weekly_zip(tmp_path_factory.mktemp("site"), name=weekly).read_bytes()
    made.files["/exclusions/UPDATED.csv"] = published["UPDATED.csv"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_port}"
    _catalogue(made, published)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def _catalogue(site: Site, published: dict[str, bytes]) -> None:
    """data.json: the newest CSV of a dataset stands among older ones and API entries."""
    sets = []
    for title, identifier, start in (
        ("Medicare Revalidation Due Date List", "3746498e-874d-45d8-9c69-68603cafea60", "revalidation"),
        ("Revoked, under a new title", "a6496a7d-4e19-479a-a9ad-d4c0a49e07c3", "Revocation"),
        ("Opt Out Affidavits", "x", "Opt_Out"),
    ):
        name = next(n for n in published if n.startswith(start))
        served = "OPTOUT.DATA.csv" if start == "Opt_Out" else name  # a name that we do not know
        served = "export.csv" if start == "Revocation" else served
        site.files[f"/files/{served}"] = published[name]
        entry = {"mediaType": "text/csv", "downloadURL": f"{site.url}/files/{served}"}
        sets.append(
            {
                "title": title,
                "identifier": f"https://data.cms.gov/data-api/v1/dataset/{identifier}/data-viewer",
                "distribution": [
                    {"format": "API", "accessURL": f"{site.url}/api"},
                    {
                        **entry,
                        "downloadURL": f"{site.url}/files/old.csv",
                        "temporal": "2026-07-01/2026-07-31",
                    },
                    {**entry, "temporal": "2026-11-01/2026-11-30", "modified": "2026-11-08"},
                ],
            }
        )
    site.files["/data.json"] = json.dumps({"dataset": sets}).encode()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_everything_is_fetched_checked_and_found(
    site: Site, tmp_path: Path, published: dict[str, bytes]
) -> None:
    said: list[str] = []
    paths = fetch(EVERYTHING, tmp_path, LIMITS, site.sources, said.append)
    assert find_release(tmp_path).read_bytes() == published[MONTHLY]
    assert set(find_lists(tmp_path)) == set(ListKind) - {ListKind.PPEF}
    assert len(paths) == len(said) == 7
    assert "Revocation_Extract_2026.11.08.csv" in names(tmp_path)
    assert not list((tmp_path / ".download").iterdir())
    assert find_lists(tmp_path)[ListKind.REVALIDATION].day == CHANGED.date()


def test_what_is_there_already_is_not_sent_again(site: Site, tmp_path: Path) -> None:
    fetch(("monthly",), tmp_path, LIMITS, site.sources)
    before = (tmp_path / MONTHLY).stat().st_ino
    said: list[str] = []
    fetch(("monthly",), tmp_path, LIMITS, site.sources, said.append)
    assert said == [f"{tmp_path / MONTHLY}: already there"]
    assert (tmp_path / MONTHLY).stat().st_ino == before


def test_a_page_instead_of_a_zip_is_refused_and_nothing_is_left(site: Site, tmp_path: Path) -> None:
    site.files[f"/nppes/{MONTHLY}"] = b"<!DOCTYPE html><html>Please wait</html>"
    with pytest.raises(DownloadFailed, match=f"{MONTHLY}: an HTML page"):
        fetch(("monthly",), tmp_path, LIMITS, site.sources)
    assert names(tmp_path) == set()
    assert not list((tmp_path / ".download").iterdir())


def test_a_page_instead_of_a_list_keeps_the_old_one(
    site: Site, tmp_path: Path, published: dict[str, bytes]
) -> None:
    fetch(("leie",), tmp_path, LIMITS, site.sources)
    site.files["/exclusions/UPDATED.csv"] = b"<html>Please wait</html>"
    with pytest.raises(DownloadFailed, match=r"UPDATED\.csv: an HTML page"):
        fetch(("leie",), tmp_path, LIMITS, site.sources)
    assert (tmp_path / "UPDATED.csv").read_bytes() == published["UPDATED.csv"]


def test_a_body_that_breaks_off_is_an_error_and_the_next_try_goes_on(
    site: Site, tmp_path: Path, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK_BYTES", 1000)
    site.stop_after[MONTHLY] = 5_000
    with pytest.raises(DownloadFailed, match=r"run it again, it goes on from there"):
        fetch(("monthly",), tmp_path, LIMITS, site.sources)
    assert names(tmp_path) == set()
    fetch(("monthly",), tmp_path, LIMITS, site.sources)
    assert site.asked[-1] == (MONTHLY, "bytes=5000-")
    assert (tmp_path / MONTHLY).read_bytes() == published[MONTHLY]


def test_a_server_that_goes_on_with_a_piece_only_is_not_believed_to_be_done(
    site: Site, tmp_path: Path, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK_BYTES", 1000)
    site.stop_after[MONTHLY], site.piece = 5_000, 500
    whole = len(published[MONTHLY])
    for ended in ("broken off", f"ended after 5,500 of {whole:,} bytes"):
        with pytest.raises(DownloadFailed, match=ended):
            fetch(("monthly",), tmp_path, LIMITS, site.sources)
    site.piece = None
    fetch(("monthly",), tmp_path, LIMITS, site.sources)
    assert site.asked[-1] == (MONTHLY, "bytes=5500-")
    assert (tmp_path / MONTHLY).read_bytes() == published[MONTHLY]


@pytest.mark.parametrize("why", ["changed", "cannot"])
def test_a_try_that_cannot_go_on_begins_anew(
    site: Site, tmp_path: Path, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(download, "_CHUNK_BYTES", 1000)
    if why == "changed":
        site.files[f"/nppes/{MONTHLY}"] = bytes(len(published[MONTHLY]))
    site.stop_after[MONTHLY] = 5_000
    with pytest.raises(DownloadFailed):
        fetch(("monthly",), tmp_path, LIMITS, site.sources)
    site.etag, site.resumes = ('"two"', True) if why == "changed" else (site.etag, False)
    site.files[f"/nppes/{MONTHLY}"] = published[MONTHLY]
    fetch(("monthly",), tmp_path, LIMITS, site.sources)
    assert (tmp_path / MONTHLY).read_bytes() == published[MONTHLY]


def test_a_length_that_is_larger_than_the_body_is_an_error(site: Site, tmp_path: Path) -> None:
    site.stated["UPDATED.csv"] = len(site.files["/exclusions/UPDATED.csv"]) + 1
    with pytest.raises(DownloadFailed, match="broken off"):
        fetch(("leie",), tmp_path, LIMITS, site.sources)
    assert names(tmp_path) == set()


def test_a_length_that_is_smaller_than_the_body_gives_a_file_that_is_seen_as_cut_off(
    site: Site, tmp_path: Path
) -> None:
    site.stated[MONTHLY] = 5_000
    with pytest.raises(DownloadFailed, match="the ZIP ends too early"):
        fetch(("monthly",), tmp_path, LIMITS, site.sources)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("status", [404, 403, 500])
def test_an_error_status_is_one_line_and_the_other_kinds_are_fetched(
    site: Site, tmp_path: Path, status: int
) -> None:
    site.status[MONTHLY] = status
    with pytest.raises(DownloadFailed, match=f"{MONTHLY}: the server says {status}") as raised:
        fetch(("monthly", "leie"), tmp_path, LIMITS, site.sources)
    assert "\n" not in str(raised.value)
    assert names(tmp_path) == {"UPDATED.csv"}


def test_a_file_beyond_the_estates_bytes_is_not_begun(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"above limits\.zip_bytes = 1,000"):
        fetch(("monthly",), tmp_path, Limits(zip_bytes=1000), site.sources)
    assert not list((tmp_path / ".download").iterdir())


def test_a_page_without_such_a_link_and_a_catalogue_without_the_set_say_so(
    site: Site, tmp_path: Path
) -> None:
    site.files["/nppes/NPI_Files.html"] = b"<html>moved</html>"
    site.files["/data.json"] = b"[]"
    with pytest.raises(DownloadFailed, match=r"links no monthly V2 file.*not the catalogue we know"):
        fetch(("monthly", "opt_out"), tmp_path, LIMITS, site.sources)


def test_a_link_cannot_lead_out_of_the_inbox(site: Site, tmp_path: Path) -> None:
    evil = "..%2F..%2FNPPES_Deactivated_NPI_Report_110826_V2.zip"
    site.files["/nppes/NPI_Files.html"] = f"<a href='./{evil}'>".encode()
    with pytest.raises(DownloadFailed, match="404"):
        fetch(("deactivated",), tmp_path / "inbox", LIMITS, site.sources)
    assert [path.name for path in tmp_path.iterdir()] == ["inbox"]


def test_without_a_network_it_is_one_line_with_the_cure(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    with pytest.raises(DownloadFailed) as raised:
        fetch(
            EVERYTHING,
            tmp_path,
            LIMITS,
            Sources(f"{nobody}/p.html", f"{nobody}/data.json", f"{nobody}/U.csv"),
        )
    assert str(raised.value) == (
        "127.0.0.1 (ConnectionError) cannot be reached; download the files where there is a network,"
        " then dualstream release add FILE…"
    )


def test_the_lab_is_not_given_a_real_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path))
    monkeypatch.delenv("DUALSTREAM_ENV", raising=False)
    monkeypatch.delenv("DUALSTREAM_ESTATE", raising=False)
    result = CliRunner().invoke(release, ["fetch"])
    assert (result.exit_code, "name a folder with --to" in result.output) == (2, True)

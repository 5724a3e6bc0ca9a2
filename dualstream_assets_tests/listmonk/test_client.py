"""The client's errors: what happened, the cure, and never an address."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.errors import Faulty, Invalid, Unreachable, cleaned
from dualstream_assets_tests.listmonk.conftest import Bench
from dualstream_assets_tests.listmonk.sink import Sink


def test_a_listmonk_that_is_down_is_named_with_the_cure() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 does not answer.*correct its url in the estate"):
        Client("http://127.0.0.1:9", "dualstream", "t", timeout_s=1).config()
    assert not Client("http://127.0.0.1:9", "dualstream", "t", timeout_s=1).healthy()


def test_something_else_at_the_url_is_not_taken_for_a_listmonk() -> None:
    sink = Sink().start()  # an SMTP server
    try:
        with pytest.raises(Unreachable):
            Client(f"http://127.0.0.1:{sink.port}", "dualstream", "t", timeout_s=2).config()
    finally:
        sink.stop()


def test_the_token_is_in_no_text_about_the_client() -> None:
    assert "s3cret" not in repr(Client("http://127.0.0.1:9", "dualstream", "s3cret"))


def test_what_listmonk_says_is_repeated_without_addresses(bench: Bench) -> None:
    with pytest.raises(Invalid) as said:
        bench.client.get("/subscribers", query="subscribers.email = 'ada@practice.example' AND nothing = 1")
    assert "ada" not in str(said.value)
    assert cleaned("no ada.b+c@practice.example,\nor <x@y.test>") == "no <address>, or <<address>>"


def test_every_page_of_a_list_is_read_once(bench: Bench) -> None:
    from dualstream_assets.listmonk.importing import CsvRow, run_import

    list_id, people = bench.new_list(), bench.people(7)
    run_import(bench.client, [CsvRow(a, "", {}) for a in people], "subscribe", (list_id,))
    rows = list(bench.client.pages("/subscribers", per_page=3, order="asc", list_id=list_id))
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert {row["email"] for row in rows} == set(people)
    assert len(rows) == 7


def test_an_answer_without_a_version_is_no_listmonk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(bench.client.url, bench.client.user, bench.client._token)
    monkeypatch.setattr(client, "config", lambda: {})
    with pytest.raises(Faulty, match="no version"):
        _ = client.version


def test_a_netrc_file_does_not_replace_the_token(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert Client(bench.client.url, bench.client.user, bench.client._token).config()["version"]


def test_a_cookie_that_is_offered_is_never_sent_back() -> None:
    seen: list[str | None] = []

    class Offering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Cookie"))
            self.send_response(200)
            self.send_header("Set-Cookie", "session=abc; Path=/")
            self.end_headers()
            self.wfile.write(b'{"data": {"version": "v6.2.0"}}')

        def log_message(self, *_: object) -> None:
            return

    offering = ThreadingHTTPServer(("127.0.0.1", 0), Offering)
    threading.Thread(target=offering.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    client = Client(f"http://127.0.0.1:{offering.server_address[1]}", "dualstream", "t")
    client.config()
    client.config()
    offering.shutdown()
    offering.server_close()
    assert seen == [None, None]

"""One listmonk over HTTP: authentication, the answer's envelope, paging, and errors that name the cure.

Knows paths and status codes, nothing about settings, people or waves. Sends no cookie, ever: a `session=` cookie makes
listmonk ignore the Authorization header. Reads no proxy or netrc variables: netrc would replace that header.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from dualstream_assets.listmonk.errors import Denied, Faulty, Invalid, ListmonkError, Unreachable, cleaned

if TYPE_CHECKING:
    import requests

PAGE = 1000
Version = tuple[int, int, int]
OK, BAD_REQUEST, FORBIDDEN, SERVER_ERROR = 200, 400, 403, 500


class Client:
    """One listmonk.

    Args:
        url: base URL, without `/api`.
        user: name of an API user (`type` api; a UI user is refused).
        token: its token.
        timeout_s: of one request.
        sleep: how to wait for listmonk (real time, not the lab's clock: listmonk does its work in real time).
    """

    def __init__(
        self,
        url: str,
        user: str,
        token: str,
        timeout_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.user = user
        self.timeout_s = timeout_s
        self.sleep = sleep
        self._token = token

    def __repr__(self) -> str:
        return f"Client({self.url!r}, {self.user!r})"

    @cached_property
    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers["Authorization"] = f"token {self.user}:{self._token}"
        return session

    def get(self, path: str, **query: Any) -> Any:
        """GET `/api{path}`; returns what is in `data`."""
        return self._data("GET", path, params=query)

    def post(self, path: str, body: Any) -> Any:
        """POST JSON."""
        return self._data("POST", path, json=body)

    def put(self, path: str, body: Any) -> Any:
        """PUT JSON."""
        return self._data("PUT", path, json=body)

    def upload(self, path: str, params: str, name: str, content: bytes) -> Any:
        """POST a file as multipart, with the form field `params`."""
        return self._data("POST", path, data={"params": params}, files={"file": (name, content, "text/csv")})

    def pages(self, path: str, per_page: int = PAGE, **query: Any) -> Iterator[dict[str, Any]]:
        """Every row of a paged list. Give an `order_by` that does not move while pages are read."""
        page = 1
        while True:
            answer = self.get(path, page=page, per_page=per_page, **query)
            rows = answer["results"]
            yield from rows
            if not rows or page * per_page >= answer["total"]:
                return
            page += 1

    def total(self, path: str, **query: Any) -> int:
        """How many rows a paged list has."""
        return int(self.get(path, page=1, per_page=1, **query)["total"])

    def config(self) -> dict[str, Any]:
        """`/api/config`: version, messengers, needs_restart; answered to any API user."""
        return self.get("/config")

    @cached_property
    def version(self) -> Version:
        """(major, minor, patch), asked once.

        Raises:
            Faulty: the answer holds no version: this is no listmonk, or one older than v4.
        """
        said = str(self.config().get("version", ""))
        found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", said)
        if not found:
            raise Faulty(
                f"{self.url} answers no version we know ({said[:20]!r})",
                "check that a listmonk of v4 or newer is there",
            )
        return int(found[1]), int(found[2]), int(found[3])

    def healthy(self) -> bool:
        """Whether `/health` answers; never raises for a listmonk that is down."""
        try:
            return self._call("GET", "/health", api=False, timeout=min(self.timeout_s, 3.0)).status_code == OK
        except Unreachable:
            return False

    def wait_until(self, done: Callable[[], bool], timeout_s: float, what: str, every_s: float = 0.1) -> None:
        """Ask until `done`.

        Raises:
            Unreachable: it did not happen within `timeout_s` seconds.
        """
        ends = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > ends:
                raise Unreachable(
                    f"{self.url}: {what} did not happen within {timeout_s:.0f} s",
                    "look at that listmonk's own log",
                )
            self.sleep(every_s)

    def _data(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._call(method, path, **arguments)
        if answer.status_code != OK:
            raise self._fault(method, path, answer)
        try:
            return answer.json()["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise Faulty(
                f"{self.url}: {method} {path} did not answer as listmonk does",
                "check the URL: is a listmonk there?",
            ) from error

    def _call(
        self, method: str, path: str, *, api: bool = True, timeout: float | None = None, **arguments: Any
    ) -> requests.Response:
        import requests

        url = f"{self.url}/api{path}" if api else f"{self.url}{path}"
        try:
            return self._session.request(
                method, url, timeout=timeout or self.timeout_s, allow_redirects=False, **arguments
            )
        except requests.RequestException as error:
            raise Unreachable(
                f"{self.url} does not answer ({type(error).__name__} at {method} {path})",
                "start that listmonk, or correct its url in the estate",
            ) from None  # the original's text holds the whole query, with addresses

    def _fault(self, method: str, path: str, answer: requests.Response) -> ListmonkError:
        try:
            said = cleaned(str(answer.json()["message"]))
        except (ValueError, KeyError, TypeError):
            said = f"HTTP {answer.status_code} without a message"
        cause = f"{self.url}: {method} {path}: {said}"
        if answer.status_code == FORBIDDEN:
            return Denied(
                cause,
                f"use the token of a user of type 'api' that is enabled ({self.user!r} now): the user made at"
                " installation is a UI user and is always refused; a user made by SQL is known only after a restart;"
                " its role needs the permission that is named",
            )
        if BAD_REQUEST <= answer.status_code < SERVER_ERROR:
            return Invalid(cause, "nothing was changed; look at what was asked")
        return Faulty(cause, "look at that listmonk's own log")

"""HTTP shapes of the listmonk stand-in: a call, listmonk's errors, its paging, its JSON."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import PurePath
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID


class HttpError(Exception):
    """An answer that is not 200: `{"message": …}` under /api, a page elsewhere."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


@dataclass(frozen=True)
class Page:
    """The wanted slice of a list; `limit` None means all."""

    number: int
    per_page: int
    limit: int | None

    @property
    def offset(self) -> int:
        """Rows before it."""
        return (self.number - 1) * self.per_page if self.limit else 0


@dataclass(frozen=True)
class Call:
    """One request, read."""

    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)
    form: Mapping[str, Any] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """The first value of a query parameter, else the empty text."""
        return next((value for key, value in self.query if key == name), "")

    def many(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return [value for key, value in self.query if key == name]

    def json(self) -> Any:
        """The JSON body.

        Raises:
            HttpError: 400, as listmonk's decoder says it.
        """
        if not self.headers.get("content-type", "").startswith("application/json"):
            return {}
        try:
            return json.loads(self.raw or b"{}")
        except ValueError as error:
            raise HttpError(400, f"Syntax error: {error}") from None

    def id(self) -> int:
        """The number in the path.

        Raises:
            HttpError: 400 for anything else.
        """
        text = self.path["id"]
        if not text.isdigit() or int(text) < 1:
            raise HttpError(400, "invalid ID")
        return int(text)

    def page(self) -> Page:
        """The slice that was asked for."""
        number = max(1, int(self.one("page") or 1)) if (self.one("page") or "1").isdigit() else 1
        per_page = self.one("per_page")
        if per_page == "all":
            return Page(1, 0, None)
        size = int(per_page) if per_page.isdigit() and int(per_page) > 0 else 20
        return Page(number, size, size)


def results(rows: list[dict[str, Any]], total: int, page: Page, **asked: str) -> dict[str, Any]:
    """listmonk's envelope of a list."""
    empty = {"search": "", "query": ""}
    return {"results": rows, **empty, **asked, "total": total, "per_page": page.per_page, "page": page.number}


def dumped(value: Any) -> bytes:
    """JSON as listmonk writes it: times in RFC 3339, UUIDs as text."""
    return json.dumps(value, default=_plain, ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID | date):
        return str(value)
    raise TypeError(type(value).__name__)


def credentials(headers: Mapping[str, str]) -> tuple[str, str]:
    """User and token of a request.

    Raises:
        HttpError: 403, with the texts of listmonk; also for any request with a `session=` cookie.
    """
    header = headers.get("authorization", "").strip()
    if not header or "session=" in headers.get("cookie", ""):
        raise HttpError(403, "invalid session")
    if header.startswith("token"):
        pair = header.removeprefix("token").strip()
    elif header.startswith("Basic"):
        try:
            pair = base64.b64decode(header.removeprefix("Basic").strip(), validate=True).decode()
        except ValueError:
            raise HttpError(
                403, "code=400, message=invalid Base64 value in Basic Authorization header"
            ) from None
    else:
        raise HttpError(403, "code=400, message=unknown Authorization scheme")
    user, colon, token = pair.partition(":")
    if not colon:
        raise HttpError(403, "code=400, message=api_key:token missing")
    if not user or not token:
        raise HttpError(403, "code=400, message=empty `api_key` or `token`")
    return user, token


def form_of(content_type: str, raw: bytes) -> dict[str, Any]:
    """The fields of a form: texts, and files as (name, content). Anything else has none."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip() == "application/x-www-form-urlencoded":
        return dict(parse_qsl(raw.decode(errors="replace")))
    if kind.strip() != "multipart/form-data":
        return {}
    boundary = re.search(r'boundary="?([^";]+)', parameters)
    fields: dict[str, Any] = {}
    for part in raw.split(b"--" + boundary[1].encode())[1:-1] if boundary else ():
        head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'[; ]name="([^"]*)"', head)
        file = re.search(rb'filename="([^"]*)"', head)
        content = body.removesuffix(b"\r\n")
        if name and file:
            fields[name[1].decode()] = (PurePath(file[1].decode()).name, content)
        elif name:
            fields[name[1].decode()] = content.decode(errors="replace")
    return fields

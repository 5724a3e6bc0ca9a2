"""Asks the wave policy as Postfix's smtpd does (`check_policy_service`), and takes HOLD where no answer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dualstream_assets.sending.policy_server import read_attributes

DEFAULT_ACTION = "HOLD"
"""`default_action=HOLD` in the declared configuration: no answer means neither lost nor sent."""


class PolicyClient:
    """Keeps idle connections to one policy service.

    Args:
        address: where it listens.
        timeout_s: real seconds to wait for an answer (Postfix: `smtpd_policy_service_timeout`).
    """

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, attributes: Mapping[str, str]) -> tuple[str, str]:
        """(action, fault): the service's action, or HOLD and what went wrong. Tries a second time as Postfix does."""
        request = "".join(f"{name}={_plain(value)}\n" for name, value in attributes.items()) + "\n"
        fault = ""
        for _ in range(2):
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._exchange(request.encode()), ""
            except TimeoutError:
                fault = "Connection timed out"
                break
            except (OSError, ValueError) as error:
                fault = "Connection refused" if isinstance(error, ConnectionRefusedError) else "no answer"
        return DEFAULT_ACTION, fault

    async def _exchange(self, request: bytes) -> str:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self.address)
        try:
            writer.write(request)
            await writer.drain()
            action = _action(await read_attributes(reader))
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return action

    def close(self) -> None:
        """Close idle connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


def _action(answer: Mapping[str, str] | None) -> str:
    if not answer or not answer.get("action"):
        raise ConnectionError("closed without an answer")
    return answer["action"]


def _plain(value: str) -> str:
    """A value that cannot break the protocol's lines."""
    return value.replace("\n", " ").replace("\r", " ")

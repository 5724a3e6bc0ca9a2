"""A ZIP written as it is made, one member after the other, ZIP64 where a member needs it (APPNOTE.TXT 4.3, 4.5.3).

Deflate runs in a thread beside the maker of the bytes. `isal` level 2 writes ordinary dynamic-Huffman blocks: `unzip`
needs the same time for them as for zlib's level 6 (measured), and the ratio is near CMS's own. Times are fixed, so the
same content gives the same bytes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

LEVEL = 2
_FIXED_DATE = ((2026 - 1980) << 9) | (1 << 5) | 1
_LIMIT = 0xFFFFFFFF
_AHEAD = 3
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_ZIP64_END = struct.Struct("<4sQHHIIQQQQ")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")


@dataclass(frozen=True)
class Written:
    """A member as the directory states it."""

    name: str
    bytes: int
    compressed_bytes: int
    crc32: int
    offset: int
    zip64: bool


class ZipStream:
    """Open for writing; `add` members, close writes the directory. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="deflate")
        self.members: list[Written] = []

    def __enter__(self) -> ZipStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if kind is None:
            self._directory()
        self._file.close()

    def add(self, name: str, blocks: Iterable[bytes], *, expected_bytes: int = 0) -> Written:
        """Write one member; `expected_bytes` decides whether room for ZIP64 sizes is left in its header.

        Raises:
            ValueError: it became larger than 4 GiB and no such room was left.
        """
        zip64 = expected_bytes > _LIMIT * 3 // 4
        start = self._file.tell()
        self._file.write(self._head(Written(name, 0, 0, 0, start, zip64)))
        begun = self._file.tell()
        size, crc = self._deflated(blocks)
        end = self._file.tell()
        made = Written(name, size, end - begun, crc, start, zip64)
        if not zip64 and max(made.bytes, made.compressed_bytes) >= _LIMIT:
            raise ValueError(f"{name}: {size:,} bytes need ZIP64; say so with expected_bytes")
        self._file.seek(start)
        self._file.write(self._head(made))
        self._file.seek(end)
        self.members.append(made)
        return made

    def _deflated(self, blocks: Iterable[bytes]) -> tuple[int, int]:
        from isal import isal_zlib

        deflater = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -15)
        size = crc = 0

        def work(block: bytes) -> None:
            nonlocal size, crc
            crc = isal_zlib.crc32(block, crc)
            size += len(block)
            self._file.write(deflater.compress(block))

        for _ in _ahead(self._pool, work, blocks):
            pass
        self._file.write(deflater.flush())
        return size, crc

    @staticmethod
    def _head(m: Written) -> bytes:
        name = m.name.encode("ascii")
        sizes = (_LIMIT, _LIMIT) if m.zip64 else (m.compressed_bytes, m.bytes)
        extra = struct.pack("<HHQQ", 1, 16, m.bytes, m.compressed_bytes) if m.zip64 else b""
        fixed = (45 if m.zip64 else 20, 0, 8, 0, _FIXED_DATE, m.crc32)
        return _LOCAL.pack(b"PK\x03\x04", *fixed, *sizes, len(name), len(extra)) + name + extra

    def _directory(self) -> None:
        start = self._file.tell()
        for m in self.members:
            name = m.name.encode("ascii")
            wide = [v for v in (m.bytes, m.compressed_bytes, m.offset) if v >= _LIMIT]
            extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
            version = 45 if wide or m.zip64 else 20
            fixed = ((3 << 8) | version, version, 0, 8, 0, _FIXED_DATE, m.crc32)
            sizes = (min(m.compressed_bytes, _LIMIT), min(m.bytes, _LIMIT))
            rest = (len(name), len(extra), 0, 0, 0, 0o100644 << 16, min(m.offset, _LIMIT))
            self._file.write(_CENTRAL.pack(b"PK\x01\x02", *fixed, *sizes, *rest) + name + extra)
        size, count = self._file.tell() - start, len(self.members)
        if start >= _LIMIT:
            end = self._file.tell()
            self._file.write(
                _ZIP64_END.pack(b"PK\x06\x06", 44, (3 << 8) | 45, 45, 0, 0, count, count, size, start)
            )
            self._file.write(_ZIP64_LOCATOR.pack(b"PK\x06\x07", 0, end, 1))
        self._file.write(_END.pack(b"PK\x05\x06", 0, 0, count, count, size, min(start, _LIMIT), 0))


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[bytes], None], blocks: Iterable[bytes]
) -> Iterator[None]:
    """Hand blocks to the thread, at most a few of them waiting."""
    waiting: deque[Future[None]] = deque()
    for block in blocks:
        waiting.append(pool.submit(work, block))
        if len(waiting) >= _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

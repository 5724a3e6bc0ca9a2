"""Blocks of a member, newline-aligned, inflated in a thread ahead of the reader: memory does not grow with the file.

CRC and length are compared with the central directory after the last block, so a reader publishes only after that.
Measured choices (16 MiB blocks, isal, a thread): facts, nppes section 5.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path

from dualstream_assets.ahead import one_ahead
from dualstream_assets.registry.archive import Archive, Member
from dualstream_assets.registry.errors import PAGE, DamagedMember

BLOCK_BYTES = 12 << 20
_READ_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def read_blocks(
    archive: Archive, member: Member, block_bytes: int = BLOCK_BYTES
) -> Generator[bytes, None, None]:
    """The member's bytes as blocks of about `block_bytes`, each ending where a record ends.

    Raises:
        DamagedMember: broken stream, or CRC or length differ from the directory; raised at the latest after the last
            block, so nothing may be published before this iterator ends.
    """
    where = f"{archive.path.name}: {member.name}"
    pieces = _inflated(archive, member, min(_PIECE_BYTES, block_bytes))
    source = _aligned(pieces, block_bytes, archive.record_bytes, where)
    yield from one_ahead(source, "inflate")


def _inflated(archive: Archive, member: Member, piece_bytes: int) -> Iterator[bytes]:
    """Decompressed pieces of at most `piece_bytes`; checks CRC and length at the end."""
    from isal import isal_zlib

    where = f"{archive.path.name}: {member.name}"
    crc, length = 0, 0
    try:
        for piece in _pieces(archive.path, member, piece_bytes, where):
            crc = isal_zlib.crc32(piece, crc)
            length += len(piece)
            if length > member.bytes:
                break
            yield piece
    except isal_zlib.error as error:  # pyright: ignore[reportGeneralTypeIssues]
        raise DamagedMember(
            f"{where}: damaged after {length:,} of {member.bytes:,} bytes ({error}); download it again from {PAGE}"
        ) from error
    if length != member.bytes:
        raise DamagedMember(
            f"{where}: {length:,} bytes, its directory says {member.bytes:,}; download it again from {PAGE}"
        )
    if crc != member.crc32:
        raise DamagedMember(
            f"{where}: CRC error ({crc:08x}, its directory says {member.crc32:08x}); download it again from {PAGE}"
        )


def _pieces(path: Path, member: Member, piece_bytes: int, where: str) -> Iterator[bytes]:
    from isal import igzip_lib

    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DamagedMember(
            f"{where}: compression method {member.method} is not one CMS uses; take it from {PAGE}"
        )
    with path.open("rb") as file:
        file.seek(max(0, member.offset))
        head = file.read(_LOCAL_HEADER.size) if member.offset >= 0 else b""
        if len(head) < _LOCAL_HEADER.size or not head.startswith(b"PK\x03\x04"):
            raise DamagedMember(
                f"{where}: no local header where the directory points; download it again from {PAGE}"
            )
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)
        file.seek(name_bytes + extra_bytes, 1)
        left = member.compressed_bytes
        inflater = (
            igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
            if member.method == zipfile.ZIP_DEFLATED
            else None
        )
        while left and not (inflater and inflater.eof):
            chunk = file.read(min(_READ_BYTES, left))
            if not chunk:
                raise DamagedMember(
                    f"{where}: the file ends inside this member; download it again from {PAGE}"
                )
            left -= len(chunk)
            if inflater is None:
                yield chunk
                continue
            yield inflater.decompress(chunk, piece_bytes)
            while not (inflater.eof or inflater.needs_input):  # the output limit left something over
                yield inflater.decompress(b"", piece_bytes)


def _aligned(pieces: Iterator[bytes], block_bytes: int, record_bytes: int, where: str) -> Iterator[bytes]:
    """Join pieces to blocks that end where a record ends."""
    held: list[bytes] = []
    size = 0
    since_end = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        cut = _record_end(piece)
        since_end = len(piece) - cut if cut else since_end + len(piece)
        if since_end > record_bytes:
            raise DamagedMember(
                f"{where}: a line of more than limits.record_bytes = {record_bytes:,} bytes; this is no release of CMS"
            )
        if size >= block_bytes and cut:
            held[-1] = piece[:cut]
            yield b"".join(held)
            held, size = [piece[cut:]], len(piece) - cut
    if size:
        yield b"".join(held)


def _record_end(piece: bytes) -> int:
    """After the last line break that is followed by a quote (a value may hold a line break), else the last one."""
    return (piece.rfind(b'\n"') + 1) or (piece.rfind(b"\n") + 1)

"""What a lab has on disk before it starts: its release, its warmup stamps, its signing key. Made once, then kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from dualstream_assets.estate import Estate
from dualstream_assets.lab.release import put, release_files
from dualstream_assets.lab.world import VERSION, World


def keep_release(world: World, inbox: Path) -> None:
    """Have this world's release in `inbox`: written once, and anew when the world changed. Other files stay."""
    marker = inbox / ".world"
    wanted = f"{VERSION} {world.seed} {len(world.domains)} {world.epoch.isoformat()}"
    known = json.loads(marker.read_text()) if marker.exists() else {"world": "", "files": []}
    if known["world"] == wanted and all((inbox / name).exists() for name in known["files"]):
        return
    for name in known["files"]:
        (inbox / name).unlink(missing_ok=True)
    inbox.mkdir(parents=True, exist_ok=True)
    files = release_files(world)
    for name, content in files.items():
        put(inbox / name, content, world.release_day)
    put(marker, json.dumps({"world": wanted, "files": list(files)}).encode(), world.release_day)


def write_stamps(estate: Estate, folder: Path) -> None:
    """The warmup stamp of each ramp that has a relative one: the lab's first moment, unless one is there already."""
    assert estate.lab is not None  # noqa: S101  # a lab has it
    for stream in estate.streams.values():
        if stream.ramp.stamp and not Path(stream.ramp.stamp).is_absolute():
            stamp = folder / stream.ramp.stamp
            if not stamp.exists():
                stamp.write_text(f"{estate.lab.epoch.isoformat()}\n")


def dkim_key(path: Path) -> bytes:
    """The lab's RSA-2048 signing key (PEM), made when first asked for, readable by this user only."""
    if path.exists():
        return path.read_bytes()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    beside = path.with_suffix(".part")
    beside.touch(mode=0o600)
    beside.write_bytes(pem)
    beside.replace(path)
    return pem


def dkim_record(private_pem: bytes) -> str:
    """The TXT value that publishes the public half (RFC 6376 section 3.6.1)."""
    from cryptography.hazmat.primitives import serialization

    public = serialization.load_pem_private_key(private_pem, password=None).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"

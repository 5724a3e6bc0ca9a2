"""A server as small as can be, under the lease: `python -m … MANNER FOLDER`. It notes each start and stop in a file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from dualstream_assets.store.lease import serve_while_leased


def main() -> None:
    manner, folder = sys.argv[1], Path(sys.argv[2])
    if manner == "unborn":
        raise OSError("the port 53 is taken")

    def note(word: str, name: str = "notes") -> None:
        with (folder / name).open("a") as file:
            file.write(f"{word}\n")

    note("came", "arrivals")

    def start() -> None:
        if manner == "failing":
            raise RuntimeError("no room on the disk:\n  free some")
        time.sleep({"hanging": 60, "slow": 0.5}.get(manner, 0))
        note("start")

    def alive() -> bool:
        died = folder / "died"
        if died.exists():
            died.unlink()
            return False
        return True

    serve_while_leased(
        folder, start, lambda: note("stop"), "ready", lambda: "at your service", alive, linger_s=0.3
    )


if __name__ == "__main__":
    main()

"""Importing the definitions reads one file, and touches neither network nor database, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from dualstream_assets_tests.scenarios.conftest import environment

GUARDED = """
import sys
def guard(event, args):
    if event in ("socket.connect", "socket.sendto", "subprocess.Popen"):
        raise RuntimeError(f"{event} while loading the definitions")
sys.addaudithook(guard)
import dualstream_assets.definitions as d
d.defs.get_repository_def()
heavy = {"polars", "matplotlib", "dkim", "paramiko", "requests", "dns", "isal", "dagster_postgres", "rich", "jinja2"}
print(sorted(heavy & set(sys.modules) - {"jinja2", "rich", "requests"}))
"""


def test_loading_touches_nothing_and_imports_nothing_heavy(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", GUARDED],
        env=environment(tmp_path / "state"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "state").exists()

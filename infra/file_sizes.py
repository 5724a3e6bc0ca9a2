"""House rule: a Python file over 400 lines is two ideas. Exit 1 naming each."""

import subprocess
import sys
from pathlib import Path

LIMIT = 400

listed = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
lines = {
    name: len(Path(name).read_text(encoding="utf-8").splitlines()) for name in listed if Path(name).exists()
}
too_long = {name: count for name, count in lines.items() if count > LIMIT}
for name, count in sorted(too_long.items()):
    print(f"{name}: {count} lines, over {LIMIT}: two ideas in one file?")  # noqa: T201
sys.exit(bool(too_long))

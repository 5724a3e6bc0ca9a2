"""Two streams of outbound mail from one machine, so that neither can harm the other.

`definitions.py` is the Dagster code location, `cli.py` the command `dualstream`. Each folder is a room with a
plain core and a thin Dagster rim; `docs/architecture.md` has the picture.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # before anything that an older Python cannot import
    raise SystemExit(
        f"dualstream needs Python 3.11 or newer, this is {sys.version.split()[0]}: make a virtual environment with one"
    )

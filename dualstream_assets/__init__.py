"""Two streams of outbound mail from one machine, so that neither can harm the other.

`definitions.py` is the Dagster code location, `cli.py` the command `dualstream`. Each folder is a room with a
plain core and a thin Dagster rim; `docs/architecture.md` has the picture.
"""

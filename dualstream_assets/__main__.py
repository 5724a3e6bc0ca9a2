"""`python -m dualstream_assets` is the command `dualstream`."""

from dualstream_assets.cli import main

main()

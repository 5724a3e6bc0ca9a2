"""Measured, never asserted: each module prints reference and ours from the same run. `make bench` runs them all."""

"""What really happened: the Postfix log, parsed, joined, and turned into outcomes. The mail log is the truth (D5)."""

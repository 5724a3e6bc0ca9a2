"""Who may be written to, on which stream, and for which stated reason: classify, rank, split into the plan's files."""

"""What is proved, from evidence: isolation, identity, deliverability, caps, no regression; the board and the report.

Nothing here decides or sends. Each proof reads at least two witnesses where there are two (the receivers' own
records and the mail log) and is unknown, never green, where a witness is missing.
"""

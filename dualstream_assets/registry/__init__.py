"""NPPES and CMS releases, read from the files as published, into Parquet. Who may be mailed is not decided here."""

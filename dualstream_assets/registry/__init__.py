"""NPPES and CMS releases, read from the files as they are published, into Parquet. Who may be mailed is not decided here."""

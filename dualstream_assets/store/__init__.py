"""What several rooms keep: PostgreSQL, evidence, suppression, permits, files."""

"""listmonk, driven over its REST API: settings in the declared state, people, waves. Core modules know no Dagster."""

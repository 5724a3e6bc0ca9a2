"""The pretend internet of one machine: a seeded world with known truth, its DNS, its mail hosts, its listmonks."""

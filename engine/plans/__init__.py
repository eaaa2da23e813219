"""Plans: the shipped studies, and TOML read into complete runs."""

"""Tools without product words: paths, logging, processes, SQLite, clocks, registries, languages."""

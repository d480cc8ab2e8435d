"""Roles and ensembles: what answers under which name, how its prompt is laid out, and what is remembered of it."""

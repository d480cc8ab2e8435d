"""Forecasts and choices for hardware that one may not own: pure code over the records of `ansambl.domain`."""

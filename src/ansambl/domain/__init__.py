"""Plain records and rules that every other part speaks in: no I/O, no clock, no dependency on the foundation."""

"""Which instance is resident, and who is served next: pure code, fed by the coordinator and by ``ansambl simulate``."""

"""Open WebUI beside Ansambl: installed apart, connected, started, watched and ended. Its licence is its own."""

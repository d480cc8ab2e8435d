"""What benchmarks share: a fixed upstream, a load generator, nginx as a reference, Ansambl as users start it."""

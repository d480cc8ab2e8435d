"""The wire formats of APIs as pure codecs: parse, render, translate. No I/O."""

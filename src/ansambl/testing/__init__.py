"""Fakes with the timing of the real thing, and the suites that every engine must pass (extra ``testing``)."""

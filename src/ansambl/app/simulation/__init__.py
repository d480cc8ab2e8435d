"""``ansambl simulate``: a trace of requests on a machine, owned or not, under the scheduler's own code."""

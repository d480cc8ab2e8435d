"""A clock that is set by hand; nothing can be waited for."""


class HandClock:
    """Its `time` (seconds) is what the test says last."""

    def __init__(self, time: float) -> None:
        self.time = float(time)

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

"""An instance that cannot be made yet, because its model file is missing or its engine is: the rest goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence

from ansambl.domain.errors import AnsamblError
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.serving import Serving
from ansambl.domain.text import Text
from ansambl.engines.adapter import ConversationCalls, LoraCalls
from ansambl.runtime.flight import Flight
from ansambl.runtime.instance import Instance, InstanceListener
from ansambl.runtime.kept_states import SlotKeeper


class DeferredInstance:
    """Makes the real instance when it is first needed, and tries again at each request while that fails.

    So a missing file is one failed instance with a reason, not a product that does not start; and a file that is put
    in its place later is found without a restart.
    """

    def __init__(self, model: str, engine: str, parallel: int, make: Callable[[], Instance]) -> None:
        self.model = model
        self._engine = engine
        self._parallel = parallel
        self._make = make
        self._real: Instance | None = None
        self._making = threading.Lock()
        self._keeper: SlotKeeper | None = None
        self._listener: InstanceListener | None = None
        self._message: Text | None = None
        self._no_flight = Flight()

    @property
    def flight(self) -> Flight:
        """As `Instance.flight`; nobody is asked before there is an instance."""
        return self._real.flight if self._real is not None else self._no_flight

    def prepare(self) -> Instance:
        """Return the real instance.

        Raises:
            AnsamblError: it cannot be made; the message says why.
        """
        with self._making:
            if self._real is None:
                try:
                    made = self._make()
                except AnsamblError as error:
                    self._message = error.message
                    raise
                self._message = None
                if self._keeper is not None:
                    made.keep_slots(self._keeper)
                if self._listener is not None:
                    made.listen(self._listener)
                self._real = made
            return self._real

    def cannot(self, reason: Text) -> None:
        """Show why it cannot be made, as somebody found who looked before it was needed."""
        if self._real is None:
            self._message = reason

    async def ensure_ready(self) -> Endpoint:
        """As `Instance.ensure_ready`, after making the instance."""
        if self._real is None:
            # To look for an engine and to judge a checkpoint may take seconds, in which others are answered.
            await asyncio.to_thread(self.prepare)
        return await self.prepare().ensure_ready()

    def endpoint(self) -> Endpoint | None:
        """As `Instance.endpoint`; None while there is no instance."""
        return self._real.endpoint() if self._real is not None else None

    def suspect(self) -> None:
        """As `Instance.suspect`."""
        if self._real is not None:
            self._real.suspect()

    def garbled(self) -> None:
        """As `Instance.garbled`."""
        if self._real is not None:
            self._real.garbled()

    def proven(self) -> None:
        """As `Instance.proven`."""
        if self._real is not None:
            self._real.proven()

    def begin_use(self) -> None:
        """As `Instance.begin_use`."""
        if self._real is not None:
            self._real.begin_use()

    def end_use(self) -> None:
        """As `Instance.end_use`."""
        if self._real is not None:
            self._real.end_use()

    async def sleep(self, level: int | None = None) -> None:
        """As `Instance.sleep`, after making the instance."""
        await (await asyncio.to_thread(self.prepare)).sleep(level)

    async def stop(self) -> None:
        """As `Instance.stop`."""
        if self._real is not None:
            await self._real.stop()

    def conversations(self) -> ConversationCalls | None:
        """As `Instance.conversations`; None when there can be no instance."""
        with contextlib.suppress(AnsamblError):
            return self.prepare().conversations()
        return None

    def shares_prefixes(self) -> bool | None:
        """As `Instance.shares_prefixes`; None when there can be no instance."""
        with contextlib.suppress(AnsamblError):
            return self.prepare().shares_prefixes()
        return None

    def serves(self) -> Serving:
        """As `Instance.serves`, after making the instance."""
        return self.prepare().serves()

    def salted(self, body: bytes, salt: str) -> bytes:
        """As `Instance.salted`."""
        return self._real.salted(body, salt) if self._real is not None else body

    def keep_slots(self, keeper: SlotKeeper) -> None:
        """As `Instance.keep_slots`, also for the instance that is made later."""
        self._keeper = keeper
        if self._real is not None:
            self._real.keep_slots(keeper)

    def loras(self) -> LoraCalls | None:
        """As `Instance.loras`; None when there can be no instance."""
        with contextlib.suppress(AnsamblError):
            return self.prepare().loras()
        return None

    def check_lora(self, name: str) -> LoraAdapter:
        """As `Instance.check_lora`, after making the instance."""
        return self.prepare().check_lora(name)

    async def use_lora(self, name: str) -> None:
        """As `Instance.use_lora`, after making the instance."""
        await self.prepare().use_lora(name)

    def end_lora(self, name: str) -> None:
        """As `Instance.end_lora`."""
        if self._real is not None:
            self._real.end_lora(name)

    def set_loras(self, adapters: Sequence[LoraAdapter]) -> bool:
        """As `Instance.set_loras`; an instance that is made later is made with what there is then."""
        return self._real.set_loras(adapters) if self._real is not None else False

    def listen(self, listener: InstanceListener) -> None:
        """As `Instance.listen`, also for the instance that is made later."""
        self._listener = listener
        if self._real is not None:
            self._real.listen(listener)

    def state_identity(self) -> str | None:
        """As `Instance.state_identity`; None while there is no instance."""
        return self._real.state_identity() if self._real is not None else None

    def status(self) -> InstanceStatus:
        """The real instance's snapshot, or why there is none."""
        if self._real is not None:
            return self._real.status()
        return InstanceStatus(
            model=self.model,
            engine=self._engine,
            state=InstanceState.FAILED if self._message else InstanceState.STOPPED,
            parallel=self._parallel,
            message=self._message,
        )

    def log_tail(self, lines: int = 200) -> list[str]:
        """The real instance's log; empty while there is none."""
        return self._real.log_tail(lines) if self._real is not None else []

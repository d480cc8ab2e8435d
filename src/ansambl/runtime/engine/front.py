"""The part of an instance that only hands questions and wishes on to its parts."""

from __future__ import annotations

from collections.abc import Sequence

from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Serving
from ansambl.engines.adapter import (
    ConversationCalls,
    EngineAdapter,
    KeepsConversations,
    LoraCalls,
    SaltsCache,
    SharesPrefixes,
)
from ansambl.engines.serving import serving_of
from ansambl.runtime.conversations.identity import state_identity
from ansambl.runtime.engine.holding import Holding
from ansambl.runtime.engine.loras import EngineLoras
from ansambl.runtime.engine.renewing import Renewal
from ansambl.runtime.engine.resting import Rest
from ansambl.runtime.engine.runs import EngineRuns
from ansambl.runtime.engine.uses import Uses
from ansambl.runtime.instance import InstanceListener
from ansambl.runtime.kept_states import SlotKeeper
from ansambl.runtime.log_buffer import LogBuffer


class EngineFront:
    """What `EngineInstance` offers without deciding anything; it makes the parts."""

    _placement: Placement
    _adapter: EngineAdapter
    _keeps: KeepsConversations | None
    _calls: ConversationCalls | None
    _log: LogBuffer
    _loras: EngineLoras
    _runs: EngineRuns
    _uses: Uses
    _holding: Holding
    _rest: Rest
    _renewal: Renewal

    def begin_use(self) -> None:
        """As `Instance.begin_use`."""
        self._uses.begin()

    def end_use(self) -> None:
        """As `Instance.end_use`."""
        self._uses.end()

    def conversations(self) -> ConversationCalls | None:
        """How its engine's slots are used; they can be copied only while it runs."""
        return self._calls

    def shares_prefixes(self) -> bool | None:
        """As its adapter says; None where it says nothing."""
        return self._adapter.shares_prefixes(self._placement) if isinstance(self._adapter, SharesPrefixes) else None

    def serves(self) -> Serving:
        """As `Instance.serves`."""
        return serving_of(self._adapter, self._placement)

    def salted(self, body: bytes, salt: str) -> bytes:
        """As `Instance.salted`."""
        return self._adapter.salted(body, salt) if isinstance(self._adapter, SaltsCache) else body

    def keep_slots(self, keeper: SlotKeeper) -> None:
        """As `Instance.keep_slots`."""
        self._renewal.keeper = keeper

    def loras(self) -> LoraCalls | None:
        """As `Instance.loras`."""
        return self._loras.calls

    def check_lora(self, name: str) -> LoraAdapter:
        """As `Instance.check_lora`."""
        return self._loras.check(name)

    def end_lora(self, name: str) -> None:
        """As `Instance.end_lora`."""
        self._loras.end_use(name)

    def set_loras(self, adapters: Sequence[LoraAdapter]) -> bool:
        """As `Instance.set_loras`."""
        self._loras.replace(adapters)
        self._runs.use_loras(self._loras.wanted)
        self._rest.wished.set()
        return self._loras.needs_restart()

    def listen(self, listener: InstanceListener) -> None:
        """As `Instance.listen`."""
        self._holding.listener = listener

    def state_identity(self) -> str | None:
        """As `Instance.state_identity`."""
        return state_identity(self._placement) if self._keeps is not None else None

    def log_tail(self, lines: int = 200) -> list[str]:
        """The newest lines of the engine's log, oldest first."""
        return self._log.tail(lines)

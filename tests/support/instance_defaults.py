"""What stand-ins of instances need and most of them do not care about."""

from __future__ import annotations

from ansambl.domain.errors import NotSupportedError
from ansambl.domain.serving import UNKNOWN
from ansambl.domain.text import text
from ansambl.runtime.flight import Flight


class InstanceDefaults:
    """Uses are counted; there are no LoRA adapters, and nothing sleeps."""

    uses, garbage = 0, 0
    flight = Flight()
    serving = UNKNOWN

    def serves(self):
        return self.serving

    def garbled(self):
        self.garbage += 1

    def endpoint(self):
        return None

    def begin_use(self):
        self.uses += 1

    def end_use(self):
        self.uses -= 1

    async def sleep(self, level=None):
        raise NotSupportedError(text("it cannot"))

    def salted(self, body, salt):
        return body

    def keep_slots(self, keeper):
        self.keeper = keeper

    def loras(self):
        return None

    def check_lora(self, name):
        raise NotSupportedError(text("it cannot use '{name}'", name=name))

    async def use_lora(self, name):
        self.check_lora(name)

    def end_lora(self, name):
        raise AssertionError(name)

    def set_loras(self, adapters):
        return False

    def listen(self, listener):
        self.listener = listener

    def state_identity(self):
        return None

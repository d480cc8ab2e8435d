"""Conversations over swaps and restarts: what slots hold is saved before an engine stops, and comes back to its owner.

What is restored is proven three times: the file is the one that was written (checksum), it belongs to the key that asks
and to an engine of the same build with the same checkpoint (identity), and the answer's cached tokens show that it was
of use; some builds and some models restore nothing although they say so.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ansambl.domain.instance import Endpoint
from ansambl.domain.text import Text, text
from ansambl.engines.adapter import ConversationCalls, LoraCalls, SlotState
from ansambl.foundation.clock import Clock
from ansambl.runtime import state_files
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations.fingerprints import STEP, Fingerprints, covered, first_of
from ansambl.runtime.conversations.shelf import Shelf
from ansambl.runtime.conversations.store import ConversationStore
from ansambl.runtime.conversations.worth import UNKNOWN_SPEED, Saved, is_worth_restoring, make_room
from ansambl.runtime.events import EventLog
from ansambl.runtime.marks import is_plain, owner_mark, read_marks
from ansambl.runtime.slot_states import restore_slot, save_slot
from ansambl.runtime.slots import LONGEST_COMPARED, common_length

SHORTEST = 128
"""Tokens below which a conversation is read again more easily than it is kept."""

PROVEN = 0.95
"""The share of what was restored that must be cached in the answer."""

_FEWEST_BYTES_PER_TOKEN = 3
"""To guess the tokens of a text from above."""

_RESTORE_PATIENCE = 60.0
"""Seconds for restoring one: a state of some GiB is read in a few."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_HOPELESS = 2
"""After so many restores in a row of which nothing was used, an engine's states are not saved any more."""


@dataclass(frozen=True, slots=True)
class ConversationCounts:
    """What is kept, and what happened since the start; `size` in bytes, `restored_tokens` were not read again."""

    kept: int = 0
    size: int = 0
    saved: int = 0
    restored: int = 0
    restored_tokens: int = 0
    discarded: int = 0
    evicted: int = 0


@dataclass(frozen=True, slots=True)
class _Proof:
    saved: Saved
    tokens: int


class Conversations:
    """Keeps the conversations of one data folder. Use it on one event loop, after `begin`.

    Args:
        store: the rows of what is kept.
        folder: where the files are.
        budget: bytes for all of them; 0 keeps none and removes those that are there.
        clock: time.
        events: told what could not be kept or restored, each reason once for a model.
        speed: tokens per second of a model's prefill as far as it was measured.
    """

    def __init__(
        self, store: ConversationStore, folder: Path, budget: int, clock: Clock, events: EventLog, *,
        speed: Callable[[str], float | None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._store = store
        self._shelf = Shelf(folder)
        self._budget = budget
        self._clock = clock
        self._events = events
        self._speed = speed
        self._kept: dict[str, Saved] = {}
        # By the first step, too: nearly every prompt that matches nothing is told by it.
        self._found: defaultdict[tuple[str, str, bytes], dict[str, Saved]] = defaultdict(dict)
        self._in_use: Counter[str] = Counter()
        self._proofs: dict[tuple[str, int], _Proof] = {}
        self._useless: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._counts = ConversationCounts()
        # Without `begin` nothing is kept.
        self._usable = False
        self._changing = asyncio.Lock()

    async def begin(self) -> None:
        """Read what is kept, and remove what is no whole conversation; all of it where none are to be kept."""
        rows = await self._store.all()
        if self._budget <= 0:
            await self._store.replace(None, rows)
            await asyncio.to_thread(self._shelf.remove_all)
            return
        try:
            known = await asyncio.to_thread(self._shelf.open)
        except OSError as failure:
            self._tell("", "folder", text("conversations cannot be kept: {reason}", reason=failure.strerror or failure))
            return
        sizes = await asyncio.to_thread(self._shelf.sizes)
        good = [one for one in rows if known and sizes.get(one.name) == one.size]
        if len(good) < len(rows):
            await self._store.replace(None, [one for one in rows if one not in good])
        await asyncio.to_thread(self._shelf.keep_only, [one.name for one in good])
        for one in good:
            self._add(one)
        self._usable = True
        await self._trim()

    async def use(self, budget: int) -> None:
        """Keep them within another budget from now on; 0 removes those that are there and keeps no more."""
        async with self._changing:
            self._budget = budget
            if not self._usable:
                await self.begin()
            elif budget > 0:
                await self._trim()
            else:
                self._usable = False
                await self._remove(list(self._kept.values()))

    async def _trim(self) -> None:
        """Remove the least valuable while the budget is smaller than what is kept."""
        now = self._clock.now()
        idle = (one for one in self._kept.values() if not self._in_use[one.name])
        over = sorted(idle, key=lambda one: one.worth(now))
        while over and sum(one.size for one in self._kept.values()) > self._budget:
            await self._remove([over.pop(0)])

    async def save(
        self, model: str, endpoint: Endpoint, calls: ConversationCalls, identity: str | None,
        held: Mapping[int, bytes], *, patience: float,
    ) -> int:  # fmt: skip
        """Save what the slots of an engine hold that is about to stop, the longest first, in `patience` seconds.

        `held` is what each slot holds, with its marks. What a LoRA adapter read, what is short and what cannot be saved
        is left out: it is read again when it is needed. Returns how many conversations are kept of it.
        """
        if not self._usable or identity is None or not calls.can_copy or endpoint.state_folder is None:
            return 0
        if self._useless[identity] >= _HOPELESS:
            return 0
        until, count = self._clock.monotonic() + patience, 0
        for slot, hint in sorted(held.items(), key=lambda one: (-len(one[1]), one[0])):
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            marked = read_marks(hint)
            if not is_plain(hint) or len(marked.hint) < STEP:
                continue
            prints = Fingerprints(marked.hint, self._key_of(marked.owner))
            draft = Saved(
                name=secrets.token_hex(16), owner=marked.owner.hex(), identity=identity, model=model, tokens=0, size=0,
                seconds=0.0, saved_at=self._clock.now(), used=self._clock.now(), checksum=b"",
                length=len(marked.hint), fingerprint=prints.whole(),
            )  # fmt: skip
            count += await self._save_one(draft, endpoint, calls, slot, patience=left)
        return count

    async def bring_back(
        self, lease: Lease, identity: str | None, holds: bytes, loras: LoraCalls | None = None
    ) -> int:  # fmt: skip
        """Restore into the slot of `lease` what is kept of its prompt, when that is much more than it `holds` now.

        Call it before the request is sent. Returns the tokens that were restored; 0, at once, where nothing matches.
        """
        calls, folder = lease.calls, lease.endpoint.state_folder
        if lease.slot is None or calls is None or identity is None or folder is None or not calls.can_copy:
            return 0
        self._proofs.pop((lease.model, lease.slot), None)
        match = self._match(lease.prompt, identity, holds)
        if match is None:
            return 0
        saved, common = match
        self._in_use[saved.name] += 1
        try:
            tokens = await self._restore(saved, lease.endpoint, calls, loras, lease.slot)
        finally:
            self._in_use[saved.name] -= 1
        if tokens:
            share = 1.0 if common >= covered(saved.fingerprint) else common / max(1, saved.length)
            self._proofs[lease.model, lease.slot] = _Proof(saved, int(tokens * share))
        return tokens

    async def proved(self, lease: Lease, cached_tokens: int) -> None:
        """Tell how many tokens of the answer to a request were cached; what was restored for it and not used goes."""
        proof = self._proofs.pop((lease.model, lease.slot if lease.slot is not None else -1), None)
        if proof is None:
            return
        saved = proof.saved
        if cached_tokens >= PROVEN * proof.tokens:
            self._useless.pop(saved.identity, None)
            return
        if cached_tokens < proof.tokens / 2:
            self._useless[saved.identity] += 1
        await self._discard(saved, "unproven", text(
            "a conversation that was restored was read again: {cached} of {tokens} tokens came from its saved state",
            cached=cached_tokens, tokens=proof.tokens))  # fmt: skip

    async def forget_key(self, key: str) -> int:
        """Remove all that is kept of that API key; returns how many conversations that were."""
        owner = owner_mark(key).hex()
        async with self._changing:
            return await self._remove([one for one in self._kept.values() if one.owner == owner])

    async def remove_all(self) -> int:
        """Remove all that is kept; returns how many conversations that were."""
        async with self._changing:
            return await self._remove(list(self._kept.values()))

    def counts(self) -> ConversationCounts:
        """What is kept, and what happened since the start."""
        return replace(self._counts, kept=len(self._kept), size=sum(one.size for one in self._kept.values()))

    # Saving.

    async def _save_one(
        self, draft: Saved, endpoint: Endpoint, calls: ConversationCalls, slot: int, *, patience: float
    ) -> bool:
        siblings = self._found[_place(draft)].values()
        longer = [one for one in siblings if one.fingerprint.startswith(draft.fingerprint)]
        if (same := next((one for one in longer if one.length >= draft.length), None)) is not None:
            self._touch(same)
            return True
        folder = endpoint.state_folder or ""
        guess = (endpoint.state_bytes_per_token or 0.0) * draft.length / _FEWEST_BYTES_PER_TOKEN
        if not await asyncio.to_thread(state_files.has_room, folder, guess):
            self._tell_full(draft.model)
            return False
        written = await save_slot(endpoint, calls, slot, patience=patience)
        if written is None:
            # Its disk may be full, it may hold a picture; llama.cpp says no more than that it could not.
            self._tell(draft.model, "unsaved", text("a conversation could not be saved: {reason}",
                                                    reason=text("the engine did not write it")))  # fmt: skip
            return False
        file, state = written
        try:
            if state.tokens < SHORTEST:
                return False
            async with self._changing:
                return await self._shelve(draft, Path(folder, file), state)
        finally:
            await asyncio.to_thread(state_files.remove_file, folder, file)

    async def _shelve(self, draft: Saved, source: Path, state: SlotState) -> bool:
        try:
            size = (await asyncio.to_thread(source.stat)).st_size
        except OSError:
            return False
        speed = self._speed(draft.model) or UNKNOWN_SPEED
        new = replace(draft, tokens=state.tokens, size=size, seconds=state.tokens / speed)
        # What the new one begins with is not kept a second time.
        siblings = self._found[_place(new)].values()
        old = [one for one in siblings if new.fingerprint.startswith(one.fingerprint) and not self._in_use[one.name]]
        others = [one for one in self._kept.values() if one not in old]
        busy = [name for name, uses in self._in_use.items() if uses > 0]
        going = make_room(others, new, self._budget, self._clock.now(), spare=busy)
        if going is None:
            return False
        self._counts = replace(self._counts, evicted=self._counts.evicted + len(going))
        await self._remove([*old, *going])
        try:
            await asyncio.to_thread(self._shelf.check_room, size)
            checksum = await asyncio.to_thread(self._shelf.take, source, new.name, _belongs_to(new))
        except OSError as failure:
            if failure.errno in _FULL:
                self._tell_full(new.model)
            else:
                self._tell(new.model, "unsaved", text("a conversation could not be saved: {reason}",
                                                      reason=failure.strerror or failure))  # fmt: skip
            return False
        new = replace(new, checksum=checksum)
        await self._store.replace(new, ())
        self._add(new)
        self._counts = replace(self._counts, saved=self._counts.saved + 1)
        return True

    def _tell_full(self, model: str) -> None:
        self._tell(model, "full", text("conversations are not saved: there is no room on the disk or in the memory; "
                                       "they are read again instead"))  # fmt: skip

    # Restoring.

    def _match(self, prompt: bytes, identity: str, holds: bytes) -> tuple[Saved, int] | None:
        """What is best restored for `prompt`, and how many of its bytes are in it."""
        if not self._kept:
            return None
        marked = read_marks(prompt[:LONGEST_COMPARED])
        if marked.lora or len(marked.hint) < STEP:
            return None
        prints = Fingerprints(marked.hint, self._key_of(marked.owner))
        candidates = self._found.get((identity, marked.owner.hex(), prints.first()))
        if not candidates:
            return None
        near = [(one, prints.common(one.fingerprint)) for one in candidates.values()]
        held = common_length(holds, prompt) - len(marked.owner) if holds else 0
        useful = [one for one in near if is_worth_restoring(one[0], one[1], held)]
        return max(useful, key=lambda one: (one[1], -one[0].size, one[0].name), default=None)

    async def _restore(
        self, saved: Saved, endpoint: Endpoint, calls: ConversationCalls, loras: LoraCalls | None, slot: int
    ) -> int:
        folder, file = endpoint.state_folder or "", f"{secrets.token_hex(8)}.state"
        if not await asyncio.to_thread(state_files.has_room, folder, saved.size):
            return 0
        try:
            whole = await asyncio.to_thread(
                self._shelf.hand_out, saved.name, Path(folder, file), _belongs_to(saved), saved.checksum
            )
        except OSError as failure:
            if failure.errno not in _FULL:
                await self._discard(saved, "unreadable", text("a saved conversation cannot be read: {reason}",
                                                              reason=failure.strerror or failure))  # fmt: skip
            return 0
        if not whole:
            await self._discard(saved, "corrupt", text("a saved conversation was removed: its file is not what was "
                                                       "written"))  # fmt: skip
            return 0
        tokens = await restore_slot(endpoint, calls, loras, slot, file, patience=_RESTORE_PATIENCE)
        if tokens < saved.tokens:
            await self._discard(saved, "refused", text("a saved conversation was removed: the engine restored {tokens} "
                                                       "of {all} tokens", tokens=tokens, all=saved.tokens))  # fmt: skip
            return 0
        self._touch(saved)
        self._counts = replace(
            self._counts, restored=self._counts.restored + 1, restored_tokens=self._counts.restored_tokens + tokens
        )
        return tokens

    # What is kept.

    def _add(self, saved: Saved) -> None:
        self._kept[saved.name] = saved
        self._found[_place(saved)][saved.name] = saved

    def _touch(self, saved: Saved) -> None:
        if saved.name in self._kept:
            used = replace(saved, used=self._clock.now())
            self._add(used)
            self._store.touch(used)

    async def _remove(self, gone: Iterable[Saved]) -> int:
        listed = [one for one in gone if one.name in self._kept]
        for one in listed:
            del self._kept[one.name]
            del self._found[_place(one)][one.name]
        if listed:
            # First the row: a file that nobody knows of is removed at the next start, a row without one is a lie.
            await self._store.replace(None, listed)
            for one in listed:
                await asyncio.to_thread(self._shelf.remove, one.name)
        return len(listed)

    async def _discard(self, saved: Saved, kind: str, message: Text) -> None:
        async with self._changing:
            if await self._remove([saved]):
                self._counts = replace(self._counts, discarded=self._counts.discarded + 1)
        self._tell(saved.model, kind, message)

    def _key_of(self, owner: bytes) -> bytes:
        return hashlib.blake2b(owner, key=self._shelf.secret, digest_size=32).digest()

    def _tell(self, model: str, kind: str, message: Text) -> None:
        """Once for each model and kind: what goes wrong with one conversation goes wrong with many."""
        if (model, kind) not in self._told:
            self._told.add((model, kind))
            self._events.add(model, f"conversation_{kind}", message)


def _place(saved: Saved) -> tuple[str, str, bytes]:
    return saved.identity, saved.owner, first_of(saved.fingerprint)


def _belongs_to(saved: Saved) -> bytes:
    """What a file must not be mistaken for: another owner's, another engine's, another conversation's."""
    return "\n".join((saved.name, saved.owner, saved.identity, str(saved.tokens), str(saved.length))).encode()

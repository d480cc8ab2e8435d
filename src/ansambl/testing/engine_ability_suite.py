# ruff: noqa: S101 - this is a test suite, shipped so that engines outside this repository can pass it too
"""The part of the engines' suite about what only some can do: slots and their states, salts, sleep, LoRA adapters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from ansambl.domain.engine import NotUsable
from ansambl.engines.adapter import CanSleep, EngineAdapter, EngineCall, KeepsConversations, SaltsCache, SwapsLora
from ansambl.testing.engine_records import GOLDEN_SECRET, RecordedEngines, golden_placement


def _written(call: EngineCall) -> dict[str, Any]:
    return {**dataclasses.asdict(call), "body": dict(call.body)}


def _as_post(call: dict[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "body": {}, **call}


def _check_refusal(found: object, case: dict[str, Any]) -> None:
    assert isinstance(found, NotUsable), case["case"]
    assert case["refused"] in found.reason.render(), case["case"]
    assert found.how_to_fix.render()


_RUBBISH = (b"", b"[]", b'{"error": {"code": 501}}', b"\xff", b"[" * 100_000, b'{"data": [1]}', b"null")


class EngineAbilities(RecordedEngines):
    """See `ansambl.testing.engine_suite`."""

    def test_calls_of_slots_are_pure_and_read_their_answers(self, name: str, adapter: EngineAdapter) -> None:
        """Where it keeps conversations: the recorded calls, and their recorded answers read; rubbish gives None."""
        if not isinstance(adapter, KeepsConversations):
            pytest.skip("this engine does not keep conversations")
        recorded = self.recorded(name, "conversations.json")
        placement = golden_placement(recorded)
        calls = adapter.conversation_calls(placement)
        assert calls is not None
        assert not calls.can_copy
        # What cannot be emptied must say so, or one key's requests would be answered from another's.
        assert calls.erase(3) is None
        calls = adapter.conversation_calls(dataclasses.replace(placement, state_folder="/states"))
        assert calls is not None
        assert calls.can_copy
        made = {
            "render": calls.render({"messages": [{"role": "user", "content": "Hi"}], "stream": True}),
            "tokenize": calls.tokenize("Hi"), "prefill": calls.prefill([1, 2], 3), "save": calls.save(3, "file"),
            "restore": calls.restore(3, "file"), "erase": calls.erase(3),
        }  # fmt: skip
        assert {one: dataclasses.asdict(call) for one, call in made.items() if call is not None} == {
            one: {"method": "POST", **call} for one, call in recorded["calls"].items()
        }
        readers: dict[str, Callable[[bytes], Any]] = {
            "render": calls.read_prompt, "tokenize": calls.read_tokens, "prefill": calls.read_prefilled,
            "save": calls.read_state, "restore": calls.read_state,
        }  # fmt: skip
        for one, read in readers.items():
            found = read(json.dumps(recorded["answers"][one]).encode())
            is_record = dataclasses.is_dataclass(found) and not isinstance(found, type)
            assert (dataclasses.asdict(found) if is_record else found) == recorded["read"][one]
            for rubbish in (b"", b"[]", b'{"error": {"code": 501}}', b"\xff", b"[" * 100_000):
                assert read(rubbish) is None

    def test_a_pinned_body_says_its_slot_last(self, name: str, adapter: EngineAdapter) -> None:
        """Whatever else the client wrote there."""
        if not isinstance(adapter, KeepsConversations):
            pytest.skip("this engine does not keep conversations")
        recorded = self.recorded(name, "conversations.json")
        calls = adapter.conversation_calls(golden_placement(recorded))
        assert calls is not None
        for body in ({"model": "m"}, {"model": "}", recorded["pin"]: 7}):
            pinned = json.loads(calls.pinned(json.dumps(body).encode(), 2))
            assert pinned == {**body, recorded["pin"]: 2}

    def test_an_unshared_body_says_so_last(self, name: str, adapter: EngineAdapter) -> None:
        """Whatever else the client wrote there: it uses nothing of what was read before."""
        if not isinstance(adapter, KeepsConversations):
            pytest.skip("this engine does not keep conversations")
        recorded = self.recorded(name, "conversations.json")
        calls = adapter.conversation_calls(golden_placement(recorded))
        assert calls is not None
        said = recorded["unshared"]
        for body in ({"model": "m"}, {"model": "}", **dict.fromkeys(said)}):
            assert json.loads(calls.unshared(json.dumps(body).encode())) == {**body, **said}

    def test_a_salted_body_says_its_salt_last(self, adapter: EngineAdapter) -> None:
        """Where its prefix cache is shared by all requests: the salt changes that, and nothing else of the body."""
        if not isinstance(adapter, SaltsCache):
            pytest.skip("requests to this engine carry no salt")
        added = {}
        for body in ({"model": "m"}, {"model": "}", "cache_salt": "of a client", "prompt": "x"}):
            salted = json.loads(adapter.salted(json.dumps(body).encode(), 'a"b'))
            added = {name: value for name, value in salted.items() if body.get(name) != value}
            assert added == dict.fromkeys(added, 'a"b')
            assert len(added) == 1
            assert salted == {**body, **added}

    def test_the_folder_of_states_makes_no_other_engine(self, name: str, adapter: EngineAdapter) -> None:
        """It reaches the engine, and an engine that runs is adopted whatever folder it was given."""
        if not isinstance(adapter, KeepsConversations):
            pytest.skip("this engine does not keep conversations")
        placement = golden_placement(self.recorded(name, "conversations.json"))
        specs = [
            adapter.launch_spec(dataclasses.replace(placement, state_folder=folder), port=1, secret=GOLDEN_SECRET)
            for folder in ("/states/one", "/states/two")
        ]
        assert specs[0].digest == specs[1].digest
        assert "/states/one/" in " ".join(specs[0].argv)
        assert "/states/two/" in " ".join(specs[1].argv)

    def test_sleep_is_as_recorded(self, name: str, adapter: EngineAdapter) -> None:
        """Where it can sleep: the recorded calls and what their answers mean, or the words of why not."""
        if not isinstance(adapter, CanSleep):
            pytest.skip("this engine cannot sleep")
        cases = self.recorded(name, "sleep.json")
        assert any("refused" not in case for case in cases)
        for case in cases:
            calls = adapter.sleep_calls(golden_placement(case))
            if "refused" in case:
                _check_refusal(calls, case)
                continue
            assert not isinstance(calls, NotUsable), case["case"]
            assert list(calls.levels) == case["levels"]
            assert set(calls.levels) <= {1, 2}
            for level in calls.levels:
                assert _written(calls.sleep(level)) == _as_post(case["sleep"][str(level)])
                assert [_written(one) for one in calls.wake(level)] == [
                    _as_post(one) for one in case["wake"][str(level)]
                ]
            assert _written(calls.ask()) == _as_post(case["ask"])
            assert {read for _, read in case["answers"]} >= {True, False}
            for answer, read in case["answers"]:
                assert calls.read_asleep(json.dumps(answer).encode()) is read
            for rubbish in _RUBBISH:
                assert calls.read_asleep(rubbish) is None

    def test_lora_adapters_are_used_as_recorded(self, name: str, adapter: EngineAdapter) -> None:
        """Where it swaps LoRA adapters: the recorded calls, answers and bodies, or the words of why not."""
        if not isinstance(adapter, SwapsLora):
            pytest.skip("this engine does not swap LoRA adapters")
        cases = self.recorded(name, "loras.json")
        assert any("refused" not in case for case in cases)
        for case in cases:
            placement = golden_placement(case)
            calls = adapter.lora_calls(placement)
            if "refused" in case:
                _check_refusal(calls, case)
                continue
            assert not isinstance(calls, NotUsable), case["case"]
            assert (calls.at_start, calls.can_load) == (case["at_start"], case["can_load"]), case["case"]
            if calls.can_load:
                assert _written(calls.load(placement.loras[0])) == _as_post(case["load"])
                assert _written(calls.unload(placement.loras[0])) == _as_post(case["unload"])
            assert _written(calls.listed()) == _as_post(case["listed"])
            for answer, names in case["answers"]:
                found = calls.read_listed(json.dumps(answer).encode())
                assert found == (None if names is None else frozenset(names)), case["case"]
            for rubbish in _RUBBISH:
                assert not calls.read_listed(rubbish)
            for one in case["applied"]:
                made = json.loads(calls.applied(json.dumps(one["body"]).encode(), one["path"], one["lora"]))
                assert made == one["becomes"], one

    def test_a_body_always_says_its_lora_adapter(self, name: str, adapter: EngineAdapter) -> None:
        """Also none, and whatever was chosen before: by the client, or for another request with the same body."""
        if not isinstance(adapter, SwapsLora):
            pytest.skip("this engine does not swap LoRA adapters")
        for case in self.recorded(name, "loras.json"):
            placement = golden_placement(case)
            calls = adapter.lora_calls(placement)
            if isinstance(calls, NotUsable):
                continue
            choices = [None, *(one.name for one in placement.loras)]
            assert len(choices) > 2, "two adapters show that they are kept apart"
            body = json.dumps({"model": "}", "messages": [{"role": "user", "content": 'a "}'}]}).encode()
            for path in case["paths"]:
                made = {lora: calls.applied(body, path, lora) for lora in choices}
                read = {lora: json.loads(one) for lora, one in made.items()}
                assert len({json.dumps(one, sort_keys=True) for one in read.values()}) == len(choices)
                for lora in choices:
                    for before in made.values():
                        assert json.loads(calls.applied(before, path, lora)) == read[lora]
                        tidy = json.dumps(json.loads(before)).encode()
                        assert json.loads(calls.applied(tidy, path, lora)) == read[lora]

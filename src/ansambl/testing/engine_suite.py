# ruff: noqa: S101 - this is a test suite, shipped so that engines outside this repository can pass it too
"""The contract suite for engine adapters: what each must do, checked against recorded data of the real engine.

An engine's data lie in a folder named after it:

* ``launch.json``: cases of ``placement`` (fields of `Placement`; and flat beside them those of its options, of its
  checkpoint, and ``installed`` and ``loras`` as objects) with the golden ``argv`` (this Python written as
  ``{python}``), ``environment`` (the key written as ``{key}``), ``files`` (the same) and ``working_folder`` where
  there are any, or ``refused``
* ``exits.json``: cases of ``log`` (a file in ``exits/``), ``code``, and the ``reason`` and ``restart_helps`` to find;
  ``missing`` (bytes) and ``largest_context`` (tokens) where the engine says them
* ``load.log`` with ``load.json``: a log of a load, and what is read from it (where the engine tells)
* ``conversations.json``, where it keeps conversations: a ``placement``, the golden ``calls`` with recorded ``answers``
  and what is ``read`` from them, the field that is the ``pin``, and the fields that make a body ``unshared``
* ``metrics.txt`` with ``metrics.json``: a metrics page, and what is read from it (where the engine has one)
* ``sleep.json``, where it can sleep: cases of ``placement`` with its ``levels``, the golden calls ``sleep`` and
  ``wake`` (a list) by level and ``ask``, and ``answers``, pairs of what `ask` answers and what is read from it (true,
  false or null); or with ``refused``, words of why not
* ``loras.json``, where it swaps LoRA adapters: cases of ``placement`` (with ``loras``) with ``at_start`` and
  ``can_load``, the golden calls ``load`` and ``unload`` of the first adapter (only where it can load) and ``listed``,
  ``answers``, pairs of what `listed` answers and the names read from it (a list or null), ``paths`` of requests that
  choose an adapter, and ``applied``, objects of ``path``, ``lora`` (a name or null), ``body`` and what it ``becomes``;
  or with ``refused``, words of why not
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import pytest

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import (
    EngineOptions,
    EngineTraits,
    ExitReason,
    Installed,
    LaunchSpec,
    NotUsable,
    Surroundings,
)
from ansambl.domain.errors import AnsamblError, NotSupportedError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import (
    AttachOnly,
    CanSleep,
    EngineAdapter,
    EngineCall,
    KeepsConversations,
    SaltsCache,
    SwapsLora,
)
from ansambl.engines.registry import ENGINES

GOLDEN_PORT, GOLDEN_SECRET = 18000, "golden-secret"


def registered_engines() -> tuple[str, ...]:
    """Every engine name, for parametrising."""
    return tuple(ENGINES)


def golden_placement(case: dict[str, Any]) -> Placement:
    """The placement that a case of ``launch.json`` describes."""
    given = dict(case["placement"])
    checkpoint = None
    if given.pop("checkpoint", True):
        path = given.pop("path", "/models/model.gguf")
        checkpoint = Checkpoint(
            reference=PurePath(path).name, path=path, format=given.pop("format", "gguf"), size=Bytes(1000),
            identity="golden", context=given.pop("trained_context", 8192),
            **{name: given.pop(name) for name in ("architecture", "layers", "quantization", "repo") if name in given},
        )  # fmt: skip
    options = EngineOptions(
        arguments=tuple(given.pop("arguments", ())), environment=given.pop("environment", {}),
        command=given.pop("command", None), name=given.pop("name", None),
    )  # fmt: skip
    if "installed" in given:
        given["installed"] = Installed(**given["installed"])
    if "gpus" in given:
        given["gpus"] = tuple(given["gpus"])
    if "kind" in given:
        given["kind"] = ModelKind(given["kind"])
    given["loras"] = tuple(_golden_lora(one) for one in given.pop("loras", ()))
    return Placement(
        model=given.pop("model", "m"), engine=given.pop("engine", "auto"), checkpoint=checkpoint,
        context=given.pop("context", 4096), parallel=given.pop("parallel", 1), options=options, **given,
    )  # fmt: skip


def _golden_lora(given: dict[str, Any]) -> LoraAdapter:
    filled = {"model": "m", "rank": 8, "size": Bytes(1000), "identity": f"golden {given['name']}", **given}
    return LoraAdapter(**{**filled, "invocation": tuple(filled.get("invocation", ()))})


def _written(call: EngineCall) -> dict[str, Any]:
    return {**dataclasses.asdict(call), "body": dict(call.body)}


def _as_post(call: dict[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "body": {}, **call}


def _check_refusal(found: object, case: dict[str, Any]) -> None:
    assert isinstance(found, NotUsable), case["case"]
    assert case["refused"] in found.reason.render(), case["case"]
    assert found.how_to_fix.render()


_RUBBISH = (b"", b"[]", b'{"error": {"code": 501}}', b"\xff", b"[" * 100_000, b'{"data": [1]}', b"null")


class EngineContract:
    """Subclass it with `data` set to the folder of recorded data; every test takes one engine's name."""

    data: Path

    @pytest.fixture(params=registered_engines())
    def name(self, request: pytest.FixtureRequest) -> str:
        """One registered engine after the other."""
        return str(request.param)

    @pytest.fixture
    def adapter(self, name: str) -> EngineAdapter:
        """Its adapter."""
        return ENGINES.get(name)

    def recorded(self, name: str, file: str, *, needed: bool = True) -> Any:
        """The content of a recorded file (parsed when it is JSON); None when it is not `needed` and not there."""
        path = self.data / name / file
        if not path.is_file():
            if needed:
                pytest.fail(
                    f"the engine '{name}' has no recorded data: {path.relative_to(self.data.parent)} is missing"
                )
            return None
        content = path.read_text(encoding="utf-8", errors="replace")
        return json.loads(content) if path.suffix == ".json" else content

    def test_it_fulfils_the_contract(self, name: str, adapter: EngineAdapter) -> None:
        """The registered name is its own, and it says what it can do."""
        assert isinstance(adapter, EngineAdapter)
        assert isinstance(adapter.traits, EngineTraits)
        assert adapter.traits.name == name
        assert adapter.traits.title
        assert adapter.traits.dialects
        assert adapter.probe.path.startswith("/")

    def test_it_says_whether_it_is_usable(self, adapter: EngineAdapter) -> None:
        """Without a machine to look at, too."""
        found = adapter.detect(Surroundings())
        assert isinstance(found, (Installed, NotUsable))
        if isinstance(found, NotUsable):
            assert found.reason.render()
            assert found.how_to_fix.render()

    def test_golden_launches(self, name: str, adapter: EngineAdapter) -> None:
        """Each placement gives exactly the recorded command line, or is refused with the recorded words."""
        cases = self.recorded(name, "launch.json")
        assert cases
        for case in cases:
            placement = golden_placement(case)
            if "refused" in case:
                with pytest.raises(AnsamblError) as refusal:
                    adapter.launch_spec(placement, port=GOLDEN_PORT, secret=GOLDEN_SECRET)
                assert case["refused"] in str(refusal.value), case["case"]
                assert "\n" not in str(refusal.value)
                continue
            spec = adapter.launch_spec(placement, port=GOLDEN_PORT, secret=GOLDEN_SECRET)
            argv = [word.replace(sys.executable, "{python}") for word in spec.argv]
            environment = {key: value.replace(GOLDEN_SECRET, "{key}") for key, value in spec.environment.items()}
            assert argv == case["argv"], case["case"]
            assert environment == case["environment"], case["case"]
            wanted = case.get("files", {})
            files = {
                file: None if wanted.get(file, "") is None else content.replace(GOLDEN_SECRET, "{key}")
                for file, content in spec.files.items()
            }
            assert files == wanted, case["case"]
            assert spec.working_folder == case.get("working_folder"), case["case"]

    def test_launch_specs_are_pure_and_keep_the_secret(self, name: str, adapter: EngineAdapter) -> None:
        """Port and secret change nothing that matters; the secret is in the environment and nowhere else."""
        for case in self.recorded(name, "launch.json"):
            if "refused" in case:
                continue
            placement = golden_placement(case)
            one = adapter.launch_spec(placement, port=GOLDEN_PORT, secret=GOLDEN_SECRET)
            again = adapter.launch_spec(placement, port=GOLDEN_PORT, secret=GOLDEN_SECRET)
            other = adapter.launch_spec(placement, port=1, secret="other")  # noqa: S106 - a made-up one
            assert one == again
            assert one.digest == other.digest != ""
            assert one.port == GOLDEN_PORT
            self._check_secret(one)
            wider = dataclasses.replace(placement, options=dataclasses.replace(placement.options, environment={
                **placement.options.environment, "ANOTHER": "value"}))  # fmt: skip
            assert adapter.launch_spec(wider, port=1, secret="other").digest != one.digest  # noqa: S106 - see above

    @staticmethod
    def _check_secret(spec: LaunchSpec) -> None:
        assert GOLDEN_SECRET not in " ".join(spec.argv)
        assert GOLDEN_SECRET not in repr(spec)
        holders = {key for key, value in spec.environment.items() if GOLDEN_SECRET in value}
        assert holders
        assert holders <= spec.secret_environment

    def test_attach_only_engines_start_nothing(self, adapter: EngineAdapter) -> None:
        """They say so in words that help."""
        if not isinstance(adapter, AttachOnly):
            pytest.skip("this engine can be started")
        with pytest.raises(NotSupportedError):
            adapter.launch_spec(golden_placement({"placement": {}}), port=1, secret="")

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

    def test_recorded_exits_are_explained(self, name: str, adapter: EngineAdapter) -> None:
        """Each recorded end of the real engine is recognised."""
        cases = self.recorded(name, "exits.json", needed=not isinstance(adapter, AttachOnly)) or []
        for case in cases:
            tail = self.recorded(name, f"exits/{case['log']}").splitlines()
            found = adapter.explain_exit(case["code"], tail)
            expected = (ExitReason(case["reason"]), case["restart_helps"])
            assert (found.reason, found.restart_helps) == expected, case["log"]
            assert found.missing == case.get("missing"), case["log"]
            assert found.largest_context == case.get("largest_context"), case["log"]
            assert isinstance(found.message, Text)
            assert "\n" not in found.message.render()

    @pytest.mark.parametrize("code", [None, 0, 1, 77, -4, -6, -9, -11, -15, 134, 139])
    def test_any_exit_is_explained(self, adapter: EngineAdapter, code: int | None) -> None:
        """Also with no log at all, and with a log of rubbish."""
        for tail in ([], ["", "\x00\ufffd {braces} %s"]):
            assert adapter.explain_exit(code, tail).message.render()

    def test_recorded_log_is_read(self, name: str, adapter: EngineAdapter) -> None:
        """Memory by part and the context that the engine really gives."""
        log, expected = (self.recorded(name, file, needed=False) for file in ("load.log", "load.json"))
        if log is None:
            pytest.skip("no log of a load is recorded for this engine")
        memory: dict[str, int] = {}
        context = None
        for line in log.splitlines():
            facts = adapter.read_log(line)
            if facts is not None:
                for part, size in facts.memory.items():
                    # A part may be told in several lines: one per device, or per kind of layer.
                    memory[part] = memory.get(part, 0) + size
                context = facts.context or context
        assert {"memory": memory, "context": context} == expected

    def test_recorded_metrics_are_read(self, name: str, adapter: EngineAdapter) -> None:
        """The engine's own figures; a page of rubbish gives none."""
        page, expected = (self.recorded(name, file, needed=False) for file in ("metrics.txt", "metrics.json"))
        assert set(dataclasses.asdict(adapter.read_metrics("<html>\nno metrics {here} nan\n")).values()) == {None}
        if page is None:
            pytest.skip("no metrics page is recorded for this engine")
        found = dataclasses.asdict(adapter.read_metrics(page))
        assert {name: one for name, one in found.items() if one is not None} == {
            name: one for name, one in expected.items() if one is not None
        }

# ruff: noqa: S101 - this is a test suite, shipped so that engines outside this repository can pass it too
"""The contract suite for engine adapters: what each must do, checked against recorded data of the real engine.

An engine's data lie in a folder named after it:

* ``launch.json``: cases of ``placement`` (``arguments``, ``environment``, ``command``, ``context``…) with the golden
  ``argv`` (this Python written as ``{python}``) and ``environment`` (the key written as ``{key}``), or ``refused``
* ``exits.json``: cases of ``log`` (a file in ``exits/``), ``code``, and the ``reason`` and ``restart_helps`` to find
* ``load.log`` with ``load.json``: a log of a load, and what is read from it (where the engine tells)
* ``conversations.json``, where it keeps conversations: a ``placement``, the golden ``calls`` with recorded ``answers``
  and what is ``read`` from them, and the field that is the ``pin``
* ``metrics.txt`` with ``metrics.json``: a metrics page, and what is read from it (where the engine has one)
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import AttachOnly, EngineAdapter, KeepsConversations
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
        checkpoint = Checkpoint(
            reference="model.gguf", path="/models/model.gguf", format=given.pop("format", "gguf"), size=Bytes(1000),
            identity="golden", context=given.pop("trained_context", 8192),
        )  # fmt: skip
    options = EngineOptions(
        arguments=tuple(given.pop("arguments", ())), environment=given.pop("environment", {}),
        command=given.pop("command", None), name=given.pop("name", None),
    )  # fmt: skip
    return Placement(
        model=given.pop("model", "m"), engine=given.pop("engine", "auto"), checkpoint=checkpoint,
        context=given.pop("context", 4096), parallel=given.pop("parallel", 1), options=options, **given,
    )  # fmt: skip


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
        calls = adapter.conversation_calls(dataclasses.replace(placement, state_folder="/states"))
        assert calls is not None
        assert calls.can_copy
        made = {
            "render": calls.render({"messages": [{"role": "user", "content": "Hi"}], "stream": True}),
            "tokenize": calls.tokenize("Hi"), "prefill": calls.prefill([1, 2], 3), "save": calls.save(3, "file"),
            "restore": calls.restore(3, "file"),
        }  # fmt: skip
        assert {one: dataclasses.asdict(call) for one, call in made.items()} == {
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

    def test_recorded_exits_are_explained(self, name: str, adapter: EngineAdapter) -> None:
        """Each recorded end of the real engine is recognised."""
        cases = self.recorded(name, "exits.json", needed=not isinstance(adapter, AttachOnly)) or []
        for case in cases:
            tail = self.recorded(name, f"exits/{case['log']}").splitlines()
            found = adapter.explain_exit(case["code"], tail)
            expected = (ExitReason(case["reason"]), case["restart_helps"])
            assert (found.reason, found.restart_helps) == expected, case["log"]
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
        assert dataclasses.asdict(adapter.read_metrics(page)) == expected

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
import sys

import pytest

from ansambl.domain.engine import EngineTraits, ExitReason, Installed, LaunchSpec, NotUsable, Surroundings
from ansambl.domain.errors import AnsamblError, NotSupportedError
from ansambl.domain.text import Text
from ansambl.engines.adapter import AttachOnly, EngineAdapter
from ansambl.testing.engine_ability_suite import EngineAbilities
from ansambl.testing.engine_records import GOLDEN_PORT, GOLDEN_SECRET, golden_placement


class EngineContract(EngineAbilities):
    """Subclass it with `data` set to the folder of recorded data; every test takes one engine's name."""

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

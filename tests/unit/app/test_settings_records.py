"""What the other parts get from the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.app.configuration.settings_records import (
    attachments,
    embedded_slots,
    ensemble_fields,
    model_names,
    placement,
    role_fields,
)
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.model import Checkpoint
from ansambl.domain.units import MIB, Bytes
from ansambl.model_catalog.embedded import load_embedded
from ansambl.roles.catalog import build_catalog

CHECKPOINT = Checkpoint("embedded", "/m.gguf", "gguf", Bytes(1), "sha256:0", context=2048)


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], LoadedSettings]:
    def load_text(source: str) -> LoadedSettings:
        file = tmp_path / "c.toml"
        file.write_text(source)
        return load_settings(file, environment={})

    return load_text


def test_the_embedded_model_by_default(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load("")
    made = placement(loaded, "embedded", CHECKPOINT)
    assert (made.engine, made.context) == ("llama.cpp-bundled", 2048)
    assert made.parallel in {1, load_embedded().parallel}
    assert made.prompt_cache == 512 * MIB
    assert [one.name for one in model_names(loaded.settings)] == ["embedded"]
    assert attachments(loaded) == ()


def test_the_embedded_model_has_several_slots_where_a_quarter_of_the_free_ram_holds_them() -> None:
    model = load_embedded()
    slot = 180 * MIB  # what llama.cpp's log tells for 8,192 tokens
    enough = Bytes(4 * 4 * slot)
    assert embedded_slots(model, None, enough) == 4
    assert embedded_slots(model, None, Bytes(enough - 1)) == 1
    assert embedded_slots(model, 2048, Bytes(enough // 4)) == 4
    assert embedded_slots(model, 100_000, enough) == 4, "no slot is longer than the model's context"


def test_a_budget_limits_what_the_embedded_model_takes_by_itself(load: Callable[[str], LoadedSettings]) -> None:
    made = placement(load('[budget]\nram = "640MiB"'), "embedded", CHECKPOINT)
    assert made.parallel == 1
    # A sixteenth of it, so that no cache of earlier prompts keeps the model from fitting.
    assert made.prompt_cache == 40 * MIB
    assert placement(load('[budget]\nram = "64GiB"'), "embedded", CHECKPOINT).prompt_cache == 512 * MIB
    smaller = load('[budget]\nram = "640MiB"\n[engines."llama.cpp"]\nprompt_cache = 0')
    assert placement(smaller, "embedded", CHECKPOINT).prompt_cache == 0


def test_a_configured_number_of_slots_holds(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load('[models.a]\ncheckpoint = "embedded"\nparallel = 2\n[models.c]\ncommand = "x {port}"\n')
    assert placement(loaded, "a", CHECKPOINT).parallel == 2
    assert placement(loaded, "c", None).parallel == 1


def test_an_engines_table_holds_for_its_models_under_an_alias_too(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load(
        '[engines."llama.cpp"]\nthreads = 2\nprompt_cache = 0\n'
        '[models.a]\ncheckpoint = "embedded"\n[models.b]\ncheckpoint = "embedded"\nthreads = 5\n'
        'arguments = ["--x", "1"]\nenvironment = { A = "b" }\n'
    )
    first, second = (placement(loaded, name, CHECKPOINT) for name in ("a", "b"))
    assert (first.threads, first.prompt_cache, second.threads) == (2, 0, 5)
    # The owner's arguments come behind those of the embedded model, so that they have the last word.
    assert second.options.arguments[-2:] == ("--x", "1")
    assert second.options.environment == {"A": "b"}


def test_a_command_is_an_engine_of_its_own(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load('[models.c]\ncommand = "serve --port {port}"\nname = "there"\n')
    made = placement(loaded, "c", None)
    assert (made.engine, made.options.command) == ("command", "serve --port {port}")
    assert made.options.name == "there"


def test_a_context_longer_than_the_models_names_the_line(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load('[models.a]\ncheckpoint = "embedded"\ncontext = 4096\n')
    with pytest.raises(
        ConfigurationError, match=r"c\.toml line 3: models\.a\.context: 4096 is longer than the 2048 tokens"
    ):
        placement(loaded, "a", CHECKPOINT)


def test_an_address_with_its_key_from_the_environment(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load('[models.r]\naddress = "http://h:1/v1/"\nname = "m2"\nkey_env = "K"\nparallel = 3\n')
    (made,) = attachments(loaded, {"K": "secret"})
    assert (made.model, made.address, made.name, made.key, made.parallel) == ("r", "http://h:1/v1", "m2", "secret", 3)
    assert "secret" not in repr(made)
    with pytest.raises(ConfigurationError, match="environment variable K is not set"):
        attachments(loaded, {})


@pytest.mark.parametrize(
    ("keys", "engine"),
    [
        ('address = "http://h:1"', "llama.cpp-bundled"),
        ('command = "x"', "llama.cpp-bundled"),
        ('checkpoint = "x"', "command"),
        ('checkpoint = "x"', "openai-compatible"),
    ],
)
def test_an_engine_that_contradicts_the_rest(load: Callable[[str], LoadedSettings], keys: str, engine: str) -> None:
    with pytest.raises(ConfigurationError, match=r"line 3: models\.a\.engine: .* does not go with"):
        load(f'[models.a]\n{keys}\nengine = "{engine}"\n')


def test_the_roles_reach_the_catalog(load: Callable[[str], LoadedSettings]) -> None:
    settings = load(
        '[roles.coder]\ntemperature = 0.1\nmax_tokens = 99\n[roles.poet]\ninstruction = "Rhyme."\n'
        'aliases = ["поэт"]\nlayout = "classic"\n[ensembles.pair]\nroles = ["coder", "poet"]\nconductor = "coder"\n'
        'seconds = "1m"\npattern = "council"\n'
    ).settings
    assert role_fields(settings)["coder"] == {"temperature": 0.1, "output_limit": 99}
    catalog = build_catalog(role_fields(settings), ensemble_fields(settings), model_names(settings))
    assert catalog.roles["coder"].output_limit == 99
    assert catalog.roles["coder"].instruction
    assert catalog.roles["poet"].layout == "classic"
    assert catalog.ensembles["pair"].seconds == 60

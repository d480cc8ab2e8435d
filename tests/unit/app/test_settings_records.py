"""What the other parts get from the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansambl.app.settings_file import LoadedSettings, load_settings
from ansambl.app.settings_records import attachments, ensemble_fields, model_names, placement, role_fields
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.model import Checkpoint
from ansambl.domain.units import MIB, Bytes
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
    assert (made.engine, made.context, made.parallel) == ("llama.cpp-bundled", 2048, 1)
    assert made.prompt_cache == 512 * MIB
    assert [one.name for one in model_names(loaded.settings)] == ["embedded"]
    assert attachments(loaded) == ()


def test_an_engines_table_holds_for_its_models_under_an_alias_too(load: Callable[[str], LoadedSettings]) -> None:
    loaded = load(
        '[engines."llama.cpp"]\nthreads = 2\nprompt_cache = 0\n'
        '[models.a]\ncheckpoint = "embedded"\n[models.b]\ncheckpoint = "embedded"\nthreads = 5\n'
        'arguments = ["--x", "1"]\nenvironment = { A = "b" }\n'
    )
    first, second = (placement(loaded, name, CHECKPOINT) for name in ("a", "b"))
    assert (first.threads, first.prompt_cache, second.threads) == (2, 0, 5)
    assert second.options.arguments == ("--x", "1")
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

"""Finding and reading the configuration: the origin of each value, and one clear line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansambl.app.configuration.configuration_file import find_file, load_data_paths
from ansambl.app.configuration.role_settings import RoleSettings
from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import text

ENGINES = ("auto", "llama.cpp-bundled", "openai-compatible", "command")
Load = Callable[..., LoadedSettings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("ANSAMBL_DATA", raising=False)

    def load_text(source: str | bytes, **options: object) -> LoadedSettings:
        content = source if isinstance(source, bytes) else source.encode()
        (tmp_path / "ansambl.toml").write_bytes(content)
        return load_settings(engines=ENGINES, **({"environment": {}} | options))  # type: ignore[arg-type]

    return load_text


def mistake(load: Load, source: str | bytes, **options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(source, **options)
    words = str(caught.value)
    assert "\n" not in words
    return words


def test_no_file_gives_the_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    loaded = load_settings(engines=ENGINES, environment={})
    assert loaded.file is None
    assert loaded.settings.models["embedded"].checkpoint == "embedded"
    assert loaded.origins["gateway.port"] == "default"


def test_the_example_of_the_design_is_accepted(load: Load) -> None:
    loaded = load("""
[gateway]
host = "127.0.0.1"
port = 8484
[models.big]
checkpoint = "openai/gpt-oss-120b"
engine = "auto"
context = 131072
parallel = 4
pinned = false
arguments = ["--flash-attn", "on"]
[models.remote]
address = "http://127.0.0.1:9100/v1"
name = "m2"
aliases = ["gpt-4o"]
ttl = "30m"
[roles.coder]
model = "big"
instruction = "…"
temperature = 0.2
[ensembles.council]
pattern = "council"
roles = ["coder", "reasoner", "philosopher"]
conductor = "reasoner"
[budget]
ram = "2GiB"
""")
    assert loaded.settings.models["remote"].ttl == 1800
    assert loaded.settings.budget.ram == 2 * 2**30
    assert loaded.settings.models["big"].checkpoint == "openai/gpt-oss-120b"


def test_origins(load: Load) -> None:
    loaded = load(
        '[gateway]\nport = 9000\nhost = "127.0.0.2"\n[engines."llama.cpp-bundled"]\nthreads = 3\n',
        overrides={"gateway.port": 9001, "gateway.host": None},
        environment={"ANSAMBL_DATA": "/somewhere"},
    )
    assert loaded.settings.gateway.port == 9001
    assert loaded.origins["gateway.port"] == "command line"
    assert loaded.origins["gateway.host"] == "ansambl.toml:3"
    assert loaded.origins['engines."llama.cpp-bundled".threads'] == "ansambl.toml:5"
    assert loaded.origins['engines."llama.cpp-bundled".prompt_cache'] == "default"
    assert loaded.origins["data.folder"] == "environment ANSAMBL_DATA"
    assert loaded.paths.root == Path("/somewhere")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("\n\n[gatway]\nprot = 1", "ansambl.toml line 4: unknown key 'gatway.prot'; did you mean 'gateway.port'?"),
        ("[gateway]\nprot = 1", "ansambl.toml line 2: unknown key 'gateway.prot'; did you mean 'gateway.port'?"),
        ("port = 9000", "ansambl.toml line 1: unknown key 'port'; did you mean 'gateway.port'?"),
        (
            '[model.big]\ncheckpoint="x"',
            "ansambl.toml line 1: unknown key 'model'; did you mean 'models'?",
        ),
        (
            '[models.big]\ncheckpoint="x"\ncontxt = 1',
            "ansambl.toml line 3: unknown key 'models.big.contxt'; did you mean 'models.big.context'?",
        ),
        (
            "[roles.coder.qqq]\ntemperatur=1",
            "ansambl.toml line 1: unknown key 'roles.coder.qqq'; known here: " + ", ".join(RoleSettings.model_fields),
        ),
        ('[gateway]\nport = "80"', 'ansambl.toml line 2: gateway.port must be a whole number, not "80"'),
        ("[gateway]\nport = 70000", "ansambl.toml line 2: gateway.port is 70000; the most is 65535"),
        ("[gateway]\nport = -1", "ansambl.toml line 2: gateway.port is -1; the least is 0"),
        (
            '[gateway]\nmax_body = "3 zz"',
            "ansambl.toml line 2: gateway.max_body: '3 zz' is not an amount; write for example \"2GiB\"",
        ),
        (
            '[roles.x]\nlayout = "clasic"',
            'ansambl.toml line 2: roles.x.layout cannot be "clasic"; did you mean "classic"?',
        ),
        ('[models.a]\ncheckpoint="x"\ncontext = 0', "ansambl.toml line 3: models.a.context is 0; the least is 128"),
        ('[models.a]\ncheckpoint="x"\ncontext = -5', "ansambl.toml line 3: models.a.context is -5; the least is 128"),
        (
            '[models.a]\ncheckpoint="x"\ncontext = 999999999',
            "ansambl.toml line 3: models.a.context is 999999999; the most is 16777216",
        ),
        (
            '[models.a]\ncheckpoint="x"\npinned = "yes"',
            'ansambl.toml line 3: models.a.pinned must be true or false, not "yes"',
        ),
        (
            '[models.a]\ncheckpoint="x"\naliases = "b"',
            'ansambl.toml line 3: models.a.aliases must be a list such as ["a", "b"], not "b"',
        ),
        (
            "[models.a]\npinned = true",
            "ansambl.toml line 1: models.a: says neither 'checkpoint' nor 'address' nor 'command'; set one of them",
        ),
        (
            '[models.a]\naddress = "http://127.0.0.1:1/v1"\ncheckpoint = "x"',
            (
                "ansambl.toml line 3: models.a.checkpoint: stands beside 'address', but at an address Ansambl attaches "
                "and starts nothing; remove one of them"
            ),
        ),
        (
            '[models.a]\ncheckpoint = "x"\nkey = "k"',
            "ansambl.toml line 3: models.a.key: only goes with 'address'; remove it, or set 'address'",
        ),
        (
            '[models.a]\naddress = "localhost:80"',
            (
                "ansambl.toml line 2: models.a.address: 'localhost:80' is not an address; write for example "
                '"http://127.0.0.1:11434/v1"'
            ),
        ),
        (
            '[models.a]\ncheckpoint = "x"\nengine = "lama.cpp"',
            "ansambl.toml line 3: models.a.engine: unknown engine 'lama.cpp'; did you mean \"llama.cpp-bundled\"?",
        ),
        (
            "[engines.llama.cpp-bundled]\nthreads = 2",
            'ansambl.toml line 1: engines.llama: a name with a dot needs quotes: [engines."llama.cpp-bundled"]',
        ),
        (
            '[models."a b"]\ncheckpoint = "x"',
            "ansambl.toml line 1: models.\"a b\": 'a b' cannot be a name; use 1 to 100 characters without spaces",
        ),
        ("models = 3", "ansambl.toml line 1: models must be a table such as [models], not 3"),
        ("[[gateway]]\nport = 1", "ansambl.toml line 1: gateway must be a table such as [gateway], not [{'port': 1}]"),
        (
            "[ensembles.c]\nroles = []",
            "ansambl.toml line 2: ensembles.c.roles is empty; give it a value, or leave the key out",
        ),
        (
            '[[ensembles.auto.rules]]\nrole = "coder"\nwrds = ["x"]',
            (
                "ansambl.toml line 3: unknown key 'ensembles.auto.rules[0].wrds'; "
                "did you mean 'ensembles.auto.rules[0].words'?"
            ),
        ),
        (
            '[[ensembles.auto.rules]]\nwords = ["x"]',
            "ansambl.toml line 1: ensembles.auto.rules[0].role is missing; set it",
        ),
        ("[roles.x]\ncontext_share = 0", "ansambl.toml line 2: roles.x.context_share is 0; it must be more than 0.0"),
        ("[ensembles.auto]\nrounds = 9", "ansambl.toml line 2: ensembles.auto.rounds is 9; the most is 8"),
        (
            "[roles.x.instructions]\nru = 3",
            "ansambl.toml line 2: roles.x.instructions.ru must be text in quotes, not 3",
        ),
        ("[roles.x]\ntemperature = nan", "ansambl.toml line 2: roles.x.temperature must be a number, not nan"),
        ('[tasks]\nmodle = "x"', "ansambl.toml line 2: unknown key 'tasks.modle'; did you mean 'tasks.model'?"),
        ('model = "x"', "ansambl.toml line 1: unknown key 'model'; did you mean 'tasks.model'?"),
        ("[budget]\nram = 0", "ansambl.toml line 2: budget.ram is 0; the least is 1048576"),
        ("[budget]\ngpu = 5", "ansambl.toml line 2: budget.gpu is 5; the least is 1048576"),
        ("[budget]\nram = -5", 'ansambl.toml line 2: budget.ram: -5 is negative; write for example "2GiB"'),
        (
            '[budget]\ngpu = "-2GiB"',
            "ansambl.toml line 2: budget.gpu: '-2GiB' is not an amount; write for example \"2GiB\"",
        ),
        (
            "[conversations]\nbudget = -1",
            'ansambl.toml line 2: conversations.budget: -1 is negative; write for example "2GiB"',
        ),
        (
            '[models.small]\ncheckpoint = "x"\n[scheduling]\ntogether = [["small", "smalll"]]',
            'ansambl.toml line 4: scheduling.together: there is no [models.smalll]; did you mean "small"?',
        ),
        (
            '[models.small]\ncheckpoint = "x"\n[tasks]\nmodel = "other-one"',
            "ansambl.toml line 4: tasks.model: there is no [models.other-one]; there are: small",
        ),
        (
            '[scheduling]\ntogether = ["a"]',
            'ansambl.toml line 2: scheduling.together[0] must be a list such as ["a", "b"], not "a"',
        ),
    ],
)
def test_a_mistake_is_one_line(load: Load, source: str, expected: str) -> None:
    assert mistake(load, source) == expected


def test_several_mistakes_say_the_first_and_count_the_rest(load: Load) -> None:
    words = mistake(load, '[gateway]\nhost = 3\n[roles.x]\nlayout = "zzz"\n[gatewax]\n')
    assert words.startswith("ansambl.toml line 2: gateway.host must be text in quotes, not 3")
    assert words.endswith("(and 2 more)")


def test_broken_toml_quotes_the_line(load: Load) -> None:
    words = mistake(load, '[gateway]\nport = 1\nhost == "x"\n')
    assert words.startswith("ansambl.toml line 3: not valid TOML (")
    assert words.endswith('): host == "x"')


def test_an_unclosed_string_names_the_last_line(load: Load) -> None:
    assert mistake(load, 'a = """\nb\nc').startswith("ansambl.toml line 3: not valid TOML (")


def test_a_file_that_is_not_utf8_names_the_line(load: Load) -> None:
    assert mistake(load, b'a = 1\nb = "\xff\xfe"\n') == (
        "ansambl.toml line 2: not UTF-8 text; save the file as UTF-8"
    )  # fmt: skip


def test_a_mistake_on_the_command_line_names_it(load: Load) -> None:
    words = mistake(load, "", overrides={"gateway.port": -1})
    assert words == "command line: gateway.port is -1; the least is 0"


def test_a_byte_order_mark_and_windows_line_ends_are_fine(load: Load) -> None:
    loaded = load(b"\xef\xbb\xbf[gateway]\r\nport = 9000\r\n")
    assert loaded.origins["gateway.port"] == "ansambl.toml:2"


def test_a_chosen_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(tmp_path / "none.toml", engines=ENGINES)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(tmp_path, engines=ENGINES)


def test_a_folder_or_a_broken_link_of_the_usual_name_is_not_passed_over(load: Load, tmp_path: Path) -> None:
    load("")
    file = tmp_path / "ansambl.toml"
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"^ansambl\.toml cannot be read \(Is a directory\)"):
        load_settings(engines=ENGINES, environment={})
    file.rmdir()
    file.symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match=r"^ansambl\.toml cannot be read \(No such file"):
        load_settings(engines=ENGINES, environment={})


@pytest.mark.parametrize("source", ["a=" + "[" * 5000 + "]" * 5000, "[gateway]\nport=" + "9" * 5000])
def test_what_is_too_large_for_the_parser_is_told_in_a_line(load: Load, source: str) -> None:
    assert mistake(load, source).startswith("ansambl.toml has a number or a nesting that is too large")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('[data]\nfolder = ""', "line 2: data.folder is empty"),
        (
            '[models.a]\naddress = "http://127.0.0.1:1/v1?x=1"',
            "line 2: models.a.address: an address ends with its path",
        ),
        ('[models.a]\naddress = "http://me:word@127.0.0.1:1/v1"', "a key goes into 'key' or 'key_env'"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(load: Load, source: str, words: str) -> None:
    assert words in mistake(load, source)


def test_the_users_own_file_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "user" / "ansambl.toml"
    own.parent.mkdir()
    own.write_text("")
    monkeypatch.setattr("ansambl.app.configuration.configuration_file.default_configuration_file", lambda: own)
    assert find_file(None) == own
    Path("ansambl.toml").write_text("")
    assert find_file(None) == Path("ansambl.toml")


def test_paths_in_a_file_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSAMBL_DATA", raising=False)
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"")
    file = folder / "c.toml"
    file.write_text('[data]\nfolder = "data"\n[models.m]\ncheckpoint = "m.gguf"\n[models.e]\ncheckpoint = "embedded"\n')
    loaded = load_settings(file, engines=ENGINES, environment={})
    assert loaded.paths.root == folder / "data"
    assert loaded.settings.models["m"].checkpoint == str(folder / "m.gguf")
    assert loaded.settings.models["e"].checkpoint == "embedded"
    assert load_data_paths(file).root == folder / "data"


def test_the_data_folder_is_found_in_a_wrong_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSAMBL_DATA", raising=False)
    file = tmp_path / "c.toml"
    file.write_text('[data]\nfolder = "data"\n[gateway]\nport = "x"\n')
    assert load_data_paths(file).root == tmp_path / "data"
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "other"))
    assert load_data_paths(file).root == tmp_path / "other"


def test_a_problem_found_later_names_the_line(load: Load) -> None:
    loaded = load('[models.a]\ncheckpoint = "x"\ncontext = 999999\n')
    assert str(loaded.problem(("models", "a", "context"), text("too long"))) == (
        "ansambl.toml line 3: models.a.context: too long"
    )
    assert str(loaded.problem(("models", "a", "parallel"), text("no"))) == "ansambl.toml line 1: models.a.parallel: no"
    assert str(loaded.problem(("gateway", "port"), text("taken"))) == "gateway.port: taken"

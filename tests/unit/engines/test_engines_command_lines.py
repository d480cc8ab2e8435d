"""One suite for the command lines of all engines: golden files, and what must hold whatever the engine is."""

import json
import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from command_cases import AWKWARD_PATH, GPT_OSS, QWEN, always, cases, document, recorded, tuned
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.catalog import ModelKind
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.engines.command_lines import CommandInputs, Kind, Lora
from ansambl.engines.command_lines.parsers import parser_rows, parsers_of
from ansambl.engines.registry import SAME_ENGINE, command_line, engine_lines, extra_settings, get_lines
from ansambl.engines.shared.llama_server import Parameters, _settings
from ansambl.model_catalog.catalog import catalog
from ansambl.planner.memory import exllamav3 as exllamav3_memory
from ansambl.planner.memory import llama_cpp_settings as llama_cpp_memory
from ansambl.planner.memory import sglang as sglang_memory
from ansambl.planner.memory import tgi as tgi_memory
from ansambl.planner.memory import transformers as transformers_memory
from ansambl.planner.memory import vllm as vllm_memory

ENGINE_LINES = engine_lines()
ENGINES = tuple(ENGINE_LINES)
CASES = [pytest.param(engine, name, id=f"{engine}: {name}") for engine in ENGINES for name in cases(engine)]
DIVIDES_CELLS = {"llama.cpp": "--ctx-size", "textgen": "--ctx-size", "lm_studio": "--context-length",
                 "tgi": "--max-batch-total-tokens"}  # fmt: skip
RUN_LLAMA_CPP = ("llama.cpp", "llama.cpp-bundled", "ollama", "lm_studio", "textgen")
PER_SEQUENCE = {"vllm": "--max-model-len", "sglang": "--context-length", "tgi": "--max-total-tokens"}


def simple(engine, **changed):
    values = {"format": ENGINE_LINES[engine].formats[0], "context": 4096, "path": "/models/model.gguf",
              "gpus": (0, 1), **GPT_OSS, **always(engine), **changed}  # fmt: skip
    return CommandInputs(**values)


def value_after(words, flag):
    return words[words.index(flag) + 1]


def test_every_engine_that_compatibility_speaks_of_has_its_command_line():
    from ansambl.engines.compatibility import compatibility_rows

    assert set(compatibility_rows().engines) <= set(ENGINES)
    assert all(target in ENGINE_LINES for target in SAME_ENGINE.values())


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_golden(engine, name):
    """Changed on purpose? Write them anew: python tools/command_lines.py write, and read the difference."""
    assert document(command_line(engine, cases(engine)[name])) == recorded(engine)["commands"][name]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_golden_command_is_left_over(engine):
    assert set(recorded(engine)["commands"]) == set(cases(engine))


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_a_shell_reads_back_what_is_meant(engine, name):
    command = command_line(engine, cases(engine)[name])
    text = command.shell()
    for file, content in command.files.items():
        start = f"cat > {shlex.quote(file)} <<'END'\n"
        assert text.startswith(start + content.rstrip() + "\nEND\n")
        text = text.removeprefix(start + content.rstrip() + "\nEND\n")
    lines = [shlex.split(line) for line in text.splitlines()]
    if len(command.lines) == 1:
        count = len(command.environment)
        variables, rest = lines[0][:count], [lines[0][count:]]
    else:
        count = len(command.environment)
        variables, rest = [line[1] for line in lines[:count]], lines[count:]
        assert all(line[0] == "export" for line in lines[:count])
    assert dict(one.split("=", 1) for one in variables) == command.environment
    assert rest == [list(line) for line in command.lines]
    assert command.argv == command.lines[command.serving]


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_no_command_carries_a_key(engine, name):
    command = command_line(engine, cases(engine)[name])
    words = [word for line in command.lines for word in line]
    assert not [word for word in words if "api-key" in word or "api_key" in word or "token=" in word]
    assert command.key_variable is None or command.key_variable not in command.environment


@pytest.mark.parametrize("engine", ENGINES)
def test_everything_stays_on_this_machine_and_says_where_it_answers(engine):
    command = command_line(engine, simple(engine, port=7777))
    everything = json.dumps(document(command))
    assert command.address == "http://127.0.0.1:7777/v1"
    assert "7777" in json.dumps([command.lines, dict(command.environment), dict(command.files)])
    assert "0.0.0.0" not in everything  # noqa: S104 - that it is absent is what is tested


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_refused(engine, port):
    with pytest.raises(UsageError, match="port"):
        command_line(engine, simple(engine, port=port))


@pytest.mark.parametrize("engine", DIVIDES_CELLS)
def test_where_sequences_divide_the_cells_the_total_is_written(engine):
    words = command_line(engine, simple(engine, context=5000, parallel=3)).argv
    if engine == "lm_studio":
        words = command_line(engine, simple(engine, context=5000, parallel=3)).lines[-1]
    assert value_after(words, DIVIDES_CELLS[engine]) == "15000"


@pytest.mark.parametrize("engine", PER_SEQUENCE)
def test_where_a_sequence_has_its_own_limit_that_is_written(engine):
    assert (
        value_after(command_line(engine, simple(engine, context=5000, parallel=3)).argv, PER_SEQUENCE[engine]) == "5000"
    )


def test_ollama_multiplies_by_itself():
    command = command_line("ollama", simple("ollama", context=5000, parallel=3))
    assert "PARAMETER num_ctx 5000\n" in command.files["Modelfile"]
    assert command.environment["OLLAMA_NUM_PARALLEL"] == "3"


@given(context=st.integers(1, 1_000_000), parallel=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_exllamav3_has_whole_pages_for_all_sequences(context, parallel):
    command = command_line("exllamav3", simple("exllamav3", context=context, parallel=parallel))
    model = yaml.safe_load(command.files["config.yml"])["model"]
    assert model["max_seq_len"] == context
    assert model["cache_size"] % 256 == 0
    assert 0 <= model["cache_size"] - context * parallel < 256


@pytest.mark.parametrize("engine", ENGINES)
def test_a_setting_that_nobody_knows_is_refused_with_the_nearest_names(engine):
    known = ENGINE_LINES[engine].settings[0].name
    with pytest.raises(UsageError, match=known):
        command_line(engine, simple(engine, settings={known + "z": 1}))


def sample(setting):
    """A value that is not the engine's default."""
    if setting.choices:
        return setting.choices[-1]
    special = {"gpu_split": "20,24", "tensor_split": "3,1", "tensor_parallel": 2, "cache_size": 8192}
    if setting.usual:
        return "off"
    by_kind = {Kind.WHOLE: 7, Kind.LAYERS: 7, Kind.NUMBER: 0.5, Kind.WORD: "word", Kind.SIZE: "3GiB", Kind.SWITCH: "on"}
    return special.get(setting.name, by_kind[setting.kind])


SETTINGS = [
    pytest.param(engine, form, setting, id=f"{engine} {form}: {setting.name}")
    for engine in ENGINES for form in ENGINE_LINES[engine].formats for setting in ENGINE_LINES[engine].settings
]  # fmt: skip


def outcome(engine, inputs):
    """The command, or the sentence with which it is refused."""
    try:
        return command_line(engine, inputs)
    except NotSupportedError as refusal:
        return str(refusal)


@pytest.mark.parametrize(("engine", "form", "setting"), SETTINGS)
def test_no_setting_is_dropped_in_silence(engine, form, setting):
    """Each changes the command, or is refused by name, or is named as one of the forecast only."""
    inputs = simple(engine, format=form)
    base = {}
    if setting.name == "draft_tokens" and engine in {"vllm", "exllamav3"}:
        with pytest.raises(UsageError, match="draft"):
            command_line(engine, replace(inputs, settings={"draft_tokens": 3}))
        inputs, base = replace(inputs, draft="owner/small"), {"draft_tokens": 2}
    changed = outcome(engine, replace(inputs, settings={**base, setting.name: sample(setting)}))
    if isinstance(changed, str):
        assert f"cannot be told {setting.name}" in changed
        return
    assert setting.refusal is None
    if setting.forecast_only:
        assert any(setting.name in str(note) for note in changed.notes)
        return
    before = outcome(engine, replace(inputs, settings=base))
    assert (changed.lines, changed.environment, changed.files) != (before.lines, before.environment, before.files)


@pytest.mark.parametrize(("engine", "form", "setting"), SETTINGS)
def test_nonsense_in_a_setting_is_refused_by_its_name(engine, form, setting):
    nonsense = {Kind.WHOLE: ("-1", "1.5", "nan", "inf", "ten", True, "9" * 400), Kind.NUMBER: ("-1", "nan", "x", True),
                Kind.LAYERS: ("-2", "some", 1.5),
                Kind.SWITCH: ("perhaps", 2), Kind.SIZE: ("-1", "many"), Kind.WORD: ("", "a\nb")}  # fmt: skip
    for value in nonsense[setting.kind]:
        with pytest.raises(UsageError, match=setting.name):
            command_line(engine, simple(engine, format=form, settings={setting.name: value}))


@pytest.mark.parametrize(
    ("engine", "names"),
    [("vllm", vllm_memory.SETTINGS), ("sglang", sglang_memory.SETTINGS), ("tgi", tgi_memory.SETTINGS),
     ("transformers", transformers_memory.SETTINGS), ("exllamav3", exllamav3_memory.SETTINGS),
     *((name, llama_cpp_memory.SETTINGS) for name in RUN_LLAMA_CPP)],
)  # fmt: skip
def test_whatever_a_forecast_takes_a_command_line_answers_for(engine, names):
    known = {one.name for one in ENGINE_LINES[engine].settings}
    assert names <= known
    assert not names & extra_settings(engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("field", ["model", "path", "quantization"])
def test_a_name_cannot_write_lines_of_its_own(engine, field):
    for evil in ("a\nFROM evil", "a\x1b[31m", "--trust-remote-code", ""):
        with pytest.raises(UsageError, match=field):
            command_line(engine, simple(engine, **{field: evil}))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_format_that_an_engine_does_not_run_is_refused(engine):
    with pytest.raises(NotSupportedError, match="punched-cards"):
        command_line(engine, simple(engine, format="punched-cards"))
    with pytest.raises(UsageError, match="context"):
        command_line(engine, simple(engine, context=0))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_kv_type_that_an_engine_does_not_have_is_refused(engine):
    with pytest.raises((NotSupportedError, UsageError), match=r"q9_9|kv_type"):
        command_line(engine, simple(engine, kv_type="q9_9"))
    plain = command_line(engine, simple(engine))
    for same in ("auto", "fp16"):
        assert command_line(engine, simple(engine, kv_type=same)) == plain


def test_llama_cpp_takes_kv_types_apart_and_switches_flash_attention_on():
    words = command_line("llama.cpp", simple("llama.cpp", kv_type="f16/q8_0")).argv
    assert "--cache-type-k" not in words
    assert value_after(words, "--cache-type-v") == "q8_0"
    assert value_after(words, "--flash-attn") == "on"
    with pytest.raises(UsageError, match="flash_attention"):
        command_line("llama.cpp", simple("llama.cpp", kv_type="q8_0", settings={"flash_attention": "off"}))


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi"])
def test_tensor_parallel_shows_the_engine_its_gpus_and_no_more(engine):
    command = command_line(engine, simple(engine, gpus=(2, 3, 5), settings={"tensor_parallel": 2}))
    assert command.environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "2,3"}
    with pytest.raises(UsageError, match="tensor_parallel is 4"):
        command_line(engine, simple(engine, settings={"tensor_parallel": 4}))
    amd = command_line(engine, simple(engine, gpus=(1,), vendor="amd"))
    assert amd.environment == {"HIP_VISIBLE_DEVICES": "1"}


def test_an_adapter_a_projector_and_a_draft_model_are_written_or_refused():
    beside = {"loras": (Lora("style", "/lora/style"),), "mmproj": "/models/eye.gguf", "draft": "/models/small.gguf"}
    for engine in ENGINES:
        for name, value in beside.items():
            try:
                command = command_line(engine, simple(engine, **{name: value}, settings=(
                    {"draft_tokens": 3} if name == "draft" and engine in {"vllm", "exllamav3"} else {}
                )))  # fmt: skip
            except NotSupportedError:
                continue
            written = json.dumps([command.lines, dict(command.files)])
            assert "style" in written if name == "loras" else Path(value).stem in written


def test_without_a_gpu_llama_cpp_may_not_try_one():
    words = command_line("llama.cpp", simple("llama.cpp", gpus=())).argv
    assert value_after(words, "--device") == "none"
    assert "--n-gpu-layers" not in words
    noted = command_line("llama.cpp", simple("llama.cpp", gpus=(), settings={"n_gpu_layers": 9}))
    assert any("n_gpu_layers=9" in str(note) for note in noted.notes)


def test_what_llama_cpp_keeps_of_finished_prompts_is_what_the_forecast_counts():
    assert value_after(command_line("llama.cpp", simple("llama.cpp")).argv, "--cache-ram") == "0"
    words = command_line("llama.cpp", simple("llama.cpp", settings={"prompt_cache": "1GiB"})).argv
    assert value_after(words, "--cache-ram") == "1024"


def test_lm_studio_leaves_the_file_where_it_is():
    command = command_line("lm_studio", simple("lm_studio", path=AWKWARD_PATH))
    assert command.lines[0] == ("lms", "import", AWKWARD_PATH, "--symbolic-link", "--yes")


def test_the_draft_of_vllm_survives_the_shell():
    command = command_line("vllm", simple("vllm", draft="owner/small", settings={"draft_tokens": 4}))
    words = shlex.split(command.shell())
    assert json.loads(value_after(words, "--speculative-config")) == {
        "model": "owner/small", "num_speculative_tokens": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "vllm", "sglang"),
    [("gpt-oss-120b", ("openai", None), ("gpt-oss", "gpt-oss")),
     ("Qwen/Qwen3-8B", ("hermes", "qwen3"), ("qwen25", "qwen3")),
     ("qwen3-embedding-0.6b", (None, None), (None, None)),
     ("qwen3-30b-a3b-instruct-2507", ("hermes", None), ("qwen25", None)),
     ("yi-34b", (None, None), (None, None))],
)  # fmt: skip
def test_parsers(model, vllm, sglang):
    assert parsers_of("vllm", model) == vllm
    assert parsers_of("sglang", model) == sglang


def test_models_that_call_tools_have_a_parser_and_no_row_is_idle():
    with_parser = {name for name, one in catalog().items() if one.tools and parsers_of("vllm", name)[0]}
    assert {"gpt-oss-120b", "llama-3.3-70b-instruct", "qwen2.5-72b-instruct", "qwen3-30b-a3b", "qwen3.6-27b",
            "mixtral-8x7b-instruct-v0.1", "gemma-4-31b-it", "glm-4.7-flash", "t-pro-it-2.0"} <= with_parser  # fmt: skip
    reasoning = [one.name for one in catalog().values() if one.kind is ModelKind.REASONING]
    assert len([name for name in reasoning if parsers_of("sglang", name)[1]]) > len(reasoning) / 2
    for row in parser_rows():
        assert row.source
        assert any(parsers_of("vllm", name) == (row.tool.get("vllm"), row.reasoning.get("vllm")) for name in catalog())


def test_a_parser_can_be_chosen_and_left_out():
    words = command_line("vllm", simple("vllm", settings={"tool_call_parser": "none"})).argv
    assert "--enable-auto-tool-choice" not in words
    words = command_line("vllm", simple("vllm", settings={"reasoning_parser": "qwen3"})).argv
    assert value_after(words, "--reasoning-parser") == "qwen3"


def test_names_of_engines():
    assert get_lines("TabbyAPI").name == "exllamav3"
    with pytest.raises(UsageError, match="ollama"):
        get_lines("olama")


@pytest.mark.parametrize("extra", [{}, tuned("llama.cpp-bundled")["settings"]])
def test_the_bundled_engine_takes_its_parameters(extra):
    xllamacpp = pytest.importorskip("xllamacpp")
    command = command_line("llama.cpp-bundled", simple("llama.cpp-bundled", parallel=2, kv_type="q8_0", settings=extra))
    parameters = json.loads(command.argv[-1])
    assert set(parameters) == Parameters.__required_keys__
    params = _settings(xllamacpp, parameters, "")
    assert params.n_ctx == 8192
    assert params.n_parallel == 2
    assert params.cache_ram_mib == (512 if extra else 0)
    assert params.swa_full is bool(extra)


@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="the xllamacpp package is not installed")
def test_the_real_llama_cpp_knows_every_flag():
    """Its argument parser is compiled into the package: each flag stands in it as a string of its own."""
    spec = find_spec("xllamacpp")
    content = next(Path(spec.submodule_search_locations[0]).glob("*.so")).read_bytes()
    flags = {word for one in ENGINE_LINES["llama.cpp"].settings for word in (one.flag, one.off) if word}
    for inputs in cases("llama.cpp").values():
        flags |= {word for word in command_line("llama.cpp", inputs).argv if word.startswith("--")}
    assert [flag for flag in sorted(flags) if b"\0" + flag.encode() + b"\0" not in content] == []


def test_where_files_lie_is_said_when_nobody_knows():
    unknown = CommandInputs(**QWEN, format="gguf", context=4096)
    assert "no source names a repository" in str(command_line("llama.cpp", unknown).notes[0])
    wrong = CommandInputs(**{**QWEN, "quantization": "FP8"}, format="safetensors", context=4096, repo="owner/m",
                          exact_repo=False)  # fmt: skip
    assert "holds the original weights" in str(command_line("vllm", wrong).notes[0])
    assert "whether owner/m has" in str(command_line("llama.cpp", replace(wrong, format="gguf")).notes[0])


def test_another_version_of_the_engine_is_named():
    command = command_line("vllm", simple("vllm", settings={"engine_version": "0.10.1"}))
    assert any("0.10.1" in str(note) for note in command.notes)

"""Set-ups of llama-swap and Ollama, taken over: what they become, and what is told to be left."""

import hashlib
import json
import tomllib

import pytest

from ansambl.app.importing.commands import read_command
from ansambl.app.importing.draft import Draft, written
from ansambl.app.importing.llama_swap import import_llama_swap
from ansambl.app.importing.ollama import import_ollama, read_modelfile
from ansambl.cli import main as program
from ansambl.domain.errors import ConfigurationError
from ansambl.foundation.locales import speak

EXAMPLE = r"""
healthCheckTimeout: 500
startPort: 10001
globalTTL: 600
macros:
  "server": >
    /opt/llama.cpp/llama-server
    --port ${PORT}
  "ctx": 32768
  "dir": "${env.MODELS}/gguf"
apiKeys: ["sk-secret-1"]
models:
  "gpt-oss-120b":
    macros: {ctx: 65536}
    cmd: |
      # ${server} is defined above
      ${server}
      --model ${dir}/gpt-oss-120b.gguf -c ${ctx} -np 2 \
      -ngl 999 -fa on -ctk q8_0 -ctv q8_0 --n-cpu-moe 26 -b 4096 --jinja
      --temp 0.7 --chat-template-kwargs '{"reasoning_effort": "high"}'
    name: "gpt-oss 120B"
    description: "A thinking model"
    env: ["CUDA_VISIBLE_DEVICES=0,1", "GGML_LOG=1"]
    aliases: ["gpt-4o", {id: "gpt-4o-mini", unlisted: true}]
    ttl: 60
    filters: {stripParams: "temperature"}
    unlisted: true
  "own/qwen":
    cmd: /opt/llama.cpp/llama-server --port ${PORT} -hf Qwen/Qwen3-8B-GGUF:Q4_K_M -fa --api-key hush --host 0.0.0.0
  "vllm-one":
    cmd: vllm serve Qwen/Qwen3-32B-AWQ --port ${PORT} --max-model-len 16k --gpu-memory-utilization=0.9 -tp 2
         --served-model-name big --enable-auto-tool-choice --tool-call-parser hermes --seed 7
  "docker":
    proxy: "http://127.0.0.1:${PORT}"
    cmd: |
      docker run --name ${MODEL_ID} --rm -p ${PORT}:8080 ghcr.io/x/y:server --model '/models/a b.gguf'
    cmdStop: docker stop ${MODEL_ID}
    checkEndpoint: /healthz
    useModelName: inside
  "fixed":
    proxy: http://127.0.0.1:8999
    cmd: my-server --listen 8999
    ttl: 0
  "nowhere":
    cmd: my-server --no-port
  "broken":
    cmd: llama-server -m ${missing}
groups:
  always: {swap: false, members: [docker]}
hooks: {on_startup: {preload: ["gpt-oss-120b", "none"]}}
peers:
  openrouter:
    proxy: https://openrouter.example/api
    apiKey: ${env.OPENROUTER_KEY}
    models: ["z-ai/glm-4.7"]
  next:
    proxy: http://192.168.1.23
    apiKey: sk-plain-text
    models: [model_a]
    filters: {}
"""


def swap(tmp_path, content=EXAMPLE, **environment):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    draft = import_llama_swap(path, {"MODELS": "/data", **environment})
    return tomllib.loads(written(draft)), {f"{one.where}: {one.reason.render()}" for one in draft.left}


def test_a_whole_set_up_is_taken_over_and_the_rest_is_named(tmp_path):
    document, left = swap(tmp_path)
    models = document["models"]
    assert models["gpt-oss-120b"] == {
        "engine": "llama.cpp", "checkpoint": "/data/gguf/gpt-oss-120b.gguf", "context": 32768, "parallel": 2,
        "kv_type": "q8_0", "gpus": [0, 1], "environment": {"GGML_LOG": "1"}, "ttl": 60, "pinned": True,
        "aliases": ["gpt-4o", "gpt-4o-mini"], "description": "gpt-oss 120B: A thinking model",
        "settings": {"flash_attention": True, "n_cpu_moe": 26, "n_batch": 4096, "jinja": True},
        "arguments": ["--temp", "0.7", "--chat-template-kwargs", '{"reasoning_effort": "high"}'],
    }  # fmt: skip
    assert models["own-qwen"] == {
        "engine": "llama.cpp", "checkpoint": "Qwen/Qwen3-8B-GGUF:Q4_K_M", "ttl": 600, "aliases": ["own/qwen"],
        "settings": {"flash_attention": True},
    }  # fmt: skip
    assert document["engines"] == {"llama.cpp": {"program": "/opt/llama.cpp/llama-server"}}
    assert models["vllm-one"] == {
        "engine": "vllm", "checkpoint": "Qwen/Qwen3-32B-AWQ", "context": 16000, "ttl": 600, "aliases": ["big"],
        "settings": {"gpu_memory_utilization": 0.9, "tensor_parallel": 2, "tool_call_parser": "hermes"},
        "arguments": ["--seed", "7"],
    }  # fmt: skip
    assert models["docker"]["command"] == (
        "docker run --name docker --rm -p {port}:8080 ghcr.io/x/y:server --model '/models/a b.gguf'"
    )
    assert models["docker"]["name"] == "inside"
    assert models["fixed"] == {"command": "my-server --listen {port}"}
    assert models["glm-4.7"] == {
        "address": "https://openrouter.example/api/v1", "name": "z-ai/glm-4.7", "key_env": "OPENROUTER_KEY",
        "aliases": ["z-ai/glm-4.7"],
    }  # fmt: skip
    assert models["model_a"] == {"address": "http://192.168.1.23/v1", "name": "model_a"}
    told = "\n".join(sorted(left))
    for words in (
        "groups: ", "apiKeys: ", "healthCheckTimeout: ", "models.gpt-oss-120b.filters: ",
        "models.gpt-oss-120b.unlisted: ", "models.own/qwen: --api-key", "models.docker.cmdStop: ",
        "models.docker.checkEndpoint: ", "models.nowhere: its command does not say which word is the port",
        "models.broken: its macro ${missing} is not defined", "hooks.on_startup.preload: there is no model 'none'",
        "peers.next.apiKey: ", "peers.next.filters: ", "ansambl models pull Qwen/Qwen3-32B-AWQ --engine vllm",
    ):  # fmt: skip
        assert words in told, words
    assert "nowhere" not in models
    assert "broken" not in models


def test_no_secret_is_copied(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE)
    document = written(import_llama_swap(path, {"MODELS": "/data"}))
    for secret in ("sk-secret-1", "hush", "sk-plain-text"):
        assert secret not in document


def test_the_context_is_divided_unless_slots_share_it():
    for words, expected in ((["-c", "8192", "-np", "4"], 2048), (["-c", "8192", "-np", "4", "-kvu"], 8192),
                            (["--ctx-size=8192"], 8192), (["-c", "0"], None)):  # fmt: skip
        found = read_command(["llama-server", "-m", "x.gguf", *words])
        assert found.table.get("context") == expected
    assert read_command(["llama-server", "-m", "x.gguf", "-ngl", "20"]).table["settings"] == {"n_gpu_layers": 20}
    assert "settings" not in read_command(["llama-server", "-m", "x.gguf", "-ngl", "99", "-fa", "auto"]).table
    assert read_command(["llama-server", "-m", "x", "-ctk", "q8_0"]).table["kv_type"] == "q8_0/f16"
    assert read_command(["llama-server", "--port", "1"]) is None
    assert read_command(["my-server"]) is None
    python = read_command(["/v/bin/python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "/m/x"])
    assert (python.program, python.table["checkpoint"]) == ("/v/bin/python3", "/m/x")
    script = read_command(["/v/bin/vllm", "serve", "/m/x"])
    assert (script.program, len(script.left)) == ("/v/bin/python", 1)


@pytest.mark.parametrize(
    ("words", "mode"),
    [("--no-mmap", "none"), ("--mlock", "mmap+mlock"), ("--mlock --no-mmap", "mlock"), ("--direct-io", "dio"),
     ("--mmap", None), ("", None), ("--no-mmap -lm dio", "dio")],
)  # fmt: skip
def test_how_files_are_loaded_is_said_as_newer_builds_say_it(words, mode):
    """Build 11434 ends with "invalid argument: --no-mmap"."""
    found = read_command(["llama-server", "-m", "/m.gguf", *words.split()])
    assert found.table.get("settings", {}).get("load_mode") == mode
    assert "arguments" not in found.table


def test_paths_are_those_of_the_file_where_it_lies(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.gguf").write_bytes(b"")
    content = (
        "models: {a: {cmd: 'llama-server --port ${PORT} -m models/x.gguf'}, b: {cmd: 'llama-server -m no/y.gguf'}}"
    )
    document, left = swap(tmp_path, content)
    assert document["models"]["a"]["checkpoint"] == str(tmp_path / "models" / "x.gguf")
    assert document["models"]["b"]["checkpoint"].endswith("no/y.gguf")
    assert any(one.startswith("models.b: no/y.gguf is relative") for one in left)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "names no models"),
        ("[]", "names no models"),
        ("models: []", "names no models"),
        ("models: {a: {cmd: [", "not valid YAML"),
        ("models:\n  a: {cmd: x}\n b: 1\n", "line 3: not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("models: {a: 3, b: {cmd: ''}, c: {cmd: \"'\"}}", "no model that can be taken over"),
        ("models: {a: {cmd: 'x ${m}', macros: {m: '${m}${m}'}}}", "no model that can be taken over"),
        ("[" * 3000, "too large or too deep"),
        ("a: " + "x" * 600_000, "too large or too deep"),
    ],
)
def test_what_is_no_set_up_is_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(ConfigurationError, match=words) as failed:
        swap(tmp_path, content)
    assert "\n" not in failed.value.message.render()


def test_hostile_words_stay_words(tmp_path):
    content = json.dumps({"models": {'a"]\n[x': {"cmd": "llama-server -m /x.gguf\x07 --port ${PORT}",
                                                 "description": "line\n[models.evil]", "odd\nkey": 1}}})  # fmt: skip
    document, _ = swap(tmp_path, content)
    (model,) = document["models"].values()
    assert model["description"] == "line?[models.evil]"
    assert set(document) == {"models"}


@pytest.mark.parametrize("place", ["cmd: *i", "cmd: x, env: [*i]", "cmd: x, macros: {m: *i}", "cmd: x, proxy: *i"])
def test_lists_of_lists_are_no_words(tmp_path, place):
    """As text it would be of 10^9 words."""
    bomb = "\n".join(f"x{one}: &{one} [{', '.join(f'*{before}' for _ in range(10))}]"
                     for before, one in zip("abcdefgh", "bcdefghi", strict=True))  # fmt: skip
    content = f"xa: &a [{', '.join('0123456789')}]\n{bomb}\nmodels: {{m: {{{place}}}, ok: {{cmd: 'a {{port}}'}}}}\n"
    document, _ = swap(tmp_path, content)
    assert "ok" in document["models"]


def test_gpus_of_the_environment_are_a_list_of_numbers(tmp_path):
    cmd = "models: {a: {cmd: 'llama-server -m /x.gguf --port 1', env: [CUDA_VISIBLE_DEVICES=%s]}}"
    assert swap(tmp_path, cmd % "1")[0]["models"]["a"]["gpus"] == [1]
    assert swap(tmp_path, cmd % "GPU-1a")[0]["models"]["a"]["environment"] == {"CUDA_VISIBLE_DEVICES": "GPU-1a"}


def test_names_that_others_have_are_changed_and_told(tmp_path):
    content = (
        "models: {coder: {cmd: 'x ${PORT}'}, a: {cmd: 'x ${PORT}', aliases: [coder, b, b, 'with space']},"
        " b: {cmd: 'x ${PORT}'}, embedded: {cmd: 'x ${PORT}'}}"
    )
    document, left = swap(tmp_path, content)
    assert document["models"]["a"]["aliases"] == ["b"]
    assert set(document["models"]) == {"coder-2", "a", "b-2", "embedded-2"}
    assert "models.a: 'with space' cannot be a name here" in left
    assert "models.b: the name 'b' is another's already" in left


def blob(store, content):
    digest = hashlib.sha256(content).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{digest}").write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def ollama_store(folder):
    store = folder / "models"
    for name, layers in {
        "library/llama3.2/3b": {"model": b"GGUF1", "params": b'{"stop": ["<|eot|>"]}'},
        "library/terse/latest": {
            "model": b"GGUF2", "projector": b"GGUF3", "system": b"Be brief.\nAnswer in Russian.",
            "params": json.dumps({"temperature": 0.3, "num_ctx": 16384, "num_predict": -1, "top_k": 20, "stop": ["END"],
                                  "mirostat": 1, "num_thread": 6}).encode(),
        },
    }.items():  # fmt: skip
        path = store / "manifests" / "registry.ollama.ai" / name
        path.parent.mkdir(parents=True)
        listed = [{"mediaType": f"application/vnd.ollama.image.{kind}", **blob(store, content)}
                  for kind, content in layers.items()]  # fmt: skip
        path.write_text(json.dumps({"layers": listed}))
    return store


def test_ollamas_models_become_models_and_roles(tmp_path):
    store = ollama_store(tmp_path)
    draft = import_ollama(str(store), {})
    document = tomllib.loads(written(draft))
    assert document["models"]["llama3.2-3b"] == {"checkpoint": "ollama:llama3.2:3b", "aliases": ["llama3.2:3b"]}
    weights = document["models"]["terse-weights"]
    assert (weights["checkpoint"], weights["context"], weights["threads"]) == ("ollama:terse:latest", 16384, 6)
    assert weights["mmproj"].startswith(str(store / "blobs"))
    assert document["roles"] == {"terse": {
        "instruction": "Be brief.\nAnswer in Russian.", "temperature": 0.3, "top_k": 20, "stop": ["END"],
        "model": "terse-weights", "aliases": ["terse:latest"],
    }}  # fmt: skip
    told = {one.where for one in draft.left}
    assert {"terse: PARAMETER mirostat", "terse: PARAMETER num_predict", "llama3.2:3b: PARAMETER stop"} <= told
    assert import_ollama("default", {"OLLAMA_MODELS": str(store)}).models.keys() == document["models"].keys()


MODELFILE = '''# a comment
FROM ./weights.gguf
PARAMETER temperature 1
PARAMETER stop "User:"
PARAMETER stop END
TEMPLATE """{{ .System }}
FROM nowhere"""
SYSTEM """
You are Mario.
Say "hello".
"""
ADAPTER ./lora.gguf
MESSAGE user Hi
LICENSE MIT
'''


def test_a_modelfile_becomes_a_role(tmp_path):
    path = tmp_path / "Modelfile.mario"
    path.write_text(MODELFILE)
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    draft = import_ollama(str(path), {})
    document = tomllib.loads(written(draft))
    assert document["roles"]["mario"] == {
        "instruction": 'You are Mario.\nSay "hello".', "temperature": 1.0, "stop": ["User:", "END"],
        "model": "mario-weights",
    }  # fmt: skip
    assert document["models"]["mario-weights"] == {"checkpoint": str(tmp_path / "weights.gguf")}
    assert {one.where for one in draft.left} == {"mario: ADAPTER", "mario: TEMPLATE", "mario: MESSAGE"}
    path.write_text("FROM llama3.2\n")
    assert import_ollama(str(path), {}).models == {"mario": {"checkpoint": "ollama:llama3.2:latest"}}


def test_a_modelfiles_texts_end_where_their_quotes_do():
    found = read_modelfile('FROM x\nSYSTEM "one\ntwo"\nPARAMETER temperature 0.5\nSYSTEM """open to the end\n')
    assert (found.source, found.parameters) == ("x", {"temperature": ["0.5"]})
    assert found.system.endswith("open to the end")


def test_what_is_not_ollamas_is_refused(tmp_path):
    for path, words in ((tmp_path, "neither Ollama's models folder"), (tmp_path / "no", "neither Ollama's"),
                        ("default", "were not found here")):  # fmt: skip
        with pytest.raises(ConfigurationError, match=words):
            import_ollama(str(path), {"HOME": str(tmp_path)})
    (tmp_path / "Modelfile").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        import_ollama(str(tmp_path / "Modelfile"), {})
    (tmp_path / "Modelfile").write_text("hello\n")
    with pytest.raises(ConfigurationError, match="no line 'FROM'"):
        import_ollama(str(tmp_path / "Modelfile"), {})


def test_a_draft_that_would_not_be_valid_is_not_given_out():
    draft = Draft("test", models={"a": {"checkpoint": "x", "address": "http://x/v1"}})
    with pytest.raises(ConfigurationError, match="what was made of test is not valid"):
        written(draft)


def test_the_command_writes_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speak, "language", "en")
    monkeypatch.setenv("MODELS", "/data")
    (tmp_path / "config.yaml").write_text(EXAMPLE)
    target = tmp_path / "ansambl.toml"

    def run(*arguments):
        code = program.main(["import-config", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, err = run("llama-swap", tmp_path / "config.yaml")
    assert (code, "groups: " in err) == (0, True)
    assert "gpt-oss-120b" in tomllib.loads(out)["models"]
    assert "# Not taken over" in out
    assert run("llama-swap", tmp_path / "config.yaml", "--out", target)[0] == 0
    assert target.read_text() == out
    target.write_text("mine")
    code, _, err = run("llama-swap", tmp_path / "config.yaml", "--out", target)
    assert (code, target.read_text()) == (2, "mine")
    assert "exists already" in err.splitlines()[-1]
    assert run("llama-swop", tmp_path / "config.yaml")[0] == 2
    code, _, err = run("llama-swap", tmp_path / "none.yaml")
    assert (code, len(err.splitlines())) == (2, 1)

"""The main job, from outside: what the README promises, on the real engine and the real model."""

from __future__ import annotations

import json
import os
import signal

import openai
import psutil
import pytest
from product import alive, family, run_command, stream_events, wait_for

pytestmark = pytest.mark.engine

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only to see it refused
ROLES = ("coder", "reasoner", "brief", "philosopher")


def long_conversation() -> list[dict[str, str]]:
    """About 1,500 tokens."""
    messages = []
    for number in range(22):
        messages.append({"role": "user", "content": f"Question {number}: why does caching matter in large programs?"})
        answer = "It decides how work is shared out, keeps a program quick when its data grows, and is measured early, "
        messages.append({"role": "assistant", "content": f"Answer {number}: {answer * 2}as engineers say."})
    return [*messages, {"role": "user", "content": "Now say in one sentence what matters most."}]


def test_a_stranger_is_answered_by_every_name(start):
    product = start()
    with openai.OpenAI(base_url=f"{product.address}/v1", api_key="any", max_retries=0) as client:
        listed = {one.id for one in client.models.list()}
        assert {*ROLES, "council", "embedded"} <= listed
        for name in (*ROLES, "embedded", "кодер", "совет"):
            answer = client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=24
            )
            assert answer.choices[0].message.content.strip(), name
            assert answer.usage.completion_tokens > 0
            assert answer.usage.prompt_tokens_details.cached_tokens >= 0
        assert client.models.retrieve("coder").id == "coder"
        with pytest.raises(openai.NotFoundError, match="coder"):
            client.chat.completions.create(model="codr", messages=[{"role": "user", "content": "x"}])
    assert "curl http://127.0.0.1:" in product.output
    assert product.stop() == 0


def test_the_council_streams_progress_as_reasoning_and_the_result_as_content(start):
    product = start()
    body = {
        "model": "council", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 24,
        "messages": [{"role": "user", "content": "Is it better to test before or after writing code?"}],
    }  # fmt: skip
    with product.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = stream_events(answer.iter_lines())
    deltas = [one["choices"][0]["delta"] for one in events if one != "[DONE]" and one["choices"]]
    reasoning = "".join(one.get("reasoning_content") or "" for one in deltas)
    content = "".join(one.get("content") or "" for one in deltas)
    assert all(name in reasoning for name in ("coder", "reasoner", "philosopher"))
    assert content.strip()
    first_content = next(i for i, one in enumerate(deltas) if one.get("content"))
    assert any(one.get("reasoning_content") for one in deltas[:first_content])
    usage = next(one["usage"] for one in events if one != "[DONE]" and one.get("usage"))
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0
    assert events[-1] == "[DONE]"


def test_changing_the_role_prefills_only_the_last_message_and_the_note(start):
    product = start()
    messages = long_conversation()
    usages = [product.chat(role, *messages, max_tokens=4).json()["usage"] for role in ROLES]
    cached = [one["prompt_tokens_details"]["cached_tokens"] for one in usages]
    prefilled = [one["prompt_tokens"] - hit for one, hit in zip(usages, cached, strict=True)]
    assert usages[0]["prompt_tokens"] > 1300
    assert prefilled[0] == usages[0]["prompt_tokens"]
    # The last message is 11 tokens, the longest shipped note under 90, the template's frame under 10.
    assert all(one <= 110 for one in prefilled[1:]), prefilled


def test_a_conversation_with_changing_roles_keeps_its_prefix(start):
    product = start()
    messages: list[dict[str, str]] = []
    before = 0
    for role in (*ROLES, "coder"):
        messages.append({"role": "user", "content": f"Tell me one fact about the sea, {role}."})
        answer = product.chat(role, *messages, max_tokens=24).json()
        usage = answer["usage"]
        # All of the turns before (prompt and answer) is in the cache, because their notes are written again. One token
        # less, because a template may write the end of a turn in another way than the model did.
        assert usage["prompt_tokens_details"]["cached_tokens"] >= before - 8
        before = usage["prompt_tokens"] + usage["completion_tokens"]
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})


def test_a_killed_engine_is_an_error_event_and_the_next_request_succeeds(start):
    product = start()
    engine = product.instance()["pid"]
    body = {"model": "philosopher", "stream": True, "max_tokens": 400, "messages": long_conversation()[-1:]}
    with product.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        seen = [next(lines) for _ in range(9)]
        os.kill(engine, signal.SIGKILL)
        events = stream_events(iter([*seen, *lines]))
    assert "error" in events[-1], events[-1]
    assert events[-1]["error"]["message"]
    assert product.chat("coder", "Say hello.").status_code == 200
    after = product.instance()
    assert (after["restarts"], after["state"]) == (1, "ready")
    assert after["pid"] != engine
    told = product.command("status").stdout
    assert "SIGKILL" in told or "killed" in told, told


def test_an_engine_outlives_a_crash_of_ours_and_is_adopted(start):
    product = start()
    engine = product.instance()["pid"]
    product.process.kill()
    product.process.wait()
    assert alive({engine})
    again = start()
    found = again.instance()
    assert (found["pid"], found["adopted"]) == (engine, True)
    assert again.chat("coder", "Say hello.").status_code == 200
    assert again.command("down").returncode == 0
    wait_for(lambda: not alive({engine, again.process.pid}), "the engine and Ansambl to end")


def test_down_ends_engines_whose_owner_is_gone(start):
    product = start()
    pids = family(product.process.pid)
    product.process.kill()
    product.process.wait()
    assert alive(pids)
    ended = product.command("down")
    assert ended.returncode == 0, ended.stderr
    wait_for(lambda: not alive(pids), "engines to end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process(start, number):
    product = start()
    pids = family(product.process.pid)
    assert len(pids) >= 2
    assert product.stop(number) == 0
    assert not alive(pids)
    assert not (product.data / "state.json").exists()


def test_a_client_that_leaves_frees_the_engine(start):
    product = start()
    body = {
        "model": "embedded",
        "stream": True,
        "max_tokens": 4000,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": "Count."}],
    }
    with product.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    # The one slot is free again long before 4,000 tokens could have been generated.
    assert product.chat("embedded", "Say hello.").status_code == 200
    wait_for(lambda: product.state()["requests"]["running"] == 0, "no request to run")
    metrics = product.client.get("/metrics").text
    assert 'ansambl_requests_cancelled_total{name="embedded"} 1.0' in metrics


def test_a_second_up_on_the_same_data_is_refused_in_one_line(start):
    product = start()
    second = run_command("up", "--port", "0", data=product.data)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert product.address in second.stderr
    assert product.chat("coder", "Still there?").status_code == 200


def test_a_taken_port_is_named_in_one_line(start, tmp_path):
    product = start()
    other = tmp_path / "other"
    second = run_command("up", "--port", str(product.port), data=other)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process {product.process.pid}" in second.stderr


def test_bad_requests_get_shaped_errors_and_nothing_breaks(start):
    product = start()
    post = product.client.post
    assert post("/v1/chat/completions", content=b"hello").json()["error"]["code"] == "invalid_json"
    assert product.chat("nobody", "x").status_code == 404
    too_large = post("/v1/chat/completions", content=b'{"model":"coder","x":"' + b"a" * 50_000_000 + b'"}')
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "request_too_large")
    too_long = product.chat("coder", "word " * 12_000)
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert product.client.get("/v1/chat/completions").status_code == 405
    assert product.client.get("/nothing").status_code == 404
    assert product.client.get("/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert product.client.get("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403
    assert product.chat("coder", "Say hello.").status_code == 200


def test_a_truncated_model_is_explained_and_the_rest_goes_on(start, data_folder):
    file = next((data_folder / "models").glob("*.gguf"))
    content = file.read_bytes()[:5_000_000]
    file.unlink()
    broken = data_folder.parent / "broken.gguf"
    broken.write_bytes(content)
    product = start(
        f'[models.main]\ncheckpoint = "{broken}"\n[models.gone]\ncheckpoint = "/nowhere/x.gguf"\n', ready=False
    )
    answer = product.chat("coder", "Say hello.")
    assert answer.status_code == 503
    assert "broken.gguf" in answer.json()["error"]["message"]
    missing = product.chat("gone", "Say hello.")
    assert missing.status_code == 503
    assert "/nowhere/x.gguf" in missing.json()["error"]["message"]
    assert product.client.get("/v1/models").status_code == 200
    assert "broken.gguf" in product.command("status").stdout


def test_offline_without_the_embedded_model_names_the_command(tmp_path):
    ended = run_command("up", "--offline", "--port", "0", data=tmp_path / "data")
    assert ended.returncode == 1
    assert "ansambl models pull embedded" in ended.stderr


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    ended = run_command("up", "--port", "0", data=blocked / "data")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert str(blocked) in ended.stderr


def test_another_address_is_refused_without_keys(tmp_path):
    ended = run_command("up", "--host", EVERYWHERE, "--port", "0", data=tmp_path / "data")
    assert ended.returncode == 2
    assert EVERYWHERE in ended.stderr


def test_ask_streams_an_answer_and_explains_its_prompt(start):
    product = start()
    asked = product.command("ask", "coder", "Say hello.", "--json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)
    explained = product.command("ask", "coder", "Say hello.", "--explain")
    assert "[Role: coder]" in explained.stdout + explained.stderr
    unknown = product.command("ask", "codr", "Say hello.")
    assert unknown.returncode != 0
    assert "coder" in unknown.stderr


def test_every_engine_secret_stays_out_of_sight(start):
    product = start()
    engine = psutil.Process(product.instance()["pid"])
    secret = engine.environ()["ANSAMBL_ENGINE_KEY"]
    assert secret not in " ".join(engine.cmdline())
    assert secret not in product.output
    assert secret not in product.client.get("/admin/api/state").text
    assert secret not in "".join(file.read_text(errors="replace") for file in (product.data / "logs").iterdir())

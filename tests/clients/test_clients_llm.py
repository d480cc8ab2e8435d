"""The command-line tool ``llm``, set up as its documentation says for services that speak OpenAI's dialect."""

from __future__ import annotations

import base64
import json

import pytest
from foreign_programs import output_of
from scripted_model import IMAGE

MODELS = """
- model_id: local
  model_name: {name}
  api_base: "{address}/v1"
  vision: true
  supports_tools: true
  supports_schema: true
"""
FUNCTION = 'def weather(city: str) -> str:\n    "Tells the weather."\n    return f"Snow in {city}."\n'


@pytest.fixture
def llm(python_client, tmp_path):
    """Runs ``llm`` with a folder of its own; `about` is the address and the name of a model."""

    async def run(about, *arguments):
        address, name = about
        (tmp_path / "extra-openai-models.yaml").write_text(MODELS.format(address=address, name=name), encoding="utf-8")
        return await output_of(python_client / "llm", *arguments, LLM_USER_PATH=str(tmp_path))

    run.folder = tmp_path
    return run


def prompt(*words):
    return ("prompt", "-m", "local", "--key", "any", *words)


@pytest.mark.parametrize("name", ["big", "coder"])
async def test_all_that_llm_can(capable, llm, name):
    about = (f"http://127.0.0.1:{capable.port}", name)
    assert await llm(about, *prompt("Привет, по-русски")) == "Здравствуйте! Это ответ 😀.\n"
    assert await llm(about, *prompt("Привет, по-русски", "--no-stream")) == "Здравствуйте! Это ответ 😀.\n"
    found = json.loads(await llm(about, *prompt("x", "--schema", "city, degrees int")))
    assert found == {"city": "Omsk", "degrees": -5}
    said = await llm(about, *prompt("How is it in both?", "--functions", FUNCTION))
    assert "The tool says: Snow in Paris." in said
    picture = llm.folder / "picture.png"
    picture.write_bytes(base64.b64decode(IMAGE))
    assert "An image of " in await llm(about, *prompt("What?", "-a", str(picture)))
    await llm(about, *prompt("First", "-s", "Be brief.", "-o", "temperature", "0.5", "-o", "max_tokens", "9"))
    await llm(about, *prompt("Second", "-c"))
    sent = json.loads(capable.engine.calls[-1].body)
    assert [one["role"] for one in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert json.loads(capable.engine.calls[-2].body)["temperature"] == 0.5


async def test_a_real_model_and_its_tokens(product, llm):
    about = (product.address, "small")
    said = await llm(about, *prompt("Say hi.", "-o", "temperature", "0", "-o", "max_tokens", "12"))
    assert said.strip()
    (logged,) = json.loads(await llm(about, "logs", "--json", "-n", "1"))
    assert logged["response"] == said.rstrip("\n")
    assert 0 < logged["output_tokens"] <= 12
    assert logged["input_tokens"] > 0

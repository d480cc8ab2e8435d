"""The templates of the models that run: out of files, arguments and servers, and never waited for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from model_files import write_gguf

from ansambl.app.configuration.settings import ModelSettings
from ansambl.app.templates import ModelTemplates, named_template, of_model, of_server
from ansambl.domain.chat_template import Continuity, DateUse, Place, TemplateFacts
from ansambl.domain.plan import Attachment
from ansambl.model_catalog.template_files import read_templates
from ansambl.model_catalog.templates import template_digest

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
DATED = "{% if date_string is not defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}\n" + PLAIN
WITH_TOOLS = "{{ tools|tojson }}" + PLAIN
LONG = PLAIN + "{# " + "x" * 10_000 + " #}"


def gguf(path: Path, **templates: str) -> Path:
    fields = {f"tokenizer.{name.replace('__', '.')}": source for name, source in templates.items()}
    write_gguf(path, {"general.architecture": "llama", **fields}, {"token_embd.weight": ("F32", (4, 4))})
    return path


def test_a_gguf_file_tells_its_template_whole(tmp_path: Path) -> None:
    path = gguf(tmp_path / "a.gguf", chat_template=LONG, chat_template__tool_use=WITH_TOOLS)
    found = read_templates(path)
    assert found is not None
    assert (found.source, dict(found.variants)) == (LONG, {"tool_use": WITH_TOOLS})
    facts = of_model(ModelSettings(checkpoint=str(path)), tmp_path)
    assert facts is not None
    assert facts.digest == template_digest(LONG)
    assert facts.fields["tools"] is Place.HEAD, "engines take the other template when a request has tools"


def test_a_file_without_a_template_a_broken_one_and_none_at_all_are_unknown(tmp_path: Path) -> None:
    assert of_model(ModelSettings(checkpoint=str(gguf(tmp_path / "a.gguf"))), tmp_path) is None
    (tmp_path / "b.gguf").write_bytes(b"GGUF" + bytes(40))
    for name in ("b.gguf", "missing.gguf"):
        assert of_model(ModelSettings(checkpoint=str(tmp_path / name)), tmp_path) is None
    assert of_model(ModelSettings(command="serve --port 1"), tmp_path) is None


def test_the_date_that_llama_cpp_fills_in_by_itself(tmp_path: Path) -> None:
    facts = of_model(ModelSettings(checkpoint=str(gguf(tmp_path / "a.gguf", chat_template=DATED))), tmp_path)
    assert facts is not None
    assert facts.date == DateUse("%d %b %Y", "date_string")
    (tmp_path / "chat_template.jinja").write_text(DATED)
    folder = of_model(ModelSettings(checkpoint=str(tmp_path)), tmp_path)
    assert folder is not None
    assert folder.date is None, "other engines leave the template's own date"


def test_the_arguments_name_another_template(tmp_path: Path) -> None:
    path = gguf(tmp_path / "a.gguf", chat_template=PLAIN)
    own = tmp_path / "own.jinja"
    own.write_text(DATED)
    for arguments in (("--chat-template-file", str(own)), (f"--chat-template={own}",), ("--chat-template", DATED)):
        facts = of_model(ModelSettings(checkpoint=str(path), arguments=arguments), tmp_path)
        assert facts is not None
        assert facts.digest == template_digest(DATED)
    # A template of the engine's own, called by its name.
    assert of_model(ModelSettings(checkpoint=str(path), arguments=("--chat-template", "chatml")), tmp_path) is None
    command = of_model(ModelSettings(command=f"serve --chat-template {own}"), tmp_path)
    assert command is not None
    assert command.date is None
    assert named_template(("--chat-template", "a", "--chat-template", "b")) == "b"
    assert named_template(("--chat-template",)) is None


def test_a_folder_tells_its_template_in_three_ways(tmp_path: Path) -> None:
    config = tmp_path / "tokenizer_config.json"
    assert read_templates(tmp_path) is None
    config.write_text(json.dumps({"chat_template": PLAIN, "bos_token": {"content": "<s>"}, "eos_token": "</s>"}))
    found = read_templates(tmp_path)
    assert found is not None
    assert (found.source, found.bos, found.eos) == (PLAIN, "<s>", "</s>")
    several = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": WITH_TOOLS}, {"name": 3}]
    config.write_text(json.dumps({"chat_template": several}))
    found = read_templates(tmp_path)
    assert found is not None
    assert (found.source, dict(found.variants)) == (PLAIN, {"tool_use": WITH_TOOLS})
    (tmp_path / "chat_template.jinja").write_text(LONG)
    found = read_templates(tmp_path)
    assert found is not None
    assert found.source == LONG
    for broken in ("not json", "[]", '{"chat_template": 3}'):
        config.write_text(broken)
        assert read_templates(tmp_path) is not None
    (tmp_path / "chat_template.jinja").unlink()
    assert read_templates(tmp_path) is None


def test_of_two_templates_the_less_sure_facts_hold(tmp_path: Path) -> None:
    no_system = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + PLAIN + "{{ ''[3:] }}<a>"
    )
    opened = PLAIN + "{% if add_generation_prompt %}<think>{% endif %}"
    path = gguf(tmp_path / "a.gguf", chat_template=no_system, chat_template__tool_use=opened)
    facts = of_model(ModelSettings(checkpoint=str(path)), tmp_path)
    assert facts is not None
    assert (facts.system, facts.continuity) == (Place.REFUSED, Continuity.LAST_ANSWER)


class Props(BaseHTTPRequestHandler):
    answer: ClassVar[Any] = None
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        body = json.dumps(self.answer).encode() if self.answer is not None else b"not json"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Props.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Props) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v1"
        running.shutdown()
        thread.join()


def test_a_llama_cpp_server_is_asked_with_its_key(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attached = Attachment("m", server, "m", key="secret")
    monkeypatch.setattr(Props, "answer", {"chat_template": DATED, "bos_token": "<s>"})
    facts = of_server(attached)
    assert facts is not None
    assert (facts.digest, facts.date) == (template_digest(DATED), DateUse("%d %b %Y", "date_string"))
    assert Props.asked == [("/props", "Bearer secret")]
    for answer in (None, [], {}, {"chat_template": 3}, {"chat_template": ""}):
        monkeypatch.setattr(Props, "answer", answer)
        assert of_server(attached) is None


def test_a_server_that_is_not_there_is_unknown() -> None:
    assert of_server(Attachment("m", "http://127.0.0.1:9/v1", "m")) is None


def test_nobody_waits_for_a_template() -> None:
    may_end, facts, looked = threading.Event(), TemplateFacts("d"), []

    def slow() -> TemplateFacts:
        looked.append(1)
        assert may_end.wait(10)
        return facts

    templates = ModelTemplates({"m": slow})
    thread = templates.look()
    assert templates("m") is None, "the look is not waited for, and not begun a second time"
    assert templates("other") is None
    may_end.set()
    thread.join(10)
    assert templates("m") is facts
    assert len(looked) == 1


def test_what_was_not_found_is_looked_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[TemplateFacts | None] = [None, TemplateFacts("new"), TemplateFacts("newer")]
    now = [100.0]
    monkeypatch.setattr("ansambl.app.looked_up.time.monotonic", lambda: now[0])

    def read() -> TemplateFacts | None:
        found = answers.pop(0)
        if found is None:
            raise ValueError("broken")
        return found

    templates = ModelTemplates({"m": read}, renewed=["m"])

    def told() -> str | None:
        found = templates("m")
        for thread in threading.enumerate():
            if thread.name == "chat template":
                thread.join(10)
        return found.digest if found is not None else None

    assert [told(), told()] == [None, None]
    assert len(answers) == 2, "one that failed is left alone for a while"
    now[0] += 61
    assert [told(), told()] == [None, "new"]
    now[0] += 601
    assert [told(), told()] == ["new", "newer"], "a server may run another model by now"

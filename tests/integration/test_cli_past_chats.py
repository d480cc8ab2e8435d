"""``chat --continue`` and ``eval --from-chats`` against a recorded Ansambl that holds three past conversations."""

import io
import json
import sys
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from recorded_ansambl import RecordedAnswers, recorded_ansambl

from ansambl.cli import main as program


def turn(number, speaker, text, author=""):
    return {"speaker": speaker, "text": text, "time": 1754560080.0 + number, "author": author, "id": str(number),
            "attachments": []}  # fmt: skip


def conversation(known, title, *texts):
    speakers = ("user", "assistant")
    turns = [turn(number, speakers[number % 2], text, "ChatGPT" * (number % 2)) for number, text in enumerate(texts)]
    return {"id": known, "source": "chatgpt", "title": title, "created": 1754560080.0, "updated": None, "facts": {},
            "warnings": [], "turns": turns, "branches": []}  # fmt: skip


TALKS = {
    1: conversation("aa-1", "Борщ", "Сколько варить свёклу для борща?", "Сорок минут."),
    2: conversation(
        "bb-2", "Garden in May", "What do I sow in the garden in May?", "Beans.", "And in June, dear?", "Kale."
    ),
    3: conversation("bb-3", "Garden tools", "Which tools does a garden need?", "A spade."),
}


class Recorded(RecordedAnswers):
    """The parts of the API that the two commands use."""

    def get(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/v1/models":
            self.answer(200, {"data": [{"id": "coder", "kind": "role", "aliases": []}]})
        elif url.path == "/admin/api/knowledge/documents":
            found = [
                {"id": number, "kind": "conversation", "title": one["title"]}
                for number, one in TALKS.items()
                if number > int(query.get("after", 0)) and query.get("text", "").casefold() in one["title"].casefold()
            ]
            self.answer(200, {"documents": found, "next": None})
        elif url.path.startswith("/admin/api/knowledge/conversations/"):
            wanted = unquote(url.path.rpartition("/")[2])
            found = [one for number, one in TALKS.items()
                     if wanted == str(number) or one["id"].startswith(wanted) or one["title"] == wanted]  # fmt: skip
            if len(found) == 1:
                self.answer(200, found[0])
            else:
                self.answer(404, {"error": {"message": f"There is no conversation {wanted}"}})
        else:
            self.answer(200, {"default_model": "embedded", "roles": [{"name": "coder", "aliases": []}], "ensembles": [],
                              "instances": [{"model": "embedded", "context": 2048, "parallel": 1}]})  # fmt: skip

    def post(self, body):
        self.asked.append(body)
        message = {"role": "assistant", "content": f"new answer of {body['model']}"}
        if not body.get("stream"):
            self.answer(200, {"choices": [{"message": message, "finish_reason": "stop"}]})
            return
        event = json.dumps({"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]})
        content = f"data: {event}\n\ndata: [DONE]\n\n".encode()
        self.answer_bytes(200, content, "text/event-stream")


@pytest.fixture
def asked(own_folder):
    with recorded_ansambl(own_folder / "data", Recorded) as recorded:
        yield recorded.asked


def run(capsys, monkeypatch, typed, *arguments):
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    code = program.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("wanted", ["bb-2", "Garden in May", "in may", "2"])
def test_a_past_conversation_goes_on_with_any_role(asked, capsys, monkeypatch, wanted):
    code, out, err = run(capsys, monkeypatch, "And in July?\n/quit\n", "chat", "coder", "--continue", wanted)
    assert code == 0
    assert "Garden in May · chatgpt" in err
    assert "Kale." in out
    (request,) = asked
    assert request["model"] == "coder"
    assert [(one["role"], one["content"]) for one in request["messages"]] == [
        ("user", "What do I sow in the garden in May?"), ("assistant", "Beans."), ("user", "And in June, dear?"),
        ("assistant", "Kale."), ("user", "And in July?"),
    ]  # fmt: skip


def test_several_and_none_are_one_line(asked, capsys, monkeypatch):
    code, _, err = run(capsys, monkeypatch, "", "chat", "--continue", "garden")
    assert code == 2
    assert err.count("\n") == 1
    assert "“Garden in May” (2); “Garden tools” (3)" in err
    code, _, err = run(capsys, monkeypatch, "", "chat", "--continue", "nowhere")
    assert code == 2
    assert "no conversation nowhere" in err
    assert asked == []


def evaluate(capsys, monkeypatch, typed, *arguments):
    return run(capsys, monkeypatch, typed, "eval", "--from-chats", *arguments)


def test_old_questions_are_written_without_asking_anybody(asked, capsys, monkeypatch, own_folder):
    code, _, _ = evaluate(capsys, monkeypatch, "", "--out", "set.jsonl", "--search", "garden борщ")
    assert code == 0
    lines = [json.loads(line) for line in (own_folder / "set.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(one["messages"][-1]["content"] for one in lines) == ["A spade.", "Beans.", "Kale.", "Сорок минут."]
    assert asked == []
    evaluate(capsys, monkeypatch, "", "--out", "two.jsonl", "--limit", "2")
    two = (own_folder / "two.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(two) == 2


def test_the_choice_is_blind_and_the_result_names_who_was_chosen(asked, capsys, monkeypatch, own_folder):
    arguments = ("--against", "coder", "--with-old", "--limit", "3", "--seed", "4", "--tokens", "32")
    code, out, err = evaluate(capsys, monkeypatch, "nonsense\na\na\na\n", *arguments, "--json")
    assert code == 0
    assert "'nonsense' is no choice" in err
    shown = err[: err.rindex("Which is better")]
    assert "ChatGPT" not in shown
    firsts = [part.split("\n")[1] for part in err.split("── a ──")[1:]]
    found = {one["name"]: one["preferred"]["value"] for one in json.loads(out)["standings"]}
    assert found["coder"] == pytest.approx(sum(one == "new answer of coder" for one in firsts) / 3)
    assert found["old"] == pytest.approx(1 - found["coder"])
    assert {one["max_tokens"] for one in asked} == {32}
    (own_folder / "choices.txt").write_text("a\na\na\n")
    again = evaluate(capsys, monkeypatch, "", *arguments, "--json", "--choices", "choices.txt")
    assert json.loads(again[1]) == json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "needs --against NAMES to compare, or --out"), (("--against", "coder"), "needs two answers"),
        (("--against", "nobody", "--with-old"), "no role, ensemble or model 'nobody'"),
        (("--search", "zebra", "--out", "x"), "no past question is like that"),
        (("tasks.jsonl", "--out", "x"), "takes no file of tasks"),
        (("--against", "coder", "--with-old", "--choices", "gone.txt"), "gone.txt cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(asked, capsys, monkeypatch, arguments, said):
    code, _, err = evaluate(capsys, monkeypatch, "", *arguments)
    assert code == 2
    assert said in err.splitlines()[-1]


def test_eval_alone_says_what_it_needs(asked, capsys, monkeypatch):
    code, _, err = run(capsys, monkeypatch, "", "eval")
    assert code == 2
    assert "needs a FILE of tasks and --against NAMES, or --from-chats" in err

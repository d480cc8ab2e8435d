"""Which requests are sent once more, and what an instance is told of an engine that answers badly or not at all."""

import asyncio

import pytest
from instance_defaults import InstanceDefaults

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.runtime.carrying import Carrier, Lease
from ansambl.runtime.judging import is_answer
from ansambl.runtime.upstream import ConnectionLostError

GOOD = b'{"choices": []}'
STREAM = "text/event-stream"


class Instance(InstanceDefaults):
    def __init__(self):
        self.run, self.told = 1, []

    async def ensure_ready(self):
        self.told.append("ready")
        self.run += 1
        return Endpoint(f"http://127.0.0.1:{self.run}/v1")

    def suspect(self):
        self.told.append("suspect")

    def garbled(self):
        self.told.append("garbled")

    def proven(self):
        self.told.append("proven")


class Answer:
    """Gives what the test planned: an exception at its head, or pieces and perhaps an exception after them."""

    def __init__(self, plan, kind, status):
        self.plan, self.content_type, self.status = plan, kind, status
        self.ended, self.left = False, 0
        self.gate = None

    async def __aenter__(self):
        if isinstance(self.plan, Exception):
            raise self.plan
        return self

    async def settle(self):
        if self.gate is not None:
            await self.gate.wait()
        for one in self.plan:
            if isinstance(one, Exception):
                raise one
        self.ended = self.content_type != STREAM
        return self.plan

    async def __aexit__(self, *_args):
        self.left += 1


class Stage:
    def __init__(self, *plans, kind="application/json", status=200):
        self.instance, self.sent, self.answers, self.bodies = Instance(), [], [], []
        self.plans, self.kind, self.status, self.gate = list(plans), kind, status, None
        self.carrier = Carrier(
            lambda _model: self.instance, self, lambda _lease: None, lambda _lease: self.instance.ensure_ready()
        )  # fmt: skip
        self.lease = Lease("m", Endpoint("http://127.0.0.1:1/v1"), 0.0)

    def post(self, endpoint, path, body, *, anew=False, content_type="application/json"):
        self.bodies.append((body, content_type))
        self.sent.append((endpoint.base_url, anew))
        answer = Answer(self.plans.pop(0), self.kind, self.status)
        answer.gate = self.gate
        self.answers.append(answer)
        return answer

    def open(self):
        return self.carrier.open(self.lease, "/chat/completions", b"{}")


def lost(*, answered=False, garbage=False):
    return ConnectionLostError("reset", answered=answered, garbage=garbage)


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (lost(), "suspect"),
        (lost(garbage=True), "garbled"),
        ([lost(answered=True)], "suspect"),
        ([b'{"choi', lost(answered=True)], "suspect"),
        ([b'{"choices": ['], "garbled"),
        ([b"what?"], "garbled"),
        ([], "garbled"),
    ],
    ids=["no head", "no HTTP", "no body", "broken off", "cut", "no JSON", "empty"],
)
async def test_what_reached_nobody_is_sent_once_more(plan, told):
    stage = Stage(plan, [GOOD])
    async with stage.open() as answer:
        assert answer is stage.answers[1]
    assert stage.sent == [("http://127.0.0.1:1/v1", False), ("http://127.0.0.1:2/v1", True)]
    assert stage.instance.told == [told, "ready", "proven"]
    assert [one.left for one in stage.answers] == [1, 1]


@pytest.mark.parametrize("start", [b"\xff\xfe\x00 nothing\n\n", b'data: {"choices": [{"delta": \n\n', b"{}\n\n"])
async def test_a_stream_that_begins_with_garbage_is_asked_for_once_more_and_no_more(start):
    stage = Stage([start], [start], kind=STREAM)
    with pytest.raises(EngineError) as caught:
        await stage.open().__aenter__()
    assert caught.value.code == "engine_garbage"
    assert stage.instance.told == ["garbled", "ready", "garbled"]
    assert len(stage.sent) == 2
    assert [one.left for one in stage.answers] == [1, 1]


async def test_what_was_handed_on_is_not_sent_again():
    stage = Stage([b"data: {}\n\n"], kind=STREAM)
    with pytest.raises(ConnectionLostError):
        async with stage.open():
            raise lost(answered=True)
    assert stage.instance.told == ["suspect"]
    assert len(stage.sent) == 1


async def test_a_stream_that_ends_without_its_last_words_was_not_lost():
    stage = Stage([b"data: {}\n\n"], kind=STREAM)

    async def read():
        async with stage.open() as answer:
            answer.ended = True
            raise lost(answered=True)

    with pytest.raises(ConnectionLostError):
        await read()
    assert stage.instance.told == ["garbled"]


async def test_garbage_that_only_the_reader_finds_counts():
    stage = Stage([GOOD])
    with pytest.raises(EngineError):
        async with stage.open():
            raise EngineError(lost().message, code="engine_garbage")
    assert stage.instance.told == ["garbled"]


@pytest.mark.parametrize(("status", "told"), [(400, ["proven"]), (500, [])])
async def test_a_refusal_is_no_garbage(status, told):
    stage = Stage([b"no"], status=status)
    async with stage.open():
        pass
    assert stage.instance.told == told


async def test_a_client_that_leaves_before_the_first_bytes_closes_the_connection_at_once():
    stage = Stage([GOOD])
    opening = stage.open()
    stage.gate = asyncio.Event()
    entering = asyncio.ensure_future(opening.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert [one.left for one in stage.answers] == [1]
    assert stage.instance.told == []


@pytest.mark.parametrize(
    ("kind", "pieces", "is_one"),
    [
        (STREAM, [b": ping\n\n"], True),
        (STREAM, [b"\r\n: ping\r\n\r\ndata: {}\r\n\r\n"], True),
        (STREAM, [b"event: x\ndata: {}\n\n"], True),
        (STREAM, [b"data: [DONE]\n\n"], True),
        (STREAM, [b'data: {"choi'], True),
        (STREAM, [b"d"], True),
        (STREAM, [], True),
        (STREAM, [b"<html>\n"], False),
        (STREAM, [b"data: " + b"[" * 100_000 + b"\n\n"], False),
        ("application/json", [b" [1", b"]\n"], True),
        ("application/json; charset=utf-8", [b"null"], False),
        ("text/html", [b"<html>"], False),
        ("application/json", [b'"written down"'], True),
        ("application/json", [b'{"data": ['], False),
        ("audio/wav", [b"RIFF"], True),
    ],
)
def test_what_an_answer_is(kind, pieces, is_one):
    assert is_answer(kind, pieces) is is_one


def test_of_an_answer_that_is_too_long_to_be_waited_for_only_the_beginning_is_judged():
    assert is_answer("application/json", [b'{"data": ['], whole=False)
    assert not is_answer("application/json", [b"data"], whole=False)


async def test_a_form_goes_out_as_it_is_with_its_own_type():
    stage = Stage([b"what?"], [GOOD])
    stage.lease.salt = "s"
    form = (b"a", memoryview(b"b"))
    async with stage.carrier.open(stage.lease, "/audio/transcriptions", form, "multipart/form-data; boundary=x"):
        pass
    # The same pieces again: they were not used up by the first try.
    assert stage.bodies == [(form, "multipart/form-data; boundary=x")] * 2

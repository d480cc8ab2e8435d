"""What is asked beside the chat, in words: what a model cannot do, which one can, and what would add one that can."""

from __future__ import annotations

from collections.abc import Mapping

from ansambl.domain.access import Caller
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.serving import Operation
from ansambl.domain.text import Text, text
from ansambl.runtime.abilities import engines_that, models_that
from ansambl.runtime.coordinator import Coordinator

NOT_SERVED = "endpoint_not_supported"
"""The code of an error that says that a model, or every model here, cannot do what was asked for."""

_WORDS: Mapping[Operation, Text] = {
    Operation.COMPLETIONS: text("go on with a text"),
    Operation.EMBEDDINGS: text("make vectors of texts"),
    Operation.RERANK: text("sort documents by a question"),
    Operation.TRANSCRIPTION: text("write down speech"),
    Operation.TRANSLATION: text("translate speech"),
    Operation.SPEECH: text("speak"),
    Operation.IMAGES: text("make images"),
    Operation.IMAGE_EDITS: text("change images"),
    Operation.MODERATION: text("judge texts by rules"),
    Operation.COUNTING: text("count the tokens of a prompt"),
}
_ADVICE: Mapping[Operation, Text] = {
    Operation.COMPLETIONS: text("add a model that writes: a table [models.NAME] in ansambl.toml"),
    Operation.EMBEDDINGS: text("add an embedding model: a table [models.NAME] in ansambl.toml with the checkpoint of "
                               "one; engines that can run it: {engines}"),
    Operation.RERANK: text("add a reranker: a table [models.NAME] in ansambl.toml with the checkpoint of one; engines "
                           "that can run it: {engines}"),
    Operation.TRANSCRIPTION: text("add a model that hears: a table [models.NAME] in ansambl.toml with the checkpoint "
                                  "of one (Whisper, say); engines that can run it: {engines}"),
    Operation.TRANSLATION: text("add a model that hears: a table [models.NAME] in ansambl.toml with the checkpoint "
                                "of one (Whisper, say); engines that can run it: {engines}"),
}  # fmt: skip
_BY_ADDRESS = text(
    'add a server that can: a table [models.NAME] in ansambl.toml with address = "http://…/v1", where it speaks '
    "OpenAI's dialect"
)


async def cannot(
    coordinator: Coordinator, caller: Caller, operation: Operation, name: str | None
) -> NotSupportedError:  # fmt: skip
    """The error for something that `name` cannot do; None where no name is meant, because nothing here can.

    It names models that can and that the caller may use, else what would add one.
    """
    what = _WORDS[operation]
    models = [one for one in await models_that(coordinator, operation) if one != name and caller.may_use(one)]
    if models and name is not None:
        said = text("'{name}' cannot {what}; ask for one of these: {models}.", name=name, what=what,
                    models=", ".join(models))  # fmt: skip
    elif name is not None:
        said = text("'{name}' cannot {what}, nor can another model here that is known to; {advice}.", name=name,
                    what=what, advice=await _advice(operation))  # fmt: skip
    else:
        said = text("No model here can {what}; {advice}.", what=what, advice=await _advice(operation))
    return NotSupportedError(said, code=NOT_SERVED, param="model")


async def _advice(operation: Operation) -> Text:
    found = _ADVICE.get(operation, _BY_ADDRESS)
    return Text(found.template, {"engines": ", ".join(await engines_that(operation))})


def says_cannot(status: int, body: bytes) -> bool:
    """Whether an engine's refusal means that it has no such endpoint, or not for this model.

    A 404 may also be about the model's name, which engines then say.
    """
    return status in {405, 501} or (status == 404 and b"model" not in body.lower())

"""What an ensemble will do with a request, in sentences. Pure."""

from __future__ import annotations

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.role import Ensemble, Merge, Pattern
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.roles.ensembles.budget import shown_seconds
from ansambl.roles.records import NO_OPTIONS, EnsembleTarget, RequestOptions
from ansambl.roles.routing.deciding import NeedsAnswer, NeedsVector, Route
from ansambl.roles.routing.records import Member, read_input


def explain_ensemble(target: EnsembleTarget, request: ChatRequest, options: RequestOptions = NO_OPTIONS) -> list[Text]:
    """The steps of the ensemble's pattern, whom a route would choose now, and the limits as `options` tighten them.

    Raises:
        RequestError: the messages are not messages, or `options.role` is no member of the route.
    """
    ensemble = target.ensemble
    pattern = Pattern(ensemble.pattern)
    steps = {Pattern.ROUTE: _route, Pattern.CHAIN: _chain, Pattern.COUNCIL: _council, Pattern.DEBATE: _debate}
    rounds = ensemble.rounds if options.rounds is None else min(ensemble.rounds, options.rounds)
    found = steps[pattern](ensemble, rounds)
    if pattern is Pattern.ROUTE:
        found.append(_choice(target, request, options))
    return [*found, *_limits(ensemble, options)]


def _choice(target: EnsembleTarget, request: ChatRequest, options: RequestOptions) -> Text:
    """Who would answer, as far as no model has to be asked for it."""
    route = Route(target.ensemble, [Member.of(one) for one in target.roles])
    asked = read_input(request.messages(), tools=bool(request.value("tools")))
    step = route.decide(asked, wanted=options.role)
    if isinstance(step, NeedsVector):
        return text("Who answers this message is decided by vectors when it is asked.")
    if isinstance(step, NeedsAnswer):
        return text("Who answers this message is asked of a model: {reason}.", reason=step.why)
    return text("This message is answered by '{role}': {reason}.", role=step.role, reason=step.reason)


def _names(ensemble: Ensemble) -> str:
    return ", ".join(ensemble.roles)


def _route(ensemble: Ensemble, _rounds: int) -> list[Text]:
    found = [
        text("One of these answers, as if it had been asked itself: {members}.", members=_names(ensemble)),
        text("A member that the request names (@{name}, or ansambl.role) is taken.", name=ensemble.roles[0]),
    ]
    if ensemble.rules:
        found.append(text("Then the first of {count} rules that matches decides.", count=len(ensemble.rules)))
    likeness = (
        text("Then the member whose examples are most like the question, if the likeness is {threshold} or more.",
             threshold=ensemble.threshold)
        if ensemble.embedder is None
        else text("Then the member whose examples are most like the question by the vectors of '{model}', if the "
                  "likeness is {threshold} or more.", model=ensemble.embedder, threshold=ensemble.threshold)
    )  # fmt: skip
    found.append(likeness)
    if ensemble.asks:
        found.append(text("Then '{role}' is asked who shall answer.", role=ensemble.merging_role))
    found.append(text("Otherwise '{role}' answers.", role=ensemble.default or ensemble.roles[0]))
    return found


def _chain(ensemble: Ensemble, rounds: int) -> list[Text]:
    author, *reviewers = ensemble.roles
    if not reviewers:
        return [text("'{role}' drafts, and the draft is the answer: nobody reviews it.", role=author)]
    return [
        text("'{role}' drafts an answer.", role=author),
        text(
            "Then it is reviewed (by {reviewers}) and '{role}' revises it. Most rounds: {rounds}; it ends sooner when "
            "no review asks for a change.",
            rounds=rounds, reviewers=", ".join(reviewers), role=author,
        ),
    ]  # fmt: skip


def _council(ensemble: Ensemble, _rounds: int) -> list[Text]:
    found = [text("These answer at once on the prefix that they share: {members}.", members=_names(ensemble))]
    if ensemble.samples > 1:
        found.append(text("Each of them answers {count} times, with different seeds.", count=ensemble.samples))
    if ensemble.merge == Merge.VOTE:
        found.append(
            text(
                "The most frequent short answer wins, a tie is decided by '{role}'; free text is merged by it.",
                role=ensemble.merging_role,
            )
        )
    else:
        found.append(text("The conductor '{role}' then merges their answers.", role=ensemble.merging_role))
    return found


def _debate(ensemble: Ensemble, rounds: int) -> list[Text]:
    return [
        text("These answer at once on the prefix that they share: {members}.", members=_names(ensemble)),
        text("Then each sees the others' newest answers and answers again. Rounds: {rounds}.", rounds=rounds),
        text("The conductor '{role}' then gives the verdict.", role=ensemble.merging_role),
    ]


def _limits(ensemble: Ensemble, options: RequestOptions) -> list[Text]:
    tokens = min((one for one in (ensemble.tokens, options.tokens) if one is not None), default=None)
    seconds = ensemble.seconds if options.seconds is None else Seconds(min(ensemble.seconds, options.seconds))
    found = []
    if Pattern(ensemble.pattern) is Pattern.ROUTE:
        found.append(text("Choosing may take {seconds} seconds.", seconds=shown_seconds(seconds)))
        if tokens is not None:
            found.append(text("The answer may have {tokens} tokens.", tokens=tokens))
        return found
    found.append(
        text(
            "Limits: {branch} tokens for each member's answer, {answer} for the final one, {seconds} seconds for all.",
            branch=ensemble.branch_tokens, answer=ensemble.answer_tokens, seconds=shown_seconds(seconds),
        )
    )  # fmt: skip
    if tokens is not None:
        found.append(text("All answers together may have {tokens} tokens.", tokens=tokens))
    return found

"""The order in which a route decides, as steps between which the caller fetches a vector or asks a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ansambl.domain.role import Ensemble
from ansambl.domain.text import Text, text
from ansambl.roles.routing.forcing import addressed, forced
from ansambl.roles.routing.likeness import Alike, WordLikeness
from ansambl.roles.routing.question import question, read_answer
from ansambl.roles.routing.records import Decision, How, Member, RouteInput, one_line
from ansambl.roles.routing.rules import Rules

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class NeedsVector:
    """The route compares by vectors: give `measured` what `VectorLikeness.of` says of the vector of `topic`.

    `members` are whose examples are compared (`VectorLikeness` and `examples_of` take them); their vectors stay the
    same as long as the route does.
    """

    route: Route
    asked: RouteInput

    @property
    def topic(self) -> str:
        """The text whose vector is needed."""
        return self.asked.topic

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the route."""
        return self.route.members

    def measured(self, alike: Sequence[Alike] | None, failure: Text | None = None) -> Decision | NeedsAnswer:
        """The next step; None when the vector could not be had: words decide then, and the reason tells `failure`."""
        if alike is not None:
            return self.route.after_likeness(self.asked, alike)
        return self.route.after_likeness(self.asked, self.route.words.of(self.topic), failure)


@dataclass(frozen=True, slots=True)
class NeedsAnswer:
    """The route asks a model: give `answered` what it said to `instruction`, put after the conversation.

    `why` says why the steps before did not decide; a failed question tells it with the default.
    """

    route: Route
    asked: RouteInput
    why: Text
    score: float | None = None

    @property
    def instruction(self) -> str:
        """What the model is told, in Russian for a Russian message, else in English."""
        return question(self.route.members, self.asked.language)

    def answered(self, said: str | None, failure: Text | None = None) -> Decision:
        """The decision; None when the model could not be asked: the reason tells `failure`."""
        member = None if said is None else read_answer(said, self.route.members)
        if member is not None:
            return Decision(member.name, How.QUESTION, text("the model was asked and named it"), self.score)
        failed = text("the model that was asked gave no answer")
        if said is not None:
            failed = text("the model that was asked named no member")
        elif failure is not None:
            failed = text("asking the model failed: {reason}", reason=failure)
        return self.route.by_default(text("{first}, and {second}", first=self.why, second=failed), self.score)


Step = Decision | NeedsVector | NeedsAnswer
"""A decision, or what is needed for one."""


class Route:
    """One route ensemble, prepared once and asked for each request.

    The order: a member that is asked for by name; the one that is in the middle of a tool loop; the owner's rules; for
    a message that only asks to go on, the one that answered before; likeness to the members' examples, if it is at
    least the ensemble's threshold; a model's word, if the ensemble asks one; the default.

    The whole of a caller::

        step = route.decide(read_input(messages, tools=...), wanted=..., previous=...)
        if isinstance(step, NeedsVector):
            step = step.measured(likeness.of(await vector(step.topic)))
        if isinstance(step, NeedsAnswer):
            step = step.answered(await ask(step.instruction))
    """

    def __init__(self, ensemble: Ensemble, members: Sequence[Member]) -> None:
        """Prepare; `members` are the ensemble's, in its order (`Member.of`).

        Raises:
            ConfigurationError: a rule's pattern that cannot be used (`check_rules` tells it when it is read).
        """
        self.ensemble = ensemble
        self.members = tuple(members)
        self._rules = Rules(ensemble.rules)
        self._names = frozenset(member.name for member in self.members)

    @cached_property
    def words(self) -> WordLikeness:
        """Likeness by words; built when it is first needed."""
        return WordLikeness(self.members)

    def decide(self, asked: RouteInput, *, wanted: str | None = None, previous: str | None = None) -> Step:
        """Who answers, or what is needed to decide it.

        `wanted` is the member that the client asks for beside the conversation, `previous` the one that gave the
        conversation's last answer, where that is known.

        Raises:
            RequestError: `wanted` is no member.
        """
        known = previous if previous in self._names else None
        found = forced(asked, wanted, self.members) or self._in_tool_loop(asked, known)
        found = found or self._rules.decide(asked) or self._going_on(asked, known)
        if found is not None:
            return found
        if not any(member.examples for member in self.members):
            return self._ask_or_default(asked, text("no member has examples to compare with"))
        if self.ensemble.embedder is not None:
            return NeedsVector(self, asked)
        return self.after_likeness(asked, self.words.of(asked.topic))

    def after_likeness(
        self, asked: RouteInput, alike: Sequence[Alike], failure: Text | None = None
    ) -> Decision | NeedsAnswer:
        """The step after the likenesses (the most alike first) are known; `failure`: why they are only by words."""
        if not alike or not asked.topic.strip():
            return self._ask_or_default(asked, text("there is nothing to compare"))
        best = alike[0]
        score = f"{best.score:.2f}"
        if best.score >= self.ensemble.threshold and best.score > 0 and best.role in self._names:
            example = one_line(best.example, _SHOWN)
            why = text("most like its examples, such as '{example}' ({score})", example=example, score=score)
            return Decision(best.role, How.LIKENESS, _with(why, failure), best.score)
        threshold = f"{self.ensemble.threshold:.2f}"
        why = text("no example is alike enough ({score} of {threshold})", score=score, threshold=threshold)
        return self._ask_or_default(asked, _with(why, failure), best.score)

    def by_default(self, why: Text, score: float | None = None) -> Decision:
        """The default member, with why nothing else was decided."""
        wanted = self.ensemble.default
        role = wanted if wanted in self._names else self.members[0].name
        return Decision(role, How.DEFAULT, text("the default; {why}", why=why), score)

    def _ask_or_default(self, asked: RouteInput, why: Text, score: float | None = None) -> Decision | NeedsAnswer:
        if self.ensemble.asks and len(self.members) > 1:
            return NeedsAnswer(self, asked, why, score)
        return self.by_default(why, score)

    def _in_tool_loop(self, asked: RouteInput, previous: str | None) -> Decision | None:
        if previous is None or not asked.in_tool_loop:
            return None
        return Decision(previous, How.STICKY, text("it began this answer and waits for its tools"))

    def _going_on(self, asked: RouteInput, previous: str | None) -> Decision | None:
        if not asked.is_follow_up:
            return None
        reason = text("the message goes on with what it answered before")
        if previous is not None:
            return Decision(previous, How.STICKY, reason)
        member = addressed(asked.topic, self.members)
        return None if member is None else Decision(member.name, How.STICKY, reason)


def _with(why: Text, failure: Text | None) -> Text:
    return why if failure is None else text("{first}, compared by words: {second}", first=why, second=failure)

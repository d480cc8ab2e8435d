"""Templates that nobody ships: each does one thing of its own, and the probe has to find it by rendering."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from ansambl.domain.chat_template import Continuity, DateUse, Place
from ansambl.model_catalog.template_rendering import MAX_SOURCE, ChatTemplate, TemplateRefusedError
from ansambl.model_catalog.templates import probe_template, template_digest

PLAIN = """{% for m in messages %}
<{{ m.role }}>{{ m.content }}</{{ m.role }}>
{% endfor %}
{% if add_generation_prompt %}
<assistant>{% endif %}"""
NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


def rendered(source: str, **values: object) -> str:
    return ChatTemplate(source).render(values, now=NOW)


def test_a_plain_template_keeps_everything() -> None:
    facts = probe_template(PLAIN)
    assert facts.digest == template_digest(PLAIN)
    assert facts.note_kept
    assert (facts.system, facts.trailing_system, facts.trailing_stays) == (Place.HEAD, Place.TAIL, True)
    assert facts.continuity is Continuity.FULL
    assert not facts.keeps_thinking
    assert facts.date is None
    assert facts.fields["tools"] is facts.fields["reasoning_effort"] is facts.fields["documents"] is Place.LOST
    assert "response_format" not in facts.fields, "an engine may write it itself"


@pytest.mark.parametrize(
    ("first", "system", "trailing"),
    [
        # As gemma-2 does: no system message at all.
        (("{% if messages|selectattr('role', 'equalto', 'system')|list %}{{ raise_exception('no') }}{% endif %}"
         "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"), Place.REFUSED, Place.REFUSED),
        # Drops it without a word.
        ("{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}\n{% endfor %}",
         Place.LOST, Place.LOST),
        # The last one counts, at the head.
        (("{% set ns = namespace(s='') %}{% for m in messages if m.role == 'system' %}{% set ns.s = m.content %}"
         "{% endfor %}{{ ns.s }}{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}\n"
         "{% endfor %}"), Place.HEAD, Place.HEAD),
        # As Mistral-Nemo does: beside the newest user message, and another one is refused.
        (("{% set s = messages[0].content if messages[0].role == 'system' else '' %}"
         "{% for m in messages[(1 if s else 0):] %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
         "<{{ m.role }}>{% if loop.last %}{{ s }} {% endif %}{{ m.content }}\n{% endfor %}"),
         Place.MOVES, Place.REFUSED),
        # Written at both ends.
        (("{% set s = messages[0].content if messages[0].role == 'system' else '' %}"
         "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{{ s }}"), Place.MOVES, Place.TAIL),
    ],
)  # fmt: skip
def test_what_becomes_of_a_system_message(first: str, system: Place, trailing: Place) -> None:
    facts = probe_template(first)
    assert facts.note_kept
    assert (facts.system, facts.trailing_system) == (system, trailing)
    expected = Continuity.EARLY if system is Place.MOVES else Continuity.FULL
    assert facts.continuity is expected


def test_a_trailing_system_message_that_cannot_stay_when_the_talk_goes_on() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' and not loop.first and not loop.last %}"
        "{{ raise_exception('only at the ends') }}{% endif %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    )
    facts = probe_template(source)
    assert facts.trailing_system is Place.TAIL
    assert not facts.trailing_stays


def test_content_that_must_be_a_list_of_parts() -> None:
    source = (
        "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}"
        "{% endif %}{% endfor %}\n{% endfor %}"
    )
    facts = probe_template(source)
    assert (facts.note_kept, facts.system, facts.continuity) == (True, Place.HEAD, Continuity.FULL)


def test_roles_that_must_alternate() -> None:
    source = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    )
    facts = probe_template(source)
    assert (facts.system, facts.trailing_system, facts.trailing_stays) == (Place.REFUSED, Place.TAIL, False)
    assert (facts.note_kept, facts.continuity) == (True, Continuity.FULL)


def test_a_template_that_needs_tools_is_asked_with_tools() -> None:
    facts = probe_template("{% for t in tools %}{{ t.function.name }}{% endfor %}" + PLAIN)
    assert facts.note_kept
    assert facts.fields["tools"] is Place.HEAD


def test_thinking_that_is_opened_or_dropped_costs_the_last_answer() -> None:
    opened = PLAIN + "{% if add_generation_prompt %}<think>{% endif %}"
    assert probe_template(opened).continuity is Continuity.LAST_ANSWER
    newest_only = (
        "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content and loop.revindex <= 2 %}"
        "{{ m.reasoning_content }}{% endif %}{{ m.content }}\n{% endfor %}<assistant>"
    )
    assert not probe_template(newest_only).keeps_thinking
    always = PLAIN.replace("{{ m.content }}", "{{ m.reasoning_content or '' }}{{ m.content }}")
    assert probe_template(always).keeps_thinking
    # What stands between the question and the answer goes away with the next turn.
    reminder = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}" + "Remember the rules. " * 9
    assert probe_template(reminder).continuity is Continuity.EARLY


def test_the_thinking_of_all_but_the_newest_answers_is_dropped_late() -> None:
    # The answer before the last loses its thinking only when another turn has come: that breaks before the newest turn.
    late = (
        "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content and loop.revindex <= 3 %}"
        "{{ m.reasoning_content }}{% endif %}{{ m.content }}\n{% endfor %}<assistant>"
    )
    assert probe_template(late).continuity is Continuity.EARLY


def test_where_variables_stand_is_found_by_setting_them() -> None:
    source = (
        "{% if deep_thought == 'on' %}Think hard.\n{% endif %}"
        "{% if reasoning_effort is defined %}Effort: {{ reasoning_effort }}\n{% endif %}"
        "{% if verbosity is defined and verbosity not in ('short', 'long') %}{{ raise_exception('no') }}{% endif %}"
        "{% if outer is defined and outer %}{% if inner == 'x' %}deep{% endif %}{% endif %}"
        "{% for d in documents or [] %}{{ d.title }}{% endfor %}"
        + PLAIN
        + "{% if quick is true %}<skip>{% endif %}{% if verbosity == 'long' %}long{% endif %}{{ note_of_ours or '' }}"
    )
    fields = probe_template(source).fields
    assert fields["chat_template_kwargs.deep_thought"] is Place.HEAD
    assert fields["reasoning_effort"] is fields["chat_template_kwargs.reasoning_effort"] is Place.HEAD
    assert fields["documents"] is Place.HEAD
    assert fields["chat_template_kwargs.quick"] is Place.TAIL
    assert fields["chat_template_kwargs.verbosity"] is Place.TAIL
    assert fields["chat_template_kwargs.note_of_ours"] is Place.TAIL
    assert fields["chat_template_kwargs.outer"] is Place.LOST
    # It is asked for only where another is set, which no single try shows: it is not claimed to be harmless.
    assert fields["chat_template_kwargs.inner"] in {Place.HEAD, Place.LOST}
    refusing = probe_template("{% if odd is defined %}{{ raise_exception('no') }}{% endif %}" + PLAIN)
    assert refusing.fields["chat_template_kwargs.odd"] is Place.REFUSED


def test_tools_beside_the_newest_message_stand_at_the_tail() -> None:
    source = (
        "{% for m in messages %}{% if loop.last and tools %}{{ tools|tojson }}{% endif %}<{{ m.role }}>"
        "{{ m.content }}\n{% endfor %}"
    )
    assert probe_template(source).fields["tools"] is Place.TAIL


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("Today: {{ strftime_now('%d %b %Y') }}\n", DateUse("%d %b %Y")),
        ("{% set d = day_shown if day_shown is defined else strftime_now('%Y-%m-%d') %}{{ d }}\n",
         DateUse("%Y-%m-%d", "day_shown")),
        # Asked for and not shown.
        ("{% set d = strftime_now('%Y-%m-%d') %}", None),
        # Only where no system message stands.
        ("{% if messages[0].role != 'system' %}{{ strftime_now('%A') }}{% endif %}", DateUse("%A")),
        # The variable is shown beside the date and does not take its place.
        ("{{ strftime_now('%Y') }} {{ place or '' }}", DateUse("%Y")),
    ],
)  # fmt: skip
def test_the_date_at_the_head(head: str, expected: DateUse | None) -> None:
    assert probe_template(head + PLAIN).date == expected


def test_a_date_at_the_tail_costs_nothing() -> None:
    assert probe_template(PLAIN + "{{ strftime_now('%Y') }}").date is None


@pytest.mark.parametrize(
    "source", ["{% if %}", "{{ raise_exception('never') }}", "nothing of the talk", "", "{{ 1/0 }}"]
)
def test_what_cannot_be_rendered_is_unknown(source: str) -> None:
    facts = probe_template(source)
    assert facts.system is facts.trailing_system is Place.UNKNOWN
    assert facts.continuity is Continuity.EARLY
    assert facts.fields == {}


def test_the_tokens_of_the_model_and_tags_for_training_do_not_disturb() -> None:
    source = "{{ bos_token }}{% generation %}" + PLAIN + "{% endgeneration %}{{ eos_token[0] }}"
    assert probe_template(source, bos="<s>", eos="</s>").note_kept


def test_facts_are_found_once() -> None:
    assert probe_template(PLAIN) is probe_template(PLAIN)


def test_templates_see_what_engines_show_them() -> None:
    assert rendered("{{ x|tojson }}", x={"ключ": ["<a>"]}) == '{"ключ": ["<a>"]}'
    assert rendered("{{ x|map('upper')|tojson }}", x=["a"]) == '["A"]'
    assert rendered("{% for a in x %}{% if a == 2 %}{% break %}{% endif %}{{ a }}{% endfor %}", x=[1, 2]) == "1"
    assert rendered("{{ strftime_now('%Y-%m-%d') }}") == "2026-11-22"
    assert rendered("{{ 'a' ~ 1 ~ none }}{{ '-' * 3 }}{{ '%s' % 'b' }}{{ '{}'.format(1) }}") == "a1None---b1"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a'|center(1000000000) }}", "{{ 'a' * 1000000000 }}", "{{ 9 ** (9 ** 9) }}", "{{ 'a'.ljust(1000000000) }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='aa') %}{% for a in range(60) %}{% set ns.x = {'k': ns.x, 'l': ns.x} %}{% endfor %}",
        "{{ '%1000000000d' % 1 }}", "{{ '{:1000000000}'.format(1) }}", "{{ '{:>{}}'.format(1, 100000000) }}",
        "{{ strftime_now('%1000000000d') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ range(10 ** 12) }}",
        "{% for a in range(9999) %}{{ 'x' * 90000 }}{% endfor %}", "{{ ''.__class__.__mro__ }}",
        "{% set x %}{% for a in range(9999) %}{{ 'x' * 90000 }}{% endfor %}{% endset %}",
        "{{ 'a'|indent(1000000000) }}",
        "{{ 'aaaaaaaaaaa'|replace('', 'b' * 900000) }}", "{{ 'aaaaaaaaaaa'.replace('a', 'b' * 900000) }}",
        "{{ range(9000)|map('string')|join('b' * 900000) }}", "{{ ('b' * 900000).join(range(9000)|map('string')) }}",
        "{{ '{:1000000000}'|attr('format')(1) }}", "{{ '%1000000000d'|format(1) }}",
        ("{% set ns = namespace(x=['a'] * 900) %}{% for a in range(90) %}{% set ns.x = [ns.x] %}{% endfor %}"
        "{{ ns.x|tojson(indent=9000) }}"),
        "{{ [1]|tojson(indent=-1000000000) }}{% for a in range(9999) %}{{ 'x' * 90000 }}{% endfor %}",
        "{% include 'x' %}", "{% extends 'x' %}", "{{ [1]|tojson(indent=1000000000) }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ (range(9000)|list * 90)|map('string')|map('center', 9000)|list }}", "{{ messages.append(1) }}",
        "{% for a in 'x' * 9000 recursive %}{{ loop('x' * 9000) }}{% endfor %}", "{{ cycler.__init__.__globals__.os }}",
    ],
)  # fmt: skip
def test_a_hostile_template_is_stopped_soon(source: str) -> None:
    began = time.monotonic()
    template = ChatTemplate(source, seconds=0.2)
    with pytest.raises(TemplateRefusedError):
        template.render({"messages": []}, now=NOW)
    # A bound, not a measurement: without one these would take minutes or all memory.
    assert time.monotonic() - began < 10


def test_a_template_has_its_seconds_once() -> None:
    template = ChatTemplate(
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", seconds=0.05
    )
    for _ in range(2):
        with pytest.raises(TemplateRefusedError, match="too long"):
            template.render({}, now=NOW)


def test_too_long_a_source_is_not_even_read() -> None:
    with pytest.raises(TemplateRefusedError, match="characters"):
        ChatTemplate("x" * (MAX_SOURCE + 1))
    assert probe_template("x" * (MAX_SOURCE + 1)).system is Place.UNKNOWN
    deep = "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"
    assert probe_template(deep).system is Place.UNKNOWN


def test_more_variables_than_any_template_has_are_not_all_tried() -> None:
    facts = probe_template("".join(f"{{{{ v{number} }}}}" for number in range(200)) + PLAIN)
    assert facts.fields["chat_template_kwargs.v0"] is Place.HEAD
    assert list(facts.fields.values()).count(Place.UNKNOWN) == 140

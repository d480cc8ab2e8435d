"""Findings from facts: pure, on cards of the catalog that are changed where a case needs it."""

from dataclasses import replace

import pytest

from ansambl.app.planning import candidates_of, catalog_candidates
from ansambl.domain.catalog import ModelKind, Speciality
from ansambl.domain.review import Level
from ansambl.domain.text import text
from ansambl.engines.compatibility import compatibility_rows
from ansambl.hardware.catalog import load_machine
from ansambl.model_catalog.catalog import catalog, find_model
from ansambl.planner.choosing import Choice
from ansambl.planner.fitting import Wish, place
from ansambl.planner.placement.rules import WorthRules
from ansambl.planner.placement.worth import native_bits, strength
from ansambl.planner.review import ReviewFacts, Stated, review_findings, training_findings
from ansambl.planner.review.facts import Fetched

CARD = find_model("llama-3.1-8b-instruct")
FACTS = compatibility_rows()


def facts(card=CARD, quantization="Q4_K_M", engine="llama.cpp", machine="rtx-4080-64g", context=8192, **changes):
    candidates = candidates_of(card)
    chosen = next(one for one in candidates if one.quantization == quantization and
                  one.format == {"llama.cpp": "gguf"}.get(engine, "safetensors"))  # fmt: skip
    chosen = replace(chosen, card=card)
    place_of = load_machine(machine)
    wish = Wish(context)
    rivals = catalog_candidates()
    found = ReviewFacts(
        name=card.name, machine=place_of, wish=wish, compatibility=FACTS, stated=Stated(machine=True), card=card,
        candidates=candidates, choice=Choice(place(chosen, engine, place_of, wish), ()), licence=card.licence,
        fetched=Fetched("owner/files", exact=True), models=tuple(catalog().values()), rivals=rivals,
        native=native_bits(rivals),
    )  # fmt: skip
    return replace(found, **changes)


def found_by(code, given):
    return [one for one in review_findings(given) if one.code == code]


@pytest.mark.parametrize(
    ("tools", "code", "level"),
    [(False, "no-tools", Level.WEAK), (None, "tools-unknown", Level.WEAK), (True, "abilities", Level.HOLDS)],
)
def test_tool_calls_are_told_as_far_as_they_are_known(tools, code, level):
    (one,) = found_by(code, facts(replace(CARD, tools=tools, vision=None)))
    assert one.level is level


def test_an_interface_of_which_no_source_speaks_is_unknown_and_not_refused():
    ui = FACTS.uis["chat-ui"]
    given = facts(quantization="BF16", engine="transformers", machine="rtx-pro-6000-128g", stated=Stated(ui=ui))
    (one,) = found_by("ui-unknown", given)
    assert one.level is Level.WEAK


def test_files_that_nobody_names_are_told():
    assert found_by("download-unknown", facts(fetched=Fetched(None, exact=True)))
    (one,) = found_by("download", facts(fetched=Fetched("owner/files", exact=False)))
    assert one.level is Level.FORGOTTEN


def test_a_licence_that_nobody_read_is_unknown():
    (one,) = found_by("licence-unknown", facts(licence="somebody-1.0"))
    assert "somebody-1.0" in one.text.render()


def test_a_model_whose_inside_is_unknown_is_judged_without_memory():
    card = replace(CARD, architecture=None, checkpoints=(), parameters=700_000_000_000)
    given = facts(candidates=(), choice=None, untried=text("nothing is known of its inside"), fetched=None)
    assert found_by("memory-unknown", given)
    assert not found_by("memory", given)
    # Two bits for each of 700 billion weights are 163 GiB; the machine has 80 in all.
    (one,) = found_by("memory", replace(given, card=card))
    assert one.level is Level.WRONG
    assert "163" in one.text.render()
    # A machine with enough memory is not refused.
    assert not found_by("memory", replace(given, card=card, machine=load_machine("rtx-pro-6000-128g")))


def test_stronger_models_are_newer_clearly_stronger_by_the_rule_and_do_the_same():
    given = facts(machine="rtx-4090-64g")
    (one,) = found_by("newer-model", given)
    rules = WorthRules()
    own = strength(given.best.candidate, given.native, None, rules).points
    named = {name: model for name, model in catalog().items() if f"{name} " in one.text.render()}
    assert 1 <= len(named) <= 3
    for name, model in named.items():
        assert model.released > CARD.released
        assert model.kind in {ModelKind.INSTRUCT, ModelKind.REASONING}
        best = max(strength(each, given.native, None, rules).points for each in candidates_of(catalog()[name]))
        assert best >= own + 5
        assert set(model.specialities) != {Speciality.CODE}


def test_a_model_that_sees_is_not_replaced_by_one_that_does_not():
    seeing = find_model("qwen2.5-vl-7b-instruct")
    (one,) = found_by("newer-model", facts(seeing, "Q4_K_M"))
    for name, model in catalog().items():
        if f"{name} " in one.text.render():
            assert model.vision


def test_the_newest_and_strongest_has_no_stronger_one():
    given = facts(machine="rtx-4090-64g")
    only = tuple(one for one in given.models if one.name == CARD.name)
    assert not found_by("newer-model", replace(given, models=only))


def test_the_same_facts_give_the_same_findings():
    assert review_findings(facts()) == review_findings(facts())


def test_training_needs_original_weights_and_a_model_that_writes():
    assert [one.method for one in training_findings(facts())] == ["lora", "qlora"]
    gguf = tuple(one for one in candidates_of(CARD) if one.format == "gguf")
    (one,) = training_findings(facts(candidates=gguf))
    assert not one.fits
    assert one.footprint is None
    speech = find_model("openai/whisper-large-v3")
    assert training_findings(facts(card=replace(CARD, kind=speech.kind))) == ()


def test_training_between_low_and_high_is_not_sure():
    model = find_model("saiga_nemo_12b")
    _, qlora = training_findings(facts(model, "Q4_K_M"))
    gpu = qlora.footprint.devices[0]
    assert gpu.needed.low < gpu.usable < gpu.needed.high
    assert qlora.note.render().startswith("not sure")

"""The table of licences: complete in itself, and honest about what nobody read."""

from ansambl.domain.review import CommercialUse
from ansambl.model_catalog.catalog import catalog, find_model
from ansambl.model_catalog.licences import find_licence, licences
from ansambl.planner.review.licences import DUTIES


def test_every_row_has_a_source_and_sentences_for_its_duties():
    for terms in licences().values():
        assert terms.source.strip()
        assert set(terms.duties) <= set(DUTIES)
        assert (terms.above is None) == (terms.users is None and terms.revenue is None)
        assert terms.above in {None, "ask", "show"}


def test_every_sentence_of_a_duty_is_used():
    assert {code for terms in licences().values() for code in terms.duties} == set(DUTIES)


def test_llama_models_ask_above_700_million_users_and_are_gated_at_their_owner():
    # Section 2 and 1.b of each Llama Community License.
    for name in ("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4"):
        terms = licences()[name]
        assert (terms.users, terms.above, terms.gated) == (700_000_000, "ask", ("meta-llama",))


def test_a_licence_without_a_name_of_its_own_is_found_by_the_repository():
    model = find_model("MiniMaxAI/MiniMax-M2.7")
    assert model.licence == "other"
    terms = find_licence(model.licence, model.repo)
    assert terms is not None
    assert terms.commercial is CommercialUse.NO
    assert find_licence("other", "somebody/else") is None


def test_names_are_found_whatever_their_case_and_unread_ones_are_unknown():
    assert find_licence("Apache-2.0") is licences()["apache-2.0"]
    assert find_licence(None) is None
    assert find_licence("minimax-community") is None


def test_most_models_of_the_catalog_have_terms():
    known = [one for one in catalog().values() if find_licence(one.licence, one.repo)]
    assert len(known) >= 0.9 * len(catalog())

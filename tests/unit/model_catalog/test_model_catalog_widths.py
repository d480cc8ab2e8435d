"""The widths of the catalog's entries: they reproduce the published counts of parameters."""

import pytest

from ansambl.domain.architecture import Attention
from ansambl.model_catalog.catalog import catalog
from ansambl.model_catalog.parameter_count import count_parameters

# The size of a head and the name in config.json, where the formula of the family is exact.
_KNOWN = {
    "llama": (128, "llama"), "mistral": (128, "mistral"), "mixtral": (128, "mixtral"), "qwen2": (128, "qwen2"),
    "qwen2_5_vl": (128, "qwen2"), "qwen3": (128, "qwen3"), "qwen3_vl": (128, "qwen3"), "qwen3_moe": (128, "qwen3_moe"),
    "qwen3_vl_moe": (128, "qwen3_moe"), "phi3": (128, "phi3"), "granite": (128, "granite"), "gpt_oss": (64, "gpt_oss"),
    "seed_oss": (128, "seed_oss"), "minimax_m2": (128, "minimax_m2"),
}  # fmt: skip
_SETTLED = [
    one for one in catalog().values()
    if one.family in _KNOWN and one.architecture
    and (one.architecture.feed_forward or one.architecture.expert_feed_forward)
]  # fmt: skip


def _count(model):
    inside = model.architecture
    head, kind = _KNOWN[model.family]
    table = {
        "vocab_size": inside.vocabulary, "intermediate_size": inside.feed_forward or 0, "head_dim": head,
        "moe_intermediate_size": inside.expert_feed_forward or 0,
        "num_key_value_heads": inside.layers[0].key_width // head,
    }  # fmt: skip

    def number(*names, default=None):
        return next((table[name] for name in names if table.get(name) is not None), default)

    return count_parameters(
        number, hidden=inside.hidden, heads=inside.heads, experts=inside.experts, used=inside.experts_active,
        kinds=["full_attention"] * inside.layer_count, outer={"tie_word_embeddings": bool(model.tied)}, table={},
        model_type=kind,
    )  # fmt: skip


@pytest.mark.parametrize("model", _SETTLED, ids=lambda model: model.name)
def test_widths_reproduce_the_count_of_parameters(model):
    # A vision part, heads for prediction and an output table that is stored twice are no part of the text model.
    published = model.text_parameters or model.parameters
    total, active = _count(model)
    if model.name in {"qwen3-embedding-0.6b", "qwen3-embedding-4b", "qwen3-embedding-8b"}:
        total -= model.architecture.vocabulary * model.architecture.hidden  # An embedding model has no output.
    assert total == pytest.approx(published, rel=0.02)
    if model.architecture.experts:
        # Some publishers count the row of the input embedding alone, others the whole table.
        table = model.architecture.vocabulary * model.architecture.hidden
        assert min(abs(one / model.architecture.active - 1) for one in (active, active - table)) <= 0.15


def test_enough_entries_are_checked():
    assert len(_SETTLED) >= 45


@pytest.mark.parametrize("model", catalog().values(), ids=lambda model: model.name)
def test_widths_fit_together(model):
    inside = model.architecture
    if inside is None:
        return
    assert inside.layer_count > 0
    assert inside.vocabulary * inside.hidden < inside.parameters
    if inside.query_width is not None:
        assert inside.query_width != inside.hidden
        assert inside.query_width % inside.heads == 0
    for group in inside.layers:
        if group.attention is not Attention.LATENT and group.key_width:
            # As many KV heads as heads of the query, or a part of them.
            assert group.key_width <= max(inside.query_width or 0, inside.hidden) * 2


def test_published_caches_come_out():
    # 6.72 GiB for 1048576 tokens of 16-bit elements: the published figure of DeepSeek V4 Flash, windows aside.
    inside = catalog()["deepseek-v4-flash"].architecture
    kept = sum(one.count * one.key_width for one in inside.layers if one.attention is Attention.LATENT)
    assert kept * 2 * 1048576 / 2**30 == pytest.approx(6.72, abs=0.005)
    # Gemma 4 E4B: 24 of 42 layers keep keys and values, four of them for all tokens.
    groups = catalog()["gemma-4-e4b-it"].architecture.layers
    assert [(one.count, one.key_width) for one in groups] == [(20, 512), (4, 1024), (18, 0)]


def test_latent_widths_of_gigachat_reproduce_its_count():
    # DeepSeek V3's layer: queries without a low rank, heads of 128 + 64, values of 192, one shared expert, one dense
    # layer of 8960, one layer that predicts ahead with tables of its own.
    model = catalog()["gigachat3-10b-a1.8b"]
    inside = model.architecture
    hidden, heads, rank, rope = inside.hidden, inside.heads, 512, 64
    assert inside.layers[0].key_width == rank + rope
    attention = (
        hidden * heads * 192 + hidden * (rank + rope) + rank + rank * heads * (128 + 192) + heads * 192 * hidden
        + 2 * hidden
    )  # fmt: skip
    experts = (inside.experts + 1) * 3 * hidden * inside.expert_feed_forward + hidden * inside.experts + inside.experts
    tables = 2 * inside.vocabulary * hidden
    main = tables + 26 * attention + 25 * experts + 3 * hidden * inside.feed_forward + hidden
    ahead = attention + experts + 2 * hidden * hidden + 3 * hidden + tables
    assert main == model.text_parameters
    assert main + ahead == model.parameters

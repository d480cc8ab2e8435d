"""A tiny Llama checkpoint and LoRA adapters for it, made of random numbers: real files for engines that read folders.

vLLM and Transformers load it like any other: ``config.json``, ``model.safetensors``, a byte-level BPE tokenizer of its
own and a ChatML template, about 1.6 MB. The same seed gives the same bytes. What it says makes no sense and is always
printable ASCII, because the output rows of all other tokens are zero; for the same reason it never ends by itself: an
answer is as long as ``max_tokens`` allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = Mapping[str, npt.NDArray[np.float32]]

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_SIZE, INNER, CONTEXT = 128, 2, 4, 2, 32, 256, 4096
"""Its measures. Heads of 32 are the smallest that vLLM's attention on the CPU computes."""

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The layers that its LoRA adapters change, unless others are named."""

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_WORDS = (
    "the", "and", "that", "have", "with", "this", "from", "they", "what", "about", "which", "when", "there", "your",
    "because", "people", "into", "just", "could", "other", "than", "then", "some", "would", "make", "like", "time",
    "only", "its", "over", "think", "also", "after", "use", "how", "our", "work", "first", "well", "even", "new",
    "want", "any", "these", "give", "day", "most", "system", "user", "assistant", "answer", "question",
)  # fmt: skip
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_tiny_checkpoint(folder: Path, *, seed: int = 0, architecture: str = "LlamaForCausalLM") -> Path:
    """Write the checkpoint into `folder` and return it.

    Args:
        folder: it is made where it is missing.
        seed: another one gives other weights.
        architecture: what ``config.json`` calls it; an engine that knows no such name refuses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _vocabulary()
    _write_tokenizer(folder, vocabulary, merges)
    size = len(vocabulary) + len(_SPECIAL)
    write_safetensors(folder / "model.safetensors", _weights(np.random.default_rng(seed), vocabulary, size))
    _write_json(folder / "config.json", {
        "architectures": [architecture], "model_type": "llama", "dtype": "float32", "vocab_size": size,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_SIZE, "max_position_embeddings": CONTEXT,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": None, "eos_token_id": size - 1,
        "pad_token_id": size - 3,
    })  # fmt: skip
    _write_json(folder / "generation_config.json", {"eos_token_id": size - 1, "pad_token_id": size - 3})
    return folder


def write_tiny_lora(
    folder: Path, *, seed: int = 1, rank: int = 8, alpha: float = 16.0, base: str = "tiny",
    targets: Sequence[str] = LORA_TARGETS,
) -> Path:  # fmt: skip
    """Write a LoRA adapter for the checkpoint into `folder`, in PEFT's format, and return it.

    Its numbers are large enough to change what the model says. `base` is what it says it was trained on; `targets`
    are names of linear layers (``q_proj``…, ``up_proj``…).
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    shapes = _linear_layers()
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for layer in range(LAYERS):
        for target in targets:
            block, out_size, in_size = shapes[target]
            prefix = f"base_model.model.model.layers.{layer}.{block}.{target}"
            tensors[f"{prefix}.lora_A.weight"] = _random(generator, (rank, in_size), 0.2)
            tensors[f"{prefix}.lora_B.weight"] = _random(generator, (out_size, rank), 0.2)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    _write_json(folder / "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank, "lora_alpha": alpha,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": list(targets), "modules_to_save": None, "use_rslora": False, "use_dora": False,
    })  # fmt: skip
    return folder


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """Write tensors of 32-bit floats in the format of safetensors: a length, a JSON header, the bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    words = json.dumps(header, separators=(",", ":")).encode()
    # The data must begin at a multiple of eight bytes; spaces are what the format allows for that.
    words += b" " * (-len(words) % 8)
    with path.open("wb") as file:
        file.write(len(words).to_bytes(8, "little") + words)
        for tensor in tensors.values():
            file.write(tensor.astype("<f4").tobytes())


def _random(generator: np.random.Generator, shape: tuple[int, ...], scale: float) -> npt.NDArray[np.float32]:
    return (generator.standard_normal(shape) * scale).astype(np.float32)


def _linear_layers() -> dict[str, tuple[str, int, int]]:
    """Block, rows and columns of the linear layers of one layer, by name."""
    attention, key_value = HEADS * HEAD_SIZE, KV_HEADS * HEAD_SIZE
    return {
        "q_proj": ("self_attn", attention, HIDDEN), "k_proj": ("self_attn", key_value, HIDDEN),
        "v_proj": ("self_attn", key_value, HIDDEN), "o_proj": ("self_attn", HIDDEN, attention),
        "gate_proj": ("mlp", INNER, HIDDEN), "up_proj": ("mlp", INNER, HIDDEN), "down_proj": ("mlp", HIDDEN, INNER),
    }  # fmt: skip


def _weights(
    generator: np.random.Generator, vocabulary: Mapping[str, int], size: int
) -> dict[str, npt.NDArray[np.float32]]:
    tensors = {"model.embed_tokens.weight": _random(generator, (size, HIDDEN), 1.0)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        tensors[f"{prefix}.input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        tensors[f"{prefix}.post_attention_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        for name, (block, out_size, in_size) in _linear_layers().items():
            tensors[f"{prefix}.{block}.{name}.weight"] = _random(generator, (out_size, in_size), in_size**-0.5)
    tensors["model.norm.weight"] = np.ones(HIDDEN, np.float32)
    output = _random(generator, (size, HIDDEN), HIDDEN**-0.5)
    readable = {at for word, at in vocabulary.items() if all(" " < one <= "~" or one == _SPACE for one in word)}
    output[[at for at in range(size) if at not in readable]] = 0.0
    tensors["lm_head.weight"] = output
    return tensors


def _byte_alphabet() -> list[str]:
    """The character that stands for each byte in byte-level BPE: itself where it is printable, else one beyond 255."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    beyond = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(beyond)) for byte in range(256)]


_SPACE = _byte_alphabet()[ord(" ")]


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokens = _byte_alphabet()
    merges: list[tuple[str, str]] = []
    known = set(tokens)
    for word in _WORDS:
        built = _SPACE
        for letter in word:
            if built + letter not in known:
                merges.append((built, letter))
                known.add(built + letter)
                tokens.append(built + letter)
            built += letter
    return {token: at for at, token in enumerate(tokens)}, merges


def _write_tokenizer(folder: Path, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {"id": len(vocabulary) + at, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for at, word in enumerate(_SPECIAL)
    ]  # fmt: skip
    _write_json(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {**vocabulary, **{one["content"]: one["id"] for one in added}},
            "merges": [" ".join(pair) for pair in merges],
        },
    })  # fmt: skip
    _write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": _SPECIAL[2], "pad_token": _SPECIAL[0],
        "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False, "chat_template": _TEMPLATE,
    })  # fmt: skip


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

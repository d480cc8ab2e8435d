"""llama-server's arguments for the bundled llama.cpp."""

import pytest
import xllamacpp

from ansambl.domain.errors import UsageError
from ansambl.engines.shared.llama_flags import _FLAGS, read_flags
from ansambl.engines.shared.llama_server import _set


def sample(flag):
    if flag.choices is not None:
        return flag.choices[next(iter(flag.choices))]
    return flag.value if flag.read is None else flag.read("1")


@pytest.mark.parametrize("flag", _FLAGS, ids=lambda flag: flag.names[0])
def test_every_flag_is_a_parameter_of_the_real_wheel(flag):
    settings = xllamacpp.CommonParams()
    _set(settings, flag.parameter, sample(flag))
    for value in (flag.choices or {}).values():
        _set(settings, flag.parameter, value)


def test_values_arrive_in_the_wheel():
    settings = xllamacpp.CommonParams()
    words = [
        "-fa",
        "off",
        "-ctk",
        "q8_0",
        "-ts",
        "3,1",
        "--no-warmup",
        "-t",
        "3",
        "--rope-freq-scale",
        "0.5",
        "-ngl=auto",
    ]
    for name, value in read_flags(words, "m").items():
        _set(settings, name, value)
    assert settings.flash_attn_type == xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    assert settings.cache_type_k == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert settings.tensor_split[:3] == [3.0, 1.0, 0.0]
    assert settings.warmup is False
    assert settings.cpuparams.n_threads == 3
    assert settings.rope_freq_scale == 0.5
    assert settings.n_gpu_layers == -1


def test_the_last_of_equal_flags_counts():
    assert read_flags(["-b", "1", "--batch-size=2"], "m") == {"n_batch": 2}
    assert read_flags([], "m") == {}


def test_the_message_names_the_key_and_the_flag():
    with pytest.raises(UsageError, match=r"models\.big\.arguments: .*--flash-atn.*did you mean --flash-attn\?"):
        read_flags(["--flash-atn", "on"], "big")
    assert read_flags(["--flash-attn", "on"], "big")

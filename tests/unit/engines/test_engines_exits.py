"""Words about ends, beyond the recorded ones of the contract suite."""

import pytest

from ansambl.domain.engine import EngineMetrics, ExitReason
from ansambl.engines.adapters.llama_cpp_bundled import LlamaCppBundled
from ansambl.engines.shared import exits
from ansambl.engines.shared.metrics import read_metrics


@pytest.mark.parametrize(
    ("code", "tail", "reason"),
    [
        (1, ["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"], ExitReason.OUT_OF_MEMORY),
        (1, ["terminate called after throwing an instance of 'std::bad_alloc'"], ExitReason.OUT_OF_MEMORY),
        (1, ["RuntimeError: CUDA driver version is insufficient for CUDA runtime version"], ExitReason.MISSING_DRIVER),
        (1, ["error: invalid argument: --nonsense"], ExitReason.BAD_FLAG),
        (1, ["OSError: [Errno 98] Address already in use"], ExitReason.PORT_TAKEN),
        (137, [], ExitReason.KILLED),
        (139, ["nothing"], ExitReason.CRASHED),
        (132, [], ExitReason.WRONG_CPU),
        (143, [], ExitReason.STOPPED),
        (3, ["what happened?"], ExitReason.UNKNOWN),
        (None, [], ExitReason.UNKNOWN),
    ],
)
def test_reasons(code, tail, reason):
    found = exits.explain_exit(code, tail, "the engine")
    assert found.reason is reason
    assert found.message.render()


def test_a_killed_process_is_not_blamed_on_an_older_error():
    assert exits.explain_exit(-9, ["unauthorized: Invalid API Key"], "x").reason is ExitReason.KILLED


def test_the_quote_is_the_line_that_tells():
    tail = ["0.00.1 I srv  init: fine", "0.00.2 E srv  load: failed to do it", "", "0.00.3 I srv  init: cleaning up"]
    assert exits.last_words(tail) == "failed to do it"
    assert exits.last_words(["only this", ""]) == "only this"
    assert exits.last_words([]) == ""
    assert len(exits.last_words(["error " + "x" * 5000])) < 300


def test_a_load_that_failed_for_an_unknown_reason_is_not_repeated():
    found = LlamaCppBundled().explain_exit(81, ["something new"])
    assert found.reason is ExitReason.UNSUPPORTED_MODEL
    assert not found.restart_helps
    assert "something new" in found.message.render()


def test_metrics_of_other_engines_and_labels_are_added_up():
    page = (
        'vllm:prompt_tokens_total{model="a"} 10\nvllm:prompt_tokens_total{model="b"} 5\nvllm:num_requests_running 2.0\n'
    )
    assert read_metrics(page) == EngineMetrics(prompt_tokens=15, requests_running=2)

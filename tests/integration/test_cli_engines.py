import json
from pathlib import Path

import pytest
from product import run_command

from ansambl.engines.registry import ENGINES


def test_the_list_is_one_document_or_sentences_that_say_how_to_mend_it(tmp_path: Path) -> None:
    done = run_command("engines", "list", "--json", data=tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)["engines"]] == list(ENGINES)
    done = run_command("engines", "list", data=tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "llama.cpp-bundled" in done.stdout
    assert "ansambl engines install llama.cpp" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("install", "nonsense"), 2, "what Ansambl installs"),
        (("install", "vllm", "--build", "metal"), 3, "no build 'metal'"),
        (("install", "transformers", "--offline", "--build", "cpu"), 1, "--offline"),
        (("install", "transformers", "--build", "cpu"), 1, "--yes"),
        (("remove", "vllm", "--yes"), 1, "has not installed vllm"),
    ],
)
def test_what_is_refused_ends_with_its_code_and_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run_command("engines", *arguments, data=tmp_path / "data")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "engines").exists()

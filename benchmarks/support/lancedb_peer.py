"""LanceDB on the same data: installed into an environment of its own, and run there as a child.

This file is both: imported, it starts the child; run by the other environment's Python, it is the child, and then it
imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from support.labelled import Labelled
    from support.synthetic import Corpus, Query

VERSION = "0.40.0"
PLACE = Path(__file__).parents[2] / ".build" / "peers" / f"lancedb-{VERSION}"
_LIMIT = 3600.0
_STEMMERS = {"en": "English", "ru": "Russian"}


def installed() -> Path:
    """The Python of an environment with LanceDB, which is made where it is missing (about 470 MB)."""
    named = os.environ.get("LANCEDB_PYTHON")
    if named:
        return Path(named)
    python = PLACE / "bin" / "python"
    if not python.exists():
        venv.create(PLACE, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"lancedb=={VERSION}", "pyarrow", "numpy"], check=True)
    return python


def speed(
    python: Path, folder: Path, corpus: Corpus, queries: Sequence[Query], nearest: Sequence[Sequence[int]],
    passages: int,
) -> dict[str, float]:  # fmt: skip
    """Figures by the names that ours have."""
    folder.mkdir(parents=True)
    vectors = np.concatenate([corpus.make_vectors(block) for block in range(-(-passages // 1000))])[:passages]
    np.save(folder / "vectors.npy", vectors)
    with (folder / "passages.jsonl").open("w", encoding="utf-8") as file:
        for number in range(passages):
            line = {"id": number, "text": corpus.text(number), "language": corpus.language(number)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    np.save(folder / "queries.npy", np.stack([one.vector for one in queries]))
    asked = [{"text": one.text, "language": one.language} for one in queries]
    (folder / "task.json").write_text(json.dumps({"do": "speed", "queries": asked, "nearest": list(nearest)}))
    return _run(python, folder)


def found(python: Path, folder: Path, one: Labelled, asked: Sequence[str], vectors: np.ndarray) -> list[list[str]]:
    """The ids that its hybrid search finds for each question on a labelled set, with the stemmer of the language."""
    folder.mkdir(parents=True)
    np.save(folder / "vectors.npy", one.vectors)
    np.save(folder / "queries.npy", vectors)
    with (folder / "passages.jsonl").open("w", encoding="utf-8") as file:
        for name, text in zip(one.ids, one.texts, strict=True):
            file.write(json.dumps({"id": name, "text": text, "language": one.language}, ensure_ascii=False) + "\n")
    task = {"do": "quality", "queries": [{"text": text} for text in asked], "language": one.language}
    (folder / "task.json").write_text(json.dumps(task))
    return _run(python, folder)["found"]


def _run(python: Path, folder: Path) -> Any:
    with (folder / "log.txt").open("w") as log:
        subprocess.run([python, __file__, str(folder)], check=True, timeout=_LIMIT, stdout=log, stderr=log)
    return json.loads((folder / "result.json").read_text())


# -- the child


def _child(folder: Path) -> None:
    import lancedb
    import pyarrow as pa

    task = json.loads((folder / "task.json").read_text())
    lines = [json.loads(line) for line in (folder / "passages.jsonl").open(encoding="utf-8")]
    vectors = np.load(folder / "vectors.npy").astype(np.float32)
    asked = list(zip(task["queries"], np.load(folder / "queries.npy"), strict=True))
    database = lancedb.connect(str(folder / "database"))
    began = time.perf_counter()
    made = None
    for start in range(0, len(lines), 5000):
        some = lines[start : start + 5000]
        batch = pa.table({
            "id": [one["id"] for one in some], "text": [one["text"] for one in some],
            "language": [one["language"] for one in some],
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors[start : start + len(some)].reshape(-1)), vectors.shape[1]
            ),
        })  # fmt: skip
        made = database.create_table("passages", batch) if made is None else made
        if start:
            made.add(batch)
    result = (_speed if task["do"] == "speed" else _quality)(made, task, asked, began)
    if task["do"] == "speed":
        result["disk"] = sum(one.stat().st_blocks * 512 for one in (folder / "database").rglob("*") if one.is_file())
        result["disk"] /= 2**20
    (folder / "result.json").write_text(json.dumps(result))


def _speed(made: Any, task: Any, asked: Any, began: float) -> dict[str, float]:
    count = made.count_rows()
    made.create_fts_index("text", replace=True, language="English", stem=True)
    result = {"taken in and found by words": count / (time.perf_counter() - began)}
    began = time.perf_counter()
    if count >= 5000:
        made.create_index(metric="cosine", vector_column_name="vector", index_type="IVF_HNSW_SQ")
        result["vectors kept and found"] = count / (time.perf_counter() - began)
    for one, vector in asked[:20]:
        _hybrid(made, one["text"], vector)
    _percentiles(result, "search", [_timed(_hybrid, made, one["text"], vector) for one, vector in asked])
    _percentiles(result, "search by words alone", [_timed(_by_words, made, one["text"]) for one, _ in asked])
    narrow = [_timed(_hybrid, made, one["text"], vector, f"language = '{one['language']}'") for one, vector in asked]
    _percentiles(result, "search in one language", narrow)
    right = 0
    for (_, vector), wanted in zip(asked, task["nearest"], strict=True):
        rows = made.search(vector).metric("cosine").limit(10).select(["id"]).to_list()
        right += len({row["id"] for row in rows} & set(wanted))
    result["recall@10 of its vector search"] = right / (10 * len(asked))
    result["memory of all processes"] = _resident()
    return result


def _quality(made: Any, task: Any, asked: Any, _began: float) -> dict[str, Any]:
    made.create_fts_index("text", replace=True, language=_STEMMERS[task["language"]], stem=True)
    return {"found": [[row["id"] for row in _hybrid(made, one["text"], vector)] for one, vector in asked]}


def _hybrid(made: Any, text: str, vector: np.ndarray, where: str | None = None) -> list[dict[str, Any]]:
    from lancedb.rerankers import RRFReranker

    query = made.search(query_type="hybrid").vector(vector).text(_words(text)).rerank(RRFReranker())
    if where:
        query = query.where(where, prefilter=True)
    return query.limit(10).to_list()


def _by_words(made: Any, text: str) -> list[dict[str, Any]]:
    return made.search(_words(text), query_type="fts").limit(10).to_list()


def _words(text: str) -> str:
    """Without the signs that its query language has a meaning for."""
    return "".join(one if one.isalnum() else " " for one in text)


def _timed(act: Any, *given: Any) -> float:
    began = time.perf_counter()
    act(*given)
    return time.perf_counter() - began


def _percentiles(result: dict[str, float], name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    for percent in (50, 95):
        result[f"{name}, p{percent}"] = ordered[max(0, -(-percent * len(ordered) // 100) - 1)] * 1e3


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    _child(Path(sys.argv[1]))

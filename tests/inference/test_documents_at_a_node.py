"""Documents of a tenant's node: imported once, indexed sealed, removed for good, read under contracts of use only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.flows.institutions import CATALOGUE
from tests.host.house import House, copied, opened
from workbench.contracts.inference import ReadLimits
from workbench.domain.party import Role
from workbench.errors import Cancelled, Denied, InvalidRequest, NotFound, Refused, VerificationError
from workbench.workspace import Workspace
from workbench_inference.asking.steps import HouseSteps
from workbench_inference.documents import corpus_store, importing, indexing, usages
from workbench_inference.documents.connectors import CONNECTORS
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.policy.redaction import KnownNames, redact
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.corpus.sealing import open_corpus

SMALL = {"funds": 12, "notices": 8, "news": 6, "quotes": 4, "prompts": 2, "questions": 4, "series": 0}
QUESTIONS = "客户问题,时间,来源\n我的手机是13800138000，怎么赎回790001？,2026-05-01,热线\n净值多少？,2026-05-02,热线\n"
CANARY = "金丝雀甲乙丙丁九三七"


class Letters:
    """An embedder that counts what it is asked: rows by the characters of a text."""

    name, size = "letters", 8

    def __init__(self) -> None:
        self.asked = 0

    def passages(self, texts: Any) -> np.ndarray:
        self.asked += len(texts)
        rows = np.array([[1 + sum(map(ord, text[place::8])) % 97 for place in range(8)] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def query(self, text: str) -> np.ndarray:
        found: np.ndarray = self.passages([text])[0]
        return found


@pytest.fixture(scope="module")
def house(made_institution: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    at = copied(made_institution, tmp_path_factory.mktemp("tenant") / "workspace")
    with opened(at, settings={"inference.role": "tenant"}) as made:
        importing.import_synthetic(made.node, 5, actor="", progress=lambda done, total: None, sizes=SMALL)
        yield made


def call(house: House, name: str, role: Role = Role.OPERATOR, **request: Any) -> Any:
    return house.node.gate.call(name, request, house.caller(role), is_confirmed=True)


def put(house: House, folder: Path, name: str, content: str, role: Role = Role.OPERATOR, **more: Any) -> Any:
    (folder / name).write_text(content, "utf-8")
    return call(house, "inference.documents_import", role, file=house.node.uploads.adopt(folder / name), **more)


def made_index(house: House, embedder: Any = None, *, synthetic_only: bool = False) -> indexing.Indexed:
    return indexing.index(
        house.node, actor="", embedder=embedder, synthetic_only=synthetic_only, progress=lambda done, total: None, cancelled=lambda: False
    )


def test_operations_of_documents_exist_at_a_tenant_only(made_institution: Workspace, tmp_path: Path) -> None:
    with opened(copied(made_institution, tmp_path / "workspace")) as other, pytest.raises(NotFound) as raised:
        call(other, "inference.documents")
    assert raised.value.code == "UNKNOWN_OPERATION"


def test_a_corpus_lies_sealed_on_the_disk_and_opens_with_the_volume_key(house: House, tmp_path: Path) -> None:
    put(house, tmp_path, "n.csv", f"标题,正文,来源,日期\n甲社公告,{CANARY}公告内容。,甲社,2026-06-01\n", kind="news", data_class="public")
    embedder = Letters()
    made = made_index(house, embedder)
    sealed = corpus_store.folder(house.node) / made.row.digest
    assert made.row.embedder == "letters" and embedder.asked > 0 and sealed.stat().st_size == made.row.size == corpus_store.size_of(house.node, made.row.digest)
    key = corpus_store.volume_key(house.node)
    assert len(key) == 32 and key == corpus_store.volume_key(house.node)
    data = corpus_store.open_own(house.node, made.row.digest)
    pieces = [corpus_store.piece(house.node, made.row.digest, at, 1 << 20) for at in range(0, made.row.size, 1 << 20)]
    assert open_corpus(pieces, key) == data and corpus_store.piece(house.node, made.row.digest, made.row.size, 9) == b""
    corpus = Corpus.read(data)
    assert corpus.document_count == made.row.documents and corpus.search(CANARY, kinds=(), ids=(), until_ms=0, most=3)[0].text.startswith(CANARY)
    row = embedder.passages([f"甲社公告\n{CANARY}公告内容。"])[0].tobytes()
    assert row in data
    for file in (one for one in house.node.folder.rglob("*") if one.is_file()):
        content = file.read_bytes()
        assert CANARY.encode() not in content and row[:16] not in content
    with pytest.raises(VerificationError):
        open_corpus([part[:-1] + bytes([part[-1] ^ 1]) for part in pieces], key)
    with pytest.raises(NotFound):
        corpus_store.piece(house.node, "../" + "0" * 61, 0, 9)
    assert house.entries("inference.corpus_indexed")[-1]["corpus"] == made.row.digest


def test_what_did_not_change_is_not_embedded_again(house: House, tmp_path: Path) -> None:
    first = made_index(house, Letters())
    again = Letters()
    second = made_index(house, again)
    assert again.asked == 0 and second.kept > 0 and second.row.documents == first.row.documents and second.row.digest != first.row.digest
    put(house, tmp_path, "one.md", "# 新的说明\n\n只有这一段是新的。", kind="prompt", source="内部", time="2026-06-02")
    assert indexing.outdated(house.node)
    third = Letters()
    made_index(house, third)
    assert third.asked == 1 and not indexing.outdated(house.node)
    assert len([one for one in corpus_store.folder(house.node).iterdir()]) == corpus_store.KEPT


def test_while_an_index_is_made_the_list_says_how_far_it_is_and_afterwards_nothing(house: House) -> None:
    told: list[Any] = []
    indexing.index(
        house.node, actor="", embedder=Letters(), synthetic_only=False, progress=lambda done, total: told.append((done, total, call(house, "inference.documents").indexing)),
        cancelled=lambda: False,
    )  # fmt: skip
    assert told and all((going.done, going.total, going.embedder) == (done, total, "letters") for done, total, going in told)
    assert call(house, "inference.documents").indexing is None


def test_a_cancelled_index_leaves_no_file_and_no_entry(house: House) -> None:
    before, entries = sorted(corpus_store.folder(house.node).iterdir()), len(house.entries("inference.corpus_indexed"))
    seen: list[int] = []
    with pytest.raises(Cancelled):
        indexing.index(
            house.node, actor="", embedder=Letters(), synthetic_only=True, progress=lambda done, total: seen.append(done), cancelled=lambda: len(seen) > 1
        )
    assert len(seen) == 2 and indexing.under_way(house.node) is None
    assert sorted(corpus_store.folder(house.node).iterdir()) == before and len(house.entries("inference.corpus_indexed")) == entries


def test_a_second_import_adds_nothing_and_a_changed_document_becomes_a_version(house: House, tmp_path: Path) -> None:
    table = "基金代码,基金名称,管理费率,日期\n790001,澄澜一号混合,{},2026-06-30\n"
    first = put(house, tmp_path, "f.csv", table.format("1.20%"), kind="fund", source="季报")
    same = put(house, tmp_path, "f.csv", table.format("1.20%"), kind="fund", source="季报")
    changed = put(house, tmp_path, "f.csv", table.format("1.00%"), kind="fund", source="季报")
    assert [(one.imported[0].taken, one.imported[0].same) for one in (first, same, changed)] == [(1, 0), (0, 1), (1, 0)]
    with house.node.store.read() as reader:
        assert corpus_store.read_document(house.node, reader, "fund-790001").fields["management_fee"].value == "1.00%"
        assert len([one for one in corpus_store.document_rows(reader) if one.document == "fund-790001"]) == 2
    entry = house.entries("inference.documents_imported")[-1]
    assert entry["kind"] == "fund" and entry["rows"] == "1" and entry["class"] == "internal" and "1.00" not in str(entry)


def test_names_of_the_customer_list_are_replaced_in_questions(house: House, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("客户号,手机号,姓名\nC-1,13912345678,欧阳鹤汀\n", "utf-8")
    call(house, "lists.import", Role.MARKETING, file=house.node.uploads.adopt(tmp_path / "list.csv"), catalogue=CATALOGUE)
    put(house, tmp_path, "q.csv", "客户问题,时间,来源\n我是欧阳鹤汀，怎么赎回？,2026-05-03,柜台\n", kind="question")
    with house.node.store.read() as reader:
        [row] = corpus_store.document_rows(reader, source="柜台")
        document = corpus_store.read_document(house.node, reader, row.document)
    assert "鹤汀" not in document.text + document.title + row.title and "〔姓名1〕" in document.text


def test_what_an_index_counted_keeps_a_listed_name_out_of_names_of_funds(house: House, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("客户号,手机号,姓名\nC-7,13912345670,柏涟\n", "utf-8")
    call(house, "lists.import", Role.MARKETING, file=house.node.uploads.adopt(tmp_path / "list.csv"), catalogue=CATALOGUE)
    names = CustomerNames(house.node)
    fund, person = "溱柏涟漪债券的费率", "柏涟昨天赎回了溱柏涟漪债券"
    assert redact(fund, names.now()).tiles
    rows = "".join(f"溱柏涟漪债券第{day}日净值稳定。,种社,2026-05-0{day}\n" for day in range(1, 6))
    put(house, tmp_path, "p.csv", f"正文,来源,日期\n{rows}", kind="news")
    made_index(house)
    assert not redact(fund, names.now()).tiles and [(one.start, one.end) for one in redact(person, names.now()).tiles] == [(0, 2)]


def test_a_stopped_import_writes_nothing(house: House) -> None:
    found = CONNECTORS[0].read("正文\n一。\n二。\n".encode(), kind="news", name="n.csv", source="停社", time_ms=1, limits=ReadLimits())
    with pytest.raises(Cancelled):
        importing.import_found(
            house.node, found, name="n.csv", kind="news", klass="internal", file_digest="", actor="", source="停社", known=KnownNames.of((), key=bytes(32)),
            is_synthetic=False, progress=lambda done, total: None, cancelled=lambda: True,
        )  # fmt: skip
    with house.node.store.read() as reader:
        assert not corpus_store.document_rows(reader, source="停社")


def test_customers_questions_are_kept_redacted_and_other_documents_with_numbers_rejected(house: House, tmp_path: Path) -> None:
    reply = put(house, tmp_path, "q.csv", QUESTIONS, kind="question")
    assert (reply.imported[0].taken, reply.imported[0].redacted) == (2, 1)
    news = "正文,来源,日期\n请联系客户王先生13800138000办理。,热线,2026-05-01\n净值稳定。,热线,2026-05-01\n"
    reply = put(house, tmp_path, "n.csv", news, kind="news")
    assert [(one.place, one.code) for one in reply.rejects] == [(2, "PERSONAL_DATA")] and reply.imported[0].taken == 1
    with house.node.store.read() as reader:
        texts = [corpus_store.read_document(house.node, reader, one.document).text for one in corpus_store.document_rows(reader, source="热线")]
    assert len(texts) == 3 and not any("13800138000" in text for text in texts) and any("〔手机1〕" in text for text in texts)


def test_a_number_in_a_title_is_found_too_and_its_line_is_named(house: House, tmp_path: Path) -> None:
    """A title stands in the table in clear."""
    rows = "标题,正文,来源,日期\n净值,净值稳定。,标题社,2026-05-01\n,,,\n请联系13800138000,没有号码。,标题社,2026-05-01\n坏,坏。,标题社,某日\n"
    reply = put(house, tmp_path, "t.csv", rows, kind="news")
    assert [(one.place, one.code) for one in reply.rejects] == [(4, "PERSONAL_DATA"), (5, "TIME_FORMAT")]
    put(house, tmp_path, "q.csv", "标题,问题,来源,日期\n来自13800138000,怎么赎回？,标题柜,2026-05-01\n", kind="question")
    with house.node.store.read() as reader:
        titles = [row.title for source in ("标题社", "标题柜") for row in corpus_store.document_rows(reader, source=source)]
    assert len(titles) == 2 and not any("13800138000" in title for title in titles)


def test_a_file_of_which_nothing_can_be_taken_is_named_with_its_first_places_and_leaves_nothing(house: House, tmp_path: Path) -> None:
    with house.node.store.read() as reader:
        before = corpus_store.document_rows(reader)
    for name, content, said in (
        ("broken.jsonl", '{"正文":"坏\n[1]\n', "第 1 处该行不是一个完整的 JSON 对象"), ("head.csv", "标题,正文\n", "只有表头"),
        ("day.csv", "正文,来源,日期\n好,甲,某日\n", "第 2 处时间无法识别"),
    ):  # fmt: skip
        with pytest.raises(Refused) as raised:
            put(house, tmp_path, name, content, kind="news")
        assert raised.value.code == "DOCUMENTS_NONE" and name in raised.value.zh and name in raised.value.en and said in raised.value.zh
    with house.node.store.read() as reader:
        assert corpus_store.document_rows(reader) == before


def test_only_compliance_states_that_a_file_is_synthetic_and_debug_takes_nothing_else(house: House, tmp_path: Path) -> None:
    with pytest.raises(Refused) as raised:
        put(house, tmp_path, "s.csv", "正文\n虚构。\n", kind="news", source="演示", time="2026-01-01", is_synthetic=True)
    assert raised.value.code == "SYNTHETIC_BY_COMPLIANCE"
    put(house, tmp_path, "s.csv", "正文\n虚构。\n", Role.COMPLIANCE, kind="news", source="演示", time="2026-01-01", is_synthetic=True)
    real = made_index(house)
    with house.node.store.read() as reader:
        assert corpus_store.require_corpus(reader, mode="run").digest == real.row.digest
        with pytest.raises(Refused) as raised:
            corpus_store.require_corpus(reader, mode="debug")
        assert raised.value.code == "REAL_DATA_IN_DEBUG"
    synthetic = made_index(house, synthetic_only=True)
    contents = Corpus.read(corpus_store.open_own(house.node, synthetic.row.digest))
    assert all(one.synthetic for one in contents.documents(kinds=(), ids=(), until_ms=0)) and synthetic.row.is_synthetic
    with house.node.store.read() as reader:
        assert corpus_store.require_corpus(reader, mode="debug").digest == synthetic.row.digest


def test_a_class_that_no_sandbox_may_hold_goes_into_no_corpus(house: House, tmp_path: Path) -> None:
    put(house, tmp_path, "i.csv", "正文\n重要资料。\n", kind="news", source="董办", time="2026-01-01", data_class="important")
    made = made_index(house)
    texts = [one.text for one in Corpus.read(corpus_store.open_own(house.node, made.row.digest)).documents(kinds=(), ids=(), until_ms=0)]
    assert made.left_out == 1 and not any("重要资料" in text for text in texts)
    steps: Any = HouseSteps(SimpleNamespace(host=house.node), None, None)  # type: ignore[arg-type]  # classes need the node alone
    with house.node.store.read() as reader:
        assert steps._classes(reader, usages.Readable(("news",), (), ())) == ["internal", "public"]  # so nobody's question waits for hardware


def test_a_removed_document_is_gone_from_vault_and_corpora_at_once(house: House, tmp_path: Path) -> None:
    put(house, tmp_path, "r.csv", "编号,正文\nnews-gone,要移除的。\n", kind="news", source="旧社", time="2026-01-01")
    made_index(house)
    with pytest.raises(NotFound):
        call(house, "inference.documents_remove", documents=["news-gone", "no-such"], reason="下架")
    reply = call(house, "inference.documents_remove", source="旧社", reason="下架")
    assert reply.removed == 1 and reply.corpora >= 1
    with house.node.store.read() as reader:
        with pytest.raises(NotFound):
            corpus_store.read_document(house.node, reader, "news-gone")
        assert not house.node.vault.names(reader, "inference/documents/news-gone")
        held = {one.digest for one in corpus_store.corpora(reader)}
    assert all(one.is_synthetic for one in corpus_store_rows(house)) and {one.name for one in corpus_store.folder(house.node).iterdir()} == held
    assert house.entries("inference.documents_removed")[-1] == {"kind": "news", "rows": "1", "reason": "下架", "actor": house.caller(Role.OPERATOR).person.token}


def corpus_store_rows(house: House) -> list[corpus_store.CorpusRow]:
    with house.node.store.read() as reader:
        return corpus_store.corpora(reader)


def test_nothing_is_read_without_a_contract_and_a_revoked_one_counts_at_the_next_ask(house: House) -> None:
    now = house.clock.now_ms

    def may(scenario: str = "advice", roles: tuple[str, ...] = ("adviser",), kinds: tuple[str, ...] = ("fund", "news"), at_ms: int = now) -> usages.Readable:
        with house.node.store.read() as reader:
            return usages.readable(reader, scenario=scenario, roles=roles, kinds=kinds, now_ms=at_ms)

    def refused(**more: Any) -> bool:
        with pytest.raises(Refused) as raised:
            may(**more)
        return raised.value.code == "USAGE_MISSING"

    assert refused()
    until = "2030-01-01T00:00:00+08:00"
    with pytest.raises(Denied):
        call(house, "inference.usage_grant", Role.OPERATOR, kind="fund", scenario="advice", roles=["adviser"], until=until, reason="试用")
    funds = call(house, "inference.usage_grant", Role.COMPLIANCE, kind="fund", scenario="advice", roles=["adviser"], until=until, most=2, reason="试用")
    found = may()
    assert found.kinds == ("fund",) and found.ids == () and found.usages == (funds.usage,)
    assert refused(scenario="research") and refused(roles=("marketing",)) and refused(kinds=("news",)) and refused(at_ms=1_900_000_000_000)
    source = "合成语料 synthetic corpus, seed 5"
    news = call(house, "inference.usage_grant", Role.COMPLIANCE, kind="news", source=source, scenario="advice", roles=["adviser"], until=until, reason="试用")
    both = may()
    assert both.kinds == ("fund", "news") and set(both.usages) == {funds.usage, news.usage}
    assert {one.partition("-")[0] for one in both.ids} == {"fund", "news", "notice"}
    for _ in range(2):
        house.node.store.write(lambda tx: usages.count(tx, [funds.usage], now_ms=now))
    assert may().kinds == ("news",)
    with pytest.raises(Refused):
        house.node.store.write(lambda tx: usages.count(tx, [news.usage, funds.usage], now_ms=now))
    call(house, "inference.usage_revoke", Role.COMPLIANCE, usage=news.usage, reason="停用")
    assert refused()
    listed = call(house, "inference.usages", Role.COMPLIANCE).usages
    assert {one.usage for one in listed} == {funds.usage, news.usage} and not any(one.is_live for one in listed)
    assert [one["action"] for one in house.entries("inference.usage_changed")] == ["granted", "granted", "revoked"]


def test_the_health_page_says_what_is_missing(house: House) -> None:
    def state() -> str:
        return next(one for one in house.node.plugins.collect_all("workbench_health", host=house.node) if one.name == "inference.documents").state

    made = made_index(house)
    assert state() == "ok"
    place = corpus_store.folder(house.node) / made.row.digest
    kept = place.read_bytes()
    place.write_bytes(kept[:-1])
    assert state() == "failed"
    place.write_bytes(kept)
    importing.import_synthetic(house.node, 6, actor="", progress=lambda done, total: None, sizes=SMALL | {"funds": 14})
    assert state() == "warning"


def test_documents_are_listed_by_pages_without_their_texts(house: House) -> None:
    first = call(house, "inference.documents", limit=5)
    rest = call(house, "inference.documents", limit=5, after=first.next)
    assert first.total > 10 and first.next and {one.document for one in first.documents}.isdisjoint(one.document for one in rest.documents)
    assert sum(first.by_kind.values()) == first.total
    with pytest.raises(InvalidRequest):
        call(house, "inference.documents_import", kind="fund")
    with pytest.raises(InvalidRequest):
        call(house, "inference.documents_remove", reason="x")
    assert all(one.title and one.source for one in first.documents)

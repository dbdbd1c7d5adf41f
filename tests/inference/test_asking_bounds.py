"""What of a question goes in and what comes back: identifiers of every kind, who reads them again, trials, and which lease may read what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.flows.institutions import CATALOGUE
from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, LeaseWorld
from tests.inference.test_asking import ask, fund
from workbench.domain.identifiers import mask_phone
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench_inference.asking import keeping
from workbench_inference.documents import indexing
from workbench_sandbox.engines.extractive import Extractive

NAME, PHONE = "欧阳鹤汀", "13912345678"
NUMBERS = {"phone": PHONE, "id": "11010519491231002X", "card": "6222021234567890128", "email": "wang.xm@example.com"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    listed = tmp_path_factory.mktemp("lists") / "customers.csv"
    listed.write_text(f"客户号,手机号,姓名\nC-1,{PHONE},{NAME}\n", "utf-8")
    with asking_world(tmp_path_factory.mktemp("bounds")) as made:
        made.call(BROKER, Role.MARKETING, "lists.import", file=made.institutions.upload(BROKER, listed), catalogue=CATALOGUE)
        yield made


@pytest.fixture(scope="module")
def lease(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    return world.running(world.image(tmp_path_factory.mktemp("image"), name="extractive").id, cards=1, hours=2)


def released(world: LeaseWorld, lease: str) -> None:
    world.tenant.release(lease, reason="换一个")
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=1)


def test_no_identifier_goes_in_or_is_written_and_who_asked_alone_reads_the_name_again(
    world: LeaseWorld, lease: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, inside = Extractive.answer, []

    def answer(self: Extractive, asked: Any, sources: Any, stop: Any) -> Iterator[Any]:
        inside.append(asked.question + asked.prompt)
        return whole(self, asked, sources, stop)

    monkeypatch.setattr(Extractive, "answer", answer)
    caplog.set_level("DEBUG")
    said = f"身份证 {NUMBERS['id']}，手机 {PHONE}，卡号 {NUMBERS['card']}，邮箱 {NUMBERS['email']}"
    told = ask(world, f"{fund(world)}的管理费率是多少？客户{NAME}，{said}。")
    assert told.state in ("ANSWERED", "ABSTAINED"), (told.code, told.zh)
    assert {one.kind for one in told.tiles} == {"name", *NUMBERS}
    files = [one.read_bytes() for one in world.institutions.workspace.folder.rglob("*") if one.is_file() and one.stat().st_size < 8 << 20]
    assert len(inside) == 1 and "〔身份证1〕" in inside[0], "the labels are what the sandbox was given"
    for value in (NAME, *NUMBERS.values()):
        assert value not in inside[0] and value not in told.model_dump_json() and value not in caplog.text
        assert not any(value.encode() in one for one in files), "in no file of either end, entries and logs among them"

    # The map stays here: an answer with labels is read with the name by who asked, and by nobody else.
    node, labels = world.institutions.nodes[BROKER], dict.fromkeys(re.findall("〔[^〕]+〕", told.question))
    with node.store.read() as reader:
        kept = keeping.get(node, reader, told.ask)
    assert kept is not None and len(labels) == 5
    text = "，".join(labels)
    node.store.write(lambda tx: keeping.put(node, tx, told.ask, replace(kept, text=text)))
    mine = world.call(BROKER, Role.ADVISER, "inference.answer", ask=told.ask).text
    assert NAME in mine and mask_phone(PHONE) in mine and "〔" not in mine and not any(value in mine for value in NUMBERS.values())
    assert world.call(BROKER, Role.AUDITOR, "inference.answer", ask=told.ask).text == text


def test_where_the_first_model_may_not_read_a_question_the_next_one_that_may_is_asked(world: LeaseWorld, lease: str, tmp_path: Path) -> None:
    """In `research` a server beside the sandbox comes first; what is internal may not reach it, and needs no person to say so."""
    beside = world.running(world.image(tmp_path, name="large", place="behind").id, cards=1, hours=1)
    question = f"客户{NAME}（手机 {PHONE}）想了解{fund(world)}的管理费率，是多少？"
    told = ask(world, question)
    assert (told.state, told.model, told.lease) == ("ANSWERED", "extractive", lease), (told.code, told.zh)
    with pytest.raises(Refused) as refused:
        ask(world, question, model="large")
    assert (refused.value.code, refused.value.details["place"]) == ("CLASS_TOO_HIGH", "behind")
    released(world, beside)


def test_a_trial_reads_synthetic_documents_alone_and_takes_no_file(world: LeaseWorld, lease: str, tmp_path: Path) -> None:
    node, known = world.institutions.nodes[BROKER], {"progress": lambda done, total: None, "cancelled": lambda: False}
    real = "青松稳健回报混合型证券投资基金"
    (tmp_path / "real.md").write_text(f"---\n标题: {real}\n---\n{real}\n\n管理费率：0.77%\n", "utf-8")
    world.call(
        BROKER, Role.OPERATOR, "inference.documents_import", file=world.institutions.upload(BROKER, tmp_path / "real.md"), kind="fund", source="季报", time="2026-06-30",
    )  # fmt: skip
    indexing.index(node, actor="", embedder=None, synthetic_only=False, **known)
    question = f"{real}的管理费率是多少？"
    assert "0.77%" in ask(world, question).text, "a lease that runs reads it"
    released(world, lease)
    image = world.image(tmp_path / "trial", content=b"trial", name="extractive")
    trial = world.running(image.id, cards=1, hours=2, mode="debug")
    told = ask(world, question)
    assert told.lease == trial and told.state == "ABSTAINED" and "0.77" not in told.text
    assert ask(world, f"{fund(world)}的管理费率是多少？").state == "ANSWERED"
    with pytest.raises(Refused) as refused:
        ask(world, question, files=[world.institutions.upload(BROKER, tmp_path / "real.md")], files_kind="fund")
    assert refused.value.code == "REAL_DATA_IN_DEBUG"
    node.store.write(lambda tx: tx.execute("UPDATE inference_corpus SET is_synthetic = 0"))
    told = ask(world, question)
    assert (told.state, told.code, told.where) == ("REFUSED", "REAL_DATA_IN_DEBUG", "before")
    released(world, trial)

"""Documents that go along with one question, and what is written down of one that never went; without a node."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workbench.errors import Refused
from workbench_inference.asking import enclosing, house, keeping, refusals, steps
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.steps import Asked
from workbench_inference.documents.connectors.markdown import MarkdownConnector
from workbench_inference.policy.redaction import KnownNames
from workbench_sandbox.corpus import format_documents
from workbench_sandbox.formats.asking import Open

PHONE = "13655556666"
KNOWN = KnownNames.of(["王芳"], key=b"a key of sixteen")


def test_nothing_that_a_file_or_its_name_says_of_a_customer_travels(tmp_path: Path) -> None:
    """Text, title, source and version: all four are in what is sealed, kept with the answer and shown beside a citation."""
    note = tmp_path / f"王芳{PHONE}.md"
    note.write_text(f"---\n来源: 微信 {PHONE}\n版本: {PHONE}\n---\n客户王芳的管理费率：1.23%\n", "utf-8")
    host = SimpleNamespace(uploads=SimpleNamespace(path=lambda one: note), document_connectors=lambda: [MarkdownConnector()], now_ms=lambda: 1_800_000_000_000)
    (read,) = enclosing.read(host, ["f"], kind="news")
    _, (clean,) = enclosing.redacted("费率多少？", [read], KNOWN)
    sent = format_documents([clean]).decode("utf-8", "replace")
    assert PHONE not in sent and "王芳" not in sent and "1.23%" in sent and "微信" in sent
    note.write_text("# 纪要\n\n管理费率：1.23%\n", "utf-8")
    (read,) = enclosing.read(host, ["f"], kind="news")
    sent = format_documents(enclosing.redacted("费率多少？", [read], KNOWN)[1]).decode("utf-8", "replace")
    assert PHONE not in sent and "王芳" not in sent and "纪要" in sent


@pytest.mark.parametrize(("image", "said", "is_looked_at"), [("extractive", "extractive", False), ("generator", "extractive", True), ("extractive", "generator", True), ("upstream", "", True)])
def test_sentences_of_an_image_that_writes_are_looked_at_whatever_its_sandbox_says_of_itself(image: str, said: str, is_looked_at: bool) -> None:
    leased: Any = SimpleNamespace(prepared=SimpleNamespace(admitted=SimpleNamespace(engine=SimpleNamespace(kind=image))))
    opened = Open("engine", said, "1", "inside", "w") if said else None
    assert steps._writes(leased, opened) is is_looked_at


class Store:
    """Rows of asks in memory; knows whether a change is under way."""

    def __init__(self) -> None:
        self.rows = sqlite3.connect(":memory:")
        self.rows.execute(f"CREATE TABLE inference_ask ({house.ASK_COLUMNS})")
        self.is_writing = False

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        yield self.rows

    def write(self, change: Any) -> Any:
        self.is_writing = True
        try:
            return change(self.rows)
        finally:
            self.is_writing = False


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_refusal_is_written_down_whether_or_not_its_question_can_be_redacted_and_nobody_waits_for_that(is_readable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store, entries, kept = Store(), list[str](), list[str]()
    row = AskRow("ask-1", "", "p", "adviser", "research", "research@1", "m", "internal", "QUEUED", "", 1)
    marks = ", ".join("?" * len(house.ASK_COLUMNS.split(",")))
    store.rows.execute(f"INSERT INTO inference_ask VALUES ({marks})", tuple(getattr(row, one) for one in (
        "ask", "lease", "person", "role", "scenario", "template", "model", "klass", "state", "code", "asked_ms", "ended_ms", "tokens_in", "tokens_out", "card_ms", "citations", "dropped",
        "watermark", "rating", "reason", "channel", "credential", "customer",
    )))  # fmt: skip

    def now() -> KnownNames:
        assert not store.is_writing, "who reads every list of customers holds no change of the store"
        if not is_readable:
            raise Refused("名单读不出", "the list cannot be read", code="LIST_GONE")
        return KNOWN

    def append(tx: Any, kind: str, values: Any) -> Any:
        entries.append(kind)
        return SimpleNamespace(log="broker", index=7)

    host: Any = SimpleNamespace(store=store, evidence=SimpleNamespace(append=append), now_ms=lambda: 2, log_fault=lambda fault: None)
    monkeypatch.setattr(keeping, "put", lambda host, tx, ask, found: kept.append(found.question))
    error = Refused("没有租约", "no lease", code="NO_LEASE")
    caller: Any = SimpleNamespace(person=SimpleNamespace(token="p"))
    customers: Any = SimpleNamespace(now=now)
    refusals.record(host, customers, caller, Asked("ask-1", f"客户王芳，{PHONE}", "research"), error)
    ended = house.row_of(store.rows, "ask-1")
    assert entries == ["inference.ask_refused"] and error.details["entry"] == "broker/7" and ended is not None and (ended.state, ended.code) == ("REFUSED", "NO_LEASE")
    assert [PHONE in one or "王芳" in one for one in kept] == ([False] if is_readable else [])

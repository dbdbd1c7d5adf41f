"""The demonstration's notebooks, run by a real kernel against real nodes, then searched for what must not be in them."""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import polars as pl
import pytest
from lab_fixtures import Institutions
from workbench.client.connect import SESSION_FORMAT, connect
from workbench.client.notebook import IntersectionJob, NotebookWorkbench
from workbench.client.session import Client
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, Refused, WorkbenchError
from workbench.jupyter.notebook_cleaning import clean, holds_identifier

NOTEBOOKS = Path(__file__).parents[2] / "demo_notebooks"
CELL_S = 90


@pytest.fixture
def session(institutions: Institutions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's session file of marketing."""
    return session_of(Role.MARKETING, institutions, tmp_path, monkeypatch)


def session_of(role: Role, institutions: Institutions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's session file, as the Lab server leaves it."""
    path = tmp_path / "session.json"
    with institutions.client("broker", role, audience="lab") as client:
        ticket = client.derive("kernel").ticket
    value = {"v": SESSION_FORMAT, "node_url": institutions.node_url(), "ticket": ticket, "base_url": "/"}
    path.write_text(json.dumps(value), "utf-8")
    os.chmod(path, 0o600)
    monkeypatch.setenv("WORKBENCH_SESSION", str(path))
    return path


@pytest.fixture
def wb(session: Path) -> NotebookWorkbench:
    return connect()


@pytest.fixture
def approver(institutions: Institutions) -> Iterator[None]:
    """The bank's approver at work: approves every proposal that arrives, until the test ends."""
    stop = threading.Event()

    def work() -> None:
        with institutions.client("bank", Role.APPROVER) as client:
            while not stop.wait(0.2):
                for job in client.intersection.jobs().jobs:
                    if job.side == "partner" and job.state == "PROPOSED":
                        institutions.approve("bank", job.job)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(20)


def identifiers(institutions: Institutions) -> list[str]:
    """Every phone and identity number of the broker's synthetic customers."""
    frame = pl.read_csv(institutions.workspace.node_folder("broker") / "samples/customers.csv", infer_schema=False)
    long = [name for name in frame.columns if frame[name].str.len_chars().min() in (11, 18) and frame[name].str.contains("^[0-9]").all()]
    assert len(long) == 2, frame.columns
    return [value for name in long for value in frame[name].to_list()]


def run(name: str, session: Path) -> Any:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbclient.NotebookClient(notebook, timeout=CELL_S, kernel_name="python3", resources={"metadata": {"path": str(session.parent)}}).execute()
    return notebook


@pytest.mark.parametrize("name", ["01_intersection.ipynb", "02_evidence.ipynb", "04_consent.ipynb"])
def test_a_demo_notebook_runs_and_holds_no_customer(name: str, institutions: Institutions, session: Path, approver: None) -> None:
    institutions.released_job()
    notebook = run(name, session)
    text = json.dumps(notebook, ensure_ascii=False)
    assert "位客户可用" in text
    for value in identifiers(institutions):
        assert value not in text
    assert json.loads(session.read_text("utf-8"))["ticket"] not in text
    saved = copy.deepcopy(notebook)
    clean(saved)
    kept = json.dumps(saved, ensure_ascii=False)
    assert "位客户可用" in kept, "cleaning leaves what is harmless"
    assert not holds_identifier(kept)


def test_the_notebook_of_the_line_runs_in_a_node_without_one(
    institutions: Institutions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = run("03_quantum_channel.ipynb", session_of(Role.OPERATOR, institutions, tmp_path, monkeypatch))
    printed = "".join(one.get("text", "") for cell in notebook.cells for one in cell.get("outputs", []))
    assert "两端一致" in printed, "a quiet line makes keys"
    [heard] = [line for line in printed.splitlines() if line.startswith("截获 30 %")]
    assert ", 0 把密钥" in heard.replace("，", ", "), "no key where a third is intercepted"
    [blinded] = [line for line in printed.splitlines() if line.startswith("detector-blinding")]
    assert "100%" in blinded


def test_notebooks_in_the_repository_hold_no_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells), path.name


def test_an_intersection_without_any_page(wb: NotebookWorkbench, approver: None) -> None:
    job = wb.intersect(partner="bank", purpose="wealth-marketing", columns=["资产档"])
    assert job.state == "RELEASED"
    steps = [row.kept for row in job.waterfall]
    assert steps == sorted(steps, reverse=True) and steps[-1] == job.info.result.released
    rows = job.result(5)
    assert len(rows) == 5 and {"token", "phone", "资产档"} <= set(rows.columns) and "customer_id" not in rows.columns
    assert all("****" in row.phone for row in rows)
    assert "****" in rows._repr_html_()
    venn = job.venn()
    assert venn.released == job.info.result.released and venn.mine["name"] == "甲证券"
    assert job.receipt().sealed in ("2/3", "3/3")
    assert {entry.log for entry in wb.evidence(job)} >= {"broker", "bank"}
    assert job.job in {one.job for one in wb.jobs()}


def test_a_job_that_nobody_approves_is_left_waiting(wb: NotebookWorkbench) -> None:
    job = wb.intersect(partner="bank", purpose="wealth-marketing", approval_wait_s=0.5)
    assert job.state == "PROPOSED" and "等乙银行批准" in repr(job)
    assert job.cancel().state in ("CANCELLED", "WITHDRAWN")


def test_interrupting_the_kernel_cancels_the_job(wb: NotebookWorkbench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = wb.intersect(partner="bank", purpose="wealth-marketing", wait=False)
    asked: list[str] = []

    def interrupted(self: IntersectionJob) -> IntersectionJob:
        if asked:
            raise KeyboardInterrupt
        asked.append(self.job)
        return self

    monkeypatch.setattr(IntersectionJob, "refresh", interrupted)
    with pytest.raises(WorkbenchError) as stopped:
        job.wait()
    assert stopped.value.code == "CANCELLED"
    monkeypatch.undo()
    assert job.state in ("CANCELLED", "WITHDRAWN")


def test_refusals_come_as_what_they_are(wb: NotebookWorkbench) -> None:
    with pytest.raises(Refused) as refused:
        wb.intersect(partner="bank", purpose="no-such-purpose")
    assert refused.value.zh and refused.value.code != "FAILED"
    with pytest.raises((Refused, InvalidRequest)):
        wb.intersect(partner="bank", purpose="wealth-marketing", audience="risk_level >=")


def test_a_notebook_can_neither_export_nor_prepare_what_needs_a_password(wb: NotebookWorkbench, institutions: Institutions) -> None:
    job = institutions.released_job()
    for attempt in (
        lambda: wb.client.call("intersection.export", job=job),
        lambda: wb.client.prepare_action("intersection.export", job=job),
        lambda: wb.client.confirmed("intersection.export", password="x", job=job),
        lambda: wb.client.derive("page"),
    ):
        with pytest.raises(Denied) as refused:
            attempt()
        assert refused.value.code == "KERNEL_TOKEN"


def test_outside_of_a_lab_connect_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WORKBENCH_SESSION", raising=False)
    with pytest.raises(Refused) as refused:
        connect()
    assert refused.value.code == "NOT_IN_LAB"
    with pytest.raises(Denied) as signed_out:
        connect(tmp_path / "none.json")
    assert signed_out.value.code == "SIGN_IN_REQUIRED"


def test_a_page_in_a_notebook_is_a_frame_of_the_own_lab(wb: NotebookWorkbench) -> None:
    frame = wb.page("evidence", job="J-20261121-0a1b&x=1")
    assert frame.src == "/workbench/app/page?job=J-20261121-0a1b%26x%3D1&lang=zh&name=evidence"


def test_rows_show_strings_of_partners_as_text(institutions: Institutions, session: Path) -> None:
    from workbench.client.display import Rows
    from workbench.client.session import Record

    rows = Rows([Record(name="<img src=x onerror=alert(1)>", count=3)])
    assert "<img" not in rows._repr_html_() and "&lt;img" in rows._repr_html_()


def test_the_client_of_a_notebook_is_the_weak_one(wb: NotebookWorkbench) -> None:
    assert isinstance(wb.client, Client) and wb.me.kernel
    assert "intersection.export" not in wb.me.operations

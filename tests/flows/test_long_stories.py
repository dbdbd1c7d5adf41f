"""A job with more entries than one reply carries is read page by page, and nothing of it is lost or called one-sided."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from workbench.domain.party import Role
from workbench.node.evidence_entries import EntryInfo
from workbench.node.evidence_reading import own_rows, page_of

from tests.flows.institutions import Institutions, fresh_workspace, running

JOB = "J-20260101-0000abcd"
FRAMES = 1_050


@pytest.fixture(scope="module")
def pair() -> Iterator[Institutions]:
    workspace = fresh_workspace()
    with running(workspace, ("broker", "bank")) as made:
        yield made
    shutil.rmtree(workspace.folder)


def write_frames(pair: Institutions, party: str, partner: str, direction: str) -> None:
    node = pair.nodes[party]
    values = {"partner": partner, "attempt": "1", "direction": direction, "message": "slice", "size": "1"}

    def change(tx: object) -> None:
        for number in range(FRAMES):
            digest = f"{number:064x}"
            node.evidence.append(tx, "intersection.message", {**values, "round": str(number), "digest": digest}, job=JOB)

    node.store.write(change, timeout_s=120)
    node.sealing.wake()


def test_every_entry_of_a_long_job_is_reached_once_and_pairs_hold_across_pages(pair: Institutions) -> None:
    write_frames(pair, "broker", "bank", "sent")
    write_frames(pair, "bank", "broker", "received")
    broker = pair.nodes["broker"]
    pair.wait_until(lambda: len(broker.mirror_index("bank").entries(JOB)) == FRAMES, timeout_s=120)
    seen: list[tuple[str, int]] = []
    older: dict[str, int] = {}
    pages = 0
    while pages == 0 or older:
        reply = pair.call("broker", Role.COMPLIANCE, "evidence.timeline", job=JOB, limit=600, older=older)
        assert reply.one_sided == [] and all(one.counterpart for one in reply.entries)
        assert reply.more == bool(reply.older)
        seen += [(one.log, one.index) for one in reply.entries]
        older, pages = reply.older, pages + 1
    assert pages == 2
    expected = [("broker", one.index) for one in own_rows(broker, JOB)]
    expected += [("bank", index) for index in broker.mirror_index("bank").entries(JOB)]
    assert len(seen) == len(set(seen)) == 2 * FRAMES and set(seen) == set(expected)
    assert pair.call("broker", Role.COMPLIANCE, "evidence.check", job=JOB).checked == 2 * FRAMES


def entry(log: str, index: int) -> EntryInfo:
    return EntryInfo.model_construct(log=log, index=index)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_of_logs_of_different_length_lose_nothing_and_end(size: int) -> None:
    entries = [entry(log, 3 * index) for index in range(9) for log in ("a", "b", "c") if index < {"a": 9, "b": 2, "c": 5}[log]]
    seen: list[tuple[str, int]] = []
    below: dict[str, int] = {}
    more = True
    while more:
        page, below, more = page_of(entries, below, {"a": size}, others=3)
        assert page
        seen += [(one.log, one.index) for one in page]
    assert sorted(seen) == sorted((one.log, one.index) for one in entries)

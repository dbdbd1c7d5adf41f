"""A job with more entries than one reply carries is read page by page, and nothing of it is lost or called one-sided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from workbench.client.notebook import NotebookWorkbench
from workbench.client.timeline import read_story
from workbench.domain.party import Role
from workbench.node.evidence_entries import EntryInfo
from workbench.node.evidence_reading import own_rows, page_of

from tests.app.desk import Desk
from tests.flows.institutions import Institutions, fresh_institutions

JOB = "J-20260101-0000abcd"
FRAMES = 1_050


@pytest.fixture(scope="module")
def pair() -> Iterator[Institutions]:
    """Two institutions with a job of many frames, on both sides."""
    with fresh_institutions("broker", "bank") as made:
        write_frames(made, "broker", "bank", "sent")
        write_frames(made, "bank", "broker", "received")
        made.wait_until(lambda: len(made.nodes["broker"].mirror_index("bank").entries(JOB)) == FRAMES, timeout_s=120)
        yield made


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
    broker = pair.nodes["broker"]
    seen: list[tuple[str, int]] = []
    older: dict[str, int] = {}
    pages = 0
    while pages == 0 or older:
        reply = pair.call("broker", Role.COMPLIANCE, "evidence.timeline", job=JOB, limit=600, older=older)
        assert reply.one_sided == [] and all(one.counterpart for one in reply.entries)
        assert reply.more == bool(reply.older) and reply.count == 2 * FRAMES
        seen += [(one.log, one.index) for one in reply.entries]
        older, pages = reply.older, pages + 1
    assert pages == 2
    expected = [("broker", one.index) for one in own_rows(broker, JOB)]
    expected += [("bank", index) for index in broker.mirror_index("bank").entries(JOB)]
    assert len(seen) == len(set(seen)) == 2 * FRAMES and set(seen) == set(expected)
    assert pair.call("broker", Role.COMPLIANCE, "evidence.check", job=JOB).checked == 2 * FRAMES


def test_a_notebook_reads_a_long_story_backwards_and_says_how_much_it_has(pair: Institutions) -> None:
    client: Any = Desk(pair, "broker", Role.COMPLIANCE)
    for lang, told in (("zh", "已读最新 1,600 条，共 2,100 条"), ("en", "the newest 1,600 of 2,100 entries")):
        timeline = NotebookWorkbench(client, lang=lang).evidence(JOB, limit=600)
        assert told in repr(timeline) and told in timeline._repr_html_()
        assert (len(timeline), timeline.full_count, timeline.is_whole) == (1_600, 2_100, False)
    whole = timeline.older()
    assert whole.is_whole and len(whole) == whole.full_count == len({(one.log, one.index) for one in whole}) and whole.older() is whole
    assert all(one in whole for one in timeline)
    assert "older" not in repr(whole)
    assert [(one.log, one.index) for one in read_story(client, JOB).entries] == [(one.log, one.index) for one in whole]


def test_a_notebook_pages_through_the_own_log(pair: Institutions) -> None:
    log = NotebookWorkbench(Desk(pair, "broker", Role.COMPLIANCE)).evidence(limit=30)  # type: ignore[arg-type]
    further = log.older().older()
    assert [one.index for one in further] == list(range(log[-1].index - 89, log[-1].index + 1))
    assert not further.is_whole and f"{log.full_count:,}" in repr(further)


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

"""The story of a job as compliance reads it: nobody outside the job may fill a gap in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.flows.institutions import Institutions
from workbench.node.evidence_reading import EntryInfo, MirrorIndex, join_frames


def record(log: str, index: int, partner: str, direction: str, digest: str = "d1") -> EntryInfo:
    return EntryInfo(
        log=log, index=index, kind="intersection.message", zh="", en="", time_ms=index, job="J", actor="", closed=[], refs=[],
        values={"partner": partner, "direction": direction, "digest": digest}, seal="", cosigners=[], missing=[],
    )  # fmt: skip


def test_both_records_of_a_frame_point_at_each_other() -> None:
    joined, one_sided = join_frames([record("broker", 1, "bank", "sent")], [record("bank", 7, "broker", "received")])
    assert {one.log: one.counterpart for one in joined} == {"broker": "bank/7", "bank": "broker/1"} and not one_sided


def test_a_third_institution_cannot_stand_in_for_a_partner_that_kept_no_record() -> None:
    mine = [record("broker", 1, "bank", "sent")]
    for stranger in (record("cardnet", 3, "broker", "received"), record("cardnet", 3, "bank", "received")):
        joined, one_sided = join_frames(mine, [stranger])
        assert one_sided == ["d1"] and not any(one.counterpart for one in joined)
    joined, one_sided = join_frames(mine, [record("bank", 7, "broker", "received"), record("cardnet", 3, "bank", "received")])
    assert next(one for one in joined if one.log == "broker").counterpart == "bank/7", "nor break a pair by joining it"


def test_one_side_writing_twice_is_not_two_sides() -> None:
    for again in ("sent", "received"):
        _, one_sided = join_frames([record("broker", 1, "bank", "sent"), record("broker", 2, "bank", again)], [])
        assert one_sided == ["d1"]


def test_two_readers_at_once_see_every_mirrored_entry_once(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    broker, bank = three.nodes["broker"], three.nodes["bank"]
    broker.sealing.wake()
    three.wait_until(lambda: broker.ledger.size(bank.party) > 150)
    index = MirrorIndex(broker.ledger, bank.party)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: index.entries(mine.job), range(16)))
    assert found[0] and all(one == sorted(set(one)) for one in found)

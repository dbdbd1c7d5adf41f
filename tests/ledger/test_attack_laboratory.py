"""Every attack of the laboratory is found and located, on copies only, and there is no laboratory in production."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from workbench_ledger.attacks import ATTACKS, operations
from workbench_ledger.attacks.bench import changed_body
from workbench_ledger.times import check

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running
from tests.ledger.world import BANK, BROKER
from workbench.domain.envelope import format_time, parse_envelope
from workbench.domain.party import Role
from workbench.errors import Refused, WorkbenchError
from workbench.operations import ALL_WORKSPACES

SOUGHT = {
    "edited-row": ("audit", "EDITED"),
    "deleted-row": ("audit", "DELETED"),
    "truncated-log": ("audit", "TRUNCATED"),
    "reordered-rows": ("audit", "REORDERED"),
    "restored-shorter": ("mirror", "FORK"),
    "restored-longer": ("mirror", "FORK"),
    "split-view": ("heads", "SPLIT_VIEW"),
    "forged-cosignature": ("audit", "SIGNATURE"),
    "missing-cosignature": ("verify", "NOT_FINAL"),
    "swapped-document": ("documents", "DOCUMENT_SWAPPED"),
    "altered-receipt": ("verify", "FAILED:sha256"),
    "changed-clock": ("clock", "CLOCK"),
}
WITH_FIELD = {"edited-row", "restored-shorter", "restored-longer", "split-view", "forged-cosignature", "swapped-document", "altered-receipt", "changed-clock"}
"""Attacks that change a part of an entry; of the others the whole entry is gone or elsewhere."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Institutions]:
    """Three institutions with one released, sealed job."""
    with running(fresh_workspace()) as made:
        made.run("broker", "bank", population.RICH)
        made.wait_until(lambda: made.nodes["broker"].sealing.pending()[1] == 0)
        yield made


def attack(lab: Institutions, name: str) -> Any:
    return lab.call("broker", Role.COMPLIANCE, "attack.run", name=name)


def state_of(lab: Institutions) -> list[tuple[int, bytes]]:
    node = lab.nodes["broker"]
    size = node.ledger.size(node.party)
    return list(enumerate(node.ledger.entry_bodies(node.party, 0, size)))


@pytest.mark.parametrize("name", list(SOUGHT))
def test_an_attack_is_found_by_its_check_and_located(lab: Institutions, name: str) -> None:
    """Entry, field, party, and a sentence in both languages that says who must act."""
    node = lab.nodes["broker"]
    before = state_of(lab)
    reply = attack(lab, name)
    found = reply.findings[0]
    assert reply.is_found and (reply.check, found.problem) == SOUGHT[name], reply
    assert found.log == "broker" and found.index is not None
    assert bool(found.field) == (name in WITH_FIELD), found
    assert found.party in lab.workspace.parties and found.party in found.zh and found.party in found.en
    assert "请" in found.zh and ("must" in found.en or "ask" in found.en or "Operators" in found.en or "ompliance" in found.en)
    assert found.index <= len(before) + 20
    # Nothing of the node was changed, nothing is left, and the rehearsal is an entry.
    after = state_of(lab)
    assert after[: len(before)] == before
    assert {parse_envelope(body).kind for _, body in after[len(before) :]} == {"attack.rehearsed"}
    entry = lab.entries("broker", kind="attack.rehearsed")[-1]
    assert dict(entry.values) == {"attack": name, "found": "yes", "check": reply.check}
    assert not list((node.folder / "scratch").iterdir())
    assert not node.ledger.conflicts()


def test_the_place_that_is_named_is_the_place_that_was_attacked(lab: Institutions) -> None:
    """The reply says both what was done and what was found; they must speak of the same entry and field."""
    edited = attack(lab, "edited-row")
    assert f"entry {edited.findings[0].index} " in edited.done_en and f"field {edited.findings[0].field} " in edited.done_en
    assert edited.comparisons and edited.comparisons[0]["index"] == edited.findings[0].index
    altered = attack(lab, "altered-receipt")
    assert f"entry {altered.findings[0].index}" in altered.done_en and altered.findings[0].field in altered.done_en
    missing = attack(lab, "missing-cosignature")
    assert missing.findings[0].party in missing.done_en
    forged = attack(lab, "forged-cosignature")
    assert forged.findings[0].field in forged.done_en


def test_the_node_itself_is_whole_after_all_of_it(lab: Institutions) -> None:
    report = lab.call("broker", Role.COMPLIANCE, "evidence.audit")
    assert report.holds, report.findings


def test_a_scratch_folder_is_gone_when_an_attack_stumbles(lab: Institutions, monkeypatch: pytest.MonkeyPatch) -> None:
    node = lab.nodes["broker"]
    monkeypatch.setattr(node.laboratory, "copy_files", lambda folder: (folder / "x").write_text("x") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attack(lab, "edited-row")
    assert not list((node.folder / "scratch").iterdir())


def test_another_institution_rehearses_on_its_own_copy(lab: Institutions) -> None:
    reply = lab.call("bank", Role.OPERATOR, "attack.run", name="split-view")
    assert reply.is_found and reply.findings[0].log == "bank"


def test_the_list_names_every_attack_and_the_request_takes_no_other(lab: Institutions) -> None:
    listed = lab.call("broker", Role.REGULATOR, "attack.list").attacks
    assert [one.name for one in listed] == list(SOUGHT) == list(ATTACKS) == list(get_args(operations.AttackName))
    assert all(one.zh and one.en and one.check == SOUGHT[one.name][0] and one.possible for one in listed)
    with pytest.raises(WorkbenchError, match="INVALID_REQUEST"):
        attack(lab, "rm -rf")
    with pytest.raises(WorkbenchError, match="DENIED"):
        lab.call("broker", Role.MARKETING, "attack.run", name="edited-row")


def test_production_has_no_laboratory(lab: Institutions, tmp_path: Path) -> None:
    """Not a closed door but no door: the gate does not know the names, and the copies refuse by themselves."""
    from workbench.workspace import create_workspace, open_node

    passphrase = "a passphrase for one test 4471"
    workspace = create_workspace(tmp_path / "real", kind="production", parties=("broker",), passphrase=passphrase)
    node = open_node(workspace, "broker", passphrase=passphrase)
    try:
        assert not [one.name for one in node.gate.registry if one.name.startswith("attack.")]
        with pytest.raises(Refused, match="UNKNOWN_OPERATION"):
            node.gate.call("attack.run", {"name": "edited-row"}, lab.caller("broker", Role.COMPLIANCE))
        with pytest.raises(Refused, match="NOT_IN_PRODUCTION"), node.laboratory.scratch():
            raise AssertionError("a copy was made")
    finally:
        node.close()
    there = lab.nodes["broker"].gate.registry
    assert {one.name for one in there if one.workspaces != ALL_WORKSPACES} == {"attack.list", "attack.run", "qkd.eavesdrop"}


def test_no_key_that_anybody_trusts_signs_a_lie(lab: Institutions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A false head under the true key would be proof against this institution, wherever the file ends up."""
    from workbench_ledger.attacks.between import Institutions as Moment

    trusted = {keys.ed25519.raw for keys in lab.nodes["broker"].trust_keys().values()}
    used: list[bytes] = []
    close_all = Moment.close_all

    def looked_at(self: Moment) -> None:
        used.extend(keys.ed25519.public.raw for keys in self.keys.values())
        close_all(self)

    monkeypatch.setattr(Moment, "close_all", looked_at)
    attack(lab, "split-view")
    assert len(used) == 3 and not trusted & set(used)


def test_a_changed_body_stays_canonical_and_keeps_its_length(lab: Institutions) -> None:
    for _, body in state_of(lab):
        try:
            other, name = changed_body(body)
        except Refused:
            continue
        assert len(other) == len(body) and other != body
        before, after = parse_envelope(body), parse_envelope(other)
        assert {one for one in before.shared if before.shared[one] != after.shared[one]} == {name}


# ---- the check of clocks

SECOND = 1000
NOON = 1_795_000_000_000


def entries(*times_ms: int) -> list[tuple[int, bytes]]:
    return [(index, b'{"shared":{"time":"x"},"time":"%s","v":1}' % format_time(one).encode()) for index, one in enumerate(times_ms)]


def clock(bodies: list[tuple[int, bytes]], signed: dict[int, tuple[Any, int]] | None = None) -> list[tuple[int | None, str]]:
    found = check(BROKER, bodies, signed or {}, tolerance_ms=5 * SECOND)
    assert all(one.field == "time" and one.zh and one.en for one in found)
    return [(one.index, one.problem) for one in found]


def test_a_clock_that_is_set_back_is_found_once_and_one_that_wavers_is_not() -> None:
    assert clock(entries(NOON, NOON + 10, NOON - 4 * SECOND, NOON + 20)) == []
    back = NOON - 3600 * SECOND
    assert clock(entries(NOON, NOON + 10, back, back + 10, back + 20)) == [(2, "CLOCK")]
    assert clock(entries(NOON, back, NOON, back)) == [(1, "CLOCK"), (3, "CLOCK")]


def test_an_entry_later_than_the_co_signature_on_it_is_found() -> None:
    ahead = NOON + 3600 * SECOND
    assert clock(entries(NOON, ahead), {1: (BANK, NOON)}) == [(1, "CLOCK")]
    assert clock(entries(NOON, NOON + 5 * SECOND), {1: (BANK, NOON)}) == []
    assert clock(entries(NOON, NOON), {1: (BANK, NOON + 99 * SECOND)}) == []


def test_a_body_without_a_time_is_left_to_the_hashes() -> None:
    assert clock([(0, b""), (1, b'{"time":"soon"}'), *[(2 + index, body) for index, body in entries(NOON)]]) == []


def test_the_copy_is_consistent_while_the_node_writes(lab: Institutions, tmp_path: Path) -> None:
    node = lab.nodes["broker"]
    database = node.laboratory.copy_files(tmp_path)
    with sqlite3.connect(database) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        indices = [row[0] for row in copy.execute("SELECT idx FROM entry ORDER BY idx")]
    assert indices == list(range(len(indices))) and len(indices) >= 8

"""An older copy of a node brings back dismissed people and old passwords; the entries that came back take them away again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.host.conftest import house, institution, workspace
from tests.host.house import House
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import Role
from workbench.errors import SignInRequired

__all__ = ["house", "institution", "workspace"]
NEW = "Korrekt-Pferd-7-Batterie"


def came_back(house: House, start: int) -> list[RestoredEntry]:
    """Own entries from `start` on as a mirror gives them back: without what was only committed."""
    ledger, party = house.node.ledger, house.node.party
    found = []
    for index, body in enumerate(ledger.entry_bodies(party, start, ledger.size(party)), start):
        one = parse_envelope(body)
        found.append(
            RestoredEntry(index, one.kind, one.time_ms, one.job, one.actor, dict(one.shared), tuple(sorted(one.committed)))
        )
    return found


def sign_in(house: House, role: Role, password: str = "") -> None:
    house.node.people.sign_in(person=role.value, password=password or house.password(role), audience="command")


def test_who_was_disabled_stays_out_and_no_old_password_opens_anything(house: House) -> None:
    node, admin = house.node, house.caller(Role.ADMIN)
    sign_in(house, Role.MARKETING)
    with node.store.read() as reader:
        copy = [tuple(row) for row in reader.execute("SELECT * FROM host_person").fetchall()]
        tickets = [tuple(row) for row in reader.execute("SELECT * FROM host_ticket").fetchall()]
    start = node.ledger.size(node.party)
    node.people.disable("marketing", by=admin)
    node.people.change_password(house.caller(Role.APPROVER), NEW)
    entries = came_back(house, start)
    token = next(one for one in entries if one.kind == "people.disabled")
    assert "person" in token.committed and len(token.shared["recovery"]) > 512, "a mirror does not learn whose account it was"

    def older_copy(tx: object) -> None:
        for table, rows in (("host_person", copy), ("host_ticket", tickets)):
            tx.executemany(  # type: ignore[attr-defined]
                f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows
            )

    node.store.write(older_copy)
    sign_in(house, Role.APPROVER)  # that is what would happen
    for _ in range(2):  # a node that stops in between does it again
        [need] = [one for one in node.replay(entries) if one.name.startswith("people.")]
        assert (need.name, need.count) == ("people.password_changed", 1)
    with pytest.raises(SignInRequired, match="SIGN_IN_FAILED"):
        sign_in(house, Role.MARKETING)
    with pytest.raises(SignInRequired, match="FIRST_PASSWORD_EXPIRED"):
        sign_in(house, Role.APPROVER)
    with node.store.read() as reader:
        left = {row["person"] for row in reader.execute("SELECT person FROM host_ticket")}
    assert not left & {"marketing", "approver"}
    sign_in(house, Role.COMPLIANCE)
    assert [one.count for one in node.replay([]) if one.name == "people.password_changed"] == [1], "until it was dealt with"
    node.people.reissue_first_password("approver", password="one-time-77-for-them", first_until_ms=node.now_ms() + 1000)
    sign_in(house, Role.APPROVER, "one-time-77-for-them")
    assert not [one for one in node.replay([]) if one.name.startswith("people.")]


def test_an_entry_that_cannot_be_read_is_left_to_the_administrators(house: House) -> None:
    node = house.node
    start = node.ledger.size(node.party)
    node.people.disable("marketing", by=house.caller(Role.ADMIN))
    [entry] = came_back(house, start)
    for recovery in ("", "00" * 64, entry.shared["recovery"][:-2] + "00"):
        [need] = [one for one in node.replay([replace(entry, shared={"recovery": recovery})]) if one.name.startswith("people.")]
        assert (need.name, need.count) == ("people.disabled", 1)

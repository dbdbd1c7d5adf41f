"""An older copy of a node brings back dismissed people, old passwords and removed partners; entries that came back end that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from institutions import institution as made_institution
from tests.altering import other_end
from tests.host.conftest import house, institution, workspace
from tests.host.house import House
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import PartyId, Role
from workbench.errors import SignInRequired
from workbench.node.keys import format_bundle
from workbench.node.partners import Partners
from workbench.node.trust import format_change, propose_removal

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


def test_a_partner_that_was_removed_stays_removed(house: House) -> None:
    node = house.node
    people = {str(one.person): one for one in node.people.everyone()}
    operator, admin = people["operator"], people["admin"]
    bundle = format_bundle(made_institution("bank").bundle)
    start = node.ledger.size(node.party)
    node.partners.enrol([bundle], proposed_by=operator, approved_by=admin)
    removal = propose_removal(node.partners.trust, PartyId("bank"), by=operator.person, at_ms=node.now_ms())
    node.partners.confirm(node.partners.propose(removal, by=operator), by=admin)
    entries = came_back(house, start)
    before = [format_change(one) for one in node.partners.trust.changes]

    def restored(kept: int) -> Partners:
        node.store.write(lambda tx: tx.execute("DELETE FROM host_trust_change WHERE number > ?", (kept,)))
        node.partners = Partners(node)
        return node.partners

    for kept in (2, 1, 0):
        partners = restored(kept)
        assert ("bank" in partners.parties()) is (kept == 1)
        for _ in range(2):
            assert node.replay(entries) == []
        assert partners.parties() == ["broker"] and [format_change(one) for one in partners.trust.changes] == before
        assert [format_change(one) for one in Partners(node).trust.changes] == before
    # Without the first change the second one continues nothing: it is left to people, and nothing is half taken.
    partners = restored(0)
    lost = [replace(one, shared={}) if one.shared.get("action") == "enrol" else one for one in entries]
    [need] = node.replay(lost)
    assert (need.name, need.count, partners.trust.changes) == ("partners.changed", 2, ())


def test_an_entry_that_cannot_be_read_is_left_to_the_administrators(house: House) -> None:
    node = house.node
    start = node.ledger.size(node.party)
    node.people.disable("marketing", by=house.caller(Role.ADMIN))
    [entry] = came_back(house, start)
    for recovery in ("", "00" * 64, other_end(entry.shared["recovery"])):
        [need] = [one for one in node.replay([replace(entry, shared={"recovery": recovery})]) if one.name.startswith("people.")]
        assert (need.name, need.count) == ("people.disabled", 1)

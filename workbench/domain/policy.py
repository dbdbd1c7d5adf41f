"""Which co-signatures an entry needs before it counts as sealed: one table, and the one function that reads it.

Document: docs/protocols/ledger.md section 3. Pure. The ledger, job views, pages, receipts and `verify` all ask here, so
that pending, sealed and full mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from workbench.domain.party import PartyId

LEAST_INSTITUTIONS = 2
"""An entry that only its own institution has signed is never sealed, whatever the table says."""


class Signers(StrEnum):
    """Whose co-signatures a row of the table demands."""

    PARTICIPANTS = "participants"
    OWN_AND_ONE = "own and one"
    MEMBERS_BUT_SUBJECT = "members but the subject"


@dataclass(frozen=True, slots=True)
class Policy:
    """One row: kinds that begin with `prefix` need `signers`; zh, en: the sentence for staff and documents."""

    prefix: str
    signers: Signers
    zh: str
    en: str


POLICIES: tuple[Policy, ...] = (
    Policy(
        "ledger.member_",
        Signers.MEMBERS_BUT_SUBJECT,
        "成员变更：除所涉机构外，全体成员共签",
        "a change of members: every member but the institution it is about",
    ),
    Policy(
        "ledger.",
        Signers.OWN_AND_ONE,
        "账本自身的记录：本机构与另一家",
        "what the ledger says of itself: own and one more",
    ),
    Policy(
        "",
        Signers.PARTICIPANTS,
        "其余各类：记录或任务所列的全部参与机构；未列任何机构的，本机构与另一家",
        "every other kind: all participants named by the entry or its job; where none is named, own and one more",
    ),
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What makes one entry sealed: these parties, this many institutions in all, with the ML-DSA-44 line or without."""

    parties: frozenset[PartyId]
    at_least: int = LEAST_INSTITUTIONS
    mldsa: bool = False

    def is_met_by(self, cosigners: Collection[PartyId]) -> bool:
        """Whether these co-signers of one checkpoint are enough."""
        return self.parties <= set(cosigners) and len(set(cosigners)) >= self.at_least

    def missing(self, cosigners: Collection[PartyId]) -> tuple[PartyId, ...]:
        """The named parties that have not co-signed, ascending."""
        return tuple(sorted(self.parties - set(cosigners)))


def policy_of(kind: str, table: Sequence[Policy] = POLICIES) -> Policy:
    """The first row that fits a kind; the last row of the table fits every kind."""
    return next(one for one in table if kind.startswith(one.prefix))


def requirement(
    kind: str,
    *,
    log: PartyId,
    participants: Collection[PartyId],
    members: Collection[PartyId],
    subject: str = "",
    mldsa_kinds: Collection[str] = (),
) -> Requirement:
    """What an entry of this kind needs.

    log: whose log it lies in. participants: named by the entry or by others of its job, possibly none. members: of the
    log at this entry. subject: the institution that a change of members is about. mldsa_kinds: prefixes of kinds for
    which only co-signatures with an ML-DSA-44 line count.
    """
    mldsa = any(kind.startswith(prefix) for prefix in mldsa_kinds)
    match policy_of(kind).signers:
        case Signers.MEMBERS_BUT_SUBJECT:
            return Requirement(frozenset(members) - {PartyId(subject)} | {log}, mldsa=mldsa)
        case Signers.OWN_AND_ONE:
            return Requirement(frozenset({log}), mldsa=mldsa)
        case Signers.PARTICIPANTS:
            return Requirement(frozenset(participants) | {log}, mldsa=mldsa)


__all__ = [
    "LEAST_INSTITUTIONS",
    "POLICIES",
    "Policy",
    "Requirement",
    "Signers",
    "policy_of",
    "requirement",
]

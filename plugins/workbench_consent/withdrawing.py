"""Withdrawal and its lifting, inside one transaction each. Document: docs/consent.md section 5.

A person names a phone, an identity number or both. What the registry knows to belong to it through a signed form goes
with it, so that leaving by phone also keeps the identity number out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from workbench.contracts import Host, Transaction
from workbench.domain.evidence import EntryRef
from workbench.errors import InvalidRequest, NotFound
from workbench_consent import recovering, tables
from workbench_consent.grants import Subject, Withdrawal, lifting_digest, means_person, withdrawal_digest
from workbench_consent.rows import SALT_SIZE
from workbench_consent.subjects import ABSENT, Subjects, distinct, meant, token_at, words_of

SUBJECT = "subject"
WHO = {
    SUBJECT: ("客户本人", "the customer"),
    "agent": ("受托人", "an agent"),
    "guardian": ("监护人", "a guardian"),
    "kin": ("近亲属（个人信息保护法第四十九条）", "next of kin (PIPL 49)"),
}
"""Who may withdraw, with names. PIPL 49 (law-text): near relatives of the dead, unless the dead arranged otherwise."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What a withdrawal did. event: its number. grants: records in its scope that it ended or that were over already.

    records: their numbers, at most 100. entry: the evidence.
    """

    event: int
    grants: int
    records: tuple[int, ...]
    entry: EntryRef


@dataclass(frozen=True, slots=True)
class Lifted:
    """event: number of the lifting; entries: how many entries of the suppression list it ended."""

    event: int
    entries: int
    entry: EntryRef


def withdraw(
    tx: Transaction,
    host: Host,
    subject: Subject,
    *,
    purpose: str,
    recipient: str,
    suppress: bool,
    actor: str,
    reason: str,
    by: str = SUBJECT,
    proof: str = "",
) -> Withdrawn:
    """End every grant of this person in the scope, and keep the person out of it; "" means every one.

    by: who asked for it (WHO); proof: reference of the mandate, guardianship or kinship, for everybody but the customer.
    Raises InvalidRequest PROOF_NEEDED without one. Cost: about 60 ms at 10^6 grants, all of it while the writer waits.
    """
    require_proof(by, proof)
    if subject.phone is None and subject.id_no is None:
        raise InvalidRequest("撤回要写明手机号或身份证号", "a withdrawal names a phone number or an identity number")
    grants, term = tables.subjects_of_grants(tx)
    entries, rows = spread(subject, grants)
    covers = Withdrawal(0, subject, purpose, recipient).covers
    terms = [covers(one.purpose, one.recipient) for one in tables.terms(tx)]
    in_scope = [row for row in rows if terms[int(term[row])]]
    seq = tables.newest_event(tx) + 1
    withdrawals = [Withdrawal(seq, one, purpose, recipient, suppress) for one in entries]
    salt = host.random(SALT_SIZE)
    root = withdrawal_digest(salt, withdrawals)
    entry = host.evidence.append(
        tx,
        "consent.withdrawn",
        {
            "root": root.hex(),
            "event": str(seq),
            "subject": evidence_name(subject),
            "purpose": purpose or "*",
            "recipient": recipient or "*",
            "grants": str(len(in_scope)),
            "suppressed": "yes" if suppress else "no",
            "by": by,
            "proof": proof,
            "reason": reason,
            "recovery": recovering.sealed(host, root, salt, withdrawals),
        },
        actor=actor,
        subject=evidence_name(subject),
    )
    at_ms = host.now_ms()
    tables.add_event(
        tx, "withdrawn", seq=seq, entry=entry.index, at_ms=at_ms, actor=actor, rows=len(entries), root=root, salt=salt
    )
    tables.add_withdrawals(tx, withdrawals)
    return Withdrawn(seq, len(in_scope), tuple(row + 1 for row in in_scope[:100]), entry)


def require_proof(by: str, proof: str) -> None:
    """InvalidRequest PROOF_NEEDED where somebody acts for the customer without a reference of what allows it."""
    if by not in WHO:
        raise InvalidRequest(f"撤回人应为 {'、'.join(WHO)} 之一", f"a withdrawal is made by one of {', '.join(WHO)}")
    if by != SUBJECT and len(proof.strip()) < 3:
        raise InvalidRequest(
            f"{WHO[by][0]}代为撤回，请填写证明文件的编号", f"{WHO[by][1]} acts for the customer: give the reference of the proof",
            code="PROOF_NEEDED",
        )  # fmt: skip


def lift_suppression(tx: Transaction, host: Host, subject: Subject, *, actor: str, reason: str) -> Lifted:
    """Let a person in again for what is signed from now on; what was withdrawn stays withdrawn.

    Raises NotFound NOT_SUPPRESSED when the person is on no list.
    """
    seq = tables.newest_event(tx) + 1
    entries = tables.lift(tx, subject, seq)
    if not entries:
        raise NotFound(
            "这位客户不在“不再使用”名单上", "this customer is not on the suppression list", code="NOT_SUPPRESSED"
        )
    salt = host.random(SALT_SIZE)
    root = lifting_digest(salt, entries)
    entry = host.evidence.append(
        tx,
        "consent.suppression_lifted",
        {
            "root": root.hex(),
            "event": str(seq),
            "subject": evidence_name(subject),
            "entries": str(len(entries)),
            "reason": reason,
        },
        actor=actor,
        subject=evidence_name(subject),
    )
    at_ms = host.now_ms()
    tables.add_event(
        tx, "lifted", seq=seq, entry=entry.index, at_ms=at_ms, actor=actor, rows=len(entries), root=root, salt=salt
    )
    return Lifted(seq, len(entries), entry)


def columns_of_subject(subject: Subject) -> Subjects:
    """One subject as columns."""
    return Subjects(words_of(subject.phone or ABSENT), words_of(subject.id_no or ABSENT))


def evidence_name(subject: Subject) -> str:
    """The name under which evidence about this person is sealed: the token of the number, else of the phone, in hex."""
    return (subject.id_no or subject.phone or ABSENT).hex()


def spread(subject: Subject, grants: Subjects) -> tuple[list[Subject], list[int]]:
    """What the person named and what signed forms add to it, and the rows of all forms that are the person's.

    The second round follows a number found in the first to the person's other phones.
    """
    entries = dict.fromkeys([subject])
    rows = np.zeros(0, np.int64)
    for _ in range(2):
        named = list(entries)
        rows = np.flatnonzero(meant(grants, Subjects.concatenate(columns_of_subject(one) for one in named)))
        forms = distinct(grants.take(rows))
        entries |= dict.fromkeys(_joined(named, forms))
    return list(entries), rows.tolist()


def _joined(named: list[Subject], forms: Subjects) -> Iterator[Subject]:
    """Each form filled up with what the subjects that mean it name besides; forms: each subject once."""
    neighbours: dict[tuple[str, bytes | None], list[Subject]] = defaultdict(list)
    for one in named:
        neighbours["id_no", one.id_no].append(one)
        neighbours["phone", one.phone].append(one)
        if one.id_no is None:
            neighbours["phone alone", one.phone].append(one)
    for row in range(len(forms)):
        form = Subject(token_at(forms.phone, row), token_at(forms.id_no, row))
        # Only subjects without a number can mean a form by its phone when the form has a number.
        by_phone = "phone" if form.id_no is None else "phone alone"
        for one in (*neighbours["id_no", form.id_no], *neighbours[by_phone, form.phone]):
            if means_person(one, form):
                # The form's own value comes first: an earlier phone on a form must be kept out as well.
                yield Subject(form.phone or one.phone, form.id_no or one.id_no)

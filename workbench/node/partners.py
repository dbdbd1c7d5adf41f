"""The allow-list of partners: who may connect, from where, with which keys. Every change is signed by two people (F2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from workbench.contracts import OperationContext, PeerAddress, Transaction
from workbench.domain.erasure import open_recovery, seal_recovery
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.domain.party import PartyId, Person, PersonId, Role
from workbench.errors import Denied, NotFound, Refused, VerificationError
from workbench.node import trust as allow_list
from workbench.node.keys import format_bundle
from workbench.operations import NoInput, Operation, Reply, Request

if TYPE_CHECKING:
    from workbench.host import Workbench

ADMINS = frozenset({Role.ADMIN, Role.OPERATOR})
CHANGED = "partners.changed"


class Partners:
    """The signed chain of changes in the database and the allow-list that it amounts to."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._lock = threading.Lock()
        with host.store.read() as reader:
            rows = reader.execute("SELECT body FROM host_trust_change ORDER BY number").fetchall()
        self._trust = allow_list.TrustStore.replay(host.keys.bundle, [row["body"] for row in rows])
        self._former_of = (self._trust, self._trust.former())

    @property
    def trust(self) -> allow_list.TrustStore:
        return self._trust

    def parties(self) -> Sequence[PartyId]:
        """All institutions including this one, sorted."""
        return sorted({self._host.party, *self._trust.partners})

    def partner(self, party: PartyId) -> allow_list.Partner:
        return self._trust.partner(party)

    def known(self, party: PartyId) -> allow_list.Partner:
        """A partner of today, or a former one as it was trusted last: for reading what it signed, never for calls."""
        former = self._former()
        return former[party] if party in former else self._trust.partner(party)

    def former(self) -> Sequence[PartyId]:
        """Institutions that were removed and not enrolled again, sorted."""
        return sorted(self._former())

    def _former(self) -> Mapping[PartyId, allow_list.Partner]:
        trust, found = self._former_of
        if trust is not self._trust:
            trust, found = self._trust, self._trust.former()
            self._former_of = (trust, found)
        return found

    def addresses(self) -> Sequence[PeerAddress]:
        """What the channel checks new connections against."""
        return self._trust.peer_addresses()

    def address(self, party: PartyId) -> PeerAddress:
        return self._trust.partner(party).peer_address()

    def propose(self, proposal: allow_list.TrustProposal, *, by: Person) -> str:
        """Keep a proposal until another person confirms it; returns its digest."""
        host = self._host

        def change(tx: Transaction) -> None:
            tx.execute(
                "INSERT OR REPLACE INTO host_trust_proposal(digest, body, proposed_by, created_ms) VALUES (?, ?, ?, ?)",
                (proposal.digest(), allow_list.format_proposal(proposal), by.person, host.now_ms()),
            )
            host.evidence.append(
                tx,
                "partners.change_proposed",
                {"party": proposal.party, "action": proposal.action.value, "bundle": proposal.digest()},
                actor=by.token,
            )

        host.store.write(change)
        return proposal.digest()

    def waiting(self) -> list[allow_list.TrustProposal]:
        """Proposals that nobody has confirmed yet."""
        with self._host.store.read() as reader:
            rows = reader.execute("SELECT body FROM host_trust_proposal ORDER BY created_ms").fetchall()
        return [allow_list.parse_proposal(row["body"]) for row in rows]

    def confirm(self, digest: str, *, by: Person) -> allow_list.TrustChange:
        """Apply a proposal as the second person; Denied for the person who proposed it.

        Refused PROPOSER_GONE when the proposer may not decide any more: one person alone would have decided.
        """
        host = self._host
        with self._lock:
            proposal = next((one for one in self.waiting() if one.digest() == digest), None)
            if proposal is None:
                raise NotFound("没有这份变更提议", "There is no such proposal")
            if proposal.proposed_by == by.person:
                raise Denied(
                    "这是你自己提出的，须由另一位确认", "You proposed this; another person must confirm", code="SELF_APPROVAL"
                )
            if not any(one.person == proposal.proposed_by and one.roles & ADMINS for one in host.people.everyone()):
                raise Refused(
                    "提议人的账号已停用，请重新提议", "The account that proposed this was disabled; propose it again",
                    code="PROPOSER_GONE",
                )  # fmt: skip
            changed = allow_list.approve(
                self._trust, proposal, confirmed=digest, by=by.person, at_ms=host.now_ms(), key=host.keys.contract
            )
            change_made = changed.changes[-1]

            def change(tx: Transaction) -> None:
                self._write(tx, change_made, actor=by.token)
                tx.execute("DELETE FROM host_trust_proposal WHERE digest = ?", (digest,))

            host.store.write(change)
            self._trust = changed
        return change_made

    def carry_out(
        self,
        proposed: Callable[[allow_list.TrustStore], allow_list.TrustProposal],
        *,
        by: PersonId,
        also: Callable[[Transaction], None],
    ) -> None:
        """Make a change that two people have decided elsewhere, such as a change of members; the rule is the same.

        proposed: the proposal of the first person, made on the list of now. by: the second person. also: what else
        belongs into the transaction. Raises Refused as `allow_list.approve`.
        """
        host = self._host
        with self._lock:
            proposal = proposed(self._trust)
            changed = allow_list.approve(
                self._trust, proposal, confirmed=proposal.digest(), by=by, at_ms=host.now_ms(), key=host.keys.contract
            )

            def change(tx: Transaction) -> None:
                self._write(tx, changed.changes[-1], actor="")
                also(tx)

            host.store.write(change)
            self._trust = changed

    def enrol(self, bundles: Sequence[bytes], *, proposed_by: Person, approved_by: Person) -> None:
        """Pin several institutions in one go, as `workbench init` does for a workspace of its own making."""
        host = self._host
        for bundle in bundles:
            changed = allow_list.enrol(
                self._trust,
                bundle,
                proposed_by=proposed_by.person,
                approved_by=approved_by.person,
                at_ms=host.now_ms(),
                key=host.keys.contract,
            )
            made = changed.changes[-1]
            self._store(made, actor=approved_by.token)
            self._trust = changed

    def replay(self, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
        """Make again the changes that an older copy of the database lacks, from own entries that came back; what people must do.

        Each is signed and names the one before it: what does not continue the list is not taken. Safe to repeat. No entry
        is written here.
        """
        host, trust, unreadable = self._host, self._trust, 0
        for entry in entries:
            if entry.kind != CHANGED:
                continue
            try:
                body = open_recovery(host.vault.token_key("recovery"), entry.shared.get("recovery", ""), binding=CHANGED)
                if allow_list.parse_change(body).proposal.number >= trust.next_number:
                    known = map(allow_list.format_change, trust.changes)
                    trust = allow_list.TrustStore.replay(host.keys.bundle, [*known, body])
            except VerificationError:  # of a version that did not seal it, or after one that is missing
                unreadable += 1
        missing = trust.changes[len(self._trust.changes) :]
        if missing:
            rows = [(one.proposal.number, allow_list.format_change(one)) for one in missing]
            host.store.write(lambda tx: tx.executemany("INSERT INTO host_trust_change(number, body) VALUES (?, ?)", rows))
            self._trust = trust
        if not unreadable:
            return []
        return [
            ReplayNeed(
                CHANGED,
                unreadable,
                f"白名单在旧副本之后有 {unreadable} 处变更，无法自动恢复：两位管理员对照证据核对白名单，重新登记或移除",
                f"{unreadable} changes of the allow-list after the copy cannot be made again by themselves: two administrators"
                " compare the list with the evidence, and enrol or remove again",
            )
        ]

    def _store(self, made: allow_list.TrustChange, *, actor: str) -> None:
        self._host.store.write(lambda tx: self._write(tx, made, actor=actor))

    def _write(self, tx: Transaction, change: allow_list.TrustChange, *, actor: str) -> None:
        proposal = change.proposal
        tx.execute(
            "INSERT INTO host_trust_change(number, body) VALUES (?, ?)", (proposal.number, allow_list.format_change(change))
        )
        self._host.evidence.append(
            tx,
            CHANGED,
            {
                "party": proposal.party,
                "action": proposal.action.value,
                "bundle": proposal.digest(),
                "proposed_by": proposal.proposed_by,
                "confirmed_by": change.approved_by,
                "recovery": seal_recovery(
                    self._host.vault.token_key("recovery"), allow_list.format_change(change), binding=CHANGED,
                    nonce=self._host.random(12),
                ),
            },
            actor=actor,
        )


class EnrolRequest(Request):
    """bundle: a partner's public bundle as its own node exported it (text)."""

    bundle: str = Field(max_length=20_000)


class AddressesRequest(Request):
    party: str
    source_addresses: list[str] = Field(min_length=1, max_length=20)


class RemoveRequest(Request):
    party: str


class ConfirmChange(Request):
    """digest: of the proposal, as shown to the confirming person."""

    digest: str = Field(pattern="^[0-9a-f]{64}$")


class ChangeReply(Reply):
    digest: str
    state: str


class PartnerInfo(Reply):
    party: str
    name_zh: str
    name_en: str
    host: str
    port: int
    source_addresses: list[str]
    certificate_fingerprint: str


class ProposalInfo(Reply):
    digest: str
    action: str
    party: str
    proposed_by: str
    proposed_at_ms: int


class PartnersReply(Reply):
    """own_bundle: this institution's public bundle, to hand to a partner."""

    partners: list[PartnerInfo]
    waiting: list[ProposalInfo]
    own_bundle: str


def _all(ctx: OperationContext, request: NoInput) -> PartnersReply:
    host = ctx.host
    return PartnersReply(
        partners=[
            PartnerInfo(
                party=party,
                name_zh=partner.bundle.name_zh,
                name_en=partner.bundle.name_en,
                host=partner.bundle.host,
                port=partner.bundle.port,
                source_addresses=list(partner.source_addresses),
                certificate_fingerprint=partner.bundle.certificate_fingerprint,
            )
            for party, partner in sorted(host.partners.trust.partners.items())
        ],
        waiting=[
            ProposalInfo(
                digest=one.digest(),
                action=one.action.value,
                party=one.party,
                proposed_by=one.proposed_by,
                proposed_at_ms=one.proposed_at_ms,
            )
            for one in host.partners.waiting()
        ],
        own_bundle=format_bundle(host.keys.bundle).decode(),
    )


def _by(ctx: OperationContext) -> PersonId:
    return ctx.caller.person.person


def _enrol(ctx: OperationContext, request: EnrolRequest) -> ChangeReply:
    partners = ctx.host.partners
    proposal = allow_list.propose_bundle(partners.trust, request.bundle.encode(), by=_by(ctx), at_ms=ctx.host.now_ms())
    return ChangeReply(digest=partners.propose(proposal, by=ctx.caller.person), state="waiting")


def _addresses(ctx: OperationContext, request: AddressesRequest) -> ChangeReply:
    partners = ctx.host.partners
    proposal = allow_list.propose_addresses(
        partners.trust, PartyId(request.party), request.source_addresses, by=_by(ctx), at_ms=ctx.host.now_ms()
    )
    return ChangeReply(digest=partners.propose(proposal, by=ctx.caller.person), state="waiting")


def _remove(ctx: OperationContext, request: RemoveRequest) -> ChangeReply:
    partners = ctx.host.partners
    proposal = allow_list.propose_removal(partners.trust, PartyId(request.party), by=_by(ctx), at_ms=ctx.host.now_ms())
    return ChangeReply(digest=partners.propose(proposal, by=ctx.caller.person), state="waiting")


def _confirm(ctx: OperationContext, request: ConfirmChange) -> ChangeReply:
    ctx.host.partners.confirm(request.digest, by=ctx.caller.person)
    return ChangeReply(digest=request.digest, state="changed")


PARTNER_OPERATIONS = (
    Operation(
        name="partners.all",
        zh="查看伙伴白名单",
        en="read the allow-list",
        request=NoInput,
        reply=PartnersReply,
        roles=ADMINS | {Role.COMPLIANCE, Role.AUDITOR},
        run=_all,
        reads_only=True,
    ),
    *(
        Operation(
            name=name,
            zh=zh,
            en=en,
            request=request,
            reply=ChangeReply,
            roles=ADMINS,
            run=run,
            fresh_password=True,
            evidence=("partners.change_proposed",),
        )
        for name, zh, en, request, run in (
            ("partners.enrol", "提出登记或更换伙伴", "propose to enrol or replace a partner", EnrolRequest, _enrol),
            ("partners.addresses", "提出更改伙伴来源地址", "propose a partner's addresses", AddressesRequest, _addresses),
            ("partners.remove", "提出移除伙伴", "propose to remove a partner", RemoveRequest, _remove),
        )
    ),
    Operation(
        name="partners.confirm",
        zh="确认白名单变更",
        en="confirm a change of the allow-list",
        request=ConfirmChange,
        reply=ChangeReply,
        roles=ADMINS,
        run=_confirm,
        fresh_password=True,
        evidence=("partners.changed",),
    ),
)

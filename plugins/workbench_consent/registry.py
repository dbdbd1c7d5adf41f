"""The consent registry of one node: the provider behind the hook. Document: docs/consent.md.

The shell around the pure parts: it knows the store, the clock and the vault, and nothing about the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.contracts import ConsentDecision, CustomerDecision, GrantQuery, Host, TakenBack, Transaction
from workbench.domain.erasure import ErasureFinding, ErasureRequest
from workbench.domain.evidence import AuditFinding
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import Refused
from workbench.intake import GrantTable, read_grant_rows, require_quality
from workbench.intake.grant_scope import FormRules
from workbench_consent import (
    columns,
    documents,
    erasing,
    exiting,
    importing,
    processors,
    restricting,
    snapshots,
    subject_records,
    tables,
    withdrawing,
)
from workbench_consent.audit import AuditResult, audit
from workbench_consent.capture import backdating
from workbench_consent.capture import forms as capture
from workbench_consent.circumstances import Circumstances
from workbench_consent.columns import Verdicts
from workbench_consent.grants import Customer, Reason, StaleSince, Subject, Verdict, Withdrawal
from workbench_consent.list_tokens import ListTokens
from workbench_consent.projection import KnownLists, Projection, State
from workbench_consent.replaying import require_replayed
from workbench_consent.single import SingleDecisions
from workbench_consent.subjects import (
    ABSENT,
    TOKEN_PURPOSE,
    Flags,
    Subjects,
    distinct,
    holds_any,
    is_named,
    meant,
    token,
    token_at,
    words_of,
)
from workbench_consent.withdrawal import telling

_CODES = np.array([reason.code for reason in Reason], object)
_COLUMNS = ("customer_id", "phone", "id_no")
_BLOCK_ROWS = 1 << 16


class Registry:
    """Directed grants and their withdrawal at one institution. Fulfils workbench.contracts.ConsentRegistry."""

    name = "consent"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._token_key = host.vault.token_key(TOKEN_PURPOSE)
        self._projection = Projection(host.store)
        self._list_tokens = ListTokens(host.store, host.vault, self._token_key)
        self._lists = KnownLists(self._list_tokens)
        self._circumstances = Circumstances(host)
        self._single = SingleDecisions()

    def __repr__(self) -> str:
        return f"Registry({self._host.party})"

    # ---- who may be used

    def decide(
        self, customers: pl.DataFrame, query: GrantQuery, *, among: npt.NDArray[np.bool_] | None = None
    ) -> ConsentDecision:
        """Who of the list may be used for this purpose, towards this recipient, at this instant.

        customers: columns customer_id, phone, id_no, normalised, null when absent. Give the *whole* list of the
        institution: a key shared with somebody who did not consent is noticed only if that person is in the frame.
        among: bool (n), who belongs to the audience; of several who may all be used, one of them stands for a shared
        key. None: everybody.
        Raises Refused UNKNOWN_PURPOSE, UNKNOWN_RECIPIENT, or REPLAY_PENDING after a restore.
        Cost for 10^6 rows: about 2 s for a list not seen by this process before, else 0.3 s; see docs/consent.md
        section 10.
        """
        require_replayed(self._host.store)
        verdicts, state = self.explain(customers, query, among)
        usable = verdicts.reason == Reason.OK
        digest = np.zeros((len(usable), 32), np.uint8)
        for start in range(0, len(usable), _BLOCK_ROWS):  # a million at once would take their memory twice
            rows = start + np.flatnonzero(usable[start : start + _BLOCK_ROWS])
            digest[rows] = state.grants.digest[verdicts.grant[rows]]
        return ConsentDecision(
            usable=usable,
            reason=_CODES[verdicts.reason],
            grant_digest=digest,
            valid_until_ms=np.where(usable, verdicts.valid_until_ms, 0),
            as_of=state.seq,
            counts=counts_of(verdicts),
        )

    def explain(
        self, customers: pl.DataFrame, query: GrantQuery, among: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Verdicts, State]:
        """As `decide`, with the grant that speaks for each reason and the state it was read from."""
        self.require_known(query.purpose, query.recipient)
        self._require_codes(query)
        missing = [name for name in _COLUMNS if name not in customers.columns]
        if missing:
            raise ValueError(f"a list of customers has the columns {', '.join(missing)} too")
        state = self._projection.state()
        known = self._lists.find(customers, state)
        held = restricting.restrictions(self._host.restricted_customers())
        around = self._circumstances
        verdicts = columns.decide(
            known.index, known.links, state.grants, state.terms, state.withdrawals, query, among, held,
            stale=around.stale(state.seq), refusals=around.refusals(state.seq, query),
            used_up=around.used_up(state.grants, state.terms, state.erasure, query.job),
        )  # fmt: skip
        return verdicts, state

    def decide_one(self, phone: str | None, id_no: str | None, query: GrantQuery) -> tuple[Verdict, State]:
        """The verdict about one person, normalised identifiers, as if nobody else were in the list.

        Who shares a key with somebody is seen only in a list: `explain`. Cost: under 1 ms after the first one.
        """
        self.require_known(query.purpose, query.recipient)
        self._require_codes(query)
        state, around = self._projection.state(), self._circumstances
        held = [
            Withdrawal(0, Subject(*pair), "", "")
            for name in self._host.restricted_customers()
            for pair in ((bytes.fromhex(name), None), (None, bytes.fromhex(name)))
        ]
        customer = Customer("", self.subject(phone, id_no), int(id_no[6:14]) if id_no else 0)
        verdict = self._single.decide(
            state, customer, query,
            stale=around.stale(state.seq), refusals=around.slow_refusals(state.seq, query), restrictions=held,
            used_up=around.used_up(state.grants, state.terms, state.erasure, query.job),
        )  # fmt: skip
        return verdict, state

    def explain_customer(
        self, customers: pl.DataFrame, row: int, query: GrantQuery, *, names: Sequence[str]
    ) -> CustomerDecision:
        """Why the customer in this row may or may not be used; fulfils workbench.contracts.ExplainsCustomers."""
        verdicts, state = self.explain(customers, query)
        return subject_records.customer_decision(verdicts, state, row, query, names)

    def learn(self, customers: pl.DataFrame, *, list_id: str) -> Callable[[Transaction], None]:
        """Make the tokens of a list and write them ahead; call the result in the change that stores the list.

        They lie in the vault under a name that starts with `list/{list_id}/` and are erased with the list. Must not be
        called inside a change. Cost for 10^6 rows: 1.5 s.
        """
        return self._list_tokens.stage(customers, list_id=list_id)

    def forget_large(self) -> None:
        """Give back the memory of large lists and many grants; the next decision on a million costs a second more."""
        self._lists.forget_large()
        self._single.forget()
        self._projection.forget_large()

    def changed_since(self, as_of: int) -> bool:
        """True when a consent event after `as_of` exists, so that a decision must be taken anew.

        A restriction is no consent event and may have begun since: while anybody restricts, every check decides anew.
        """
        with self._host.store.read() as reader:
            return tables.newest_event(reader) > as_of or bool(self._host.restricted_customers())

    @property
    def token_key(self) -> bytes:
        """The key of the tokens, for bulk work inside this process only."""
        return self._token_key

    def surroundings(self, state: State) -> tuple[StaleSince, Flags | None]:
        """What published notices made stale, and which grants are used up, as of a state."""
        around = self._circumstances
        return around.stale(state.seq), around.used_up(state.grants, state.terms, state.erasure, "")

    def state(self) -> State:
        """Everything the registry knows now, as columns."""
        return self._projection.state()

    # ---- snapshots (row C5)

    def take_snapshot(
        self, tx: Transaction, *, job: str, attempt: int, query: GrantQuery, decision: ConsentDecision, actor: str = ""
    ) -> str:
        """Write down what a decision allows for one attempt of one job; returns the snapshot's id."""
        grants = self._projection.state().grants
        return snapshots.take(
            tx, self._host, job=job, attempt=attempt, query=query, decision=decision, actor=actor, grants=grants
        )

    def use_snapshot(self, tx: Transaction, snapshot: str, *, job: str, attempt: int, query: GrantQuery) -> None:
        """Spend a snapshot on the attempt it was taken for; Refused SNAPSHOT_USED, SNAPSHOT_STALE or SNAPSHOT_OTHER_USE."""
        snapshots.use(tx, self._host, snapshot, job=job, attempt=attempt, query=query)
        self.forget_large()  # the engine needs the memory now

    # ---- import

    def import_file(
        self,
        path: Path,
        *,
        actor: str,
        max_bad_share: float | None = None,
        mapping: Mapping[str, str] | None = None,
        folder: Path | None = None,
        proposal: str = "",
        also: Callable[[Transaction, GrantTable], Any] | None = None,
        refused: Callable[[GrantTable], Mapping[str, str]] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> importing.Imported:
        """Import a consent file: one evidence entry, safe to repeat; what is not taken is told row by row.

        folder: a ZIP of the signed forms that rows name. proposal: an approved backdating, for rows that begin before today where
        `consent.backdating_required`. refused: asked for more details of a refusal for bad rows, given the table; for instance to offer
        the rejects. max_bad_share: 0 to 1, by default the setting. also: more to write in the same transaction, given the table.
        Raises Refused or Cancelled; nothing was written then. Cost: about 12 s per 10^6 rows.
        """
        share = self._host.setting("consent.max_bad_share") if max_bad_share is None else max_bad_share
        parts = 2 if folder is None else 3
        read = read_grant_rows(
            path,
            purposes=self.purposes(),
            recipients=self.recipients(),
            today=self._host.today(),
            rules=self._open_rules(),
            mapping=mapping,
            progress=lambda done, total: progress(done, (total or done) * parts),
            cancelled=cancelled,
        )
        size = max(read.report.rows, 1)
        first, count = capture.backdated(self._host, read.frame) if proposal else (0, 0)
        if count:
            with self._host.store.read() as reader:
                backdating.require(reader, self._host, proposal, first_ms=first, grants=count, actor=actor)
        allows_past = bool(proposal) or not self._host.setting("consent.backdating_required")
        table, forms = capture.check_register(
            self._host, read, folder, allows_past=allows_past, cancelled=cancelled,
            progress=lambda done, total: progress(size + size * done // max(total, 1), size * parts),
        )  # fmt: skip
        try:
            self._require_quality(table, share, refused)
            first, count = capture.backdated(self._host, table.frame) if proposal else (0, 0)

            def inside(tx: Transaction) -> Any:
                if count:
                    backdating.spend(tx, self._host, proposal, first_ms=first, grants=count, actor=actor)
                return None if also is None else also(tx, table)

            return importing.import_table(
                self._host,
                self._projection,
                self._token_key,
                table,
                actor=actor,
                forms=forms,
                notice_digests=self.notice_digests(),
                proposal=proposal if count else "",
                also=inside,
                progress=lambda done, total: progress(size * (parts - 1) + size * done // total, size * parts),
            )
        finally:
            forms.discard(self._host)

    def _open_rules(self) -> FormRules:
        """What a form may say now; Refused EXITING while the institution is leaving."""
        exiting.require_open(self._host.store)
        return self._circumstances.form_rules(self.processors())

    def _require_quality(
        self, table: GrantTable, share: float, refused: Callable[[GrantTable], Mapping[str, str]] | None
    ) -> None:
        try:
            require_quality(table.report, share)
        except Refused as refusal:
            refusal.details.update(refused(table) if refused is not None else {})
            raise

    def read_rows(
        self, path: Path, *, mapping: Mapping[str, str] | None = None, cancelled: Callable[[], bool] = lambda: False
    ) -> GrantTable:
        """The rows of a consent file as `import_file` reads them; nothing is imported. Refused EXITING while leaving."""
        return read_grant_rows(
            path,
            purposes=self.purposes(),
            recipients=self.recipients(),
            today=self._host.today(),
            rules=self._open_rules(),
            mapping=mapping,
            cancelled=cancelled,
        )

    def import_rows(
        self, table: GrantTable, forms: documents.Forms, *, actor: str, also: Callable[[Transaction], Any] | None = None
    ) -> importing.Imported:
        """As `import_file` for rows that were read or captured; forms: those that rows name, by name, to be adopted."""
        exiting.require_open(self._host.store)
        return importing.import_table(
            self._host, self._projection, self._token_key, table, actor=actor, forms=forms,
            notice_digests=self.notice_digests(), also=also,
        )  # fmt: skip

    def notice_digests(self) -> dict[str, str]:
        """key@version -> digest in hex of every published version of a notice, for what names one."""
        return self._circumstances.notice_digests()

    # ---- withdrawal

    def withdraw(
        self,
        *,
        phone: str | None = None,
        id_no: str | None = None,
        purpose: str | None = None,
        recipient: str | None = None,
        suppress: bool = True,
        actor: str = "",
        reason: str = "",
        by: str = withdrawing.SUBJECT,
        proof: str = "",
        tx: Transaction | None = None,
    ) -> withdrawing.Withdrawn:
        """Take back what a person allowed, at once.

        phone, id_no: normalised; at least one. purpose, recipient: None means every one. suppress: also keep the
        person out of what is imported later. by, proof: who asked, see withdrawing.withdraw. tx: take part in this transaction instead of an own one.
        """
        if purpose is not None:
            self.require_known(purpose, None)
        if recipient is not None:
            self.require_known(None, recipient)
        subject = self.subject(phone, id_no)

        def change(inside: Transaction) -> withdrawing.Withdrawn:
            return withdrawing.withdraw(
                inside,
                self._host,
                subject,
                purpose=purpose or "",
                recipient=recipient or "",
                suppress=suppress,
                actor=actor,
                reason=reason,
                by=by,
                proof=proof,
            )

        return change(tx) if tx is not None else self._host.store.write(change)

    def lift_suppression(
        self, *, phone: str | None = None, id_no: str | None = None, actor: str = "", reason: str = ""
    ) -> withdrawing.Lifted:
        """Let a person in again for forms signed from now on; what was withdrawn stays withdrawn."""
        subject = self.subject(phone, id_no)
        return self._host.store.write(
            lambda tx: withdrawing.lift_suppression(tx, self._host, subject, actor=actor, reason=reason)
        )

    # ---- does what is stored hold?

    def audit(self) -> AuditResult:
        """Recompute every grant digest and every import root and compare them with the log; see `audit.AuditResult`."""
        return audit(self._host)

    # ---- words

    def purposes(self) -> dict[str, tuple[str, str]]:
        """Purpose codes with their names in Chinese and English."""
        named: Mapping[str, Sequence[str]] = self._host.setting("consent.purposes")
        return {code: (names[0], names[-1]) for code, names in named.items()}

    def recipients(self) -> tuple[PartyId, ...]:
        """Institutions a grant of this one can name: all others that are no entrusted processors."""
        entrusted = self.processors()
        return tuple(party for party in self._host.parties() if party != self._host.party and party not in entrusted)

    def processors(self) -> tuple[str, ...]:
        """Entrusted processors under a contract in force: never recipients (PIPL 21)."""
        with self._host.store.read() as reader:
            return processors.processors(reader)

    def require_known(self, purpose: str | None, recipient: str | None) -> None:
        """Refused UNKNOWN_PURPOSE or UNKNOWN_RECIPIENT; None is not looked at."""
        if purpose is not None and purpose not in self.purposes():
            known = "、".join(self.purposes())
            raise Refused(
                f"用途代码未登记。已登记：{known}",
                f"this purpose code is not registered. Registered: {', '.join(self.purposes())}",
                code="UNKNOWN_PURPOSE",
            )
        if recipient is not None and recipient not in self.recipients():
            if recipient in self.processors():
                raise processors.recipient_is_processor(recipient)
            raise Refused(
                f"接收方不是项目中的其他机构。可选：{'、'.join(self.recipients())}",
                f"the recipient is not another institution of the project. Choose: {', '.join(self.recipients())}",
                code="UNKNOWN_RECIPIENT",
            )

    def _require_codes(self, query: GrantQuery) -> None:
        """Refused UNKNOWN_CHANNEL or UNKNOWN_CATEGORY: what is not registered cannot have been agreed to."""
        channels, categories = self._host.setting("consent.channels"), self._host.setting("consent.categories")
        if query.contact and query.contact not in channels:
            raise Refused(
                f"联系渠道未登记。可选：{'、'.join(channels)}", f"this channel of contact is not registered. Choose: {', '.join(channels)}",
                code="UNKNOWN_CHANNEL",
            )  # fmt: skip
        unknown = sorted(query.categories - set(categories))
        if unknown:
            raise Refused(
                f"信息种类未登记。可选：{'、'.join(categories)}", f"this category is not registered. Choose: {', '.join(categories)}",
                code="UNKNOWN_CATEGORY",
            )  # fmt: skip

    def subject(self, phone: str | None, id_no: str | None) -> Subject:
        """Tokens of a person; identifiers normalised."""
        return Subject(
            token(self._token_key, KeyKind.PHONE, phone) if phone else None,
            token(self._token_key, KeyKind.ID_NO, id_no) if id_no else None,
        )

    def evidence_names(self, *, phone: str | None, id_no: str | None) -> list[str]:
        """Under which names evidence about this person may be sealed: own tokens, then those that signed forms add.

        Fulfils workbench.contracts.NamesCustomers. Identifiers normalised; nothing of them is kept. At most 100.
        """
        subject = self.subject(phone, id_no)
        one = Subjects(words_of(subject.phone or ABSENT), words_of(subject.id_no or ABSENT))
        forms = self.state().grants.subjects
        theirs = distinct(forms.take(meant(forms, one)))
        named = [subject.id_no, subject.phone]
        named += [token_at(words, row) for words in (theirs.id_no, theirs.phone) for row in range(min(50, len(theirs)))]
        return list(dict.fromkeys(one.hex() for one in named if one is not None))[:100]

    def imports_of(self, names: Sequence[str]) -> list[int]:
        """Entries of the own log whose imports brought a grant of the person with these tokens (hex), ascending.

        Fulfils workbench.contracts.NamesImports. A phone alone means whoever has it, as in `subjects.meant`.
        """
        wanted = words_of(b"".join(bytes.fromhex(one) for one in names))
        grants = self.state().grants.subjects
        by_id, by_phone = holds_any(grants.id_no, wanted), holds_any(grants.phone, wanted)
        theirs = by_id | (by_phone & ~is_named(grants.id_no)) if by_id.any() else by_phone
        with self._host.store.read() as reader:
            return tables.entries_of_imports(reader, np.flatnonzero(theirs) + 1)

    # ---- signed forms

    def form(self, record: int) -> bytes:
        """The signed form of a grant, held against its commitment; see documents.read."""
        return documents.read(self._host, record)

    def form_findings(self) -> list[AuditFinding]:
        """Every signed form that does not hold. Cost: reads all of them."""
        return documents.findings(self._host)

    # ---- erasures (docs/protocols/erasure.md)

    def customer_names(self, *, phones: Sequence[str], id_nos: Sequence[str]) -> tuple[str, ...]:
        """Tokens of everything that is this person's, for the evidence, lists and results of others to be found by."""
        with self._host.store.read() as reader:
            by_phone = [self.subject(one, None) for one in phones]
            return erasing.names_of(reader, by_phone, [self.subject(None, one) for one in id_nos])

    def tokens_of(self, *, phones: Sequence[str], id_nos: Sequence[str]) -> tuple[str, ...]:
        """Tokens of exactly these identifiers, in hex."""
        kinds = ((KeyKind.PHONE, phones), (KeyKind.ID_NO, id_nos))
        return tuple(token(self._token_key, kind, one).hex() for kind, values in kinds for one in values)

    def rows_named(self, customers: pl.DataFrame, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Rows of a person with these tokens. Cost: two HMACs a row where the tokens of the list are not stored."""
        return erasing.rows_named(self._tokens_of(customers), names)

    def _tokens_of(self, customers: pl.DataFrame) -> Subjects:
        stored = None
        if "customer_id" in customers.columns:
            stored = self._list_tokens.stored(self._list_tokens.digest(customers))
        return stored or self._list_tokens.make(customers)

    # ---- what the host follows to partners and exports (docs/protocols/withdrawal.md)

    def withdrawals_after(self, event: int) -> list[TakenBack]:
        """Withdrawals with a higher number; see telling.withdrawals_after."""
        with self._host.store.read() as reader:
            return telling.withdrawals_after(reader, event)

    def newest_event(self, reader: tables.Reader) -> int:
        """Number of the newest consent event as this reader sees it."""
        return tables.newest_event(reader)

    def rows_meant(self, customers: pl.DataFrame, events: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Rows whose person one of these withdrawals means. Cost: as `rows_named`."""
        with self._host.store.read() as reader:
            return telling.rows_meant(reader, self._tokens_of(customers), events)

    def erase(self, request: ErasureRequest) -> list[ErasureFinding]:
        """Withdraw and keep out, then set aside or erase grants and signed forms. See erasing.erase."""
        pairs = [self.subject(phone, number) for phone, number in erasing.pairs(request.customer)]
        return erasing.erase(self._host, request, pairs)


def counts_of(verdicts: Verdicts) -> dict[str, int]:
    """Reason code -> customers, "" for those who may be used; only what occurs."""
    found = np.bincount(verdicts.reason, minlength=len(Reason))
    return {reason.code: int(found[reason]) for reason in Reason if found[reason]}

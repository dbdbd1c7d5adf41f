"""What the registry says of some grants at one instant, as a receipt states it. docs/protocols/consent-receipt.md sections 5, 8."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from workbench.contracts import GrantQuery
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import NotFound
from workbench_consent import columns, tables
from workbench_consent.columns import GrantColumns, Term, WithdrawalColumns
from workbench_consent.erasing import records_with_forms
from workbench_consent.grants import Reason, StaleSince, scope_reason
from workbench_consent.projection import State
from workbench_consent.receipts.uses import Run, runs_of
from workbench_consent.subjects import Flags, Rows, holds_any, is_named, words_of


@dataclass(frozen=True, slots=True)
class Facts:
    """n grants, ascending by record. state: codes of the document; withdrawn_by: event, 0 where none.

    salt, form, digest: (n, 32). recorded_ms, withdrawn_ms: time of those events. kept: the signed form lies here.
    runs: newest first, each with who of these n it used; since_ms: from when on runs are known.
    """

    at_ms: int
    event: int
    size: int
    terms: tuple[Term, ...]
    records: Rows
    grants: GrantColumns
    state: list[str]
    salt: npt.NDArray[np.uint8]
    form: npt.NDArray[np.uint8]
    kept: npt.NDArray[np.bool_]
    recorded_ms: list[int]
    withdrawn_by: list[int]
    withdrawn_ms: list[int]
    runs: Sequence[Run]
    since_ms: int
    signers: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Row -> who signed for the customer, in one line with the name masked, where somebody is named."""

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True, slots=True)
class Around:
    """What a status depends on besides grants and withdrawals. used_up: (all grants) flags, None for none.

    restricted: names (tokens in hex) of customers whose data must not be used now.
    """

    stale: StaleSince = field(default_factory=dict)
    used_up: Flags | None = None
    restricted: Collection[str] = ()


NOTHING_AROUND = Around()


def gather(
    reader: tables.Reader, state: State, records: Rows, *, at_ms: int, size: int, party: str, around: Around = NOTHING_AROUND
) -> Facts:
    """The facts about these records. records: ascending, distinct. size: entries of the own log, read before `state`.

    Raises NotFound NO_GRANT_RECORD for a number that is none, GRANT_ERASED for one whose grant was erased.
    Cost: about 5 µs a record.
    """
    if not len(records) or records[0] < 1 or records[-1] > len(state.grants):
        raise NotFound("没有这条授权", "there is no such grant", code="NO_GRANT_RECORD")
    grants = taken(state.grants, records - 1)
    gone = ~(is_named(grants.subjects.phone) | is_named(grants.subjects.id_no))
    if gone.any():
        raise NotFound(
            f"授权 {int(records[np.flatnonzero(gone)[0]])} 已随客户擦除，不能出具凭据",
            f"grant {int(records[np.flatnonzero(gone)[0]])} was erased with its customer; no receipt can be issued for it",
            code="GRANT_ERASED",
        )
    salt, form = _salts_and_forms(reader, records)
    ended_by = _ended_by(grants, state.terms, state.withdrawals)
    times = {int(seq): int(at) for seq, at in reader.execute("SELECT seq, at_ms FROM consent_event")}
    forms = records_with_forms(reader)
    runs, since_ms = runs_of(reader, party, records)
    return Facts(
        at_ms=at_ms,
        event=state.seq,
        size=size,
        terms=state.terms,
        records=records,
        grants=grants,
        state=_states(grants, state, records, at_ms, around),
        salt=salt,
        form=form,
        kept=np.array([str(record) in forms for record in records.tolist()], bool),
        recorded_ms=[times.get(seq, 0) for seq in grants.seq.tolist()],
        withdrawn_by=ended_by,
        withdrawn_ms=[times.get(seq, 0) for seq in ended_by],
        runs=runs,
        since_ms=since_ms,
    )


def taken(grants: GrantColumns, rows: Rows) -> GrantColumns:
    """Some rows of all columns."""
    return replace(
        grants,
        subjects=grants.subjects.take(rows),
        term=grants.term[rows],
        from_ms=grants.from_ms[rows],
        until_ms=grants.until_ms[rows],
        seq=grants.seq[rows],
        digest=grants.digest[rows],
        withdrawn=grants.withdrawn[rows],
        rank=grants.rank[rows],
    )


def _states(grants: GrantColumns, state: State, records: Rows, at_ms: int, around: Around) -> list[str]:
    codes = np.full(len(grants), "LIVE", object)
    if around.used_up is not None:
        codes[around.used_up[records - 1]] = "UNUSABLE"
    for number in np.unique(grants.term).tolist():
        of_term = np.flatnonzero(grants.term == number)
        term = state.terms[number]
        names_phone = "phone" in term.conditions.categories or not term.conditions.categories
        kind = KeyKind.PHONE if names_phone else KeyKind.ID_NO
        told = GrantQuery(term.purpose, PartyId(term.recipient), at_ms, kind)
        reason = scope_reason(term.conditions, told, around.stale.get(term.conditions.notice, ()))
        if reason is not Reason.OK:
            codes[of_term] = "STALE" if reason is Reason.STALE else "UNUSABLE"
        query = GrantQuery(term.purpose, PartyId(term.recipient), at_ms, KeyKind.ID_NO)
        out = columns.suppressed(grants.subjects.take(of_term), state.withdrawals, query)
        codes[of_term[out]] = "SUPPRESSED"
    for name in around.restricted:
        wanted = words_of(bytes.fromhex(name))
        codes[holds_any(grants.subjects.phone, wanted) | holds_any(grants.subjects.id_no, wanted)] = "UNUSABLE"
    codes[at_ms >= grants.until_ms] = "EXPIRED"
    codes[at_ms < grants.from_ms] = "NOT_YET_VALID"
    codes[grants.withdrawn] = "WITHDRAWN"
    return [str(code) for code in codes]


def _ended_by(grants: GrantColumns, terms: Sequence[Term], withdrawals: WithdrawalColumns) -> list[int]:
    """The first event that ended each grant, 0 where none did."""
    found = np.zeros(len(grants), np.int64)
    events = np.unique(withdrawals.seq)

    def search(rows: Rows, low: int, high: int) -> None:
        """rows: ended by an event of events[low:high], by none before."""
        if not len(rows):
            return
        if high - low == 1:
            found[rows] = events[low]
            return
        middle = (low + high) // 2
        until = withdrawals.take((withdrawals.seq >= events[low]) & (withdrawals.seq < events[middle]))
        ended = columns.fold(taken(grants, rows), terms, until)
        search(rows[ended], low, middle)
        search(rows[~ended], middle, high)

    if len(events):
        search(np.flatnonzero(columns.fold(grants, terms, withdrawals)), 0, len(events))
    return [int(seq) for seq in found]


def _salts_and_forms(reader: tables.Reader, records: Rows) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    salt, form = np.zeros((len(records), 32), np.uint8), np.zeros((len(records), 32), np.uint8)
    at = 0
    while at < len(records):
        chunk = tables.chunk_holding(reader, int(records[at]))
        stop = int(np.searchsorted(records, chunk.first + chunk.rows))
        rows = records[at:stop] - chunk.first
        salt[at:stop] = np.frombuffer(chunk.salt, np.uint8).reshape(-1, 32)[rows]
        form[at:stop] = np.frombuffer(chunk.form, np.uint8).reshape(-1, 32)[rows]
        at = stop
    return salt, form

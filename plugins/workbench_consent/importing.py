"""Importing a consent file: read, tokenise, leave out what is known or suppressed, write once. docs/consent.md section 7.

Everything slow happens before the writer is asked; the write itself holds the node's one writer for about half a second
per million rows. If a consent event came in between, the comparison is made anew, so that a withdrawal that arrives during
an import is not overtaken by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.contracts import Host, Transaction
from workbench.domain.intersection import KeyKind
from workbench.errors import Refused
from workbench.intake import GrantTable
from workbench.intake.grant_scope import SIGNER_FIELDS
from workbench_consent import represented, rows, tables
from workbench_consent.columns import Term, birth_days, days_of
from workbench_consent.documents import Forms
from workbench_consent.grants import Conditions, signed_form_commitment
from workbench_consent.projection import Projection, State
from workbench_consent.subjects import Flags, Rows, Subjects, bytes_of, meant, tokens

TRIES = 5
MAX_TERMS = 60_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """Counts of one import: rows = accepted + rejected + duplicates + suppressed. root: hex, "" when nothing was new.

    event: number of the consent event, 0 when nothing was new; extra: what `also` returned.
    """

    rows: int
    accepted: int
    rejected: int
    duplicates: int
    suppressed: int
    event: int
    root: str
    extra: Any = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of a file that could become grants, as columns; documents: binary, SM3 of the
    signed form or empty, row by row."""

    subjects: Subjects
    term: npt.NDArray[np.uint16]
    terms: tuple[Term, ...]
    from_ms: Rows
    until_ms: Rows
    documents: pl.Series
    files: pl.Series
    """Name of the file of the signed form in the folder that came along, null where there is none."""
    signers: pl.DataFrame | None = field(default=None, repr=False)
    """Columns SIGNER_FIELDS: who signed for the customer, null where the customer did; None where no row says anything."""

    def take(self, keep: Flags) -> Candidates:
        chosen = np.flatnonzero(keep)
        return Candidates(
            self.subjects.take(chosen),
            self.term[chosen],
            self.terms,
            self.from_ms[chosen],
            self.until_ms[chosen],
            self.documents.gather(chosen),
            self.files.gather(chosen),
            None if self.signers is None else self.signers[chosen],
        )


class _Moved(Exception):
    """A consent event happened between comparing and writing."""


def import_table(
    host: Host,
    projection: Projection,
    token_key: bytes,
    table: GrantTable,
    *,
    actor: str,
    forms: Forms | None = None,
    notice_digests: Mapping[str, str] | None = None,
    proposal: str = "",
    also: Callable[[Transaction], Any] | None = None,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Add the grants of a file to the registry; one evidence entry, all or nothing.

    proposal: the backdating that covers it, "" where none was needed. also: more to write in the same transaction, such as offering the rejects; its result is handed back.
    Raises Refused IMPORT_BUSY when withdrawals kept coming in between. Cost: about 8 s per 10^6 rows.
    """
    progress(0, 3)
    candidates = candidates_of(table.frame, token_key, notice_digests)
    for _ in range(TRIES):
        state = projection.state()
        progress(1, 3)
        kept_out = suppressed_rows(candidates, state)
        with host.store.read() as reader:
            known = known_rows(candidates, state, reader) & ~kept_out
        fresh = candidates.take(~kept_out & ~known)
        counts = {
            "rows": table.report.rows,
            "accepted": len(fresh.subjects),
            "rejected": table.report.rejected,
            "duplicates": table.report.duplicates + int(known.sum()),
            "suppressed": int(kept_out.sum()),
        }
        prepared = prepare(fresh, state, party=host.party, random=host.random)
        progress(2, 3)
        try:
            people = represented.blocks(fresh.signers, prepared.first)
            kept = {prepared.first + row: name for row, name in enumerate(fresh.files.to_list()) if name is not None}
            change = _change(
                host, prepared, state.seq, counts, file=table.report.file, actor=actor, also=also, forms=forms or Forms(),
                kept=kept, people=people, proposal=proposal,
            )  # fmt: skip
            result = host.store.write(change, timeout_s=300.0)
        except _Moved:
            continue
        progress(3, 3)
        return result
    raise Refused(
        "导入期间不断有撤回，请稍后再导入；没有写入任何内容",
        "withdrawals kept arriving during the import: import again later; nothing was written",
        code="IMPORT_BUSY",
    )


def candidates_of(
    frame: pl.DataFrame, token_key: bytes, notice_digests: Mapping[str, str] | None = None
) -> Candidates:
    """The frame of an import as columns. notice_digests: key@version -> hex. Cost: two HMACs a row."""
    named = _named_terms(frame, notice_digests or {})
    distinct = named.unique(maintain_order=True).with_row_index("term")
    if distinct.height > MAX_TERMS:
        raise _too_many_terms()
    numbers = named.join(distinct, on=named.columns, how="left", maintain_order="left")["term"]
    return Candidates(
        subjects=Subjects(
            tokens(token_key, KeyKind.PHONE, frame["phone"]), tokens(token_key, KeyKind.ID_NO, frame["id_no"])
        ),
        term=numbers.to_numpy().astype(np.uint16),
        terms=tuple(_term(*row) for row in distinct.drop("term").iter_rows()),
        from_ms=frame["valid_from_ms"].to_numpy().astype(np.int64),
        until_ms=frame["valid_until_ms"].to_numpy().astype(np.int64),
        documents=frame["document_digest"].fill_null("").str.decode("hex"),
        files=frame["document"] if "document" in frame.columns else pl.Series([None], dtype=pl.String).new_from_index(0, frame.height),
        signers=_signers(frame),
    )


def _signers(frame: pl.DataFrame) -> pl.DataFrame | None:
    """Who signed for whom, row by row; None where nobody is named."""
    if "signer_name" not in frame.columns or frame["signer_name"].null_count() == frame.height:
        return None
    return frame.select(list(SIGNER_FIELDS))


_CONDITIONS = {
    "notice": "", "categories": "", "contacts": "", "method": "", "signer": "", "separate": False, "max_uses": 0,
}  # fmt: skip
"""Columns that say what a form says besides purpose, recipient and channel, and what stands for an empty cell."""


def _named_terms(frame: pl.DataFrame, notice_digests: Mapping[str, str]) -> pl.DataFrame:
    """What rows have in common, row by row; columns a frame does not have are empty."""
    present = [pl.col(name).fill_null(empty) for name, empty in _CONDITIONS.items() if name in frame.columns]
    absent = [pl.lit(empty).alias(name) for name, empty in _CONDITIONS.items() if name not in frame.columns]
    unknown = set(frame["notice"].drop_nulls().unique()) - set(notice_digests) - {""} if "notice" in frame.columns else set()
    if unknown:
        raise ValueError("rows name versions of notices whose digest is not given")
    born = birth_days(frame["id_no"]).astype(np.int64)
    began = days_of(frame["valid_from_ms"].to_numpy().astype(np.int64))
    return frame.select("purpose", "recipient", pl.col("channel").fill_null(""), *present).select(
        "purpose", "recipient", "channel", *[pl.col(one) for one in _CONDITIONS if one in frame.columns], *absent
    ).select("purpose", "recipient", "channel", *_CONDITIONS).with_columns(
        minor=pl.Series((born != 0) & (began <= born + 140_000)),
        notice_digest=pl.col("notice").replace_strict(dict(notice_digests), default=""),
    )  # fmt: skip


def _term(
    purpose: str, recipient: str, channel: str, notice: str, categories: str, contacts: str, method: str, signer: str, separate: bool,
    max_uses: int, minor: bool, notice_digest: str,
) -> Term:  # fmt: skip
    named, reached = (tuple(text.split(",")) if text else () for text in (categories, contacts))
    return Term(
        purpose, recipient, channel, Conditions(notice, notice_digest, named, reached, method, signer, minor, separate, max_uses)
    )


def suppressed_rows(candidates: Candidates, state: State) -> Flags:
    """Rows of people who are kept out for the row's purpose and recipient (row B11)."""
    found = np.zeros(len(candidates.subjects), bool)
    if not state.withdrawals.keeps_out.any():
        return found
    for number, term in enumerate(candidates.terms):
        of_term = np.flatnonzero(candidates.term == number)
        active = state.withdrawals.in_force(term.purpose, term.recipient)
        found[of_term] = meant(candidates.subjects.take(of_term), active.subjects)
    return found


def known_rows(candidates: Candidates, state: State, reader: tables.Reader) -> Flags:
    """Rows the registry already holds, signed form included.

    A form that was withdrawn is known too: importing it once more does not bring it back.
    """
    found = np.zeros(len(candidates.subjects), bool)
    if not len(state.grants):
        return found
    numbers = {term: number for number, term in enumerate(state.terms)}
    translated = np.array([numbers.get(term, -1) for term in candidates.terms], np.int64)
    old = _fields(state.grants.subjects, state.grants.term, state.grants.from_ms, state.grants.until_ms)
    new = _fields(candidates.subjects, translated[candidates.term], candidates.from_ms, candidates.until_ms)
    pairs = new.with_row_index("new").join(old.with_row_index("old"), on=old.columns, how="inner").sort("old")
    # The stored commitment is salted, so whether the form is the same shows only by committing to the new one likewise.
    chunk: rows.Chunk | None = None
    documents = candidates.documents.gather(pairs["new"])
    for row, index, document in zip(pairs["new"], pairs["old"], documents, strict=True):
        if chunk is None or index + 1 >= chunk.first + chunk.rows:
            chunk = tables.chunk_holding(reader, index + 1)
        at = 32 * (index + 1 - chunk.first)
        form = signed_form_commitment(chunk.salt[at : at + 32], document, index + 1)
        found[row] |= form == chunk.form[at : at + 32]
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """Chunks without their event number, and the terms that are new."""

    chunks: tuple[rows.Chunk, ...]
    new_terms: tuple[Term, ...]
    root: bytes
    first: int = 0
    """Number of the first record."""


def prepare(fresh: Candidates, state: State, *, party: str, random: Callable[[int], bytes]) -> Prepared:
    """Salts, commitments and digests of new grants, whose records follow those of `state`. Cost: about 4 µs a row."""
    used = [fresh.terms[number] for number in np.unique(fresh.term).tolist()]
    known = set(state.terms)
    new_terms = tuple(term for term in used if term not in known)
    terms = (*state.terms, *new_terms)
    if len(terms) > MAX_TERMS:
        raise _too_many_terms()
    numbers = {term: number for number, term in enumerate(terms)}
    translated = np.array([numbers.get(term, 0) for term in fresh.terms], np.uint16)
    term = translated[fresh.term] if len(fresh.term) else np.zeros(0, np.uint16)
    first, count = len(state.grants) + 1, len(fresh.subjects)
    chunks = tuple(
        _chunk(
            fresh, term, terms, slice(start, min(start + rows.CHUNK_ROWS, count)), first, state.seq + 1, party, random
        )
        for start in range(0, count, rows.CHUNK_ROWS)
    )
    return Prepared(chunks, new_terms, rows.import_root(chunks) if chunks else b"", first)


def _chunk(
    fresh: Candidates,
    term: npt.NDArray[np.uint16],
    terms: tuple[Term, ...],
    part: slice,
    first: int,
    seq: int,
    party: str,
    random: Callable[[int], bytes],
) -> rows.Chunk:
    count = part.stop - part.start
    salts = random(rows.SALT_SIZE * count)
    forms = rows.commit_forms(salts, fresh.documents[part].to_list(), first + part.start)
    digests = rows.digest_grants(
        party=party,
        terms=terms,
        term=term[part],
        from_ms=fresh.from_ms[part],
        until_ms=fresh.until_ms[part],
        salts=salts,
        forms=forms,
    )
    return rows.Chunk(
        first=first + part.start,
        seq=seq,
        rows=count,
        phone=bytes_of(fresh.subjects.phone[:, part]),
        id_no=bytes_of(fresh.subjects.id_no[:, part]),
        term=term[part].astype("<u2").tobytes(),
        from_ms=fresh.from_ms[part].astype("<i8").tobytes(),
        until_ms=fresh.until_ms[part].astype("<i8").tobytes(),
        salt=salts,
        form=forms,
        digest=digests,
    )


def _change(
    host: Host,
    prepared: Prepared,
    as_of: int,
    counts: Mapping[str, int],
    *,
    file: str,
    actor: str,
    also: Callable[[Transaction], Any] | None,
    forms: Forms,
    kept: Mapping[int, str],
    people: Sequence[represented.Block] = (),
    proposal: str = "",
) -> Callable[[Transaction], Imported]:
    def change(tx: Transaction) -> Imported:
        if tables.newest_event(tx) != as_of:
            raise _Moved
        event = as_of + 1 if prepared.chunks else 0
        first = prepared.chunks[0].first if prepared.chunks else 0
        values = {name: str(count) for name, count in counts.items()}
        values |= {"root": prepared.root.hex(), "file": file, "documents": str(len(kept)), "event": str(event), "first_record": str(first), "proposal": proposal}
        entry = host.evidence.append(tx, "consent.imported", values, actor=actor)
        if prepared.chunks:
            tables.add_terms(tx, prepared.new_terms)
            tables.add_event(
                tx,
                "imported",
                seq=event,
                entry=entry.index,
                at_ms=host.now_ms(),
                actor=actor,
                first=first,
                rows=counts["accepted"],
                root=prepared.root,
            )
            tables.add_chunks(tx, prepared.chunks)
            forms.adopt(tx, host, kept)
            represented.keep(tx, host, event, people)
        extra = also(tx) if also is not None else None
        return Imported(event=event, root=prepared.root.hex(), extra=extra, **counts)

    return change


def _fields(subjects: Subjects, term: npt.NDArray[Any], from_ms: Rows, until_ms: Rows) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "phone_high": subjects.phone[0],
            "phone_low": subjects.phone[1],
            "id_high": subjects.id_no[0],
            "id_low": subjects.id_no[1],
            "term": term.astype(np.int64),
            "from_ms": from_ms,
            "until_ms": until_ms,
        }
    )


def _too_many_terms() -> Refused:
    return Refused(
        "授权文件的渠道写法太多，请统一渠道名称后再导入",
        "the consent file has too many different channels: use few names and import again",
        code="TOO_MANY_CHANNELS",
    )

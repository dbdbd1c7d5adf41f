"""Letters of one node: post in the transaction of a change, deliver until answered, receive once, keep the answers.

Document: docs/protocols/letters.md. Promises: a letter exists exactly when its change does; it takes effect at the partner once;
its signed acknowledgement is kept; a partner that is away delays no other and nothing is lost by a stop of either node.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.channel.letter import (
    KIND,
    OpenedAnswer,
    OpenedLetter,
    answer_header,
    digest_of,
    letter_header,
    open_answer,
    open_letter,
    seal_answer,
    seal_letter,
)
from workbench.contracts import HealthReport, Letter, LetterKind, LetterState, PeerCall, Transaction
from workbench.domain.party import PartyId
from workbench.errors import NotFound, PeerUnavailable, ProtocolViolation, Refused, WorkbenchError
from workbench.store.outbox import Outbox

if TYPE_CHECKING:
    from workbench.host import Workbench

PATH = "letter"
WORKERS = 8
HOUR_MS = 3_600_000
WEEK_MS = 168 * HOUR_MS
PARTNER_LEFT = "PARTNER_LEFT"
_STATE = "letter, peer, kind, job, posted_ms, acknowledged_ms, code, answer, outbox"


@dataclass(frozen=True, slots=True)
class LetterCounts:
    """Letters to one partner: how many wait and since when, how many were refused, and the last error of a delivery."""

    partner: PartyId
    waiting: int
    oldest_ms: int
    refused: int
    last_error: str


class LetterService:
    """Sender and receiver of letters; fulfils workbench.contracts.Letters."""

    def __init__(self, host: Workbench, outbox: Outbox, kinds: Sequence[LetterKind]) -> None:
        self._host = host
        self._outbox = outbox
        self._kinds = _by_name(kinds)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._busy: set[str] = set()
        self._silent: set[str] = set()
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="letter")
        self._thread = threading.Thread(target=self._work, name="letters", daemon=True)

    # ---- life

    def start(self) -> None:
        """Deliver what waits, also from before the start."""
        self._silent |= {one.peer for one in self._outbox.waiting(path=PATH)}
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Something was posted: look now."""
        self._wake.set()

    def heard(self, party: PartyId) -> None:
        """A sign of life of a partner that was silent: what waits for it is due at once."""
        if party not in self._silent:
            return
        self._silent.discard(party)
        host = self._host
        host.store.write(lambda tx: self._outbox.hasten(tx, party, host.now_ms()))
        self.wake()

    # ---- sender

    def post(self, tx: Transaction, *, to: PartyId, kind: str, body: bytes, job: str = "") -> str:
        """See workbench.contracts.Letters. Cost: one SM3 of the body and four small rows."""
        host = self._host
        if to == host.party or to not in host.parties():
            raise Refused(
                f"{to} 不在伙伴名单上，信函没有写下", f"{to} is not on the allow-list; the letter was not written",
                code="UNKNOWN_PARTNER",
            )  # fmt: skip
        letter_id = host.random(16).hex()
        now = host.now_ms()
        header = letter_header(
            letter_id=letter_id, kind=kind, sender=host.party, recipient=to, job=job, body=body, time_ms=now
        )
        host.vault.put(tx, _object(letter_id), body)
        number = self._outbox.put(tx, to, PATH, letter_id.encode())
        tx.execute(
            "INSERT INTO host_letter (direction, peer, letter, kind, job, digest, header, posted_ms, outbox)"
            " VALUES ('out', ?, ?, ?, ?, ?, ?, ?, ?)",
            (to, letter_id, kind, job, digest_of(header), header, now, number),
        )
        host.evidence.append(
            tx,
            "letter.posted",
            {"partner": to, "kind": kind, "letter": letter_id, "digest": digest_of(header), "size": str(len(body))},
            job=job,
        )
        self._wake.set()  # the transaction is not on disk yet; the round a second later finds it in any case
        return letter_id

    def state(self, reader: sqlite3.Connection | Transaction, letter_id: str) -> LetterState:
        """See workbench.contracts.Letters."""
        row = reader.execute(
            f"SELECT {_STATE} FROM host_letter WHERE direction = 'out' AND letter = ?", (letter_id,)
        ).fetchone()
        if row is None:
            raise NotFound("没有这封信函", "there is no such letter", code="NO_LETTER")
        return _state(reader, row)

    def counts(self, *, refused_after_ms: int = 0) -> list[LetterCounts]:
        """How letters to every partner stand; partners without any are left out. refused_after_ms: count only refusals since."""
        with self._host.store.read() as reader:
            waiting = {str(one.peer): one for one in self._outbox.waiting(path=PATH)}
            rows = reader.execute(
                "SELECT peer, count(*) FROM host_letter WHERE direction = 'out' AND code <> '' AND acknowledged_ms > ?"
                " GROUP BY peer",
                (refused_after_ms,),
            ).fetchall()
        refused = {str(row[0]): int(row[1]) for row in rows}
        return [
            LetterCounts(
                PartyId(peer), waiting[peer].count if peer in waiting else 0, waiting[peer].oldest_ms if peer in waiting else 0,
                refused.get(peer, 0), waiting[peer].last_error if peer in waiting else "",
            )
            for peer in sorted({*waiting, *refused})
        ]  # fmt: skip

    def health(self) -> list[HealthReport]:
        """A line per partner for which letters wait, or that refused some this week; one line when all is well."""
        lines = []
        for one in self.counts(refused_after_ms=self._host.now_ms() - WEEK_MS):
            if one.last_error:
                lines.append(
                    HealthReport(
                        "letters", "warning",
                        f"有 {one.waiting} 封给 {one.partner} 的信函没有送达（{one.last_error}），自动重试。运维联系对方",
                        f"{one.waiting} letters to {one.partner} are not delivered ({one.last_error}); they are tried again by"
                        " themselves. Operations call them",
                    )
                )  # fmt: skip
            if one.refused:
                lines.append(
                    HealthReport(
                        "letters", "warning",
                        f"{one.partner} 一周内拒收了 {one.refused} 封信函。合规岗查看原因并联系对方",
                        f"{one.partner} refused {one.refused} letters this week. Compliance looks at the reasons and calls them",
                        "compliance",
                    )
                )  # fmt: skip
        return lines or [HealthReport("letters", "ok", "给其他机构的信函都已送达", "every letter to other institutions is delivered")]

    def deliver_due(self) -> None:
        """Deliver everything that is due, partner by partner side by side, and wait for it."""
        for future in [self._workers.submit(self._deliver_to, peer, ids) for peer, ids in self._due().items()]:
            future.result()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                for peer, ids in self._due().items():
                    self._workers.submit(self._deliver_to, peer, ids)
            except Exception as fault:  # the queue must survive any single fault
                self._host.log_fault(fault)
                self._stop.wait(1.0)
            self._wake.wait(timeout=1.0)
            self._wake.clear()

    def _due(self) -> dict[str, list[tuple[int, str]]]:
        """(number in the outbox, letter) by partner, for those that nobody delivers to at this moment."""
        found: dict[str, list[tuple[int, str]]] = {}
        with self._lock:
            for item in self._outbox.due(self._host.now_ms(), path=PATH):
                if item.peer not in self._busy:
                    found.setdefault(item.peer, []).append((item.id, item.body.decode()))
            self._busy |= set(found)
        return found

    def _deliver_to(self, peer: str, items: Sequence[tuple[int, str]]) -> None:
        try:
            for number, letter_id in items:
                if self._stop.is_set() or not self._deliver(PartyId(peer), number, letter_id):
                    return
        except Exception as fault:  # a fault with one partner must not end the deliveries to it for ever
            self._host.log_fault(fault)
            self._stop.wait(1.0)
        finally:
            with self._lock:
                self._busy.discard(peer)

    def _deliver(self, party: PartyId, number: int, letter_id: str) -> bool:
        """One delivery; False when the partner is silent, so that the rest waits."""
        host = self._host
        if party not in host.parties():
            host.store.write(lambda tx: self._close(tx, party, number, letter_id, None, PARTNER_LEFT))
            return True
        with host.store.read() as reader:
            row = reader.execute(
                "SELECT header FROM host_letter WHERE direction = 'out' AND letter = ?", (letter_id,)
            ).fetchone()
            header, body = bytes(row[0]), host.vault.get(reader, _object(letter_id))
        try:
            sealed = seal_letter(header, body, key=host.keys.message)
            reply = host.links.call(party, PATH, sealed, timeout_s=min(30.0, float(host.setting("node.step_timeout_s"))))
            answer = open_answer(reply, letter=header, key=host.pinned_keys(party).message)
        except WorkbenchError as error:
            code = error.code
            host.store.write(lambda tx: self._outbox.failed(tx, number, host.now_ms(), code))
            self._silent.add(party)
            return not isinstance(error, PeerUnavailable)
        host.store.write(lambda tx: self._close(tx, party, number, letter_id, (answer, reply), answer.header.code))
        self._silent.discard(party)
        host.sealing.wake()
        return True

    def _close(
        self, tx: Transaction, party: PartyId, number: int, letter_id: str, given: tuple[OpenedAnswer, bytes] | None, code: str
    ) -> None:
        """Keep the acknowledgement or the refusal, shred the body, record it, tell who posted it."""
        host = self._host
        now = host.now_ms()
        if not self._outbox.done(tx, number, now):
            return
        opened, raw = given if given is not None else (None, b"")
        tx.execute(
            "UPDATE host_letter SET acknowledged_ms = ?, code = ?, acknowledgement = ?, answer = ?"
            " WHERE direction = 'out' AND letter = ?",
            (now, code, raw, opened.answer if opened else b"", letter_id),
        )
        host.vault.shred(tx, _object(letter_id))
        row = tx.execute(
            f"SELECT {_STATE}, digest FROM host_letter WHERE direction = 'out' AND letter = ?", (letter_id,)
        ).fetchone()
        state = _state(tx, row)
        values = {
            "partner": party, "kind": state.kind, "letter": letter_id, "digest": str(row["digest"]),
            "answer": opened.digest if opened else "", "code": code,
        }  # fmt: skip
        host.evidence.append(tx, "letter.acknowledged", values, job=state.job)
        kind = self._kinds.get(state.kind)
        if kind is not None and kind.acknowledged is not None:
            kind.acknowledged(tx, state)

    # ---- recipient

    def receive(self, call: PeerCall) -> bytes:
        """A letter from the peer API: check, take once, answer. Refusals and their order: section 3 of the document."""
        host = self._host
        letter = open_letter(call.body, peer=call.peer, own=host.party, key=host.pinned_keys(call.peer).message)
        self.heard(call.peer)
        kept = self._taken_before(letter)
        if kept is None:
            self._require_place(letter)
            kept = self._take(letter)
            host.sealing.wake()
        header, answer = kept
        return seal_answer(header, answer, key=host.keys.message)

    def _taken_before(self, letter: OpenedLetter, tx: Transaction | None = None) -> tuple[bytes, bytes] | None:
        """The stored acknowledgement of this very letter; ProtocolViolation for another letter under its id."""
        query = "SELECT digest, acknowledgement, answer FROM host_letter WHERE direction = 'in' AND peer = ? AND letter = ?"
        key = (letter.header.sender, letter.header.id)
        if tx is not None:
            row = tx.execute(query, key).fetchone()
        else:
            with self._host.store.read() as reader:
                row = reader.execute(query, key).fetchone()
        if row is None:
            return None
        if row[0] != letter.digest:
            raise ProtocolViolation(
                "信函编号已用于另一封信函", "the id of this letter was used for another letter", code="LETTER_ID_REUSED"
            )
        return bytes(row[1]), bytes(row[2])

    def _require_place(self, letter: OpenedLetter) -> None:
        host, now = self._host, self._host.now_ms()
        if letter.header.time_ms > now + 1000 * int(host.setting("node.max_skew_s")):
            raise ProtocolViolation(
                "信函的时间晚于本机构时钟，请双方校时", "the letter's time is later than this clock; set both clocks",
                code="CLOCK_SKEW",
            )  # fmt: skip
        with host.store.read() as reader:
            count = reader.execute(
                "SELECT count(*) FROM host_letter WHERE direction = 'in' AND peer = ? AND acknowledged_ms > ?",
                (letter.header.sender, now - HOUR_MS),
            ).fetchone()[0]
        if count >= int(host.setting("letters.most_an_hour")):
            raise Refused(
                "一小时内收到的信函已达上限，请稍后再送", "too many letters came within an hour; deliver later",
                code="TOO_MANY_LETTERS",
            )  # fmt: skip

    def _take(self, letter: OpenedLetter) -> tuple[bytes, bytes]:
        """The effect, its acknowledgement and its entry in one transaction; a refusal instead, in another."""
        store = self._host.store
        kind = self._kinds.get(letter.header.kind)
        if kind is None:
            return store.write(lambda tx: self._keep(tx, letter, "UNKNOWN_LETTER_KIND", b""))
        asked = _letter(letter)
        try:
            if kind.prepare is not None:
                asked = replace(asked, prepared=kind.prepare(asked))
            return store.write(lambda tx: self._effect(tx, letter, asked, kind))
        except (Refused, ProtocolViolation) as refusal:
            code = refusal.code
            return store.write(lambda tx: self._keep(tx, letter, code, b""))

    def _effect(self, tx: Transaction, letter: OpenedLetter, asked: Letter, kind: LetterKind) -> tuple[bytes, bytes]:
        before = self._taken_before(letter, tx)
        return before if before is not None else self._keep(tx, letter, "", kind.receive(tx, asked))

    def _keep(self, tx: Transaction, letter: OpenedLetter, code: str, answer: bytes) -> tuple[bytes, bytes]:
        before = self._taken_before(letter, tx)  # another delivery may have come first
        if before is not None:
            return before
        host, head = self._host, letter.header
        now = host.now_ms()
        header = answer_header(letter, code=code, answer=answer, time_ms=now)
        tx.execute(
            "INSERT INTO host_letter (direction, peer, letter, kind, job, digest, header, posted_ms, acknowledged_ms, code,"
            " acknowledgement, answer) VALUES ('in', ?, ?, ?, ?, ?, x'', ?, ?, ?, ?, ?)",
            (head.sender, head.id, head.kind, head.job, letter.digest, head.time_ms, now, code, header, answer),
        )
        values = {
            "partner": head.sender, "kind": head.kind, "letter": head.id, "digest": letter.digest, "size": str(head.size),
            "answer": digest_of(header), "code": code,
        }  # fmt: skip
        host.evidence.append(tx, "letter.received", values, job=head.job)
        return header, answer


def _by_name(kinds: Sequence[LetterKind]) -> Mapping[str, LetterKind]:
    found: dict[str, LetterKind] = {}
    for one in kinds:
        if not KIND.fullmatch(one.name) or one.name in found:
            raise ValueError(f"the letter kind {one.name} is registered twice or has another form")
        found[one.name] = one
    return found


def _object(letter_id: str) -> str:
    return f"letter/{letter_id}"


def _letter(opened: OpenedLetter) -> Letter:
    head = opened.header
    return Letter(head.id, head.sender, head.kind, head.job, head.time_ms, opened.digest, opened.body)


def _state(reader: sqlite3.Connection | Transaction, row: Any) -> LetterState:
    waits = reader.execute("SELECT tries, last_error FROM outbox WHERE id = ?", (row["outbox"],)).fetchone()
    return LetterState(
        id=row["letter"], to=PartyId(row["peer"]), kind=row["kind"], job=row["job"], posted_ms=row["posted_ms"],
        acknowledged_ms=row["acknowledged_ms"], refused_code=row["code"], answer=bytes(row["answer"]),
        tries=waits[0] if waits else 0, last_error=waits[1] if waits else "",
    )  # fmt: skip


__all__ = ["LetterCounts", "LetterService"]

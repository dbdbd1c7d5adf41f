"""The ledger of one node: its own log, co-signed by the others, and its mirrors of theirs.

Document: docs/protocols/evidence.md. Fulfils workbench.contracts.Ledger. Promises: an entry and both trees change in
the caller's transaction or not at all; a checkpoint is on disk before anybody sees it; no checkpoint contradicts an
earlier one; what is handed out as a receipt verifies offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from workbench.contracts import Store, Transaction
from workbench.domain import receipt as receipts
from workbench.domain.checkpoint import (
    DEFAULT_PROJECT,
    Checkpoint,
    PartyKeys,
    VerifiedNote,
    format_checkpoint,
    parse_lines,
    read_cosignature,
    sign_log,
)
from workbench.domain.envelope import (
    MAX_BODY_BYTES,
    BuiltBody,
    Opening,
    check_opening,
    parse_envelope,
)
from workbench.domain.evidence import AuditReport, EntryProof, EntryRef, HeadConflict, SealState
from workbench.domain.membership import MemberEntry
from workbench.domain.package import PackageOrder, PackageSummary
from workbench.domain.party import PartyId
from workbench.errors import NotFound, VerificationError
from workbench_ledger import messages, tables
from workbench_ledger.audit import FetchBodies, run_audit
from workbench_ledger.context import Context, CosigningKeys, Record, no_kinds, no_participants, no_record
from workbench_ledger.exchange_desk import ExchangeDesk
from workbench_ledger.membership import Members
from workbench_ledger.messages import MirrorRequest
from workbench_ledger.mirror import ROLLED_BACK, Mirror, rolled_back
from workbench_ledger.package.build import build_package
from workbench_ledger.policy import PendingCounter, best_head, explicit, members_at, requirement_of, seal_of
from workbench_ledger.restore import find_lost
from workbench_ledger.search import SearchIndex


class Ledger:
    """See workbench.contracts.Ledger.

    keys: the secret co-signing keys of this institution. pinned: gives the public keys of every institution of the
    project, this one included, whenever asked. now_ms: the clock of co-signatures. record: writes evidence entries
    about refusals and contradictions.
    """

    name = "transparency-log"

    def __init__(
        self,
        store: Store,
        party: PartyId,
        keys: CosigningKeys,
        pinned: Callable[[], Mapping[PartyId, PartyKeys]],
        now_ms: Callable[[], int],
        *,
        project: str = DEFAULT_PROJECT,
        record: Record = no_record,
        participants: Callable[[PartyId, str], frozenset[PartyId]] = no_participants,
        mldsa_kinds: Callable[[], Sequence[str]] = no_kinds,
    ) -> None:
        self._members = Members(store, party)
        self._context = Context(
            store=store,
            party=party,
            project=project,
            keys=keys,
            pinned=lambda: self._members.of(pinned()),
            now_ms=now_ms,
            record=record,
            may_write=self._may_write,
            note_members=self._members.note,
            participants=participants,
            mldsa_kinds=mldsa_kinds,
        )
        self._pending = PendingCounter(self._context, party)
        self._store = store
        self._party = party
        self._mirror = Mirror(self._context)
        self.index = SearchIndex(self._context)
        self._told: dict[PartyId, frozenset[PartyId]] = {}
        self._is_shut = False
        self.exchange = ExchangeDesk(self, self._context, self._mirror)

    # ---- the own log

    def append(self, tx: Transaction, bodies: Sequence[bytes]) -> list[EntryRef]:
        """Add canonical envelopes of this log to both trees; returns where they lie.

        Raises ValueError for bodies that are no envelopes of this log: mirrors would refuse them for ever. Raises
        VerificationError (ROLLED_BACK) while the log lacks entries it has signed, (LEDGER_CLOSED) while it is shut. Cost:
        60 microseconds an entry in batches of a hundred.
        """
        for body in bodies:
            self._check_body(body)
        self._check_not_rolled_back(tx)
        if self._is_shut:
            raise shut(self._party)
        return self._write(tx, bodies)

    def shut(self) -> None:
        """Take no entry and send no own head until `open`: nobody has confirmed yet that this log is complete."""
        self._is_shut = True

    def open(self) -> None:
        """Take entries again; a log that lacks what it signed stays closed all the same."""
        self._is_shut = False

    def why_closed(self) -> VerificationError | None:
        """Why the own log takes no entry now; None when it does."""
        lost = self.exchange.lost()
        if lost is not None:
            return rolled_back(self._party, lost.size, lost.signed)
        return shut(self._party) if self._is_shut else None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open inside one change of the store, and as before afterwards."""
        before, self._is_shut = self._is_shut, False
        try:
            yield
        finally:
            self._is_shut = before

    def is_open(self) -> bool:
        """Whether the own log takes entries now."""
        return self.why_closed() is None

    def entry_bodies(self, log: PartyId, start: int, stop: int) -> list[bytes]:
        """Bodies of entries start <= index < stop of the own log or of a mirror, as far as there are."""
        with self._store.read() as reader:
            return tables.read_bodies(reader, log, start, stop, own=log == self._party)

    def leaves(self, log: PartyId, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """SHA-256 and SM3 leaf hashes as stored when these entries were written, as far as there are."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT sha256, sm3 FROM ledger_node WHERE log = ? AND level = 0 AND idx >= ? AND idx < ? ORDER BY idx",
                (log, start, stop),
            ).fetchall()
        return [(bytes(sha256), bytes(sm3)) for sha256, sm3 in rows]

    def size(self, log: PartyId) -> int:
        """Number of entries of the own log or of a mirror."""
        with self._store.read() as reader:
            return tables.read_head(reader, log).size

    def roots(self, log: PartyId) -> tuple[int, bytes, bytes]:
        """Size, SHA-256 root and SM3 root of the own log or of a mirror."""
        with self._store.read() as reader:
            head = tables.read_head(reader, log)
        return head.size, *head.roots

    def roots_at(self, log: PartyId, size: int) -> tuple[bytes, bytes]:
        """Both roots of the first `size` entries of the own log or of a mirror. Cost: about 0.1 ms at 10^6 entries.

        Raises NotFound when fewer are held, VerificationError (TREE) when the stored tree is damaged.
        """
        with self._store.read() as reader:
            self._check_held(reader, log, size)
            return tables.roots_at(reader, log, size)

    def consistency(self, log: PartyId, old: int, new: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Paths in both trees from the first `old` to the first `new` entries, 0 <= old <= new. Cost, errors: as `roots_at`."""
        with self._store.read() as reader:
            self._check_held(reader, log, new)
            sha256, sm3 = tables.consistency_paths(reader, log, old, new)
        return tuple(sha256), tuple(sm3)

    def seal_state(self, log: PartyId, index: int, *, required: Sequence[PartyId]) -> SealState:
        """As `seal`, for exactly these required institutions instead of the policy."""
        with self._store.read() as reader:
            return seal_of(self._context, reader, log, index, explicit(required))

    def seal(self, log: PartyId, index: int) -> SealState:
        """Pending, sealed or full by the policy of the entry's kind (docs/protocols/ledger.md section 3).

        Looks at the best single checkpoint that covers the entry. An entry that is not held is pending.
        """
        with self._store.read() as reader:
            bodies = tables.read_bodies(reader, log, index, index + 1, own=log == self._party)
            needed = requirement_of(self._context, log, index, bodies[0] if bodies else b"")
            return seal_of(self._context, reader, log, index, needed)

    def pending(self) -> tuple[int, int]:
        """(sealed, pending) entries of the own log by the policy of each entry's kind; sealed counts full ones too."""
        return self._pending.count()

    def keys(self) -> Mapping[PartyId, PartyKeys]:
        """Co-signing keys of every institution, present and former, with the logs' members they tell of."""
        return self._context.pinned()

    def own_checkpoint(self) -> str:
        """The newest checkpoint of the own log with all co-signatures known, made first if the log has grown.

        Raises NotFound for an empty log, VerificationError (TREE) when the log changed under what it signed before.
        """
        with self._store.read() as reader:
            size = tables.read_head(reader, self._party).size
        if not size:
            raise NotFound("日志还没有记录，没有检查点", "the log has no entry yet and so no checkpoint")
        return self._own_note(size).format()

    def start(self) -> None:
        """Record the start with size and roots, after a quick look that the log continues what it signed.

        Raises VerificationError when it does not.
        """
        with self._store.read() as reader:
            head = tables.read_head(reader, self._party)
            self._check_continues(reader, head.size)
        size, sha256, sm3 = head.size, *head.roots
        values = {"size": str(size), "sha256_root": sha256.hex(), "sm3_root": sm3.hex()}
        self._store.write(lambda tx: self._context.record(tx, "ledger.started", values))

    def check_own(self) -> int:
        """The size of the own log after a quick look that it continues what it signed; VerificationError otherwise."""
        with self._store.read() as reader:
            self._check_not_rolled_back(reader)
            size = tables.read_head(reader, self._party).size
            self._check_continues(reader, size)
        return size

    # ---- co-signing as log

    def next_request(self, witness: PartyId) -> bytes | None:
        """What to send to a witness so that it can mirror and co-sign; None when it has signed the newest state.

        Also when it signed everything but does not know all co-signatures yet: then without entries. Raises
        VerificationError (ROLLED_BACK) when this log lacks entries it has signed.
        """
        with self._store.read() as reader:
            size = tables.read_head(reader, self._party).size
            if self._is_shut:
                return None
            signed = tables.newest_cosigned(reader, self._party, witness)
            held, known_size, known = self._peer(reader, witness)
            newest = tables.newest_note(reader, self._party)
            if newest is not None and newest.checkpoint.size > size:
                raise rolled_back(self._party, size, newest.checkpoint.size)
            if not size or (
                signed == size and held == known_size == size and newest is not None and set(newest.signers) <= known
            ):
                return None
            # Let all witnesses sign the same checkpoints: a new one is made once this witness has signed the last.
            target = newest.checkpoint.size if newest is not None and signed < newest.checkpoint.size else size
            if held > target:
                target = size
            bodies = self._batch(reader, held, target)
        note = self._own_note(held + len(bodies))
        with self._store.read() as reader:
            seen = self._notes_to_show(reader)
        # What this request tells is not told again, even if the witness cannot use it: rounds must come to rest. The
        # reply speaks of this note's size, so signatures of an earlier head count for nothing there.
        told = newest is not None and newest.checkpoint.size == note.checkpoint.size
        self._told[witness] = frozenset(newest.signers) if newest is not None and told else frozenset()
        return messages.format_request(MirrorRequest(self._party, held, bodies, note.own_lines(self._party), seen))

    def remember_held(self, witness: PartyId, held: int) -> None:
        """A mirror says from where it wants entries. A number above the own size is a mere claim and is not kept."""
        with self._store.read() as reader:
            size = tables.read_head(reader, self._party).size
            known = self._peer(reader, witness)
        if held <= size and held != known[0]:
            self._store.write(lambda tx: _keep_peer(tx, witness, held, known[1], known[2]))

    def accept_reply(self, witness: PartyId, reply: bytes, request: bytes = b"") -> None:
        """Check and keep the co-signature of a witness, or from where it wants entries.

        request: what it answers, by whoever would send the next one because of this reply; a witness that asks for the very
        place it was sent from would keep it sending. What is known of the witness by now does not tell: it asks by itself too
        (pull), and what it held when it answered can have been learned on that way already.

        Raises VerificationError: MIRROR_REPLY when malformed, CHECKPOINT_SIGNATURE when a signature does not hold,
        ROLLED_BACK when the witness proves that this log once had more entries.
        """
        answer = messages.parse_reply(reply)
        if answer.witness != witness or answer.log != self._party or witness == self._party:
            raise _odd_reply(witness)
        if answer.note:
            self._mirror.observe(answer.note)
        with self._store.read() as reader:
            size = tables.read_head(reader, self._party).size
            note = tables.read_note(reader, self._party, answer.size)
        if not answer.signed:
            # More than we have, without our own signature for it, is a mere claim; the same place again is no progress.
            if answer.held > size or (request and answer.held == messages.parse_request(request).start):
                raise _odd_reply(witness)
            self._store.write(lambda tx: _keep_peer(tx, witness, answer.held, 0, ()))
            return
        if note is None or answer.held != answer.size:
            raise _odd_reply(witness)
        keys = self._context.pinned().get(witness)
        if keys is None:
            raise _odd_reply(witness)
        found = read_cosignature(note.text, parse_lines(answer.lines), keys, project=self._context.project)
        if found is None:
            raise _odd_reply(witness)

        told = self._told.get(witness, frozenset())

        def keep(tx: Transaction) -> None:
            tables.keep_note(tx, note, [found])
            _keep_peer(tx, witness, answer.held, answer.size, {*answer.known, witness, *told})

        self._store.write(keep)

    # ---- as mirror

    def witness(self, origin: PartyId, request: bytes) -> bytes:
        """As witness: mirror, re-hash, check against the own last co-signed state, persist, then sign; the reply.

        Raises VerificationError when the origin's history does not continue what was signed before; a contradiction
        is kept with both signed heads. Cost: about 60 microseconds an entry and 6 ms a request.
        """
        reply = self._mirror.witness(origin, request)
        self._mirror.compare_seen(origin)
        self.judge_members()
        return reply

    @property
    def party(self) -> PartyId:
        """Whose ledger this is."""
        return self._party

    def member_entries(self) -> list[MemberEntry]:
        """Every entry about members in the own log and the mirrors, by log and index."""
        return self._members.entries()

    def waiting_members(self) -> list[tuple[PartyId, int]]:
        """Changes of members that do not count here yet: log and index of each."""
        return self._members.waiting()

    def judge_members(self) -> None:
        """Look again at changes of members whose approvals had not arrived yet; cheap when none waits."""
        self._members.judge(self._context.pinned())

    def observe(self, note: str) -> None:
        """Compare a signed head of any log, shown by anybody, with what this node holds; see Mirror.observe."""
        self._mirror.observe(note)

    def conflicts(self) -> list[HeadConflict]:
        """Contradicting signed heads found so far, oldest first; they are kept for ever.

        A proof that this log lacked entries contradicts nothing any more once they are back; `ledger.restored` tells of it.
        """
        found = self._mirror.conflicts()
        return found if self.exchange.lost() else [one for one in found if one.problem != ROLLED_BACK]

    # ---- receipts and audit

    def receipt(self, log: PartyId, index: int, *, openings: Mapping[str, Opening] | None = None) -> dict[str, Any]:
        """Entry, proofs, checkpoint and signatures of an entry of the own log or of a mirror (document section 9).

        openings: committed fields to be shown, each checked here. Raises NotFound for an entry that is not held,
        VerificationError when an opening does not fit. Cost: about 2 ms.
        """
        proof = self.proof(log, index)
        with self._store.read() as reader:
            bodies = tables.read_bodies(reader, log, index, index + 1, own=log == self._party)
        if not bodies:
            raise tables.damaged(log)
        envelope = parse_envelope(bodies[0])
        for name, (salt, value) in (openings or {}).items():
            check_opening(envelope, name, salt, value)
        return receipts.make_receipt(
            log=log,
            index=index,
            body=bodies[0],
            sha256_path=proof.sha256_path,
            sm3_path=proof.sm3_path,
            note=proof.note,
            keys=self._keys_at(log, index, proof.note),
            openings=openings or {},
        )

    def _keys_at(self, log: PartyId, index: int, note: str) -> dict[PartyId, PartyKeys]:
        """Keys of the members of a log at an entry, and of whoever else has co-signed the head."""
        keys = self._context.pinned()
        signers = self._context.verified(note).cosignatures
        members = members_at(keys, log, index)
        return {party: one for party, one in keys.items() if party in members or party in signers}

    def package(self, order: PackageOrder, summary: PackageSummary) -> Iterator[bytes]:
        """An evidence package, part by part (docs/protocols/package.md); see workbench.contracts.Ledger."""
        return build_package(self._store, self._party, self._own_note, order, summary)

    def proof(self, log: PartyId, index: int) -> EntryProof:
        """How the stored leaf of an entry leads to the best signed head that covers it, whatever its body is now.

        Best is a head that seals the entry by its policy, then one that all members signed (policy.best_head). Raises NotFound for an entry that no head covers, VerificationError when the stored tree is damaged.
        """
        with self._store.read() as reader:
            bodies = tables.read_bodies(reader, log, index, index + 1, own=log == self._party)
            needed = requirement_of(self._context, log, index, bodies[0] if bodies else b"")
            found = best_head(self._context, reader, log, index, needed)
            size = tables.read_head(reader, log).size
        if not 0 <= index < size or (found is None and log != self._party):
            raise NotFound(
                f"{log} 的日志没有可出收据的第 {index} 条", f"no receipt for entry {index} of the log of {log}"
            )
        note_size = self._own_note(size).checkpoint.size if found is None else found
        with self._store.read() as reader:
            note = tables.read_note(reader, log, note_size)
            if note is None:
                raise tables.damaged(log)
            sha256, sm3 = tables.inclusion_paths(reader, log, index, note_size)
        return EntryProof(note_size, tuple(sha256), tuple(sm3), note.format())

    def audit(
        self,
        *,
        fetch: FetchBodies | None = None,
        step: Callable[[int], None] | None = None,
    ) -> AuditReport:
        """Re-hash every body of the own log and of the mirrors; locate what does not hold (document section 11).

        fetch: asks another institution for its copy of bodies, called only to locate the fields of an entry that does not
        hold. step: called with the number of bodies hashed so far; what it raises ends the audit. Cost: about 5 microseconds
        an entry. Openings are checked by the host (EvidenceLog.check_openings).
        """
        return run_audit(self._context, fetch=fetch, step=step)

    # ---- private

    def _write(self, tx: Transaction, bodies: Sequence[bytes]) -> list[EntryRef]:
        growth = tables.grow(tables.read_head(tx, self._party), bodies)
        if bodies:
            tables.write_growth(tx, self._party, growth, own=True)
            self._context.note_members(tx, self._party, growth.start, bodies)
        return [EntryRef(self._party, growth.start + offset, leaf) for offset, leaf in enumerate(growth.sha256_leaves)]

    def _may_write(self, tx: Transaction) -> bool:
        return not self._is_shut and find_lost(self._context, tx) is None

    def _check_body(self, body: bytes) -> None:
        log = body.log if isinstance(body, BuiltBody) else parse_envelope(body).log
        if len(body) > MAX_BODY_BYTES or log != self._party:
            raise ValueError("not an envelope of this log")

    def _check_held(self, reader: tables.Reader, log: PartyId, size: int) -> None:
        if tables.read_head(reader, log).size < size:
            raise NotFound(f"本机没有 {log} 的前 {size} 条", f"the first {size} entries of {log} are not here")

    def _check_not_rolled_back(self, reader: tables.Reader) -> None:
        row = reader.execute(
            "SELECT max(size) FROM ledger_conflict WHERE log = ? AND problem = ?", (self._party, ROLLED_BACK)
        ).fetchone()
        if row[0] is not None:
            size = tables.read_head(reader, self._party).size
            if size < row[0]:
                raise rolled_back(self._party, size, row[0])

    def _own_note(self, size: int) -> tables.StoredNote:
        """The own checkpoint of this size; signed and on disk before it is returned."""
        with self._store.read() as reader:
            stored = tables.read_note(reader, self._party, size)
            if stored is not None:
                return stored
            self._check_continues(reader, size)
            roots = tables.roots_at(reader, self._party, size)
        checkpoint = Checkpoint(self._context.project, self._party, size, *roots)
        cosignature = self._context.cosign(checkpoint)
        note = VerifiedNote(
            checkpoint,
            format_checkpoint(checkpoint),
            sign_log(checkpoint, self._context.keys.ed25519),
            {self._party: cosignature},
            0,
        )

        def keep(tx: Transaction) -> tables.StoredNote | None:
            tables.keep_note(tx, note, [cosignature])
            return tables.read_note(tx, self._party, size)

        kept = self._store.write(keep)
        if kept is None:
            raise tables.damaged(self._party)
        return kept

    def _check_continues(self, reader: tables.Reader, size: int) -> None:
        """A log signs nothing that contradicts what it signed before (C2SP tlog-checkpoint)."""
        last = tables.newest_note(reader, self._party)
        if last is None:
            return
        held = tables.read_head(reader, self._party).size
        if held < last.checkpoint.size:
            raise rolled_back(self._party, held, last.checkpoint.size)
        if tables.roots_at(reader, self._party, last.checkpoint.size) != last.checkpoint.roots or size > held:
            raise tables.damaged(self._party)

    def _peer(self, reader: tables.Reader, witness: PartyId) -> tuple[int, int, set[PartyId]]:
        row = reader.execute("SELECT held, size, known FROM ledger_peer WHERE peer = ?", (witness,)).fetchone()
        if row is None:
            return 0, 0, set()
        return row[0], row[1], {PartyId(one) for one in row[2].split(" ") if one}

    def _batch(self, reader: tables.Reader, start: int, stop: int) -> list[bytes]:
        """As many bodies as one request takes."""
        batch: list[bytes] = []
        room = messages.MAX_BODIES_BYTES
        stop = min(stop, start + messages.MAX_BODIES)
        for _, body in tables.numbered_bodies(reader, self._party, start, stop, own=True):
            room -= len(body)
            if batch and room < 0:
                break
            batch.append(body)
        return batch

    def _notes_to_show(self, reader: tables.Reader) -> list[str]:
        """Of every log held here the newest note, which shows forks, and the best-signed one, which completes seals."""
        notes = []
        for log in self._context.parties():
            best = tables.best_seal(reader, log, -1, len)
            shown = {note.checkpoint.size: note for note in [tables.newest_note(reader, log)] if note is not None}
            if (
                best is not None
                and best[0] not in shown
                and (note := tables.read_note(reader, log, best[0])) is not None
            ):
                shown[best[0]] = note
            notes += [note.format() for note in shown.values()]
            # A head that others showed and that is not held here yet: it may bind a mirror that has forgotten it.
            waiting = reader.execute("SELECT note FROM ledger_seen WHERE log = ? ORDER BY size DESC LIMIT 1", (log,))
            notes += [row[0] for row in waiting.fetchall()]
        return notes[: messages.MAX_SEEN]


def shut(party: PartyId) -> VerificationError:
    """What is raised while nobody has confirmed that the own log is complete."""
    return VerificationError(
        f"{party} 的账本尚未开放写入：还没有任何伙伴确认本机日志完整。请 {party} 的运维人员检查网络，或运行 workbench ledger catch-up",
        f"the ledger of {party} takes no entry yet: no partner has confirmed that its log is complete. Operators of {party} "
        "check the network, or run workbench ledger catch-up",
        code="LEDGER_CLOSED",
        details={"party": party},
    )


def _keep_peer(tx: Transaction, peer: PartyId, held: int, size: int, known: Iterable[PartyId]) -> None:
    tx.execute(
        "INSERT INTO ledger_peer (peer, held, size, known) VALUES (?, ?, ?, ?) ON CONFLICT (peer) "
        "DO UPDATE SET held = excluded.held, size = excluded.size, known = excluded.known",
        (peer, held, size, " ".join(sorted(set(known)))),
    )


def _odd_reply(witness: PartyId) -> VerificationError:
    return VerificationError(
        f"{witness} 的共签回复与所发请求不符，未采用：请 {witness} 的运维人员检查",
        f"the reply of {witness} does not fit what it was sent; it was not used: operators of {witness} must check",
        code="MIRROR_REPLY",
        details={"party": witness},
    )

"""The mirror's side: hold another institution's envelopes, check that its history continues, and only then sign.

Document: docs/protocols/evidence.md section 7, whose table of rows 1 to 8 this module follows.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

from workbench.contracts import Transaction
from workbench.domain.checkpoint import (
    Checkpoint,
    VerifiedNote,
    format_line,
    parse_checkpoint,
    split_note,
    verify_note,
)
from workbench.domain.envelope import Envelope, parse_envelope
from workbench.domain.evidence import HeadConflict
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_ledger import messages, tables
from workbench_ledger.context import Context
from workbench_ledger.exchange import Prefix, format_prefix
from workbench_ledger.messages import MirrorReply, MirrorRequest

ROLLED_BACK = "ROLLED_BACK"
MAX_KEPT = 100
"""Conflicts, refusals, and heads waiting for comparison, kept for one log: a peer must not fill the disk."""
KEPT_FOR_NEW_SIZES = 50
"""From this many conflicts of one log on only those of a size that none of them has are kept."""


class Mirror:
    """Everything this node does for the logs of others."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Check and persist are one step (C2SP tlog-witness names the race); requests are therefore served one by one.
        self._one_at_a_time = threading.Lock()

    def witness(self, origin: PartyId, request: bytes) -> bytes:
        """The reply to a request of `origin`. Raises VerificationError, recorded once as evidence."""
        size = 0
        try:
            message = messages.parse_request(request)
            note = self._checked_note(origin, message)
            size = note.checkpoint.size
            _check_bodies(message, note)
            with self._one_at_a_time:
                reply = self._answer(origin, message, note)
            for seen in message.seen:
                self._look_at(seen)
        except VerificationError as error:
            self._keep_refusal(origin, error.code, size)
            raise
        return messages.format_reply(self._with_known(reply))

    def observe(self, note: str) -> None:
        """Compare a signed head of any log, shown by anybody, with what this node holds, and keep its co-signatures.

        A head of a size not yet held is kept and compared later. Raises VerificationError: CHECKPOINT or
        CHECKPOINT_SIGNATURE when the note does not verify, FORK (both heads kept) when it contradicts, ROLLED_BACK when
        it shows that the own log once had more entries than now.
        """
        context = self._context
        text, lines = split_note(note)
        claimed = parse_checkpoint(text)
        with context.store.read() as reader:
            stored = tables.read_note(reader, claimed.log, claimed.size)
        if stored is not None and stored.text == text and set(lines) <= set(stored.lines):
            return  # nothing in it that is not kept already
        verified = context.verified(note)
        checkpoint = verified.checkpoint
        with context.store.read() as reader:
            held = tables.read_head(reader, checkpoint.log).size
            agrees = (
                checkpoint.size <= held and tables.roots_at(reader, checkpoint.log, checkpoint.size) == checkpoint.roots
            )
        if checkpoint.size > held and checkpoint.log == context.party:
            self._keep_rolled_back(verified, held)
        elif checkpoint.size > held:
            context.store.write(lambda tx: _keep_seen(tx, verified))
        elif agrees:
            context.store.write(lambda tx: tables.keep_note(tx, verified, verified.cosignatures.values()))
        else:
            self._raise_fork(verified, index=None, field="", problem="SPLIT_VIEW")

    def conflicts(self) -> list[HeadConflict]:
        """All contradictions ever found, oldest first."""
        with self._context.store.read() as reader:
            rows = reader.execute(
                "SELECT log, size, found_ms, problem, idx, field, held_note, offered_note FROM ledger_conflict "
                "ORDER BY number"
            ).fetchall()
        return [HeadConflict(PartyId(row[0]), *row[1:]) for row in rows]

    # ---- rows 1 to 8

    def _checked_note(self, origin: PartyId, message: MirrorRequest) -> VerifiedNote:
        """Row 1: the checkpoint is the caller's, signed and co-signed by it."""
        context = self._context
        note = context.verified(message.checkpoint)
        log = note.checkpoint.log
        if log != origin or message.log != origin or origin == context.party:
            raise _refused("请求的日志不是来访机构自己的", "the request is not about the caller's own log")
        if origin not in note.cosignatures:
            raise _refused("缺少该机构自己的共签", "the caller's own co-signature is missing")
        return note

    def _answer(self, origin: PartyId, message: MirrorRequest, note: VerifiedNote) -> MirrorReply:
        context, checkpoint = self._context, note.checkpoint
        with context.store.read() as reader:
            head = tables.read_head(reader, origin)
            self._check_own_state(reader, origin, head)
            if message.start > head.size:  # row 3
                return self._resend(reader, origin, checkpoint.size, head.size)
            repeated = min(head.size - message.start, len(message.bodies))
            held = tables.read_bodies(reader, origin, message.start, message.start + repeated, own=False)
            for offset, (mine, theirs) in enumerate(zip(held, message.bodies, strict=False)):
                if mine != theirs:  # row 4
                    self._raise_fork(note, index=message.start + offset, field=differing_fields(mine, theirs))
            if checkpoint.size <= head.size:
                if tables.roots_at(reader, origin, checkpoint.size) != checkpoint.roots:  # row 6
                    self._raise_fork(note, index=None, field="")
                if checkpoint.size < head.size:  # row 5
                    return self._resend(reader, origin, checkpoint.size, head.size)
        growth = tables.grow(head, message.bodies[repeated:])
        if growth.head.roots != checkpoint.roots:  # row 7
            self._raise_fork(note, index=None, field="")

        def hold(tx: Transaction) -> None:
            _hold(tx, origin, head.size, growth, note)
            context.note_members(tx, origin, growth.start, growth.bodies)

        self._check_against_seen(note, growth)
        context.store.write(hold)
        return self._sign(origin, note)  # row 8: what is signed is on disk by now

    def _sign(self, origin: PartyId, note: VerifiedNote) -> MirrorReply:
        context, checkpoint = self._context, note.checkpoint
        with context.store.read() as reader:
            stored = tables.read_note(reader, origin, checkpoint.size)
        mine = next((one for one in stored.cosignatures if one.party == context.party), None) if stored else None
        if mine is None:
            mine = context.cosign(checkpoint)
            fresh = mine
            context.store.write(lambda tx: tables.keep_note(tx, note, [fresh]))
        lines = "".join(map(format_line, mine.lines))
        return MirrorReply(context.party, origin, True, checkpoint.size, checkpoint.size, lines, (), "")

    def _check_against_seen(self, note: VerifiedNote, growth: tables.Growth) -> None:
        """Heads that others showed must fit before anything is held: this mirror may have signed them before a restore."""
        log = note.checkpoint.log
        with self._context.store.read() as reader:
            rows = reader.execute(
                "SELECT size, note FROM ledger_seen WHERE log = ? AND size > ? AND size <= ? ORDER BY size",
                (log, growth.start, growth.head.size),
            ).fetchall()
            found = [(seen, tables.roots_and_paths_in(reader, log, growth, size)) for size, seen in rows]
        for seen, (roots, (sha256, sm3)) in found:
            shown = parse_checkpoint(split_note(seen)[0])
            if roots != shown.roots:
                same_size = shown.size == growth.head.size
                prefix = "" if same_size else format_prefix(Prefix((roots[0], *sha256), (roots[1], *sm3)))
                self._raise_fork(note, index=None, field="", problem="SPLIT_VIEW", held_note=seen, prefix=prefix)

    def _check_own_state(self, reader: tables.Reader, origin: PartyId, head: tables.Head) -> None:
        """Row 2: what lies here must be what was last persisted for signing, and continue what was last signed."""
        row = reader.execute(
            "SELECT size, sha256, sm3 FROM ledger_witness_state WHERE origin = ?", (origin,)
        ).fetchone()
        agrees = (head.size, *head.roots) == tuple(row) if row else head.size == 0
        size = tables.newest_cosigned(reader, origin, self._context.party)
        if agrees and size:
            stored = tables.read_note(reader, origin, size)
            agrees = (
                stored is not None
                and size <= head.size
                and tables.roots_at(reader, origin, size) == (self._signed_by_me(stored).roots)
            )
        if not agrees:
            raise VerificationError(
                f"{self._context.party} 保存的 {origin} 日志副本被改动，已停止为其共签：请 {self._context.party} 的运维人员运行审计并恢复副本",
                f"the copy of the log of {origin} held by {self._context.party} has changed; co-signing it has stopped: "
                f"operators of {self._context.party} must run the audit and restore the copy",
                code="OWN_MIRROR_CHANGED",
                details={"log": origin, "party": self._context.party},
            )

    def _signed_by_me(self, stored: tables.StoredNote) -> Checkpoint:
        """The checkpoint under this node's own co-signature, verified with its own key."""
        context = self._context
        mine = {
            context.party: context.pinned()[context.party],
            stored.checkpoint.log: context.pinned()[stored.checkpoint.log],
        }
        return verify_note(stored.format(), mine, project=context.project).checkpoint

    def _resend(self, reader: tables.Reader, origin: PartyId, size: int, held: int) -> MirrorReply:
        proof = tables.newest_note(reader, origin) if held > size else None
        return MirrorReply(self._context.party, origin, False, held, size, "", (), proof.format() if proof else "")

    def _with_known(self, reply: MirrorReply) -> MirrorReply:
        if not reply.signed:
            return reply
        with self._context.store.read() as reader:
            stored = tables.read_note(reader, reply.log, reply.size)
        known = stored.signers if stored else ()
        return MirrorReply(reply.witness, reply.log, True, reply.held, reply.size, reply.lines, known, "")

    # ---- what others showed

    def _look_at(self, note: str) -> None:
        """As `observe`, for notes that come along with a request: a contradiction is kept, the sender is not blamed."""
        try:
            self.observe(note)
        except VerificationError:
            return  # a contradiction has been kept and recorded; a note that proves nothing is passed over

    def compare_seen(self, log: PartyId) -> None:
        """Compare the heads kept for later with what is held by now. Contradictions are kept and recorded."""
        with self._context.store.read() as reader:
            held = tables.read_head(reader, log).size
            rows = reader.execute("SELECT note FROM ledger_seen WHERE log = ? AND size <= ?", (log, held)).fetchall()
        for (note,) in rows:
            self._look_at(note)
        if rows:
            self._context.store.write(
                lambda tx: tx.execute("DELETE FROM ledger_seen WHERE log = ? AND size <= ?", (log, held))
            )

    # ---- refusals and conflicts

    def _raise_fork(
        self, offered: VerifiedNote, *, index: int | None, field: str, problem: str = "FORK", held_note: str = "", prefix: str = ""
    ) -> None:
        context, checkpoint = self._context, offered.checkpoint
        log, size = checkpoint.log, checkpoint.size
        with context.store.read() as reader:
            same_size = tables.read_note(reader, log, size)
            held = same_size or tables.newest_note(reader, log)
            if not held_note and held is not None:
                prefix = _prefix_of(reader, held.checkpoint, checkpoint)
        held_note = held_note or (held.format() if held else "")
        offered_note = offered.format()
        context.store.write(
            lambda tx: self.keep_conflict(tx, log, size, problem, index, field, held_note, offered_note, prefix)
        )
        where_zh = f"第 {index} 条（{field or '全文'}）起" if index is not None else f"{size} 条以内"
        where_en = f"from entry {index} ({field or 'whole'}) on" if index is not None else f"within its {size} entries"
        raise VerificationError(
            f"{log} 的日志{where_zh}与 {context.party} 持有并签过的历史不一致，已拒绝共签，两份检查点均已保留："
            f"请 {log} 与 {context.party} 的合规人员核对",
            f"the log of {log} differs {where_en} from the history that {context.party} holds and has signed; the "
            f"co-signature was refused and both heads are kept: compliance of {log} and {context.party} must compare",
            code="FORK",
            details={
                "log": log,
                "party": context.party,
                "size": str(size),
                "index": "" if index is None else str(index),
                "field": field,
            },
        )

    def _keep_rolled_back(self, shown: VerifiedNote, size: int) -> None:
        """The own key signed more entries than the own log has: keep the proof and stop."""
        log, lost = shown.checkpoint.log, shown.checkpoint.size
        note = shown.format()
        # No entry of it: the own log takes none until it is whole again; `ledger.restored` tells of it then.
        self._context.store.write(lambda tx: self.keep_conflict(tx, log, lost, ROLLED_BACK, size, "", "", note))
        raise rolled_back(log, size, lost)

    def keep_conflict(
        self,
        tx: Transaction,
        log: PartyId,
        size: int,
        problem: str,
        index: int | None,
        field: str,
        held_note: str,
        offered_note: str,
        prefix: str = "",
    ) -> None:
        """Keep two contradicting heads for ever, and an evidence entry the first time, if the own log takes any now.

        The same head signed once more is no further contradiction. prefix: see `exchange.Prefix`, as text.
        """
        if not _has_room(tx, log, size, problem, split_note(offered_note)[0]):
            return
        added = tx.execute(
            "INSERT INTO ledger_conflict (log, size, found_ms, problem, idx, field, held_note, offered_note, prefix) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (log, size, self._context.now_ms(), problem, index, field, held_note, offered_note, prefix),
        ).rowcount
        if added and self._context.may_write(tx):
            self._context.record(
                tx,
                "ledger.conflict",
                {
                    "origin": log,
                    "problem": problem,
                    "size": str(size),
                    "index": "" if index is None else str(index),
                    "field": field,
                    "held_sha256": _digest(held_note),
                    "offered_sha256": _digest(offered_note),
                },
            )

    def _keep_refusal(self, origin: PartyId, code: str, size: int) -> None:
        def keep(tx: Transaction) -> None:
            kept = tx.execute("SELECT count(*) FROM ledger_refusal WHERE log = ?", (origin,)).fetchone()[0]
            if kept >= MAX_KEPT:
                return
            added = tx.execute(
                "INSERT INTO ledger_refusal (log, code, size, found_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (origin, code, size, self._context.now_ms()),
            ).rowcount
            if added and self._context.may_write(tx):
                values = {"origin": origin, "code": code, "size": str(size)}
                self._context.record(tx, "ledger.witness_refused", values)

        self._context.store.write(keep)


def _has_room(tx: Transaction, log: PartyId, size: int, problem: str, text: str) -> bool:
    """Whether a contradiction with this offered head, given by its signed text, is still to be kept.

    Whoever has the log's key can sign any number of heads, and one head any number of times: neither may fill the disk,
    nor take the room of a size at which nothing is proven yet.
    """
    rows = tx.execute("SELECT size, problem, offered_note FROM ledger_conflict WHERE log = ?", (log,)).fetchall()
    here = [row for row in rows if row[0] == size]
    if any(row[1] == problem and split_note(row[2])[0] == text for row in here):
        return False
    if len(rows) < (KEPT_FOR_NEW_SIZES if here else MAX_KEPT):
        return True
    return problem == ROLLED_BACK and _is_larger(tx, log, size)


def _prefix_of(reader: tables.Reader, held: Checkpoint, offered: Checkpoint) -> str:
    """What proves to others that the offered head contradicts the larger one held here; "" where nothing does."""
    log, size = offered.log, offered.size
    if not size < held.size:
        return ""
    try:
        roots = tables.roots_at(reader, log, size)
        sha256, sm3 = tables.consistency_paths(reader, log, size, held.size)
    except VerificationError:  # a damaged tree is for others to report; both heads are kept all the same
        return ""
    if roots == offered.roots:  # other entries came with a head that is the same
        return ""
    return format_prefix(Prefix((roots[0], *sha256), (roots[1], *sm3)))


def _is_larger(tx: Transaction, log: PartyId, size: int) -> bool:
    """Whether no proof that the own log once had this many entries is kept yet.

    Such a one is always kept: a mirror that shows many small heads first must not hide how much is missing.
    """
    found = tx.execute("SELECT max(size) FROM ledger_conflict WHERE log = ? AND problem = ?", (log, ROLLED_BACK)).fetchone()
    return found[0] is None or size > int(found[0])


def differing_fields(first: bytes, second: bytes) -> str:
    """Names of the members and fields in which two envelopes differ, comma-separated; "" when one cannot be read."""
    try:
        one, other = parse_envelope(first), parse_envelope(second)
    except VerificationError:
        return ""
    names = [
        name
        for name in ("kind", "time_ms", "log", "job", "actor", "refs")
        if getattr(one, name) != getattr(other, name)
    ]
    names += _differing(one, other)
    return ",".join("time" if name == "time_ms" else name for name in names)


def _differing(one: Envelope, other: Envelope) -> Sequence[str]:
    first: dict[str, object] = {**one.shared, **one.committed}
    second: dict[str, object] = {**other.shared, **other.committed}
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _check_bodies(message: MirrorRequest, note: VerifiedNote) -> None:
    """Row 1: every body is an envelope of this log, and they lead up to the checkpoint's size."""
    if message.start + len(message.bodies) != note.checkpoint.size:
        raise _refused("记录数与检查点不符", "the entries do not lead up to the checkpoint's size")
    for body in message.bodies:
        if parse_envelope(body).log != message.log:
            raise _refused("其中一条属于另一家的日志", "an entry names another log")


def _hold(tx: Transaction, origin: PartyId, expected: int, growth: tables.Growth, note: VerifiedNote) -> None:
    """First half of row 8: entries, tree, state and the log's own signatures on disk, nothing signed yet."""
    if tables.read_head(tx, origin).size != expected:
        raise _refused(
            "副本同时被另一请求更新，请重发", "the copy was changed by another request meanwhile; send again"
        )
    if growth.bodies:
        tables.write_growth(tx, origin, growth, own=False)
    sha256, sm3 = growth.head.roots
    tx.execute(
        "INSERT INTO ledger_witness_state (origin, size, sha256, sm3) VALUES (?, ?, ?, ?) ON CONFLICT (origin) "
        "DO UPDATE SET size = excluded.size, sha256 = excluded.sha256, sm3 = excluded.sm3",
        (origin, growth.head.size, sha256, sm3),
    )
    tables.keep_note(tx, note, [note.cosignatures[origin]])


def _keep_seen(tx: Transaction, note: VerifiedNote) -> None:
    checkpoint = note.checkpoint
    log = checkpoint.log
    kept, largest = tx.execute("SELECT count(*), max(size) FROM ledger_seen WHERE log = ?", (log,)).fetchone()
    if kept >= MAX_KEPT:
        # The nearest are compared first. Whoever signs far ahead of its own log keeps no head of others from being held.
        if checkpoint.size >= largest:
            return
        tx.execute(
            "DELETE FROM ledger_seen WHERE (log, size, note) IN "
            "(SELECT log, size, note FROM ledger_seen WHERE log = ? AND size = ? LIMIT 1)",
            (log, largest),
        )
    tx.execute(
        "INSERT INTO ledger_seen (log, size, note) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (log, checkpoint.size, note.format()),
    )


def rolled_back(party: PartyId, size: int, signed: int) -> VerificationError:
    """What is raised while the own log lacks entries that its own key has signed."""
    return VerificationError(
        f"{party} 的日志只有 {size} 条，但它签过 {signed} 条的检查点：本机是从旧副本恢复的，缺少 {signed - size} 条。暂停写入，"
        f"自动取回或由 {party} 的运维人员运行 workbench ledger catch-up 从镜像取回",
        f"the log of {party} has {size} entries, but its key signed {signed}: this node was restored from an older copy and "
        f"lacks {signed - size}. It takes no entry until they are back from a mirror, by itself or when operators of {party} "
        "run workbench ledger catch-up",
        code=ROLLED_BACK,
        details={"log": party, "size": str(size), "signed": str(signed)},
    )


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest() if note else ""


def _refused(zh: str, en: str) -> VerificationError:
    return VerificationError(
        f"拒绝共签：{zh}。请对方运维人员检查",
        f"co-signature refused: {en}. The sender's operators must check",
        code="MIRROR_REQUEST",
    )

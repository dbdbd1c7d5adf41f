"""What the end of a question needs to be known again after a restore, sealed in its own entry for this institution alone.

Document: docs/protocols/capture.md section 7; docs/protocols/erasure.md section 5. Who refused must not be asked again because a
node was restored from an older copy, and a link that served must not serve once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from workbench.contracts import Host, Transaction
from workbench.domain.erasure import open_recovery, seal_recovery
from workbench.domain.evidence import RestoredEntry
from workbench.errors import Refused, VerificationError
from workbench_consent.capture.people import Offer
from workbench_consent.subjects import TOKEN_SIZE

SIGNED, REFUSED, CLOSED = "consent.signed", "consent.refused", "consent.ask_closed"
ENDS = (SIGNED, REFUSED, CLOSED)
"""Kinds of entries that end a question."""
TELL_REFUSALS = (SIGNED, REFUSED)
"""Those after which somebody must not be asked: what was left off on a page that was signed was refused."""
NONCE_SIZE = 12


def sealed(
    host: Host, kind: str, *, ask: str, state: str, phone: bytes, id_no: bytes, at_ms: int, refused: Sequence[Offer]
) -> str:
    """The shared field `recovery` of an entry that ends a question. phone, id_no: tokens; refused: what is not asked again."""
    message = pack(ask=ask, state=state, phone=phone, id_no=id_no, at_ms=at_ms, refused=refused)
    return seal_recovery(host.vault.token_key("recovery"), message, binding=kind, nonce=host.random(NONCE_SIZE))


def pack(*, ask: str, state: str, phone: bytes, id_no: bytes, at_ms: int, refused: Sequence[Offer]) -> bytes:
    """lp16(ask) ‖ lp16(state) ‖ phone token ‖ id token ‖ u64 time ‖ u16 n ‖ n × ( lp16(purpose) ‖ lp16(recipient) )."""
    texts = b"".join(_text(one.purpose) + _text(one.recipient) for one in refused)
    return _text(ask) + _text(state) + phone + id_no + at_ms.to_bytes(8, "big") + len(refused).to_bytes(2, "big") + texts


def unpack(data: bytes) -> tuple[str, str, bytes, bytes, int, list[Offer]]:
    """ask, state, tokens, time and what was refused (ends 0) of `pack`; VerificationError for anything else."""
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        part = data[at : at + size]
        at += size
        return part

    def text() -> str:
        return take(int.from_bytes(take(2), "big")).decode("utf-8", "replace")

    ask, state, phone, id_no = text(), text(), take(TOKEN_SIZE), take(TOKEN_SIZE)
    at_ms = int.from_bytes(take(8), "big")
    refused = [Offer(text(), text(), 0) for _ in range(int.from_bytes(take(2), "big"))]
    if not ask or pack(ask=ask, state=state, phone=phone, id_no=id_no, at_ms=at_ms, refused=refused) != data:
        raise VerificationError(
            "征求结束的恢复信息格式不对", "the recovery bytes of a question's end are malformed", code="RESTRICTED_MALFORMED"
        )
    return ask, state, phone, id_no, at_ms, refused


def end_again(tx: Transaction, host: Host, one: RestoredEntry) -> bool:
    """End the question of an entry that came back and remember its refusals; True when that is done, now or before."""
    try:
        message = open_recovery(host.vault.token_key("recovery"), one.shared.get("recovery", ""), binding=one.kind)
        ask, state, phone, id_no, at_ms, refused = unpack(message)
    except VerificationError:
        return one.kind not in TELL_REFUSALS
    tx.execute(
        "UPDATE consent_capture_ask SET state = ?, closed_ms = ? WHERE ask = ? AND state IN ('SERVED', 'OPENED')", (state, at_ms, ask)
    )
    host.vault.shred(tx, f"capture/{ask}")
    if tx.execute("SELECT 1 FROM consent_capture_refusal WHERE ask = ?", (ask,)).fetchone() is None:
        tx.executemany(
            "INSERT INTO consent_capture_refusal (ask, phone, id_no, purpose, recipient, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
            [(ask, phone, id_no, offer.purpose, offer.recipient, at_ms) for offer in refused],
        )
    return True


def require_refusals_known(reader: sqlite3.Connection | Transaction) -> None:
    """Refused REFUSALS_PENDING while refusals of before a restore are unknown: nobody is asked meanwhile."""
    marks = ",".join("?" * len(TELL_REFUSALS))
    count = int(
        reader.execute(f"SELECT count(*) FROM consent_replay WHERE done = 0 AND kind IN ({marks})", TELL_REFUSALS).fetchone()[0]
    )
    if count:
        raise Refused(
            f"本机构从旧副本恢复后还有 {count} 条拒绝不知属于谁，暂不征求：合规岗补录后用 consent.replay_confirm 确认；客户本人提出的除外",
            f"after a restore it is not known who gave {count} refusals, so nobody is asked: compliance enters them and confirms with "
            "consent.replay_confirm; customers may come of their own accord",
            code="REFUSALS_PENDING",
            details={"waiting": str(count)},
        )


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


__all__ = ["CLOSED", "ENDS", "REFUSED", "SIGNED", "TELL_REFUSALS", "end_again", "pack", "require_refusals_known", "sealed", "unpack"]

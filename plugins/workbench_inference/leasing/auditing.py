"""Leases against the log, for every audit, and what a restored copy lacks of them. Document: docs/sandbox-design.md section 5.

Ticks are one chain, statements follow from them, receipts are what their entry names and were signed by the provider. What does not
hold is said with lease and place; compliance acts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from workbench.domain.evidence import AuditFinding, ReplayNeed, RestoredEntry
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_inference.leasing import keys, rows, ticking
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.metering import account, follows
from workbench_inference.leasing.rows import LeaseRow
from workbench_sandbox.formats import reading
from workbench_sandbox.formats.erasing import verify_receipt
from workbench_sandbox.formats.metering import format_statement, parse_statement, parse_tick, verify_tick
from workbench_sandbox.formats.servicekey import parse_service_key


def findings(node: object) -> list[AuditFinding]:
    """What does not hold; nothing where everything does."""
    host = cast("LeasingHost", node)
    with host.store.read() as reader:
        return [one for row in rows.listed(reader, limit=100_000) for one in _of(reader, host, row)]


def replay(node: object, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """Service keys whose statement came back without its private half, and leases whose rows did not."""
    host: Any = node
    made = sum(1 for one in entries if one.kind == "inference.service_key_made")

    def keep(tx: Any) -> int:
        known = {str(one[0]) for one in tx.execute("SELECT lease FROM inference_lease")}
        for one in entries:
            if one.kind == "inference.service_key_made":
                raw = bytes.fromhex(one.shared["statement"])
                number = (keys.newest(tx, host.party) or (0, b""))
                if number[1] != raw and parse_service_key(raw).previous in ("", parse_service_key(number[1]).digest if number[1] else ""):
                    tx.execute(
                        "INSERT INTO inference_service_key (party, number, statement, until_ms) VALUES (?, ?, ?, ?)",
                        (host.party, number[0] + 1, raw, parse_service_key(raw).until_ms),
                    )
                    host.vault.shred(tx, keys.VAULT)  # the private half of another statement must not sign under this one
        return len({one.job for one in entries if one.kind in ("inference.lease_ordered", "inference.leased")} - known)

    lost = int(host.store.write(keep))
    needs = []
    if made:
        needs.append(ReplayNeed("inference.service_key", made, "服务密钥的私钥不在这份副本里，管理员生成新的", "The private half of the service key is not in this copy; an administrator makes another"))
    if lost:
        needs.append(
            ReplayNeed("inference.lease", lost, "这些租约的记录没有回来：运维与对方核对、释放，合规核对账单", "The records of these leases did not come back: operators compare with the other end and release them, compliance checks the account")
        )
    return needs


def _of(reader: Reader, host: LeasingHost, row: LeaseRow) -> Iterator[AuditFinding]:
    provider = PartyId(host.party if row.side == rows.PROVIDER else row.partner)
    broken = list(_ticks(reader, host, row, provider))
    yield from broken
    found = reader.execute("SELECT body, agreed FROM inference_statement WHERE lease = ?", (row.lease,)).fetchone()
    if found is not None and found[1] and not broken:
        own = account(row.lease, ticking.answered(reader, row.lease), fen_per_card_minute=row.price)
        if format_statement(own) != bytes(found[0]):
            yield _found(host, row, "statement", "STATEMENT", "与计量不符", "it does not follow from the ticks")
    yield from _receipts(reader, host, row, provider)


def _ticks(reader: Reader, host: LeasingHost, row: LeaseRow, provider: PartyId) -> Iterator[AuditFinding]:
    """The first tick that does not hold."""
    known = keys.every(reader, provider)
    before = None
    for body, signature, number in reader.execute("SELECT body, signature, number FROM inference_tick WHERE lease = ? ORDER BY number", (row.lease,)).fetchall():
        raw = reading.lv4(bytes(body)) + bytes(signature)
        try:
            tick = parse_tick(raw)[0]
            _signed(raw, provider=provider, lease=row.lease, known=known)
        except VerificationError:
            yield _found(host, row, f"tick {number}", "TICK", "签名或内容不成立", "its signature or content does not hold")
            return
        if not follows(tick, before):
            yield _found(host, row, f"tick {number}", "TICK", "不接上一条", "it does not continue the one before")
            return
        before = tick


def _receipts(reader: Reader, host: LeasingHost, row: LeaseRow, provider: PartyId) -> Iterator[AuditFinding]:
    log: Any = host.evidence
    kept = reader.execute("SELECT server, receipt FROM inference_erasure WHERE lease = ?", (row.lease,)).fetchall()
    named = {str(log.entry(reader, one.index, required=[]).values.get("receipt")) for one in log.search(reader, job=row.lease, kind="inference.erased", limit=1000)} if kept else set()
    for server, written in kept:
        try:
            receipt, _ = verify_receipt(bytes(written), provider=provider, contract_key=host.pinned_keys(provider).contract, known=None)
        except VerificationError:
            yield _found(host, row, str(server), "ERASE_RECEIPT", "签名不成立", "its signature does not hold")
            continue
        if receipt.digest not in named or receipt.lease != row.lease:
            yield _found(host, row, str(server), "ERASE_RECEIPT", "没有对应的条目", "no entry names it")
    if any(parse_statement(bytes(one[0])).lease != row.lease for one in reader.execute("SELECT body FROM inference_statement WHERE lease = ?", (row.lease,))):
        yield _found(host, row, "statement", "STATEMENT", "属于另一租约", "it is another lease's")


def _signed(raw: bytes, *, provider: PartyId, lease: str, known: Sequence[Any]) -> None:
    """Raise VerificationError unless one of the provider's service keys signed it."""
    last: VerificationError | None = None
    for one in known:
        try:
            verify_tick(raw, provider=provider, lease=lease, service_key=one.key)
            return
        except VerificationError as error:
            last = error
    raise last or VerificationError("没有算力方的服务密钥", "no service key of the provider is known", code="SERVICE_KEY")


def _found(host: LeasingHost, row: LeaseRow, place: str, problem: str, zh: str, en: str) -> AuditFinding:
    return AuditFinding(
        host.party, None, place, problem, f"租约「{row.lease}」的 {place} {zh}，合规与{row.partner}核对", f"{place} of lease {row.lease}: {en}; compliance compares with {row.partner}"
    )


__all__ = ["findings", "replay"]

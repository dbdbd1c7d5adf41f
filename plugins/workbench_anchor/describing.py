"""What the anchors of a log prove, in words and as files. Document: docs/protocols/anchor.md sections 0 and 5."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from workbench.contracts import AnchorProof
from workbench.crypto import canonical
from workbench.domain.checkpoint import Checkpoint, origin_of
from workbench.domain.party import PartyId
from workbench_anchor import anchoring, contract, stamping, tables
from workbench_anchor.notes import origin_id, read_note
from workbench_anchor.service import AnchorService
from workbench_anchor.tables import StampRow, TransactionRow

TRANSACTION_VERSION = "workbench/v1/anchor-transaction"
NOTE_FILE, REQUEST_FILE, TOKEN_FILE = "checkpoint.note", "request.tsq", "token.tsr"
AUTHORITY_FILE, TRANSACTION_FILE = "tsa.pem", "transaction.json"


@dataclass(frozen=True, slots=True)
class AnchorStatus:
    """One line about one kind of anchor, for a page. state: "off", "none", "waiting", "confirmed", "conflict".

    size: entries that the anchored note covers, 0 for none. time_ms: outside time of it. id: serial or transaction.
    """

    kind: str
    state: str
    size: int
    time_ms: int
    id: str
    zh: str
    en: str


def describe_anchors(service: AnchorService, checkpoint: Checkpoint | None = None) -> list[AnchorStatus]:
    """How far the own log, or the checkpoint given, is anchored outside: one line a kind.

    checkpoint: of the own log, verified by the caller; the newest state without it. One of another institution's log is
    told apart: its anchors are that institution's.
    """
    host = service.host
    if checkpoint is not None and checkpoint.log != host.party:
        zh = f"{checkpoint.log} 的日志由该机构自己锚定；请向它索取，或在监管链上核对"
        en = f"the log of {checkpoint.log} is anchored by that institution: ask it, or compare on the regulator's chain"
        return [AnchorStatus(kind, "none", 0, 0, "", zh, en) for kind in (stamping.WHAT, anchoring.WHAT)]
    size = checkpoint.size if checkpoint is not None else service.house.ledger.size(host.party)
    with host.store.read() as reader:
        findings = tables.findings(reader)
        stamp = tables.covering_stamp(reader, size) or tables.newest_stamp(reader)
        waits = [*tables.waiting_stamps(reader, "http"), *tables.waiting_stamps(reader, "file")]
        chained = tables.covering_transaction(reader, size) or tables.newest_anchored(reader)
        under_way = tables.open_transaction(reader)
    lines = [_stamp_line(service, size, stamp, waits)]
    if findings:
        named = "、".join(f"{one.log} {one.problem}" for one in findings)
        zh = f"链与日志互相矛盾（{named}）：合规人员与登记方核对，此前不再锚定"
        en = (
            f"chain and log contradict each other ({named}): compliance and the registrar compare; "
            "nothing is anchored until then"
        )
        lines.append(AnchorStatus(anchoring.WHAT, "conflict", findings[0].size, 0, "", zh, en))
    else:
        lines.append(_chain_line(service, size, chained, under_way))
    return lines


def anchor_proofs(service: AnchorService, origin: PartyId, size: int) -> list[AnchorProof]:
    """The anchors that cover the first `size` entries of a log; see the hook workbench_anchors."""
    if origin != service.host.party or size < 1:
        return []
    with service.host.store.read() as reader:
        stamp = tables.covering_stamp(reader, size)
        chained = tables.covering_transaction(reader, size)
        wait = next((one for one in reversed(tables.waiting_stamps(reader, "http")) if one.size >= size), None)
        under_way = tables.open_transaction(reader)
    proofs = []
    if stamp is not None or wait is not None:
        proofs.append(_stamp_proof(service, size, stamp or wait))
    if chained is None and under_way is not None and under_way.size >= size:
        chained = under_way
    if chained is not None:
        proofs.append(_chain_proof(service, size, chained))
    return proofs


# ---------------------------------------------------------------------------------------------- lines


def _stamp_line(service: AnchorService, size: int, row: StampRow | None, waits: Sequence[StampRow]) -> AnchorStatus:
    if row is not None:
        when, short = _time(row.time_ms), size - row.size
        zh = f"外部时间戳机构在 {when} 见过前 {row.size} 条的检查点与其上的共签；证明它们那时已存在，不证明内容属实"
        en = (
            f"an outside authority saw the head of the first {row.size} entries and its co-signatures at {when}: "
            "they existed then; it does not say that they are true"
        )
        if short > 0:
            zh, en = f"{zh}。其后 {short} 条尚无时间戳", f"{en}. The {short} entries after them are not stamped yet"
        return AnchorStatus(
            stamping.WHAT, "waiting" if short > 0 and waits else "confirmed", row.size, row.time_ms, "", zh, en
        )
    if waits:
        zh, en = "时间戳已请求，尚无可采信的答复", "a time stamp was asked for; there is no reply yet that holds"
        return AnchorStatus(stamping.WHAT, "waiting", 0, 0, "", zh, en)
    return _nothing(stamping.WHAT, service.stamping.is_on, "外部时间戳", "Outside time stamps", "anchor.tsa_url")


def _chain_line(
    service: AnchorService, size: int, row: TransactionRow | None, under_way: TransactionRow | None
) -> AnchorStatus:
    if row is not None:
        when, short = _time(row.time_ms), size - row.size
        zh = f"监管链区块 {row.block}（{when}）上有前 {row.size} 条的检查点，已读回核对；此后改动这些记录会与链矛盾，不证明内容属实"
        en = (
            f"block {row.block} of the regulator's chain ({when}) has the head of the first {row.size} entries, read back: "
            "changing one of them since contradicts the chain; it does not say that they are true"
        )
        if short > 0:
            zh, en = f"{zh}。其后 {short} 条尚未上链", f"{en}. The {short} entries after them are not on the chain yet"
        state = "waiting" if short > 0 and under_way is not None else "confirmed"
        return AnchorStatus(anchoring.WHAT, state, row.size, row.time_ms, row.hash.hex(), zh, en)
    if under_way is not None:
        zh = f"检查点（{under_way.size} 条）已交给监管链，等待确认"
        en = f"the head of {under_way.size} entries was given to the regulator's chain and waits for confirmation"
        return AnchorStatus(anchoring.WHAT, "waiting", under_way.size, 0, under_way.hash.hex(), zh, en)
    return _nothing(
        anchoring.WHAT, service.anchoring.is_on, "监管链锚定", "Anchoring to the regulator's chain", "anchor.chain_url"
    )


def _nothing(kind: str, is_on: bool, zh: str, en: str, setting: str) -> AnchorStatus:
    if is_on:
        return AnchorStatus(
            kind,
            "none",
            0,
            0,
            "",
            f"{zh}已启用，还没有可锚定的记录或尚未成功",
            f"{en}: on, and nothing is anchored yet",
        )
    return AnchorStatus(
        kind,
        "off",
        0,
        0,
        "",
        f"{zh}未启用（设置 {setting}）；证据由各机构共签保护",
        f"{en}: off (setting {setting}); co-signatures protect the evidence",
    )


# --------------------------------------------------------------------------------------------- proofs


def _stamp_proof(service: AnchorService, size: int, row: StampRow | None) -> AnchorProof:
    assert row is not None
    line = _stamp_line(service, size, row if row.state == "stamped" else None, [row])
    files = {NOTE_FILE: row.note.encode(), REQUEST_FILE: row.request}
    if row.state == "stamped":
        files |= {TOKEN_FILE: row.reply, AUTHORITY_FILE: row.authority}
    state = "confirmed" if row.state == "stamped" else "waiting"
    paths = service.house.ledger.consistency(service.host.party, size, row.size)
    return AnchorProof(
        stamping.WHAT,
        service.host.party,
        row.size,
        state,
        row.time_ms,
        row.note,
        row.digest,
        *paths,
        files,
        line.zh,
        line.en,
    )


def _chain_proof(service: AnchorService, size: int, row: TransactionRow) -> AnchorProof:
    is_there = row.state == "anchored"
    line = _chain_line(service, size, row if is_there else None, row)
    files = {NOTE_FILE: row.note.encode()}
    if is_there:
        files[TRANSACTION_FILE] = _transaction_file(service, row)
    paths = service.house.ledger.consistency(service.host.party, size, row.size)
    return AnchorProof(
        anchoring.WHAT, service.host.party, row.size, "confirmed" if is_there else "waiting", row.time_ms, row.note, row.digest,
        *paths, files, line.zh, line.en,
    )  # fmt: skip


def _transaction_file(service: AnchorService, row: TransactionRow) -> bytes:
    project, party = service.host.project, service.host.party
    number, head = origin_id(project, party), contract.head_of(read_note(row.note))
    return canonical.format(
        {
            "v": TRANSACTION_VERSION,
            "chain_id": str(row.chain_id),
            "contract": row.contract.hex(),
            "origin": origin_of(project, party),
            "origin_id": number.hex(),
            "sender": row.sender.hex(),
            "transaction": row.hash.hex(),
            "raw": row.raw.hex(),
            "block": str(row.block),
            "block_hash": row.block_hash.hex(),
            "block_time": str(row.time_ms // 1000),
            "topics": " ".join(topic.hex() for topic in contract.anchored_topics(number, head.size)),
            "data": contract.anchored_data(head).hex(),
            "code_sha256": hashlib.sha256(contract.deployed_code()).hexdigest(),
        }
    )


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

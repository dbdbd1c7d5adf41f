"""Attacks by somebody who can write the database file of one institution, or the file of a receipt, or its clock."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workbench.contracts import OperationContext
from workbench.crypto import ed25519, sm2
from workbench.domain import checkpoint as notes
from workbench.domain.envelope import parse_envelope
from workbench.domain.party import PartyId
from workbench.errors import Refused
from workbench_ledger.attacks.bench import Bench, changed_body, rows, tamper, telling_entry
from workbench_ledger.attacks.findings import AUDIT, CLOCK, DOCUMENTS, VERIFY, Located, Outcome
from workbench_ledger.kinds import CAUGHT_UP
from workbench_ledger.mirror import differing_fields

HOUR_MS = 3_600_000


def edited_row(bench: Bench) -> Outcome:
    """One shared value of one entry, changed with SQL."""
    database = bench.copy()
    index = telling_entry(database, bench.host.party)
    body = rows(database, "SELECT CAST(body AS BLOB) FROM entry WHERE idx = ?", index)[0][0]
    other, name = changed_body(body)
    tamper(database, ("UPDATE entry SET body = ? WHERE idx = ?", (other, index)))
    kind = parse_envelope(body).kind
    done = f"用 SQL 改了第 {index} 条（{kind}）的字段 {name}", f"changed field {name} of entry {index} ({kind}) with SQL"
    return _audited(bench, *done, "EDITED", index)


def deleted_row(bench: Bench) -> Outcome:
    """One entry taken out."""
    database = bench.copy()
    index = telling_entry(database, bench.host.party)
    if index == _last(database):
        index -= 1  # the last one gone is a truncation
    tamper(database, ("DELETE FROM entry WHERE idx = ?", (index,)))
    return _audited(bench, f"删去了第 {index} 条", f"deleted entry {index}", "DELETED", index)


def truncated_log(bench: Bench) -> Outcome:
    """The newest entries gone."""
    database = bench.copy()
    start = _last(database) - 2
    tamper(database, ("DELETE FROM entry WHERE idx >= ?", (start,)))
    done = f"删去了最后 3 条（自第 {start} 条起）", f"deleted the last three entries, from {start} on"
    return _audited(bench, *done, "TRUNCATED", start)


def reordered_rows(bench: Bench) -> Outcome:
    """Two entries exchanged."""
    database = bench.copy()
    second = telling_entry(database, bench.host.party)
    bodies = dict(rows(database, "SELECT idx, CAST(body AS BLOB) FROM entry WHERE idx <= ?", second))
    first = next(one for one in range(second - 1, -1, -1) if bodies[one] != bodies[second])
    tamper(
        database,
        ("UPDATE entry SET idx = -1 WHERE idx = ?", (first,)),
        ("UPDATE entry SET idx = ? WHERE idx = ?", (first, second)),
        ("UPDATE entry SET idx = ? WHERE idx = -1", (second,)),
    )
    done = f"对调了第 {first} 条与第 {second} 条", f"exchanged entries {first} and {second}"
    return _audited(bench, *done, "REORDERED", first)


def forged_cosignature(bench: Bench) -> Outcome:
    """The newest co-signature of a partner replaced by one under keys that the attacker made."""
    database, party = bench.copy(), bench.host.party
    signer, size = _newest_cosignature(bench, database)
    text = rows(database, "SELECT text FROM ledger_checkpoint WHERE log = ? AND size = ?", party, size)[0][0]
    forged = notes.cosign(
        notes.parse_checkpoint(text),
        party=PartyId(signer),
        ed25519_key=ed25519.generate(),
        sm2_key=sm2.generate(),
        time_s=bench.host.now_ms() // 1000,
    )
    lines = "".join(map(notes.format_line, forged.lines))
    tamper(
        database,
        (
            "UPDATE ledger_cosignature SET lines = ? WHERE log = ? AND signer = ? AND size = ?",
            (lines, party, signer, size),
        ),
    )
    found = [
        Located(one.log, size - 1, one.field, one.problem, party, one.zh, one.en)
        for one in bench.audit()
        if (one.problem, one.field) == ("SIGNATURE", signer)
    ]
    return Outcome(
        f"用自造的密钥伪造了 {signer} 对 {size} 条检查点的共签",
        f"forged the co-signature of {signer} on the head of {size} entries with keys of the attacker's own",
        AUDIT,
        found,
    )


def missing_cosignature(bench: Bench) -> Outcome:
    """Every co-signature of a partner taken out; a receipt is then made of what is left."""
    database, party = bench.copy(), bench.host.party
    signer, released = _newest_that_needs(bench, database)
    tamper(database, ("DELETE FROM ledger_cosignature WHERE log = ? AND signer = ?", (party, signer)))
    with bench.opened() as node:
        receipt = node.ledger.receipt(party, released)
    verdict = bench.host.laboratory.verify(receipt)
    missing = sorted(set(verdict.required) - set(verdict.cosigners))
    found = [
        Located(
            party,
            released,
            "",
            str(verdict.word),
            one,
            f"{party} 日志第 {released} 条：缺少 {one} 的共签，未定稿。请 {party} 的运维人员向 {one} 补齐共签；此前不得据此导出",
            f"entry {released} of the log of {party}: the co-signature of {one} is missing, so it is not final. Operators of"
            f" {party} must get it from {one}; nothing may be exported on it before",
        )
        for one in missing
        if str(verdict.word) == "NOT_FINAL"
    ]
    return Outcome(
        f"删去了 {signer} 的全部共签，再据此出具第 {released} 条的收据",
        f"deleted every co-signature of {signer}, then made a receipt of entry {released}",
        VERIFY,
        found,
    )


def altered_receipt(bench: Bench) -> Outcome:
    """A true receipt in which one shared value was changed, as somebody would who hands it on."""
    database, party = bench.copy(), bench.host.party
    index = telling_entry(database, party)
    with bench.opened() as node:
        receipt = node.ledger.receipt(party, index)
        true = node.ledger.entry_bodies(party, index, index + 1)[0]
    other, name = changed_body(str(receipt["entry"]).encode())
    verdict = bench.host.laboratory.verify({**receipt, "entry": other.decode()})
    failed = [step for step in verdict.steps if str(step.state) == "failed"]
    where = differing_fields(true, other)
    found = [
        Located(
            party,
            index,
            where,
            f"{verdict.word}:{step.name}",
            party,
            f"收据第 {index} 条的字段 {where} 与 {party} 的日志不符（核对步骤 {step.name}：{step.zh}）。"
            f"收到者不得采信，请向 {party} 的合规人员索取原件",
            f"field {where} of entry {index} in the receipt is not what the log of {party} holds (step {step.name}: {step.en})."
            f" Whoever holds it must not rely on it and asks compliance of {party} for the true one",
        )
        for step in failed
    ]
    return Outcome(
        f"改了第 {index} 条收据里的字段 {name}", f"changed field {name} in the receipt of entry {index}", VERIFY, found
    )


def changed_clock(bench: Bench) -> Outcome:
    """The clock of the machine set back by a day, and an entry written under it."""
    bench.copy()
    now_ms = bench.host.now_ms
    with bench.opened(now_ms=lambda: now_ms() - 24 * HOUR_MS) as node:
        values = {"pulled": "0", "failed": ""}
        node.store.write(lambda tx: node.evidence.append(tx, CAUGHT_UP.name, values))
        index = node.ledger.size(node.party) - 1
    return Outcome(
        f"把时钟调回一天，写入了第 {index} 条",
        f"set the clock back by a day and wrote entry {index}",
        CLOCK,
        _first(bench.audit(), "CLOCK", index),
    )


def swapped_document(bench: Bench) -> Outcome:
    """Two synthetic grants with signed forms come into the copy; then each is given the other one's form."""
    bench.copy()
    with bench.opened() as node:
        _import_forms(bench, node)
        with node.store.read() as reader:
            known = reader.execute(
                "SELECT owner, ref, name FROM blob_reference ORDER BY CAST(ref AS INTEGER) DESC LIMIT 2"
            ).fetchall()
    (owner, one, first), (_, other, second) = known
    tamper(
        bench.folder / "evidence.db",
        ("UPDATE blob_reference SET name = ? WHERE owner = ? AND ref = ?", (second, owner, one)),
        ("UPDATE blob_reference SET name = ? WHERE owner = ? AND ref = ?", (first, owner, other)),
    )
    party, found = bench.host.party, bench.audit()
    swapped = [
        replace(
            hit,
            zh=f"{party} 日志第 {hit.index} 条所导入的授权（{hit.field}）：{hit.zh}。请 {party} 的合规人员处理",
            en=f"a grant imported by entry {hit.index} of the log of {party}, {hit.field}: {hit.en}. Compliance of {party} must act",
        )
        for hit in found
        if hit.problem == "DOCUMENT_SWAPPED"
    ]
    return Outcome(
        f"对调了授权 {other} 与授权 {one} 的签署文件",
        f"exchanged the signed forms of grants {other} and {one}",
        DOCUMENTS,
        [*swapped, *[hit for hit in found if hit.problem != "DOCUMENT_SWAPPED"]] if swapped else [],
    )


def _import_forms(bench: Bench, node: Any) -> None:
    """Grants of two people who do not exist (no carrier has their prefix), each with a form of its own."""
    recipient = next(party for party in node.parties() if party != node.party)
    purpose = min(node.purposes())
    table = ["phone,purpose,recipient,valid_from,valid_until,document"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for number in (1, 2):
            table.append(f"1000000000{number},{purpose},{recipient},2020-01-01,2099-12-31,form-{number}.pdf")
            made.writestr(f"form-{number}.pdf", _pdf(f"synthetic signed form {number} of the laboratory"))
    files = {"grants.csv": "\n".join(table).encode() + b"\n", "forms.zip": archive.getvalue()}
    ids = []
    for name, data in files.items():
        (bench.folder / name).write_bytes(data)
        ids.append(node.uploads.adopt(bench.folder / name))
    context = OperationContext(host=node, caller=bench.ctx.caller, progress=lambda *_: None, cancelled=lambda: False)
    operation = node.gate.registry.named("consent.import")
    operation.run(context, operation.request(file=ids[0], documents=ids[1]))


def _pdf(text: str) -> bytes:
    """The smallest file that the import takes for a whole PDF."""
    head = b"%PDF-1.4\n"
    return head + f"1 0 obj\n({text})\nendobj\nstartxref\n{len(head)}\n%%EOF\n".encode()


def _newest_cosignature(bench: Bench, database: Any) -> tuple[str, int]:
    """A partner, and the largest own head it has co-signed; Refused before anybody has."""
    found = _cosigners(bench, database)
    if not found:
        raise _nothing_cosigned()
    return found[0]


def _cosigners(bench: Bench, database: Any) -> list[tuple[str, int]]:
    """Every partner that has co-signed this log, with its largest head; the largest first."""
    party = bench.host.party
    found = rows(
        database,
        "SELECT signer, max(size) AS newest FROM ledger_cosignature WHERE log = ? AND signer <> ? GROUP BY signer"
        " ORDER BY newest DESC, signer",
        party,
        party,
    )
    return [(str(signer), int(size)) for signer, size in found]


def _newest_that_needs(bench: Bench, database: Any) -> tuple[str, int]:
    """A partner and the newest entry that is not final without its co-signature: one in which it takes part."""
    for signer, size in _cosigners(bench, database):
        for index, body in rows(
            database, "SELECT idx, CAST(body AS BLOB) FROM entry WHERE idx < ? ORDER BY idx DESC LIMIT 5000", size
        ):
            if signer in parse_envelope(body).participants:
                return signer, int(index)
    raise _nothing_cosigned()


def _nothing_cosigned() -> Refused:
    return Refused(
        "还没有机构为本机构的求交记录共签，先跑一次求交再演练",
        "Nobody has co-signed an intersection of this log yet; run one first",
        code="TOO_FEW_ENTRIES",
    )


def _last(database: Any) -> int:
    return int(rows(database, "SELECT max(idx) FROM entry")[0][0])


def _audited(bench: Bench, done_zh: str, done_en: str, problem: str, index: int) -> Outcome:
    """What the audit says of the copy, the sought finding first."""
    return Outcome(done_zh, done_en, AUDIT, _first(bench.audit(), problem, index))


def _first(found: Sequence[Located], problem: str, index: int) -> list[Located]:
    """Findings with the sought one first; nothing when it is not among them: then the attack was not found."""
    sought = [one for one in found if (one.problem, one.index) == (problem, index)]
    return [*sought, *[one for one in found if one not in sought]] if sought else []


__all__ = [
    "altered_receipt", "changed_clock", "deleted_row", "edited_row", "forged_cosignature", "missing_cosignature",
    "reordered_rows", "swapped_document", "truncated_log",
]  # fmt: skip

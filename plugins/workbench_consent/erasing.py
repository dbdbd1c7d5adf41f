"""Taking a customer out of the registry: withdrawn and kept out, grants and signed forms set aside or destroyed.

Document: docs/protocols/erasure.md sections 2, 4 and 8. The suppression stays: tokens under this institution's key, without
which nobody could be kept out. Everything here works with tokens; identifiers are needed only for the withdrawal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from workbench.contracts import Host, Transaction
from workbench.domain.erasure import Customer, ErasureFinding, ErasureRequest, Stage
from workbench.errors import Refused
from workbench_consent import merkle, represented, rows, tables, withdrawing
from workbench_consent.grants import Subject, erasure_digest
from workbench_consent.rows import SALT_SIZE, Chunk
from workbench_consent.subjects import TOKEN_SIZE, Flags, Subjects, Words, bytes_of, is_named, words_of

OWNER = "consent"
GRANT_KIND = "consent.grant"


def pairs(customer: Customer) -> Iterator[tuple[str | None, str | None]]:
    """(phone, identity number) to withdraw for, so that a form with both is met."""
    numbers: tuple[str | None, ...] = customer.id_nos or (None,)
    phones: tuple[str | None, ...] = customer.phones or (None,)
    yield from ((phone, number) for number in numbers for phone in phones if phone or number)


def names_of(reader: tables.Reader, phones: Sequence[Subject], numbers: Sequence[Subject]) -> tuple[str, ...]:
    """Tokens in hex of what was named and what signed forms add to it, numbers first.

    Refused AMBIGUOUS_CUSTOMER when forms tie the phones to several numbers and none was given. A phone that forms tie to
    somebody else's number as well is left out.
    """
    grants, _ = tables.subjects_of_grants(reader)
    wanted = [
        Subject(phone.phone, number.id_no) for phone in phones or [Subject(None, None)] for number in numbers or [Subject(None, None)]
    ]
    found = [entry for one in wanted if one.phone or one.id_no for entry in withdrawing.spread(one, grants)[0]]
    mine = {one.id_no for one in (*found, *numbers) if one.id_no is not None}
    if not numbers and len(mine) > 1:
        raise Refused(
            "这个手机号对应不止一位客户：请同时填写身份证号",
            "several persons have this phone: give the identity number too",
            code="AMBIGUOUS_CUSTOMER",
        )
    tokens = {one.phone for one in (*found, *phones) if one.phone is not None}
    own = [one for one in tokens if not (mine and _is_anothers(one, mine, grants))]
    return tuple(one.hex() for one in (*sorted(mine), *sorted(own)))


def rows_named(subjects: Subjects, names: Iterable[str]) -> Flags:
    """Rows whose number is among the names, or that have no number and whose phone is."""
    wanted = np.frombuffer(b"".join(bytes.fromhex(name) for name in names), "<u8").reshape(-1, 2)
    return _among(subjects.id_no, wanted) | (~is_named(subjects.id_no) & _among(subjects.phone, wanted))


def erase(host: Host, request: ErasureRequest, subjects: Sequence[Subject]) -> list[ErasureFinding]:
    """First stage: withdraw, keep out, take grants and forms out. In the second the host has destroyed what was aside.

    subjects: what to withdraw for, empty when only tokens are known; then the withdrawal came before.
    """
    if request.stage is Stage.ERASE:
        return []
    withdrawn = sum(host.store.write(partial(_withdraw, host=host, request=request, subject=one)) for one in subjects)
    findings = host.store.write(lambda tx: _take_out(tx, host, request), timeout_s=300.0)
    return [
        ErasureFinding(
            OWNER, "suppression", withdrawn, 0, 0, 0,
            "已登记撤回并列入不再使用名单；名单只存带密钥的代号，用来拒绝以后导入的此人",
            "withdrawn and kept out; the list holds keyed tokens only, which keep the customer out of later imports",
            left=withdrawn,
        ),
        *findings,
    ]  # fmt: skip


def _withdraw(tx: Transaction, *, host: Host, request: ErasureRequest, subject: Subject) -> int:
    kept_out = tables.withdrawals(tx).in_force("", "").subjects
    named = withdrawing.columns_of_subject(subject)
    everywhere = (kept_out.phone == named.phone).all(axis=0) & (kept_out.id_no == named.id_no).all(axis=0)
    if everywhere.any() and not _live(tx, request.customer.names):
        return 0
    withdrawing.withdraw(
        tx, host, subject, purpose="", recipient="", suppress=True, actor=request.actor, reason=f"erasure {request.request}",
        by=request.by, proof=request.proof,
    )  # fmt: skip
    return 1


def _live(tx: Transaction, names: Sequence[str]) -> bool:
    grants, _ = tables.subjects_of_grants(tx)
    return bool(rows_named(grants, names).any())


def _take_out(tx: Transaction, host: Host, request: ErasureRequest) -> list[ErasureFinding]:
    values: dict[str, bytes] = {}
    records: list[int] = []
    leaves: list[tuple[int, bytes]] = []
    for chunk in list(tables.chunks(tx)):
        columns = _subjects(chunk)
        chosen = np.flatnonzero(rows_named(columns, request.customer.names)).tolist()
        if not chosen:
            continue
        _keep_leaves(tx, chunk, chosen)
        for row in chosen:
            values[str(chunk.first + row)] = packed(chunk, row)
        records += [chunk.first + row for row in chosen]
        rest = emptied(chunk, chosen)
        tables.replace_chunk(tx, rest)
        hashes = rows.import_leaves(rest)
        leaves += [(chunk.first + leaf * merkle.ROWS_PER_LEAF, hashes[leaf]) for leaf in _leaves(chosen)]
    if not records:
        return [_finding(0, 0, 0, 0)]
    stored = records_with_forms(tx)
    now = host.now_ms()
    taken = host.restricted.take_records(
        tx, values, owner=OWNER, kind=GRANT_KIND, from_ms=now, request=request.request,
        documents=[ref for ref in values if ref in stored],
    )  # fmt: skip
    seq = tables.newest_event(tx) + 1
    salt = host.random(SALT_SIZE)
    root = erasure_digest(salt, records, leaves)
    entry = host.evidence.append(
        tx, "consent.erased",
        {"root": root.hex(), "event": str(seq), "request": request.request, "records": str(len(records))},
        actor=request.actor,
    )  # fmt: skip
    tables.add_event(
        tx, "erased", seq=seq, entry=entry.index, at_ms=now, actor=request.actor, rows=len(records), root=root, salt=salt
    )
    tx.executemany("INSERT INTO consent_erased (record, seq) VALUES (?, ?)", [(record, seq) for record in records])
    tx.executemany(
        "INSERT INTO consent_leaf_after (seq, first, hash) VALUES (?, ?, ?)", [(seq, first, hash_) for first, hash_ in leaves]
    )
    found = [_finding(len(records), taken.erased_items, taken.restricted_items, taken.until_ms)]
    people = represented.take_out(tx, host, records)
    if people:
        gone = host.restricted.take_records(tx, people, owner=OWNER, kind=represented.KIND, from_ms=now, request=request.request)
        found.append(
            ErasureFinding(
                OWNER, "representatives", len(people), gone.erased_items, gone.restricted_items, gone.until_ms,
                "谁代为签署的登记随授权移出", "who signed for the customer went with the grants",
            )
        )  # fmt: skip
    return found


def records_with_forms(reader: tables.Reader) -> frozenset[str]:
    """Records with a signed form in the blob store."""
    found = reader.execute("SELECT ref FROM blob_reference WHERE owner = ?", (OWNER,))
    return frozenset(str(ref) for (ref,) in found)


def packed(chunk: Chunk, row: int) -> bytes:
    """What is set aside of a grant: tokens, salt, form and digest. Source: docs/protocols/erasure.md section 4."""
    return b"".join(
        data[size * row : size * (row + 1)]
        for data, size in ((chunk.phone, 16), (chunk.id_no, 16), (chunk.salt, 32), (chunk.form, 32), (chunk.digest, 32))
    )


def emptied(chunk: Chunk, chosen: Sequence[int]) -> Chunk:
    """The chunk with zeros in place of what names or ties the chosen rows; term and period stay."""

    def without(data: bytes, size: int) -> bytes:
        changed = bytearray(data)
        for row in chosen:
            changed[size * row : size * (row + 1)] = bytes(size)
        return bytes(changed)

    return replace(
        chunk,
        phone=without(chunk.phone, TOKEN_SIZE),
        id_no=without(chunk.id_no, TOKEN_SIZE),
        salt=without(chunk.salt, SALT_SIZE),
        form=without(chunk.form, 32),
        digest=without(chunk.digest, 32),
    )


def is_emptied(chunk: Chunk, row: int) -> bool:
    """Whether nothing is left in a row that names or ties anybody."""
    return not any(packed(chunk, row))


def _keep_leaves(tx: Transaction, chunk: Chunk, chosen: Sequence[int]) -> None:
    """The hashes of the leaves that can be computed for the last time now; one kept earlier stays."""
    hashes = rows.import_leaves(chunk)
    tx.executemany(
        "INSERT OR IGNORE INTO consent_leaf (first, hash) VALUES (?, ?)",
        [(chunk.first + leaf * merkle.ROWS_PER_LEAF, hashes[leaf]) for leaf in _leaves(chosen)],
    )


def _leaves(chosen: Sequence[int]) -> list[int]:
    return sorted({row // merkle.ROWS_PER_LEAF for row in chosen})


def _subjects(chunk: Chunk) -> Subjects:
    return Subjects(words_of(chunk.phone), words_of(chunk.id_no))


def _among(words: Words, wanted: np.ndarray) -> Flags:
    found = np.zeros(words.shape[1], bool)
    for high, low in wanted:
        found |= (words[0] == high) & (words[1] == low)
    return found & is_named(words)


def _is_anothers(phone: bytes, mine: set[bytes], grants: Subjects) -> bool:
    """Whether a form ties this phone to a number that is not among mine."""
    halves = np.frombuffer(phone, "<u8")
    rows_ = np.flatnonzero((grants.phone[0] == halves[0]) & (grants.phone[1] == halves[1]) & is_named(grants.id_no))
    numbers = grants.id_no[:, rows_]
    return any(bytes_of(numbers[:, at : at + 1]) not in mine for at in range(numbers.shape[1]))


def _finding(found: int, erased: int, restricted: int, until_ms: int) -> ErasureFinding:
    if restricted:
        zh, en = "授权记录与签署文件移入限制存放，到期销毁", "grants and signed forms lie in restricted storage until their term ends"
    else:
        zh, en = "授权记录与签署文件已销毁", "grants and signed forms were destroyed"
    return ErasureFinding(OWNER, "grants", found, erased, restricted, until_ms, zh, en)

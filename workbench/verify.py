"""Offline verification of a receipt: a list of named steps and one verdict, in Chinese and English.

Document: docs/protocols/evidence.md section 9. Needs no node, no database and no network. The core is pure; only
`read_identifiers` and `file_sm3` read the exported file that a receipt vouches for.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from workbench.crypto import compare, sm3
from workbench.domain.checkpoint import (
    PartyKeys,
    VerifiedNote,
    parse_checkpoint,
    split_note,
    verify_note,
)
from workbench.domain.envelope import (
    Envelope,
    check_opening,
    format_time,
    parse_envelope,
)
from workbench.domain.listdigest import export_digest
from workbench.domain.merkle import SHA256, SM3, check_inclusion
from workbench.domain.party import PartyId
from workbench.domain.policy import Requirement, requirement
from workbench.domain.receipt import (
    Receipt,
    format_tlog_proof,
    load_receipt,
    parse_receipt,
)
from workbench.errors import VerificationError

TrustKeys = Mapping[PartyId, PartyKeys]
"""Pinned keys by party, from a trust file that came by another way than the receipt."""

KEY_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "phone": ("phone", "mobile", "手机号"),
    "id_no": ("id_no", "身份证号"),
}
"""Headers under which an exported file may carry the key column."""

MAX_CELL_BYTES = 131_072


class VerdictWord(StrEnum):
    """The four outcomes; see the document."""

    OK = "OK"
    KEYS_NOT_PINNED = "KEYS_NOT_PINNED"
    NOT_FINAL = "NOT_FINAL"
    FAILED = "FAILED"


class StepState(StrEnum):
    """What a step came to. NOT_PROVEN: nothing contradicts it, and nothing that was given could have shown it."""

    OK = "ok"
    NOT_PROVEN = "not_proven"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was checked: a short name, what it came to, and a sentence for people."""

    name: str
    state: StepState
    zh: str
    en: str

    @property
    def ok(self) -> bool:
        """True for a step that holds; a step that is not proven does not."""
        return self.state is StepState.OK


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a verification.

    pinned: whether the keys came from a trust file. cosigners, parties: who has co-signed the checkpoints of the entry and of all links, of whom. required: whose
    co-signatures make them final. entry: the verified envelope, None when it could not be read.
    """

    word: VerdictWord
    zh: str
    en: str
    steps: tuple[Step, ...]
    log: str = ""
    index: int | None = None
    cosigners: tuple[PartyId, ...] = ()
    parties: tuple[PartyId, ...] = ()
    required: tuple[PartyId, ...] = ()
    entry: Envelope | None = field(default=None, repr=False)
    pinned: bool = False

    @property
    def holds(self) -> bool:
        """True for OK alone."""
        return self.word is VerdictWord.OK

    @property
    def exit_status(self) -> int:
        """0 when everything that was asked for holds (keys pinned or not), 2 when not final or failed.

        Without a trust file nobody asked whose keys these are; `pinned` and the verdict say that this stays open.
        Document: docs/protocols/evidence.md section 9.
        """
        return 0 if self.word in (VerdictWord.OK, VerdictWord.KEYS_NOT_PINNED) else 2

    def as_dict(self) -> dict[str, object]:
        """The form of `workbench verify --json`."""
        return {
            "verdict": self.word.value,
            "pinned": self.pinned,
            "zh": self.zh,
            "en": self.en,
            "log": self.log,
            "index": self.index,
            "kind": self.entry.kind if self.entry else "",
            "job": self.entry.job if self.entry else "",
            "time": format_time(self.entry.time_ms) if self.entry else "",
            "cosigned": f"{len(self.cosigners)}/{len(self.parties)}",
            "cosigners": list(self.cosigners),
            "required": list(self.required),
            "steps": [
                {"name": one.name, "ok": one.ok, "state": one.state.value, "zh": one.zh, "en": one.en} for one in self.steps
            ],
        }


@dataclass(slots=True)
class _Findings:
    """Steps so far and what later steps need; `prefix` names the link they belong to."""

    steps: list[Step] = field(default_factory=list)
    prefix: str = ""

    def add(self, name: str, ok: bool, zh: str, en: str) -> bool:
        self.steps.append(Step(self.prefix + name, StepState.OK if ok else StepState.FAILED, zh, en))
        return ok

    def leave_open(self, name: str, zh: str, en: str) -> None:
        """A step that nothing given here could prove."""
        self.steps.append(Step(self.prefix + name, StepState.NOT_PROVEN, zh, en))

    @property
    def failed(self) -> list[Step]:
        return [step for step in self.steps if step.state is StepState.FAILED]

    def run(self, name: str, check: Callable[[], tuple[str, str]]) -> bool:
        """Add a step from a check that returns its two sentences or raises VerificationError."""
        try:
            zh, en = check()
        except VerificationError as error:
            return self.add(name, False, error.zh, error.en)
        return self.add(name, True, zh, en)


@dataclass(frozen=True, slots=True)
class _Checked:
    """An entry and its checkpoint after all steps but `sealed`."""

    entry: Envelope
    note: VerifiedNote
    keys: TrustKeys


def verify_receipt(
    receipt: object, *, trust: TrustKeys | None, csv_path: Path | None = None, mldsa_kinds: Sequence[str] = ()
) -> Verdict:
    """Check everything in a receipt's JSON object and say what holds.

    trust: pinned keys; None leaves the verdict at "keys not pinned" at best. csv_path: the exported file whose key
    column the receipt vouches for. mldsa_kinds: prefixes of kinds for which only co-signatures with an ML-DSA-44 line
    count (docs/protocols/ledger.md section 3); a receipt does not say what its project demands. Never raises for anything in the receipt or the file. Cost: about 5 ms a receipt,
    and 2 microseconds a row of the file.
    """
    findings = _Findings()
    try:
        parsed = parse_receipt(receipt)
    except VerificationError as error:
        findings.add("format", False, error.zh, error.en)
        return _failed(findings)
    findings.add("format", True, "收据格式为第 1 版", "the receipt has the format of version 1")
    checked = _check_one(parsed, trust, findings)
    logs = _check_links(parsed, checked, trust, findings)
    if csv_path is not None:
        _check_list([*([(parsed, checked)] if checked else []), *logs], csv_path, findings)
    if checked is None or findings.failed:
        return _failed(findings, parsed, checked, pinned=trust is not None)
    return _sealed(parsed, checked, logs, trust, mldsa_kinds, findings)


def verify_receipt_file(
    path: Path, *, trust: TrustKeys | None, csv_path: Path | None = None, mldsa_kinds: Sequence[str] = ()
) -> Verdict:
    """As `verify_receipt`, for a receipt in a file. Raises OSError when the receipt cannot be read."""
    try:
        value = load_receipt(path.read_bytes())
    except VerificationError as error:
        findings = _Findings()
        findings.add("format", False, error.zh, error.en)
        return _failed(findings)
    return verify_receipt(value, trust=trust, csv_path=csv_path, mldsa_kinds=mldsa_kinds)


def read_identifiers(path: Path, key_kind: str) -> list[str]:
    """The key column of an exported CSV file (UTF-8, with or without a mark), row by row.

    key_kind: `phone` or `id_no`; "" takes the only one that is there. Raises VerificationError (code LIST) when the
    file has no such column or is not such a file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(MAX_CELL_BYTES)
            rows = csv.reader(file, strict=True)
            column = _key_column(next(rows, []), key_kind)
            return [row[column] for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error, IndexError) as error:
        raise _bad_list("名单文件读不出或缺列", "the list cannot be read or lacks a column") from error


def file_sm3(path: Path) -> str:
    """The SM3 of a file in hexadecimal. Raises VerificationError (code LIST) when it cannot be read."""
    hasher = sm3.new()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
    except OSError as error:
        raise _bad_list("名单文件读不出", "the list cannot be read") from error
    return hasher.digest().hex()


# ---------------------------------------------------------------------------------------------- steps


def _check_one(parsed: Receipt, trust: TrustKeys | None, findings: _Findings) -> _Checked | None:
    """All steps about one entry but the list, the links and the seal; None when one of the basic ones fails."""
    entries: list[Envelope] = []
    notes: list[VerifiedNote] = []

    def entry() -> tuple[str, str]:
        envelope = parse_envelope(parsed.body)
        if envelope.log != parsed.log:
            raise _mismatch("记录所属的日志与收据不符", "the entry belongs to another log than the receipt says")
        entries.append(envelope)
        return (
            f"记录为规范写法：{parsed.log} 日志第 {parsed.index} 条，{envelope.kind}，{format_time(envelope.time_ms)}",
            f"canonical: entry {parsed.index} of the log of {parsed.log}, {envelope.kind}, {format_time(envelope.time_ms)}",
        )

    def paths(name: str) -> Callable[[], tuple[str, str]]:
        def check() -> tuple[str, str]:
            head = parse_checkpoint(split_note(parsed.note)[0])
            tree, path, root = (
                (SHA256, parsed.sha256_path, head.sha256_root)
                if name == "sha256"
                else (SM3, parsed.sm3_path, head.sm3_root)
            )
            leaf = tree.leaf(parsed.body)
            check_inclusion(tree, index=parsed.index, size=head.size, leaf=leaf, proof=path, root=root)
            return (
                f"{name.upper()}：正文重算后经 {len(path)} 级到达 {head.size} 条检查点的树根",
                f"{name.upper()}: re-hashed, the body leads over {len(path)} levels to the root at {head.size} entries",
            )

        return check

    def tlog_proof() -> tuple[str, str]:
        if format_tlog_proof(parsed.index, parsed.sha256_path, parsed.note) != parsed.tlog_proof:
            raise _mismatch(
                "tlog-proof 文本与收据其余部分不符", "the tlog-proof text differs from the rest of the receipt"
            )
        return "tlog-proof 文本与收据一致（C2SP）", "the tlog-proof text agrees with the receipt (C2SP)"

    def checkpoint() -> tuple[str, str]:
        project = parse_checkpoint(split_note(parsed.note)[0]).project
        note = verify_note(parsed.note, keys, project=project)
        if note.checkpoint.log != parsed.log:
            raise _mismatch("检查点属于另一家的日志", "the checkpoint is of another log")
        notes.append(note)
        times = {party: format_time(one.time_s * 1000) for party, one in note.cosignatures.items()}
        zh = "、".join(f"{party}（{time}）" for party, time in times.items()) or "无"
        en = ", ".join(f"{party} ({time})" for party, time in times.items()) or "nobody"
        unknown_zh = f"；另有 {note.unknown_lines} 行出自未知密钥，不计" if note.unknown_lines else ""
        unknown_en = f"; {note.unknown_lines} lines by unknown keys count for nothing" if note.unknown_lines else ""
        return (
            f"日志签名成立；共签成立（Ed25519 与 SM2 两行）：{zh}{unknown_zh}",
            f"the log's signature holds; co-signed (Ed25519 and SM2) by: {en}{unknown_en}",
        )

    findings.run("entry", entry)
    findings.run("sha256", paths("sha256"))
    findings.run("sm3", paths("sm3"))
    findings.run("tlog_proof", tlog_proof)
    keys = _keys_to_use(parsed, trust, findings)
    findings.run("checkpoint", checkpoint)
    if not entries or not notes:
        return None
    _check_openings(parsed, entries[0], findings)
    return _Checked(entries[0], notes[0], keys)


def _keys_to_use(parsed: Receipt, trust: TrustKeys | None, findings: _Findings) -> TrustKeys:
    """Pinned keys where there are any; then those in the receipt must be the same."""
    if trust is None:
        findings.leave_open(
            "keys",
            "未证明：没有信任文件，只能按收据自带的公钥核对，不知道公钥属于谁",
            "not proven: without a trust file only the keys inside the receipt can be used; whose they are is unknown",
        )
        return parsed.keys
    for party, one in sorted(parsed.keys.items()):
        known = trust.get(party)
        if known is None or (known.ed25519, known.sm2) != (one.ed25519, one.sm2):
            findings.add(
                "keys",
                False,
                f"收据中 {party} 的公钥与信任文件不同：请 {party} 的合规人员核查",
                f"the keys of {party} in the receipt are not the pinned ones: compliance of {party} must look into it",
            )
            return trust
    findings.add("keys", True, "公钥与信任文件一致", "the keys are those of the trust file")
    return trust


def _check_openings(parsed: Receipt, entry: Envelope, findings: _Findings) -> None:
    if not parsed.openings:
        return

    def check() -> tuple[str, str]:
        for name, (salt, value) in parsed.openings.items():
            check_opening(entry, name, salt, value)
        names = ", ".join(sorted(parsed.openings))
        return f"开示的字段与承诺相符：{names}", f"the opened fields fit their commitments: {names}"

    findings.run("openings", check)


def _check_list(entries: Sequence[tuple[Receipt, _Checked]], csv_path: Path, findings: _Findings) -> None:
    """The file must be what one of the entries vouches for; entries that name the whole file go before others."""

    def check() -> tuple[str, str]:
        vouching = [_vouched_list(receipt, one) for receipt, one in entries]
        lists = [one for one in vouching if one is not None]
        lists = [one for one in lists if one.file_sm3] or lists
        if not lists:
            raise _bad_list("收据没有开示名单摘要", "the receipt does not open a list's digest")
        for number, one in enumerate(lists, start=1):
            try:
                rows, distinct = one.check(csv_path)
            except VerificationError:
                if number == len(lists):
                    raise
                continue
            whole_zh, whole_en = ("，文件全文一致", ", as does the whole file") if one.file_sm3 else ("", "")
            return (
                f"名单 {rows} 行、{distinct} 个不同标识，与收据的摘要一致{whole_zh}",
                f"the list of {rows} rows and {distinct} distinct identifiers fits the digest in the receipt{whole_en}",
            )
        raise AssertionError("the last list is returned or raised")

    findings.run("list", check)


@dataclass(frozen=True, slots=True)
class _VouchedList:
    """What an entry says about an exported file. file_sm3: of the whole file, "" when the entry does not say."""

    key_kind: str
    key: bytes
    digest: str
    file_sm3: str

    def check(self, csv_path: Path) -> tuple[int, int]:
        """Rows and distinct identifiers. Raises VerificationError (code LIST) when the file is another one."""
        identifiers = read_identifiers(csv_path, self.key_kind)
        try:
            digest = export_digest(self.key, identifiers)
        except ValueError as error:
            raise _bad_list("名单的键列有空值", "the key column has an empty value") from error
        if not compare.equal(digest.hex().encode(), self.digest.encode()):
            raise _bad_list(
                "名单的键列与收据不符：有行被增加、删除或改动",
                "the key column is not the one the receipt vouches for: rows were added, removed or changed",
            )
        if self.file_sm3 and not compare.equal(file_sm3(csv_path).encode(), self.file_sm3.encode()):
            raise _bad_list(
                "名单文件的其他内容被改动：键列与收据一致，其余不一致",
                "something else in the file was changed: the key column fits the receipt, the rest does not",
            )
        return len(identifiers), len(set(identifiers))


def _vouched_list(receipt: Receipt, checked: _Checked) -> _VouchedList | None:
    opened = {name: value for name, (_, value) in receipt.openings.items()}
    if "list_digest" not in opened or "list_key" not in opened:
        return None
    try:
        key = bytes.fromhex(opened["list_key"])
    except ValueError:
        return None
    kind = checked.entry.shared.get("key_kind", "")
    return _VouchedList(kind, key, opened["list_digest"], opened.get("file_sm3", ""))


def _check_links(
    parsed: Receipt, checked: _Checked | None, trust: TrustKeys | None, findings: _Findings
) -> list[tuple[Receipt, _Checked]]:
    """Every linked receipt as a whole; it must be about another entry of the same job and project."""
    linked: list[tuple[Receipt, _Checked]] = []
    for number, link in enumerate(parsed.links, start=1):
        findings.prefix = f"link {number} "
        one = _check_one(link, trust, findings)
        findings.prefix = ""
        if one is None or checked is None:
            continue
        same = (
            one.entry.job == checked.entry.job
            and one.entry.job != ""
            and one.note.checkpoint.project == checked.note.checkpoint.project
            and (link.log, link.index)
            not in [(other.log, other.index) for other in (parsed, *(two for two, _ in linked))]
        )
        findings.add(
            f"link {number} job",
            same,
            f"{link.log} 的第 {link.index} 条{'是' if same else '不是'}同一任务的另一条记录",
            f"entry {link.index} of {link.log} is {'' if same else 'not '}another entry about the same job",
        )
        linked.append((link, one))
    return linked


def _requirement(receipt: Receipt, checked: _Checked, mldsa_kinds: Sequence[str]) -> Requirement:
    """What the policy asks for this entry, by what is signed in it (docs/protocols/ledger.md section 3)."""
    return requirement(
        checked.entry.kind,
        log=receipt.log,
        participants=checked.entry.participants,
        members=_members(receipt, checked),
        subject=checked.entry.shared.get("party", ""),
        mldsa_kinds=mldsa_kinds,
    )


def _members(receipt: Receipt, checked: _Checked) -> tuple[PartyId, ...]:
    """The institutions that belong to the members at this entry, as far as the keys tell, ascending."""
    return tuple(sorted(party for party, one in checked.keys.items() if one.is_member(receipt.log, receipt.index)))


def _counted(receipt: Receipt, checked: _Checked, need: Requirement) -> set[PartyId]:
    """The co-signers who are members at this entry and at the end of the checkpoint, as far as the keys tell.

    Where ML-DSA-44 lines are needed, those with one.
    """
    size = checked.note.checkpoint.size
    return {
        party
        for party, one in checked.note.cosignatures.items()
        if checked.keys[party].counts(receipt.log, receipt.index, size) and (one.mldsa_line or not need.mldsa)
    }


def _sealed(
    parsed: Receipt,
    checked: _Checked,
    linked: Sequence[tuple[Receipt, _Checked]],
    trust: TrustKeys | None,
    mldsa_kinds: Sequence[str],
    findings: _Findings,
) -> Verdict:
    """The last step: every required co-signature on the entry's checkpoint and on those of the links."""
    parties = _members(parsed, checked)
    everything = [(parsed, checked), *linked]
    needs = [_requirement(receipt, one, mldsa_kinds) for receipt, one in everything]
    required = {party for need in needs for party in need.parties}
    least = max(need.at_least for need in needs)
    counted = [_counted(receipt, one, need) for (receipt, one), need in zip(everything, needs, strict=True)]
    who = sorted({party for signers in counted for party in required - signers})
    cosigners = tuple(sorted(set(parties).intersection(*counted)))
    share = f"{len(cosigners)}/{len(parties)}"
    if who or len(cosigners) < least:
        names = ", ".join(who) or "another institution"
        third = any(need.mldsa for need in needs)
        third_zh, third_en = ("（须带 ML-DSA-44 行）", " (with an ML-DSA-44 line)") if third else ("", "")
        findings.add(
            "sealed",
            False,
            f"共签 {share}，缺少：{', '.join(who) or '另一家机构'}{third_zh}。该记录未定稿",
            f"co-signed {share}, missing: {names}{third_en}. The entry is not final",
        )
        word = VerdictWord.NOT_FINAL
        zh = f"未定稿：内容成立，但缺少 {', '.join(who) or '另一家机构'} 的共签，不可据此导出或采信"
        en = f"not final: everything holds, but the co-signature of {names} is missing; do not rely on it"
    else:
        findings.add("sealed", True, f"必需的共签齐全，共 {share}", f"all required co-signatures are there, {share}")
        word = VerdictWord.OK if trust is not None else VerdictWord.KEYS_NOT_PINNED
        zh, en = f"成立：{share} 家共签", f"OK: co-signed by {share}"
        if trust is None:
            zh = f"未锁定公钥：内容与 {share} 家共签均成立，但公钥取自收据本身，请用 --trust 提供信任文件"
            en = f"keys not pinned: everything holds, co-signed by {share}, but under keys taken from the receipt itself; give --trust"
    return Verdict(
        word,
        zh,
        en,
        tuple(findings.steps),
        parsed.log,
        parsed.index,
        cosigners,
        parties,
        tuple(sorted(required)),
        checked.entry,
        trust is not None,
    )


def _failed(
    findings: _Findings, parsed: Receipt | None = None, checked: _Checked | None = None, *, pinned: bool = False
) -> Verdict:
    first = findings.failed[0]
    return Verdict(
        VerdictWord.FAILED,
        f"不成立（{first.name}）：{first.zh}",
        f"FAILED at {first.name}: {first.en}",
        tuple(findings.steps),
        parsed.log if parsed else "",
        parsed.index if parsed else None,
        tuple(sorted(checked.note.cosignatures)) if checked else (),
        tuple(sorted(checked.keys)) if checked else (),
        (),
        checked.entry if checked else None,
        pinned,
    )


def _key_column(header: Sequence[str], key_kind: str) -> int:
    kinds: Iterable[str] = [key_kind] if key_kind else KEY_COLUMNS
    places = [header.index(name) for kind in kinds for name in KEY_COLUMNS.get(kind, ()) if name in header]
    if len(places) != 1:
        raise _bad_list("名单文件没有（或不止一个）键列", "the file has no key column, or more than one")
    return places[0]


def _bad_list(zh: str, en: str) -> VerificationError:
    return VerificationError(zh, en, code="LIST")


def _mismatch(zh: str, en: str) -> VerificationError:
    return VerificationError(zh, en, code="RECEIPT")

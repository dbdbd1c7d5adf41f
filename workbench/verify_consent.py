"""Offline verification of a consent receipt: named steps, one verdict, and where the grant stood as of a height.

Document: docs/protocols/consent-receipt.md section 6. Needs no node, no database and no network. Pure; the reader's own
time is an argument. It never says "valid now".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.crypto import compare, sm2, sm3
from workbench.domain import consent_receipt as receipts
from workbench.domain.consent_receipt import ConsentReceipt
from workbench.domain.envelope import format_time
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench.verify import Step, StepState, TrustKeys, Verdict, VerdictWord, verify_receipt

NOT_LIVE_STATUS = 3
_GRANT = b"workbench/v1/grant\n"
_GRANT_2 = b"workbench/v2/grant\n"
_FORM = b"workbench/v1/signed-form\n"


@dataclass(frozen=True, slots=True)
class GrantStatus:
    """What the receipt says of its grant. state: as of the height; ended: its window has ended by the reader's clock.

    zh, en begin "as of height N of the log of …"; at_ms: when the institution read it.
    """

    state: str
    log: str
    size: int
    at_ms: int
    from_ms: int
    until_ms: int
    ended: bool
    zh: str
    en: str

    @property
    def is_live(self) -> bool:
        return self.state == "LIVE" and not self.ended


@dataclass(frozen=True, slots=True)
class ConsentVerdict:
    """The outcome for a consent receipt. status, receipt: None when the file could not be read."""

    word: VerdictWord
    zh: str
    en: str
    steps: tuple[Step, ...]
    pinned: bool
    status: GrantStatus | None = None
    anchor: Verdict | None = field(default=None, repr=False)
    receipt: ConsentReceipt | None = field(default=None, repr=False)

    @property
    def exit_status(self) -> int:
        """0 when everything holds and the grant was live; 3 when everything holds and it was not; 2 otherwise."""
        if self.word not in (VerdictWord.OK, VerdictWord.KEYS_NOT_PINNED):
            return 2
        return 0 if self.status is not None and self.status.is_live else NOT_LIVE_STATUS

    def as_dict(self) -> dict[str, object]:
        """The form of `workbench verify --json` for a consent receipt."""
        status, receipt = self.status, self.receipt
        return {
            "verdict": self.word.value,
            "pinned": self.pinned,
            "zh": self.zh,
            "en": self.en,
            "receipt_id": receipt.receipt_id if receipt else "",
            "digest": receipt.digest.hex() if receipt else "",
            "issuer": receipt.issuer if receipt else "",
            "recipient": receipt.content["recipient"]["party"] if receipt else "",
            "purpose": receipt.content["processing"]["purpose"]["code"] if receipt else "",
            "uses": receipt.content["uses"] if receipt else {},
            "status": {
                "state": status.state, "log": status.log, "size": status.size, "at_ms": status.at_ms, "from_ms": status.from_ms,
                "until_ms": status.until_ms, "ended": status.ended, "zh": status.zh, "en": status.en,
            } if status else {},
            "cosigned": f"{len(self.anchor.cosigners)}/{len(self.anchor.parties)}" if self.anchor else "",
            "steps": [
                {"name": one.name, "ok": one.ok, "state": one.state.value, "zh": one.zh, "en": one.en} for one in self.steps
            ],
        }  # fmt: skip


def verify_consent_receipt(
    data: bytes,
    *,
    trust: TrustKeys | None,
    contracts: Mapping[PartyId, sm2.PublicKey] | None,
    now_ms: int | None,
    document: bytes | None = None,
    anchor: Mapping[str, Any] | None = None,
) -> ConsentVerdict:
    """Check everything in a consent receipt and say what holds.

    trust, contracts: pinned co-signing and contract keys, of the same trust file; None leaves the verdict at "keys not
    pinned" at best. now_ms: the reader's clock, only to say whether the window has ended since. document: the signed form.
    anchor: a receipt of the issuing entry that came beside the file; it takes the place of the one inside, which may be
    older. Never raises for anything in them. Cost: about 8 ms.
    """
    steps: list[Step] = []

    def add(name: str, ok: bool, zh: str, en: str) -> bool:
        steps.append(Step(name, StepState.OK if ok else StepState.FAILED, zh, en))
        return ok

    try:
        receipt = receipts.parse(data)
    except VerificationError as error:
        add("format", False, error.zh, error.en)
        return _ended(steps, None, None, None, pinned=contracts is not None)
    add("format", True, "授权凭据格式为第 1 版，逐字节规范", "a consent receipt of version 1, canonical byte for byte")
    _check_grant(receipt, steps)
    root = _check_path(receipt, steps)
    _check_keys(receipt, contracts, steps)
    _check_signature(receipt, root, contracts, steps)
    proof = _check_anchor(receipt, root, anchor if anchor is not None else receipt.anchor, trust, steps)
    if document is not None:
        _check_document(receipt, document, steps)
    return _ended(steps, receipt, proof, _status(receipt, now_ms), pinned=contracts is not None)


def _check_grant(receipt: ConsentReceipt, steps: list[Step]) -> None:
    grant, content = receipt.content["grant"], receipt.content
    texts = [content["processing"]["purpose"]["code"], receipt.issuer, content["recipient"]["party"], content["processing"]["channel"]]
    head = b"".join(map(_prefixed, texts))
    if grant["v"] == 1:
        head = _GRANT + head
    else:
        terms = content["grant_v2"]
        flags = bytes([(terms["minor"] == "yes") | (terms["separate"] == "yes") << 1])
        head = _GRANT_2 + head + _prefixed(terms["notice"]) + bytes.fromhex(terms["notice_digest"] or "00" * 32)
        head += b"".join(_prefixed(terms[name]) for name in ("categories", "contacts", "method", "signer"))
        head += flags + int(terms["max_uses"]).to_bytes(4, "big")
    span = grant["from_ms"].to_bytes(8, "big") + grant["until_ms"].to_bytes(8, "big")
    digest = sm3.digest(head + bytes.fromhex(grant["salt"]) + span + bytes.fromhex(grant["form"]))
    holds = compare.equal(digest.hex().encode(), grant["digest"].encode())
    steps.append(
        Step(
            "grant", StepState.OK if holds else StepState.FAILED,
            f"授权摘要由用途、双方、渠道、期限{'重算相符' if holds else '重算不符：凭据内容自相矛盾，请出具机构的合规人员核查'}",
            "the grant's digest "
            + ("follows from" if holds else "does not follow from")
            + " purpose, parties, channel and times"
            + ("" if holds else ": compliance of the issuer must look into it"),
        )
    )  # fmt: skip


def _check_path(receipt: ConsentReceipt, steps: list[Step]) -> bytes | None:
    try:
        root = receipts.root_from(receipt.digest, index=receipt.index, size=receipt.size, path=receipt.path)
    except VerificationError as error:
        steps.append(Step("path", StepState.FAILED, error.zh, error.en))
        return None
    steps.append(
        Step(
            "path", StepState.OK, f"第 {receipt.index + 1} 份，共 {receipt.size} 份，经 {len(receipt.path)} 级到达同一树根",
            f"receipt {receipt.index + 1} of {receipt.size} leads to the root over {len(receipt.path)} levels",
        )
    )  # fmt: skip
    return root


def _check_keys(receipt: ConsentReceipt, contracts: Mapping[PartyId, sm2.PublicKey] | None, steps: list[Step]) -> None:
    party = receipt.issuer
    if contracts is None:
        steps.append(
            Step(
                "keys", StepState.NOT_PROVEN, "未证明：没有信任文件，只能按凭据自带的公钥核对，不知道公钥属于谁",
                "not proven: without a trust file only the keys inside the receipt can be used; whose they are is unknown",
            )
        )  # fmt: skip
        return
    holds = contracts.get(party) == receipt.key
    steps.append(
        Step(
            "keys", StepState.OK if holds else StepState.FAILED,
            f"签名公钥{'是' if holds else '不是'}信任文件中 {party} 的合同密钥{'' if holds else f'：请 {party} 的合规人员核查'}",
            f"the signing key is {'' if holds else 'not '}the contract key of {party} in the trust file"
            + ("" if holds else f": compliance of {party} must look into it"),
        )
    )  # fmt: skip


def _check_signature(
    receipt: ConsentReceipt, root: bytes | None, contracts: Mapping[PartyId, sm2.PublicKey] | None, steps: list[Step]
) -> None:
    party = receipt.issuer
    key = receipt.key if contracts is None else contracts.get(party, receipt.key)
    holds = root is not None
    if root is not None:
        message = receipts.signing_bytes(issuer=party, root=root, receipts=receipt.size, signed_ms=receipt.signed_ms)
        try:
            key.verify(message, receipt.signature)
        except VerificationError:
            holds = False
    time = _time(receipt.signed_ms)
    steps.append(
        Step(
            "signature", StepState.OK if holds else StepState.FAILED,
            f"{party} 的 SM2 签名成立（{time}）" if holds else f"{party} 的 SM2 签名不成立：凭据被改动，请向出具机构重新索取",
            f"the SM2 signature of {party} holds ({time})"
            if holds
            else f"the SM2 signature of {party} does not verify: the receipt was changed; ask the issuer for it again",
        )
    )  # fmt: skip


def _check_anchor(
    receipt: ConsentReceipt, root: bytes | None, anchor: Mapping[str, Any] | None, trust: TrustKeys | None, steps: list[Step]
) -> Verdict | None:
    if anchor is None:
        return None
    verdict = verify_receipt(dict(anchor), trust=trust)
    steps += [replace(one, name=f"anchor {one.name}") for one in verdict.steps]
    entry = verdict.entry
    holds = (
        entry is not None
        and root is not None
        and entry.kind == receipts.ENTRY_KIND
        and entry.log == receipt.issuer
        and entry.shared.get("root") == root.hex()
        and verdict.index is not None
        and verdict.index >= receipt.content["status"]["size"]
    )
    steps.append(
        Step(
            "issued", StepState.OK if holds else StepState.FAILED,
            f"{receipt.issuer} 日志第 {verdict.index} 条登记了这批凭据的树根"
            if holds
            else f"账本证明不是这份凭据的签发记录：请 {receipt.issuer} 的合规人员核查",
            f"entry {verdict.index} of the log of {receipt.issuer} records the root of these receipts"
            if holds
            else f"the ledger proof is not of this receipt's issue: compliance of {receipt.issuer} must look into it",
        )
    )  # fmt: skip
    return verdict


def _check_document(receipt: ConsentReceipt, document: bytes, steps: list[Step]) -> None:
    grant = receipt.content["grant"]
    digest = sm3.digest(document)
    form = sm3.digest(_FORM + bytes.fromhex(grant["salt"]) + b"\x20" + digest + grant["record"].to_bytes(8, "big"))
    holds = compare.equal(form.hex().encode(), grant["form"].encode())
    steps.append(
        Step(
            "document", StepState.OK if holds else StepState.FAILED,
            "签署文件正是该授权所依据的那一份" if holds else "签署文件不是该授权所依据的那一份：文件被改动或拿错",
            "the signed form is the one the grant rests on"
            if holds
            else "this is not the form the grant rests on: it was changed, or is another one",
        )
    )  # fmt: skip


def _status(receipt: ConsentReceipt, now_ms: int | None) -> GrantStatus:
    status, grant = receipt.content["status"], receipt.content["grant"]
    zh, en = receipts.status_sentence(receipt.content, _time(status["at_ms"]))
    ended = now_ms is not None and now_ms >= grant["until_ms"]
    if ended and status["state"] == "LIVE":
        zh += f"；按本机时钟，有效期已于 {_time(grant['until_ms'])} 结束"
        en += f"; by this machine's clock its window ended at {_time(grant['until_ms'])}"
    zh += "。之后是否撤回，须凭编号向出具机构查询"
    en += ". Whether it was withdrawn since, the issuing institution knows: ask with the receipt's id"
    return GrantStatus(
        status["state"], status["log"], status["size"], status["at_ms"], grant["from_ms"], grant["until_ms"], ended, zh, en
    )


def _ended(
    steps: list[Step], receipt: ConsentReceipt | None, anchor: Verdict | None, status: GrantStatus | None, *, pinned: bool
) -> ConsentVerdict:
    failed = [one for one in steps if one.state is StepState.FAILED and one.name != "anchor sealed"]
    if failed:
        first = failed[0]
        word, zh, en = VerdictWord.FAILED, f"不成立（{first.name}）：{first.zh}", f"FAILED at {first.name}: {first.en}"
        return ConsentVerdict(word, zh, en, tuple(steps), pinned, None, anchor, receipt)
    assert status is not None, "a receipt without a status has failed"
    if anchor is None:
        word = VerdictWord.NOT_FINAL
        zh = "未定稿：签名成立，但没有账本证明；请用 --receipt 附上 anchor.json"
        en = "not final: the signature holds, and no ledger proof was given; add anchor.json with --receipt"
    elif anchor.word is VerdictWord.NOT_FINAL:
        word, zh, en = VerdictWord.NOT_FINAL, anchor.zh, anchor.en
    elif pinned:
        word, zh, en = VerdictWord.OK, f"凭据真实：{status.zh}", f"the receipt is genuine: {status.en}"
    else:
        word = VerdictWord.KEYS_NOT_PINNED
        zh = f"未锁定公钥：凭据自洽，但公钥取自凭据本身，请用 --trust 提供信任文件。{status.zh}"
        en = f"keys not pinned: the receipt is consistent, under keys taken from itself; give --trust. {status.en}"
    return ConsentVerdict(word, zh, en, tuple(steps), pinned, status, anchor, receipt)


def _prefixed(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _time(time_ms: int) -> str:
    try:
        return format_time(time_ms // 1000 * 1000).replace(".000Z", "Z")
    except ValueError:
        return str(time_ms)

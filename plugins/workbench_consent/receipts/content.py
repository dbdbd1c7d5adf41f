"""The content of receipts, as canonical bytes. Document: docs/protocols/consent-receipt.md section 1. Pure.

What all receipts of one term have in common is encoded once; the rest is hex digits, masks and whole numbers, whose
canonical spelling needs no library. A test holds this against the canonical encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.crypto import canonical, sm3
from workbench.domain.consent_receipt import MAX_RUNS, SCHEMA, VERSION
from workbench.errors import Refused
from workbench_consent.columns import Term
from workbench_consent.grants import PLAIN, Conditions
from workbench_consent.receipts.facts import Facts
from workbench_consent.represented import SIGNERS
from workbench_consent.subjects import TOKEN_SIZE, token_at

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "withdrawal": (
        "到本机构任一营业网点，或经本机构公布的客服电话与线上渠道提出；撤回立即生效，不影响此前处理的效力",
        "at any branch of the institution, or by its published telephone and online service; effective at once, what was done before stands",
        "",
    ),
    "retention": (
        "用途期间；其后授权证据限制存放至法定期限，再销毁",
        "for the time of the purpose; after that the evidence of consent is set aside until the legal term ends, then destroyed",
    ),
    "storage": ("出具机构自有系统，中国境内", "the issuing institution's own systems, within China"),
    "method": (
        "与接收方按标识密文求交，只比对双方共同客户；结果用于所列用途",
        "intersection of encrypted identifiers with the recipient, common customers only; the result serves the purpose named",
    ),
}
_CONTACT = (
    "见该机构公布的地址",
    "见该机构公布的客服渠道 / the institution's published customer service",
    "见该机构公布的个人信息保护负责人 / the officer it has published",
)
STATED = "签署时陈述 / as stated when it was signed"
BASIS = {"code": "PIPL-13-1-1", "en": "consent, PIPL article 13(1)(1)", "zh": "取得个人的同意，个人信息保护法第十三条第一款第一项"}


@dataclass(frozen=True, slots=True)
class Words:
    """What a receipt says besides the grant. parties: id -> names zh, en. contacts, texts, information, categories: as
    the settings; information is for forms that name no categories.
    """

    parties: Mapping[str, tuple[str, str]]
    purposes: Mapping[str, tuple[str, str]]
    contacts: Mapping[str, Sequence[str]]
    texts: Mapping[str, Sequence[str]]
    information: Mapping[str, Sequence[str]]
    categories: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Names:
    """How ids and tokens are made. key: the institution's token key for receipts.

    at_ms: of the issue; a batch number comes again after a restore from an older copy, an id must not.
    """

    key: bytes
    batch: int
    at_ms: int

    def receipt_id(self, record: int) -> str:
        """Source: section 7."""
        number = b"".join(one.to_bytes(8, "big") for one in (self.batch, record, self.at_ms))
        return "CR-" + sm3.hmac(self.key, b"id" + number)[:16].hex()

    def token(self, facts: Facts, row: int) -> str:
        """The customer's token on receipts: not the name of the customer's key."""
        subjects = facts.grants.subjects
        named = token_at(subjects.id_no, row) or token_at(subjects.phone, row) or bytes(TOKEN_SIZE)
        return sm3.hmac(self.key, b"subject" + named)[:TOKEN_SIZE].hex()


Masks = Callable[[int], tuple[str, str]]
"""Row -> masked identity number and phone, "" where the institution does not put them in."""


def no_masks(row: int) -> tuple[str, str]:
    """Receipts without identifiers."""
    return "", ""


class Contents:
    """Encodes receipts of one batch one by one; the same row always gives the same bytes."""

    def __init__(self, facts: Facts, words: Words, names: Names, *, party: str, masks: Masks = no_masks) -> None:
        self._facts, self._names, self._masks, self._party = facts, names, masks, party
        self._fixed = {number: self._of_term(term, words) for number, term in self._used_terms()}
        self._status = {
            code: canonical.format(
                {"at_ms": facts.at_ms, "event": facts.event, "log": party, "size": facts.size, "state": code}
            )
            for code in set(facts.state)
        }
        self._runs = [
            canonical.format(
                {
                    "attempt": run.attempt, "entry": run.entry, "job": run.job, "purpose": run.purpose,
                    "recipient": run.recipient, "time_ms": run.time_ms,
                }
            )
            for run in facts.runs
        ]  # fmt: skip

    def body(self, row: int) -> bytes:
        """The canonical content of the receipt of row `row`. Cost: about 15 µs."""
        facts, grants = self._facts, self._facts.grants
        fixed = self._fixed[int(grants.term[row])]
        record = int(facts.records[row])
        id_no, phone = self._masks(row)
        used = [at for at, run in enumerate(facts.runs) if run.used[row]]
        kept = "kept" if facts.kept[row] else "not_kept"
        return b"".join(
            (
                fixed.parts[0],
                b',"events":[', self._events(row), b'],"grant":',
                (
                    f'{{"digest":"{grants.digest[row].tobytes().hex()}","form":"{facts.form[row].tobytes().hex()}",'
                    f'"from_ms":{int(grants.from_ms[row])},"record":{record},"salt":"{facts.salt[row].tobytes().hex()}",'
                    f'"until_ms":{int(grants.until_ms[row])},"v":{fixed.version}}}'
                ).encode(),
                fixed.parts[1],
                f',"notice":{{"document":"{kept}",'.encode(), fixed.notice,
                fixed.parts[2],
                f',"receipt_id":"{self._names.receipt_id(record)}"'.encode(),
                fixed.parts[3], self._represented(row, fixed), fixed.parts[4],
                b',"status":', self._status[facts.state[row]],
                f',"subject":{{"id_no":"{id_no}","phone":"{phone}","token":"{self._names.token(facts, row)}"}}'.encode(),
                b',"uses":{"runs":[', b",".join(self._runs[at] for at in used[:MAX_RUNS]),
                f'],"since_ms":{facts.since_ms},"total":{len(used)}}}'.encode(),
                fixed.parts[5],
            )
        )  # fmt: skip

    def receipt_id(self, row: int) -> str:
        """The id of the receipt of row `row`."""
        return self._names.receipt_id(int(self._facts.records[row]))

    def _events(self, row: int) -> bytes:
        facts = self._facts
        text = _event(self._party, int(facts.grants.seq[row]), facts.recorded_ms[row], "recorded")
        if facts.withdrawn_by[row]:
            text += "," + _event(self._party, facts.withdrawn_by[row], facts.withdrawn_ms[row], "withdrawn")
        return text.encode()

    def _represented(self, row: int, fixed: _Fixed) -> bytes:
        """Who signed for the customer: the person where the registry knows one, else that it was stated."""
        if not fixed.represents:
            return b""
        basis = self._facts.signers.get(row, STATED)
        return b',"represented_by":' + canonical.format({"basis": basis, "kind": fixed.represents})

    def _used_terms(self) -> list[tuple[int, Term]]:
        return [(number, self._facts.terms[number]) for number in sorted(set(self._facts.grants.term.tolist()))]

    def _of_term(self, term: Term, words: Words) -> _Fixed:
        """What all receipts of a term have in common, in the canonical order of names."""
        zh, en = words.purposes.get(term.purpose, (term.purpose, term.purpose))
        texts = {name: _text(words.texts, name) for name in _TEXTS}
        information = _information(term.conditions, words)
        key, _, number = term.conditions.notice.partition("@")
        notice = {"key": key, "sm3": term.conditions.notice_digest, "version": number}
        processing = {
            "channel": term.channel,
            "information": information,
            "method": texts["method"],
            "purpose": {"code": term.purpose, "en": en, "zh": zh},
            "retention": texts["retention"],
            "storage": texts["storage"],
        }
        encoded = {
            "controller": _party_of(self._party, words, "controller"),
            "jurisdiction": "CN",
            "language": "zh-CN en",
            "lawful_basis": BASIS,
            "processing": processing,
            "recipient": _party_of(term.recipient, words, "recipient"),
            "schema": SCHEMA,
            "v": VERSION,
            "withdrawal": texts["withdrawal"],
        }
        encoded |= _optional(term.conditions)
        members = {name: b'"' + name.encode() + b'":' + canonical.format(value) for name, value in encoded.items()}

        def listed(*names: str) -> bytes:
            return b"".join(b"," + members[name] for name in names if name in members)

        return _Fixed(
            2 if "grant_v2" in encoded else 1,
            canonical.format(notice)[1:],
            (
                b"{" + members["controller"],
                listed("grant_v2", "jurisdiction", "language", "lawful_basis", "limits"),
                listed("processing"),
                listed("recipient"),
                listed("schema"),
                listed("v", "withdrawal") + b"}",
            ),
            term.conditions.signer if term.conditions.signer in SIGNERS else "",
        )


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Parts of all receipts of a term, between which the members of one stand. notice: the object after `document`.

    represents: who signed for the customer: guardian, agent or kin, "" for the customer.
    """

    version: int
    notice: bytes
    parts: tuple[bytes, bytes, bytes, bytes, bytes, bytes]
    represents: str


def _optional(conditions: Conditions) -> dict[str, Any]:
    """Members that a form of the first version does not have."""
    if conditions == PLAIN:
        return {}
    found: dict[str, Any] = {
        "grant_v2": {
            "categories": ",".join(conditions.categories),
            "contacts": ",".join(conditions.contacts),
            "max_uses": str(conditions.max_uses),
            "method": conditions.method,
            "minor": "yes" if conditions.minor else "no",
            "notice": conditions.notice,
            "notice_digest": conditions.notice_digest,
            "separate": "yes" if conditions.separate else "no",
            "signer": conditions.signer,
        }
    }
    if conditions.max_uses:
        found["limits"] = {"data_life": "", "max_uses": str(conditions.max_uses), "not_by": ""}
    return found


def _event(party: str, event: int, time_ms: int, kind: str) -> str:
    return f'{{"entity":"{party}","event":{event},"time_ms":{time_ms},"type":"{kind}"}}'


def _party_of(party: str, words: Words, kind: str) -> dict[str, str]:
    zh, en = words.parties.get(party, (party, party))
    address, contact, officer = _listed(words.contacts, party, _CONTACT, "consent.receipt_contacts")
    return {
        "address": address, "contact": contact, "name_en": en, "name_zh": zh, "officer": officer, "party": party, "type": kind,
    }  # fmt: skip


def _text(texts: Mapping[str, Sequence[str]], name: str) -> dict[str, str]:
    said = _listed(texts, name, _TEXTS[name], "consent.receipt_texts")
    return {"en": said[1], "zh": said[0], **({"url": said[2]} if len(said) > 2 else {})}


def _information(conditions: Conditions, words: Words) -> list[dict[str, str]]:
    """The categories a form names, as the institution calls them; else what is processed by the setting."""
    if conditions.categories:
        return [
            {"code": code, "en": str(named[1]), "sensitive": "yes" if named[2] else "no", "zh": str(named[0])}
            for code in conditions.categories[:16]
            for named in (words.categories.get(code, (code, code, True)),)
        ]
    listed = {
        code: _listed(words.information, code, ("", "", "yes"), "consent.receipt_information") for code in words.information
    }
    if not 1 <= len(listed) <= 16 or any(one[2] not in ("yes", "no") for one in listed.values()):
        raise _settings("consent.receipt_information")
    return [{"code": code, "en": one[1], "sensitive": one[2], "zh": one[0]} for code, one in sorted(listed.items())]


def _listed(values: Mapping[str, Any], name: str, usual: tuple[str, ...], setting: str) -> tuple[str, ...]:
    """The texts under a name of a setting, or the usual ones. Raises Refused RECEIPT_SETTINGS for another shape."""
    if name not in values:
        return usual
    found = values[name]
    if not isinstance(found, list | tuple) or len(found) != len(usual) or not all(isinstance(one, str) for one in found):
        raise _settings(setting)
    return tuple(found)


def _settings(setting: str) -> Refused:
    return Refused(
        f"设置 {setting} 写得不对，凭据没有出具：管理员按文档改正",
        f"the setting {setting} is malformed and no receipt was issued: administrators correct it",
        code="RECEIPT_SETTINGS",
        details={"setting": setting},
    )

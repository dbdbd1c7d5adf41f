"""What two ends set beforehand for their sessions: policy, suites, order, what else the transcript binds.

Document: docs/protocols/frame.md sections 1 to 3. Values only. A policy is never weakened here: a missing share is a
refusal that says what is missing and when to try again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from workbench.crypto import gcm, sm2, sm2_encapsulation
from workbench.errors import KeyUnavailable, Refused

PROVENANCES = ("device-014", "imported", "simulated")
MIN_SHARE_SIZE = 32

_IDENTITY = re.compile(r"[a-z][a-z0-9._:-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_DIGEST_OR_EMPTY = re.compile(r"(?:[0-9a-f]{64})?")


class Policy(StrEnum):
    """What a session needs besides ML-KEM and a curve; see section 2."""

    QKD_REQUIRED = "qkd-required"
    HYBRID_REQUIRED = "hybrid-required"
    PQC_ONLY = "pqc-only"


COUNTED: dict[Policy, tuple[str, ...]] = {
    Policy.QKD_REQUIRED: ("device-014",),
    Policy.HYBRID_REQUIRED: PROVENANCES,
    Policy.PQC_ONLY: (),
}
"""Provenances that count for a policy where the link's setting names no others."""


class Order(StrEnum):
    """In which order frames are accepted: one after the other, or within a window of 64."""

    STRICT = "strict"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Suite:
    """A way to agree and to seal. number: in the frame. curve: `x25519` or `sm2`."""

    number: int
    name: str
    curve: str
    cipher: gcm.CipherName


SUITES: dict[str, Suite] = {
    one.name: one
    for one in (
        Suite(1, "x25519-mlkem768-sm3-sm4gcm", "x25519", gcm.CipherName.SM4_GCM),
        Suite(2, "x25519-mlkem768-sm3-aes256gcm", "x25519", gcm.CipherName.AES_256_GCM),
        Suite(3, "sm2-mlkem768-sm3-sm4gcm", "sm2", gcm.CipherName.SM4_GCM),
        Suite(4, "sm2-mlkem768-sm3-aes256gcm", "sm2", gcm.CipherName.AES_256_GCM),
    )
}
DEFAULT_SUITES = ("x25519-mlkem768-sm3-sm4gcm",)


@dataclass(frozen=True, slots=True)
class QkdShare:
    """One key of the key-management entities, to be mixed in and used for nothing else.

    key_id: as delivered, 1 to 64 letters, digits and dashes. provenance: `simulated`, `device-014` or `imported`.
    value: at least 32 bytes, never shown; whoever made this object overwrites his own copy.
    """

    key_id: str
    provenance: str
    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _KEY_ID.fullmatch(self.key_id) or self.provenance not in PROVENANCES or len(self.value) < MIN_SHARE_SIZE:
            raise ValueError("a QKD share has a key id, a known provenance and at least 32 bytes")


@dataclass(frozen=True, slots=True)
class End:
    """One end of a session and the SM2 key it is known by."""

    identity: str
    key: sm2.PublicKey

    def __post_init__(self) -> None:
        if not _IDENTITY.fullmatch(self.identity):
            raise ValueError("an identity has 1 to 64 lower-case letters, digits, dots, colons, dashes and underscores")


class Signer(Protocol):
    """Who signs for an end: an `sm2.PrivateKey`, or a device that keeps its key to itself."""

    @property
    def public(self) -> sm2.PublicKey:
        """The public key."""

    def sign(self, message: bytes, /) -> bytes:
        """The SM2 signature over `message`, 64 bytes, default signer id."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What both ends must have set alike; any difference ends the exchange.

    suites: names this end allows, most wanted first (the only field that may differ). provenances: what counts as a QKD
    key here; empty means the policy's own list. order: see section 8. signed: every data frame carries an SM2
    signature. group, lease: names bound into the transcript, or "". own_evidence, peer_evidence: SM3 digests of the
    statements about this end and about the other one, as this end knows them, or "".
    """

    policy: Policy
    suites: tuple[str, ...] = DEFAULT_SUITES
    provenances: tuple[str, ...] = ()
    order: Order = Order.WINDOW
    signed: bool = False
    group: str = ""
    lease: str = ""
    own_evidence: str = ""
    peer_evidence: str = ""

    def __post_init__(self) -> None:
        if not self.suites or len(set(self.suites)) != len(self.suites) or not set(self.suites) <= set(SUITES):
            raise ValueError("suites: at least one, each a known name, none twice")
        if any(SUITES[one].curve == "sm2" for one in self.suites) and not sm2_encapsulation.available():
            raise ValueError("the library for suites with SM2 is missing")
        if not set(self.provenances) <= set(PROVENANCES) or (self.policy is Policy.PQC_ONLY and self.provenances):
            raise ValueError("provenances: known names; none under pqc-only")
        labels = _LABEL.fullmatch(self.group) and _LABEL.fullmatch(self.lease)
        digests = _DIGEST_OR_EMPTY.fullmatch(self.own_evidence) and _DIGEST_OR_EMPTY.fullmatch(self.peer_evidence)
        if not labels or not digests:
            raise ValueError("group and lease are labels, evidence is a digest of 64 hexadecimal digits")

    @property
    def counted(self) -> tuple[str, ...]:
        """Provenances that count, sorted."""
        return tuple(sorted(self.provenances or COUNTED[self.policy]))

    def check_share(self, provenance: str, *, retry_after_s: int = 0) -> None:
        """Return if a share of this provenance ("" for none) satisfies the policy.

        retry_after_s: when keys are expected again, 0 if that is not known. Raises KeyUnavailable (QKD_KEY_REQUIRED) for
        a share that is missing, Refused (PROVENANCE_REFUSED) for one that does not count or is not wanted.
        """
        if provenance in self.counted or (not provenance and self.policy is Policy.PQC_ONLY):
            return
        if not provenance:
            raise qkd_key_required(self.policy, missing="qkd-key", retry_after_s=retry_after_s)
        counts = self.counted
        raise Refused(
            f"策略 {self.policy} 不接受来源为 {provenance} 的密钥（可用来源：{'、'.join(counts) or '无'}），会话未建立；请密钥管理人员核对设置",
            f"policy {self.policy} does not count a key of provenance {provenance} (counted: {', '.join(counts) or 'none'});"
            " no session was made, key staff check the setting",
            code="PROVENANCE_REFUSED",
            details={"policy": self.policy, "provenance": provenance, "counted": " ".join(counts)},
        )


def qkd_key_required(policy: str, *, missing: str, retry_after_s: int) -> KeyUnavailable:
    """The refusal where the policy asks for a QKD key that is not there. missing: a key id, or `qkd-key`."""
    return KeyUnavailable(
        f"策略 {policy} 要求量子密钥分发来源的密钥，现缺 {missing}，会话未建立，不改用其他方式；{_when_zh(retry_after_s)}",
        f"policy {policy} asks for a QKD key and {missing} is missing; no session was made and nothing else is used"
        f" instead; {_when_en(retry_after_s)}",
        code="QKD_KEY_REQUIRED",
        details={"policy": policy, "missing": missing, "retry_after_s": str(retry_after_s)},
    )


def choose_suite(offered: Sequence[str], allowed: Collection[str]) -> Suite:
    """The first suite of `offered` that is allowed. Raises Refused (NO_COMMON_SUITE)."""
    for name in offered:
        if name in allowed:
            return SUITES[name]
    raise Refused(
        "双方没有共同允许的密码套件，会话未建立；请双方密钥管理人员核对设置",
        "the two ends allow no common suite; no session was made, key staff of both ends compare their settings",
        code="NO_COMMON_SUITE",
    )


def terms_differ(name: str) -> Refused:
    """The refusal where the settings of the two ends differ in the field `name`."""
    return Refused(
        f"双方的会话设置不一致（{name}），会话未建立；请双方密钥管理人员核对",
        f"the session settings of the two ends differ in {name}; no session was made, key staff of both ends compare them",
        code="SESSION_TERMS_DIFFER",
        details={"field": name},
    )


def _when_zh(retry_after_s: int) -> str:
    return f"请于 {retry_after_s} 秒后重试" if retry_after_s else "恢复时间未知，请密钥管理人员补充密钥"


def _when_en(retry_after_s: int) -> str:
    return (
        f"try again in {retry_after_s} s"
        if retry_after_s
        else "when there will be one is not known: key staff fill the pool"
    )

"""Policies of a line and what they demand, as values. Pure. Document: docs/quantum-channel.md section 2."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from workbench.errors import KeyUnavailable, Refused

POLICIES: Final = ("qkd-required", "hybrid-required", "pqc-only")
"""Strictest first: whoever goes to the right weakens the line, which takes two people."""

POLICY_NAMES: Final = {
    "qkd-required": ("必须有量子密钥", "key of the line required"),
    "hybrid-required": ("必须混合", "hybrid required"),
    "pqc-only": ("仅后量子", "post-quantum only"),
}
PROVENANCE_NAMES: Final = {
    "simulated": ("模拟量子密钥", "simulated key"),
    "device-014": ("设备密钥（ETSI 014）", "device key (ETSI 014)"),
    "imported": ("导入密钥", "imported key"),
}
HOUR_MS: Final = 3_600_000
CUT: Final = ("alarm", "disabled", "other-tenant", "peer-unreachable", "out-of-step")
"""States of a line that gives no keys now."""


@dataclass(frozen=True, slots=True)
class LinePolicy:
    """What a line demands now. first, second: tokens of the people who decided it, "" for none.

    is_sound: False where what lies in the store is not what people signed; the strictest policy stands in its place.
    """

    line: str
    policy: str
    since_ms: int
    first: str = ""
    second: str = ""
    reason: str = ""
    is_sound: bool = True


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one person asks for. act: "policy" or "resume"; state: OPEN, CONFIRMED, DECLINED or EXPIRED."""

    proposal: str
    line: str
    act: str
    target: str
    before: str
    reason: str
    asked_ms: int
    asked_by: str
    until_ms: int
    state: str
    decided_ms: int
    decided_by: str

    def state_at(self, now_ms: int) -> str:
        """An open proposal past its time is expired, whether or not anybody wrote that down."""
        return "EXPIRED" if self.state == "OPEN" and now_ms >= self.until_ms else self.state


@dataclass(frozen=True, slots=True)
class Held:
    """A line that an alarm stopped. cause: kind of the alarm; block: the first bad one."""

    line: str
    since_ms: int
    cause: str
    block: int


def is_weaker(policy: str, than: str) -> bool:
    """Whether going from `than` to `policy` weakens a line."""
    return POLICIES.index(policy) > POLICIES.index(than)


def needs_share(policy: str) -> bool:
    """Whether a session under this policy must hold a key of the line."""
    return policy != "pqc-only"


def stricter(one: str, other: str) -> str:
    """The stricter of two policies: what counts where two places disagree."""
    return one if POLICIES.index(one) <= POLICIES.index(other) else other


def counts(policy: str, provenance: str, required_origins: Collection[str]) -> bool:
    """Whether a key of this origin is enough under a policy (docs/protocols/frame.md section 2)."""
    return provenance in required_origins if policy == "qkd-required" else True


def same_policy(line: str, policy: str) -> Refused:
    zh, en = POLICY_NAMES[policy]
    return Refused(f"线路 {line} 的策略已经是「{zh}」", f"The policy of line {line} is {en} already", code="SAME_POLICY")


def exhausted(line: str, *, missing: int, retry_after_s: int, is_stopped: bool) -> KeyUnavailable:
    """No key for a session: what is missing and when to try again. Nothing else is used in its place."""
    details = {"line": line, "missing": str(missing), "retry_after_s": str(retry_after_s)}
    if is_stopped:
        return KeyUnavailable(
            f"线路 {line} 已停止成码，新会话一律拒绝，不会改用其他密钥。运维查线路，两人恢复",
            f"Line {line} makes no key; new sessions are refused and no other key is used. Operations check the line, two people resume",
            code="LINE_STOPPED", details=details,
        )  # fmt: skip
    wait_zh = f"约 {retry_after_s} 秒后再试" if retry_after_s else "何时可用未知"
    wait_en = f"try again in about {retry_after_s} s" if retry_after_s else "when more come is not known"
    return KeyUnavailable(
        f"线路 {line} 的密钥不足，缺 {missing} 把，{wait_zh}。不会改用其他密钥",
        f"Line {line} is out of keys, {missing} short; {wait_en}. No other key is used instead",
        code="KEY_EXHAUSTED", details=details,
    )  # fmt: skip


__all__ = [
    "CUT", "HOUR_MS", "POLICIES", "POLICY_NAMES", "PROVENANCE_NAMES", "Held", "LinePolicy", "Proposal", "counts", "exhausted", "is_weaker", "needs_share",
    "same_policy", "stricter",
]  # fmt: skip

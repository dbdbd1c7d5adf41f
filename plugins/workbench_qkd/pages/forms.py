"""What people fill in on this page, operation by operation; the codes are those of docs/quantum-channel.md."""

from __future__ import annotations

from typing import Any

from workbench.app.parts.acting import Act, Field

POLICIES = ("qkd-required", "hybrid-required", "pqc-only")
_REASON = Field("reason")


def _revoked(values: dict[str, Any]) -> dict[str, Any]:
    """Key ids, or a block where there are none."""
    ids = list(values.get("key_ids", []))
    return {**values, "key_ids": ids, "block": -1 if ids else int(values.get("block") or 0)}


POLICY = Act("qkd.propose_policy", (Field("policy", "choice", POLICIES), _REASON), password=True)
RESUME = Act("qkd.propose_resume", (_REASON,))
REKEY = Act("qkd.rekey", (_REASON,), password=True)
REVOKE = Act("qkd.revoke", (Field("block", "number"), Field("key_ids", "words"), _REASON), password=True, shape=_revoked)
LEAK = Act("qkd.leak_report", (Field("key_id"),))
REHEARSE = Act("qkd.rehearse_session")
SELFTEST = Act("qkd.selftest")
REPORT = Act("qkd.check_report")
LINE_ACTS = (RESUME, REHEARSE, POLICY, REKEY, REVOKE)
SITE_ACTS = (LEAK, SELFTEST, REPORT)


def steps(*, held: bool, alarmed: bool, waiting: bool) -> list[str]:
    """Which acts fit a line. waiting: somebody has asked for its resumption already."""
    resume = [RESUME.operation] if held and not alarmed and not waiting else []
    return [*resume, REHEARSE.operation, POLICY.operation, REKEY.operation, REVOKE.operation]


__all__ = ["LEAK", "LINE_ACTS", "POLICIES", "REHEARSE", "REKEY", "REPORT", "RESUME", "REVOKE", "SELFTEST", "SITE_ACTS", "steps"]

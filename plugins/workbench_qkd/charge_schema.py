"""Tables and kinds of evidence about charge keys 充注密钥. Document: docs/quantum-channel.md section 11."""

from __future__ import annotations

from workbench.contracts import Migration
from workbench.domain.evidence import EvidenceKind, closed, shared

OWNER = "qkd_charge"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        -- Whose medium a session of the channel was delivered to. person: token; session: as in qkd_session.
        CREATE TABLE qkd_charge_session (
            session    TEXT PRIMARY KEY,
            line       TEXT NOT NULL,
            person     TEXT NOT NULL,
            device     TEXT NOT NULL,
            key_id     TEXT NOT NULL
        );
        CREATE INDEX qkd_charge_session_holder ON qkd_charge_session (person, device);
        -- Revocations that the key-management entity has not confirmed yet: asked again until it has.
        CREATE TABLE qkd_charge_revoking (
            number     INTEGER PRIMARY KEY AUTOINCREMENT,
            person     TEXT NOT NULL,
            device     TEXT NOT NULL,
            actor      TEXT NOT NULL,
            asked_ms   INTEGER NOT NULL
        );
        """,
    ),
)
"""A released step is never changed, only followed."""


_LINE = shared("line", "线路", "line")
_PERSON = closed("person", "人员", "person")
_DEVICE = closed("device", "介质", "medium")

EVIDENCE_KINDS = (
    EvidenceKind(
        "qkd.charge_filled",
        (
            _LINE, _PERSON, _DEVICE, shared("keys", "充注密钥数", "charge keys", "1"), shared("replaced", "作废的旧密钥", "earlier ones destroyed", "1"),
            closed("first", "起始序号", "first counter"),
        ),
        "充注一件介质", "a medium was filled with charge keys",
    ),
    EvidenceKind(
        "qkd.charge_delivered",
        (
            _LINE, shared("tenant", "租户标记", "tag of the tenant"), _PERSON, _DEVICE, closed("counter", "充注密钥序号", "counter of the charge key"), closed("charge_key_id", "充注密钥编号", "id of the charge key"),
            closed("session", "会话", "session"), closed("key_id", "会话密钥编号", "id of the session key"), shared("provenance", "密钥来源", "origin of the key"),
        ),
        "会话密钥经充注密钥投递到介质", "a session key was delivered to a medium under a charge key",
    ),
    EvidenceKind(
        "qkd.charge_low", (_LINE, _PERSON, _DEVICE, shared("left", "剩余", "left", "1"), shared("low_water", "低水位", "low-water mark", "1")),
        "充注密钥低于低水位", "charge keys are below the low-water mark",
    ),
    EvidenceKind(
        "qkd.charge_revoking",
        (
            _PERSON, _DEVICE, shared("sessions", "结束的会话", "sessions ended", "1"), shared("renewing", "换用新密钥的会话", "sessions that take fresh keys", "1"),
            shared("tickets", "结束的票据", "tickets ended", "1"),
            shared("account", "账号", "account"), closed("reason", "理由", "reason"),
            shared("recovery", "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed"),
        ),
        "开始吊销一个人或一件介质", "revoking a person or a medium began",
    ),
    EvidenceKind(
        "qkd.charge_revoked",
        (
            _PERSON, _DEVICE, shared("keys", "销毁的充注密钥", "charge keys destroyed", "1"), shared("pools", "关闭的密钥池", "pools closed", "1"),
            shared("sessions", "结束的会话", "sessions ended", "1"), shared("took_ms", "用时", "time it took", "ms"),
        ),
        "吊销完成：密钥镜像已销毁", "a revocation is complete: the mirrors are destroyed",
    ),
)  # fmt: skip

__all__ = ["EVIDENCE_KINDS", "MIGRATIONS", "OWNER"]

"""What an exchange leaves: who agreed on what, under which transcript, and the keys of one epoch.

Document: docs/protocols/frame.md section 5. Pure derivation; keys are held in buffers that can be overwritten, shown by id
only, and neither copied nor stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from workbench.channel.exchange_messages import lv4
from workbench.channel.frame import SALT_SIZE, SESSION_ID_SIZE, Direction, DirectionKey
from workbench.channel.secret import Secret
from workbench.channel.terms import End, SessionTerms, Suite
from workbench.crypto import gcm, kdf, sm3
from workbench.errors import KeyUnavailable, Refused

SECRET_SIZE = 32


class Role(StrEnum):
    """Which end of a session this is."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a further epoch continues: session id, its number, and the renewal secret of the running epoch."""

    session: bytes
    epoch: int
    secret: Secret


@dataclass(slots=True, repr=False)
class Established:
    """The outcome of an exchange: who, what was agreed, and keys. Give it to `SealedSession`; it is not copied.

    session: 16 bytes. transcript: SM3 digest of hello and answer, hexadecimal, for evidence.
    """

    role: Role
    own: End
    peer: End
    terms: SessionTerms
    suite: Suite
    session: bytes
    epoch: int
    key_id: str
    provenance: str
    transcript: str
    send: DirectionKey
    receive: DirectionKey
    renewal: Secret
    export: Secret

    def facts(self) -> dict[str, str]:
        """What evidence and pages may say: ids, names and digests, no secret."""
        return {
            "session": self.session.hex(),
            "epoch": str(self.epoch),
            "role": self.role.value,
            "own": self.own.identity,
            "peer": self.peer.identity,
            "suite": self.suite.name,
            "policy": self.terms.policy.value,
            "key_id": self.key_id,
            "provenance": self.provenance,
            "send_key": self.key_name(self.role),
            "receive_key": self.key_name(other_role(self.role)),
            "transcript": self.transcript,
            "group": self.terms.group,
            "lease": self.terms.lease,
            "own_evidence": self.terms.own_evidence,
            "peer_evidence": self.terms.peer_evidence,
        }

    def key_name(self, role: Role) -> str:
        """The name of the frame key under which `role` seals in this epoch, for evidence: public."""
        return f"{self.session.hex()}/{self.epoch}/{role}"

    def wipe(self) -> None:
        """Overwrite all keys."""
        for one in (self.send, self.receive, self.renewal, self.export):
            one.wipe()

    def __repr__(self) -> str:
        return f"Established({self.session.hex()}, epoch {self.epoch}, {self.role})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("session keys are not copied or stored")


@dataclass(slots=True, repr=False)
class Keys:
    """All that section 5 derives from one secret."""

    send_keys: dict[Role, DirectionKey]
    confirm: dict[Role, Secret]
    renewal: Secret
    export: Secret

    def wipe(self) -> None:
        """Overwrite all of them."""
        for key in self.send_keys.values():
            key.wipe()
        for secret in (*self.confirm.values(), self.renewal, self.export):
            secret.wipe()


def derive_keys(
    suite: Suite, transcript: bytes, *, qkd: bytes, mlkem_secret: bytes, curve_secret: bytes, renewal: bytes,
    key_id: str, provenance: str,
) -> Keys:  # fmt: skip
    """The keys of one epoch; inputs are length-prefixed, so no two sets of inputs meet. qkd, renewal: b"" for none."""
    inputs = b"".join(map(lv4, (b"workbench/v1/session/secret", qkd, mlkem_secret, curve_secret, renewal)))
    secret = kdf.extract(transcript, inputs)

    def make(name: str, length: int = SECRET_SIZE) -> bytes:
        return kdf.expand(secret, f"session/{name}", transcript, length=length)

    size = gcm.KEY_SIZES[suite.cipher]
    return Keys(
        {
            role: DirectionKey(
                suite.cipher,
                make(f"key/{role}", size),
                make(f"salt/{role}", SALT_SIZE),
                key_id=key_id,
                provenance=provenance,
            )
            for role in Role
        },
        {role: Secret(make(f"confirm/{role}")) for role in Role},
        Secret(make("renewal")),
        Secret(make("export")),
    )


def session_id(transcript: bytes) -> bytes:
    """The public name of the session whose first exchange has this transcript digest."""
    return sm3.digest(lv4(b"workbench/v1/session/id") + lv4(transcript))[:SESSION_ID_SIZE]


def other_role(role: Role) -> Role:
    """The role of the other end."""
    return Role.RESPONDER if role is Role.INITIATOR else Role.INITIATOR


def direction_of(role: Role) -> Direction:
    """The direction in which this end seals."""
    return Direction.FROM_INITIATOR if role is Role.INITIATOR else Direction.FROM_RESPONDER


def confirm_digest(hello: bytes, answer: bytes, body: bytes) -> bytes:
    """T2 of section 5."""
    return sm3.digest(lv4(b"workbench/v1/session/confirm") + lv4(hello) + lv4(answer) + lv4(body))


def session_broken() -> Refused:
    """The refusal of an exchange or session that has ended."""
    return Refused(
        "会话已结束或失效，不能继续使用；请重新建立会话",
        "this session has ended; start a new one",
        code="SESSION_BROKEN",
    )


def rekey_required(subject: str, epoch: int, limit: str) -> KeyUnavailable:
    """The refusal to seal more under spent keys. subject: session id or group. limit: `records`, `bytes` or `time`."""
    return KeyUnavailable(
        "会话密钥已达使用上限，须先换钥：由发起方续期会话（群组由牵头方发新令牌）；缺少密钥时请密钥管理人员补充",
        "the session key has reached its limit: the initiator renews the session first (in a group the leader makes a new"
        " token); key staff fill the pool if keys are missing",
        code="REKEY_REQUIRED",
        details={"session": subject, "epoch": str(epoch), "limit": limit},
    )

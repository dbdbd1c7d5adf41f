"""The bytes of a sealed frame and the key of one direction.

Document: docs/protocols/frame.md sections 7 to 9. Pure: a frame in, its parts out. `split` never fails: what does not
parse gives parts that no opener accepts, so that every cause of a refusal takes the same path.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from workbench.channel.terms import QkdShare, Signer
from workbench.crypto import canonical, gcm, labels, sm2, sm3
from workbench.errors import VerificationError

MAX_PAYLOAD_BYTES = 16 << 20
SALT_SIZE = 4
SESSION_ID_SIZE = 16
PAD_SUITE = 16
MAX_SEQUENCE = (1 << 63) - 1

_MAGIC = b"WF"
_VERSION = 1
_FIXED = struct.Struct(">2sBBBB16sIQB")
FIXED_SIZE = _FIXED.size
_PURPOSE = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_DIGEST_OR_EMPTY = re.compile(r"(?:[0-9a-f]{64})?")


class Kind(IntEnum):
    """What a frame carries."""

    DATA = 1
    SIGNED = 2
    CHUNK = 3
    END = 4
    PADDED = 5


class Direction(IntEnum):
    """Who seals."""

    FROM_INITIATOR = 0
    FROM_RESPONDER = 1


@dataclass(frozen=True, slots=True)
class Header:
    """A frame's header as it stands; nothing of it is verified."""

    suite: int
    kind: int
    direction: int
    session: bytes
    epoch: int
    sequence: int
    purpose: str

    def format(self) -> bytes:
        """The header's bytes, 35 and the purpose. Raises ValueError for a purpose of another form."""
        check_purpose(self.purpose)
        label = self.purpose.encode("ascii")
        return (
            _FIXED.pack(
                _MAGIC,
                _VERSION,
                self.suite,
                self.kind,
                self.direction,
                self.session,
                self.epoch,
                self.sequence,
                len(label),
            )
            + label
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """What `split` found. encoded: the header's bytes. sealed: ciphertext and tag. sound: whether the form is right."""

    header: Header
    encoded: bytes
    sealed: memoryview
    sound: bool


_NO_HEADER = Header(0, 0, 0, bytes(SESSION_ID_SIZE), 0, 0, "")


def split(frame: bytes) -> Parts:
    """The parts of `frame`; with `sound` false if its form is wrong or it is too long."""
    view = memoryview(frame)
    if len(frame) < FIXED_SIZE:
        return Parts(_NO_HEADER, b"", view, sound=False)
    magic, version, suite, kind, direction, session, epoch, sequence, size = _FIXED.unpack_from(frame)
    cut = FIXED_SIZE + size
    label = bytes(view[FIXED_SIZE:cut])
    purpose = label.decode("ascii", "replace")
    sound = (
        magic == _MAGIC
        and version == _VERSION
        and len(frame) >= cut + gcm.TAG_SIZE
        and len(frame) <= cut + gcm.TAG_SIZE + MAX_PAYLOAD_BYTES + SIGNED_OVERHEAD_BYTES
        and 1 <= sequence <= MAX_SEQUENCE
        and _PURPOSE.fullmatch(purpose) is not None
    )
    header = Header(suite, kind, direction, session, epoch, sequence, purpose)
    return Parts(header, bytes(view[:cut]), view[cut:], sound=sound)


def check_purpose(purpose: str) -> None:
    """Raise ValueError unless `purpose` is a label a frame can carry."""
    if not _PURPOSE.fullmatch(purpose):
        raise ValueError("a purpose has 1 to 64 lower-case letters, digits, dots and dashes, and starts with a letter")


class DirectionKey:
    """Key and nonce salt of one direction in one epoch; shown by cipher only."""

    __slots__ = ("_context", "_key", "_salt")

    def __init__(self, cipher: gcm.CipherName, key: bytes, salt: bytes, *, key_id: str, provenance: str) -> None:
        """key_id, provenance: of the epoch's QKD share, or both "": part of every frame's associated data."""
        if len(salt) != SALT_SIZE:
            raise ValueError("a nonce salt has 4 bytes")
        self._key = gcm.GcmKey(cipher, key)
        self._salt = bytes(salt)
        self._context = prefixed(key_id) + prefixed(provenance)

    def seal(self, header: bytes, sequence: int, *parts: bytes) -> bytes:
        """The whole frame. sequence: must never come again under this key; the caller counts."""
        return self._key.seal(self._nonce(sequence), *parts, associated=header + self._context, prefix=header)

    def open_sealed(self, parts: Parts) -> bytes | None:
        """The plaintext, or None if the tag does not fit."""
        nonce = self._nonce(parts.header.sequence)
        return self._key.open_sealed(nonce, parts.sealed, associated=parts.encoded + self._context)

    def wipe(self) -> None:
        """Overwrite the key; later calls raise ValueError."""
        self._key.wipe()

    def _nonce(self, sequence: int) -> bytes:
        return self._salt + sequence.to_bytes(8, "big")

    def __repr__(self) -> str:
        return f"DirectionKey({self._key.cipher})"


def prefixed(text: str) -> bytes:
    """LV1 of an ASCII text of at most 255 characters."""
    encoded = text.encode("ascii")
    return bytes([len(encoded)]) + encoded


# ------------------------------------------------------------------------------------------------- signed items

MAX_STATEMENT_BYTES = 2048
SIGNED_OVERHEAD_BYTES = 2 + MAX_STATEMENT_BYTES + sm2.SIGNATURE_SIZE
_STATEMENT_FIELDS = frozenset(
    {
        "v", "kind", "from", "to", "session", "sequence", "purpose", "time_ms", "size", "digest", "key_id", "provenance",
        "reply_to",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignedItem:
    """What a sender signed about one payload; section 9. Keep it with the payload to show both later.

    statement: canonical JSON. signature: SM2, 64 bytes. fields: the parsed statement.
    """

    statement: bytes
    signature: bytes
    fields: dict[str, canonical.Json] = field(repr=False)

    @property
    def digest(self) -> str:
        """SM3 of the statement, hexadecimal: names the item in evidence and in `reply_to` of the answer to it."""
        return sm3.digest(self.statement).hex()


def make_statement(
    *,
    sender: str,
    recipient: str,
    session: str,
    sequence: int,
    purpose: str,
    time_ms: int,
    payload: bytes,
    key_id: str,
    provenance: str,
    reply_to: str,
) -> bytes:
    """The canonical statement about `payload`. Raises ValueError for a reply_to of another form."""
    if not _DIGEST_OR_EMPTY.fullmatch(reply_to):
        raise ValueError("reply_to is the digest of a statement, or empty")
    return canonical.format(
        {
            "v": 1,
            "kind": "signed-item",
            "from": sender,
            "to": recipient,
            "session": session,
            "sequence": sequence,
            "purpose": purpose,
            "time_ms": time_ms,
            "size": len(payload),
            "digest": sm3.digest(payload).hex(),
            "key_id": key_id,
            "provenance": provenance,
            "reply_to": reply_to,
        }
    )


def sign_statement(statement: bytes, *, sender: str, session: str, key: Signer) -> bytes:
    """The sender's signature over a statement, 64 bytes."""
    return key.sign(labels.signing_input("session-item", party=sender, job=session, body=statement))


def verify_signed_item(statement: bytes, signature: bytes, payload: bytes, *, key: sm2.PublicKey) -> SignedItem:
    """The item, if `key` signed `statement` and it is about `payload`: works offline, years later, with nothing else.

    Raises VerificationError (SIGNED_ITEM) for every cause. Cost: 0.8 ms and SM3 of the payload.
    """
    try:
        value = canonical.parse_object(statement)
        if set(value) != _STATEMENT_FIELDS or value["v"] != 1 or value["kind"] != "signed-item":
            raise ValueError("not the statement of a signed item")
        signed = labels.signing_input(
            "session-item", party=str(value["from"]), job=str(value["session"]), body=statement
        )
        key.verify(signed, signature)
        if value["size"] != len(payload) or value["digest"] != sm3.digest(payload).hex():
            raise ValueError("the statement is about another payload")
    except (VerificationError, ValueError):
        raise VerificationError(
            "签名的请求或答复无法通过核验：声明、签名或内容不符，请合规人员核查",
            "a signed request or answer does not verify: statement, signature or content differ; compliance looks into it",
            code="SIGNED_ITEM",
        ) from None
    return SignedItem(statement, signature, value)


def join_signed(statement: bytes, signature: bytes) -> bytes:
    """What precedes the payload in a signed frame."""
    return len(statement).to_bytes(2, "big") + statement + signature


def split_signed(plaintext: bytes) -> tuple[bytes, bytes, bytes]:
    """(statement, signature, payload); parts are short where the plaintext is, which verification then refuses."""
    cut = 2 + int.from_bytes(plaintext[:2], "big")
    end = cut + sm2.SIGNATURE_SIZE
    return plaintext[2:cut], plaintext[cut:end], plaintext[end:]


def refused() -> VerificationError:
    """The one refusal of every frame and chunk, whatever is wrong with it."""
    return VerificationError("密文帧被拒收", "a sealed frame was refused", code="FRAME_REFUSED")


def share_facts(share: QkdShare | None) -> tuple[str, str]:
    """(key id, provenance) of a share, two empty texts without one."""
    return (share.key_id, share.provenance) if share is not None else ("", "")

"""Checkpoints: signed tree heads as C2SP notes, with an Ed25519 and an SM2 co-signature of every institution.

Document: docs/protocols/evidence.md sections 5 and 6; docs/protocols/ledger.md section 1 (the optional ML-DSA-44 line). Pure: keys and the time are arguments. Every parser accepts
exactly what its formatter writes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench.crypto import ed25519, labels, mldsa, sm2
from workbench.domain.merkle import HASH_SIZE, MAX_SIZE
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError

ORIGIN_HOST = "workbench.example"
DEFAULT_PROJECT = "evidence"

LOG_TYPE = b"\x01"
COSIGNATURE_TYPE = b"\x04"
SM2_TYPE = b"\xffworkbench/v1/sm2-cosign\n"
MLDSA_TYPE = b"\x06"
SUBTREE_LABEL = b"subtree/v1\n\x00"

MAX_NOTE_BYTES = 65_536
MAX_LINES = 64
_MAX_TIME_S = 2**53 - 1
_KEY_ID_SIZE = 4
_TIMED_SIZE = 8 + 64
_TIMED_MLDSA_SIZE = 8 + mldsa.SIGNATURE_SIZE

_PROJECT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_KEY_NAME = re.compile(r"[^\s+\x00-\x20\x7f]{1,255}")


@dataclass(frozen=True, slots=True)
class PartyKeys:
    """The pinned co-signing keys of one institution, with its names for people. mldsa44: None when it has none.

    joined, left: log -> index from which it belongs to that log's members, and from which no longer; both empty for a
    founding member that never left (docs/protocols/ledger.md section 7). history: log -> every change, ascending, as index and
    whether it joined there; only a node knows it, trust files tell the last of each kind.
    """

    party: PartyId
    ed25519: ed25519.PublicKey
    sm2: sm2.PublicKey
    name_zh: str = ""
    name_en: str = ""
    mldsa44: mldsa.PublicKey | None = None
    joined: Mapping[PartyId, int] = field(default_factory=dict, compare=False)
    left: Mapping[PartyId, int] = field(default_factory=dict, compare=False)
    history: Mapping[PartyId, tuple[tuple[int, bool], ...]] = field(default_factory=dict, compare=False)

    def is_member(self, log: PartyId, index: int) -> bool:
        """Whether this institution belongs to the members of a log at one of its entries."""
        if log == self.party:
            return True
        if changes := self.history.get(log):
            return next((joins for at, joins in reversed(changes) if at <= index), not changes[0][1])
        joined, left = self.joined.get(log), self.left.get(log)
        if left is not None and (joined is None or left < joined):  # it left, and perhaps came back
            return index < left or (joined is not None and index >= joined)
        if joined is None:
            return not self.joined
        return joined <= index and (left is None or index < left)

    def counts(self, log: PartyId, index: int, size: int) -> bool:
        """Whether its co-signature of the head of `size` entries counts for the entry at `index`."""
        return self.is_member(log, index) and self.is_member(log, size - 1)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head of one log: how many entries, and both roots (32 bytes each). size: at least 1."""

    project: str
    log: PartyId
    size: int
    sha256_root: bytes
    sm3_root: bytes

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """The SHA-256 and the SM3 root."""
        return self.sha256_root, self.sm3_root


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line of a note. key_id: 4 bytes. payload: what the signature type defines."""

    name: str
    key_id: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Cosignature:
    """The lines of one institution over one checkpoint, verified. time_s: POSIX seconds by its own clock.

    mldsa_line: None when it has written none, or none that this reader can verify.
    """

    party: PartyId
    time_s: int
    ed25519_line: SignatureLine
    sm2_line: SignatureLine
    mldsa_line: SignatureLine | None = None

    @property
    def lines(self) -> tuple[SignatureLine, ...]:
        """Two or three lines in our order: Ed25519, SM2, ML-DSA-44."""
        pair = (self.ed25519_line, self.sm2_line)
        return pair if self.mldsa_line is None else (*pair, self.mldsa_line)


@dataclass(frozen=True, slots=True)
class VerifiedNote:
    """A note whose log signature and co-signatures all hold.

    text: what was signed. log_line: the log's own signature. cosignatures: by party. unknown_lines: number of lines by
    keys that are not pinned; they count for nothing.
    """

    checkpoint: Checkpoint
    text: str
    log_line: SignatureLine
    cosignatures: Mapping[PartyId, Cosignature]
    unknown_lines: int

    def format(self) -> str:
        """The note in our spelling, without the unknown lines."""
        return format_note(self.text, [self.log_line, *cosignature_lines(self.cosignatures.values())])


# ----------------------------------------------------------------------------------------------- text


def origin_of(project: str, party: PartyId) -> str:
    """The origin line of a log, which is also the key name of its institution. Raises ValueError for another project."""
    if not _PROJECT.fullmatch(project):
        raise ValueError("a project name has 1 to 63 lower-case letters, digits and dashes, and starts with a letter")
    return f"{ORIGIN_HOST}/{project}/{party}"


def parse_origin(text: str) -> tuple[str, PartyId]:
    """Project and party of an origin line. Raises VerificationError."""
    parts = text.split("/")
    try:
        if len(parts) == 3 and parts[0] == ORIGIN_HOST and _PROJECT.fullmatch(parts[1]):
            return parts[1], parse_party_id(parts[2])
    except ValueError as error:
        raise _malformed("the origin names no institution") from error
    raise _malformed("the origin names no institution")


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The signed text: origin, size, SHA-256 root, SM3 root; four lines. Raises ValueError for size 0 or odd hashes."""
    if not 1 <= checkpoint.size <= MAX_SIZE or any(len(root) != HASH_SIZE for root in checkpoint.roots):
        raise ValueError("a checkpoint has at least one entry and two roots of 32 bytes")
    origin = origin_of(checkpoint.project, checkpoint.log)
    return f"{origin}\n{checkpoint.size}\n{_b64(checkpoint.sha256_root)}\nsm3 {_b64(checkpoint.sm3_root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The tree head that `format_checkpoint` wrote. Raises VerificationError (code CHECKPOINT)."""
    lines = text.split("\n")
    if len(lines) != 5 or lines[4] or not lines[3].startswith("sm3 ") or not _NUMBER.fullmatch(lines[1]):
        raise _malformed("not the four lines of a checkpoint")
    project, party = parse_origin(lines[0])
    checkpoint = Checkpoint(project, party, int(lines[1]), _unb64(lines[2]), _unb64(lines[3][4:]))
    try:
        if format_checkpoint(checkpoint) == text:
            return checkpoint
    except ValueError as error:
        raise _malformed(str(error)) from error
    raise _malformed("not the four lines of a checkpoint")


def format_line(line: SignatureLine) -> str:
    """One signature line with its line feed."""
    return f"— {line.name} {_b64(line.key_id + line.payload)}\n"


def parse_lines(block: str) -> tuple[SignatureLine, ...]:
    """The signature lines of a block, at least one, at most 64. Raises VerificationError."""
    if not block.endswith("\n") or block.count("\n") > MAX_LINES or len(block) > MAX_NOTE_BYTES:
        raise _malformed("signature lines are missing or too many")
    return tuple(_parse_line(line) for line in block[:-1].split("\n"))


def format_note(text: str, lines: Iterable[SignatureLine]) -> str:
    """Text, an empty line, signature lines (C2SP signed-note)."""
    return text + "\n" + "".join(format_line(line) for line in lines)


def split_note(note: str) -> tuple[str, tuple[SignatureLine, ...]]:
    """The text and the lines of a note, nothing verified. Raises VerificationError."""
    text, separator, block = note.rpartition("\n\n")
    if not separator or not text or len(note) > MAX_NOTE_BYTES:
        raise _malformed("not a signed note")
    return text + "\n", parse_lines(block)


# ------------------------------------------------------------------------------------------ signatures


def log_key_id(name: str, key: ed25519.PublicKey) -> bytes:
    """The key id of a log signature (type 0x01)."""
    return _key_id(name, LOG_TYPE, key.raw)


def cosignature_key_id(name: str, key: ed25519.PublicKey) -> bytes:
    """The key id of an Ed25519 co-signature (type 0x04)."""
    return _key_id(name, COSIGNATURE_TYPE, key.raw)


def sm2_key_id(name: str, key: sm2.PublicKey) -> bytes:
    """The key id of an SM2 co-signature (type 0xff and identifier)."""
    return _key_id(name, SM2_TYPE, key.raw)


def mldsa_key_id(name: str, key: mldsa.PublicKey) -> bytes:
    """The key id of an ML-DSA-44 co-signature (type 0x06)."""
    return _key_id(name, MLDSA_TYPE, key.raw)


def log_vkey(project: str, keys: PartyKeys) -> str:
    """The C2SP verifier key of a log, for other people's tools."""
    name = origin_of(project, keys.party)
    return f"{name}+{log_key_id(name, keys.ed25519).hex()}+{_b64(LOG_TYPE + keys.ed25519.raw)}"


def cosigner_vkey(project: str, keys: PartyKeys) -> str:
    """The C2SP verifier key of a co-signer (Ed25519), for other people's tools."""
    name = origin_of(project, keys.party)
    return f"{name}+{cosignature_key_id(name, keys.ed25519).hex()}+{_b64(COSIGNATURE_TYPE + keys.ed25519.raw)}"


def mldsa_vkey(project: str, keys: PartyKeys) -> str:
    """The C2SP verifier key of a co-signer (ML-DSA-44). Raises ValueError for an institution without that key."""
    if keys.mldsa44 is None:
        raise ValueError("this institution has no ML-DSA-44 key")
    name = origin_of(project, keys.party)
    return f"{name}+{mldsa_key_id(name, keys.mldsa44).hex()}+{_b64(MLDSA_TYPE + keys.mldsa44.raw)}"


def cosigned_message(text: str, time_s: int) -> bytes:
    """What an Ed25519 co-signature signs (C2SP tlog-cosignature)."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def sm2_message(party: PartyId, text: str, time_s: int) -> bytes:
    """What an SM2 co-signature signs: the same bytes behind the prefix that names its use and its signer."""
    return labels.signing_input("cosign", party=party, job="", body=cosigned_message(text, time_s))


def mldsa_message(signer: str, checkpoint: Checkpoint, time_s: int) -> bytes:
    """What an ML-DSA-44 co-signature signs: C2SP tlog-cosignature's `cosigned_message` of the whole tree.

    signer: key name of the co-signer. The SM3 root is not in it (docs/protocols/ledger.md section 1).
    """
    origin = origin_of(checkpoint.project, checkpoint.log)
    names = [one.encode("ascii") for one in (signer, origin)]
    numbers = [number.to_bytes(8, "big") for number in (time_s, 0, checkpoint.size)]
    cosigner, log = (len(name).to_bytes(1, "big") + name for name in names)
    return SUBTREE_LABEL + cosigner + numbers[0] + log + numbers[1] + numbers[2] + checkpoint.sha256_root


def sign_log(checkpoint: Checkpoint, key: ed25519.PrivateKey) -> SignatureLine:
    """The log's own signature line."""
    name = origin_of(checkpoint.project, checkpoint.log)
    return SignatureLine(name, log_key_id(name, key.public), key.sign(format_checkpoint(checkpoint).encode()))


def cosign(
    checkpoint: Checkpoint,
    *,
    party: PartyId,
    ed25519_key: ed25519.PrivateKey,
    sm2_key: sm2.PrivateKey,
    time_s: int,
    mldsa_key: mldsa.PrivateKey | None = None,
) -> Cosignature:
    """All lines of `party` over the same head and time. time_s: POSIX seconds, 1 to 2^53 - 1. Cost: 1 to 2 ms."""
    if not 1 <= time_s <= _MAX_TIME_S:
        raise ValueError("a co-signature has a time after 1970")
    name, text = origin_of(checkpoint.project, party), format_checkpoint(checkpoint)
    stamp = time_s.to_bytes(8, "big")
    plain = ed25519_key.sign(cosigned_message(text, time_s))
    national = sm2_key.sign(sm2_message(party, text, time_s))
    third = None
    if mldsa_key is not None:
        signed = mldsa_key.sign(mldsa_message(name, checkpoint, time_s))
        third = SignatureLine(name, mldsa_key_id(name, mldsa_key.public), stamp + signed)
    return Cosignature(
        party,
        time_s,
        SignatureLine(name, cosignature_key_id(name, ed25519_key.public), stamp + plain),
        SignatureLine(name, sm2_key_id(name, sm2_key.public), stamp + national),
        third,
    )


def verify_note(note: str, keys: Mapping[PartyId, PartyKeys], *, project: str) -> VerifiedNote:
    """The checkpoint of a note after all rules of document section 5.

    keys: the pinned keys of every institution of the project. Raises VerificationError: CHECKPOINT for malformed text,
    CHECKPOINT_SIGNATURE when a signature is missing, doubled, half or wrong; `details["party"]` names whose.
    Cost: about 1 ms an institution.
    """
    text, lines = split_note(note)
    checkpoint = parse_checkpoint(text)
    if checkpoint.project != project or checkpoint.log not in keys:
        raise _malformed("the checkpoint is of another project or of an unknown institution")
    log_line = _log_line(text, lines, keys[checkpoint.log], project)
    cosignatures, known = {}, 1
    for party in sorted(keys):
        found = read_cosignature(text, lines, keys[party], project=project)
        if found is not None:
            cosignatures[party] = found
            known += len(found.lines)
    return VerifiedNote(checkpoint, text, log_line, cosignatures, len(lines) - known)


def read_cosignature(text: str, lines: Iterable[SignatureLine], keys: PartyKeys, *, project: str) -> Cosignature | None:
    """The verified lines of one institution, or None when it has none here: both or none (section 5 rule 3).

    A third line by its ML-DSA-44 key is optional and never stands alone (docs/protocols/ledger.md section 1). Raises
    VerificationError (code CHECKPOINT_SIGNATURE) for one line without the other, a doubled line, different times or a
    signature that does not verify.
    """
    name = origin_of(project, keys.party)
    plain_id, sm2_id = cosignature_key_id(name, keys.ed25519), sm2_key_id(name, keys.sm2)
    mine = [line for line in lines if line.name == name]
    plain = [line for line in mine if line.key_id == plain_id]
    national = [line for line in mine if line.key_id == sm2_id]
    third_id = None if keys.mldsa44 is None else mldsa_key_id(name, keys.mldsa44)
    third = [line for line in mine if line.key_id == third_id]
    if not plain and not national and not third:
        return None
    if len(plain) != 1 or len(national) != 1 or len(third) > 1:
        raise _bad_signature(keys.party, "缺另一半或重复", "one half is missing or doubled")
    stamps = {line.payload[:8] for line in (*plain, *national, *third)}
    sizes = [_TIMED_SIZE, _TIMED_SIZE, _TIMED_MLDSA_SIZE]
    if len(stamps) != 1 or any(
        len(line.payload) != size for line, size in zip((*plain, *national, *third), sizes, strict=False)
    ):
        raise _bad_signature(keys.party, "两行的时间或长度不一致", "the two lines differ in time or have odd lengths")
    time_s = int.from_bytes(stamps.pop(), "big")
    if not 1 <= time_s <= _MAX_TIME_S:
        raise _bad_signature(keys.party, "时间超出范围", "the time is out of range")
    try:
        keys.ed25519.verify(cosigned_message(text, time_s), plain[0].payload[8:])
        keys.sm2.verify(sm2_message(keys.party, text, time_s), national[0].payload[8:])
        if third and keys.mldsa44 is not None:
            keys.mldsa44.verify(mldsa_message(name, parse_checkpoint(text), time_s), third[0].payload[8:])
    except VerificationError as error:
        raise _bad_signature(keys.party, "签名与内容不符", "a signature does not verify") from error
    return Cosignature(keys.party, time_s, plain[0], national[0], third[0] if third else None)


def cosignature_lines(cosignatures: Iterable[Cosignature]) -> list[SignatureLine]:
    """The lines in our order: by party, Ed25519 before SM2 before ML-DSA-44."""
    ordered = sorted(cosignatures, key=lambda one: one.party)
    return [line for one in ordered for line in one.lines]


# --------------------------------------------------------------------------------------------- private


def _log_line(text: str, lines: Iterable[SignatureLine], keys: PartyKeys, project: str) -> SignatureLine:
    name = origin_of(project, keys.party)
    wanted = log_key_id(name, keys.ed25519)
    found = [line for line in lines if line.name == name and line.key_id == wanted]
    if len(found) != 1:
        raise _bad_signature(keys.party, "日志自身的签名缺失或重复", "the log's own signature is missing or doubled")
    try:
        keys.ed25519.verify(text.encode(), found[0].payload)
    except VerificationError as error:
        raise _bad_signature(keys.party, "日志自身的签名不符", "the log's own signature does not verify") from error
    return found[0]


def _parse_line(line: str) -> SignatureLine:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—" or not _KEY_NAME.fullmatch(name):
        raise _malformed("not a signature line")
    data = _unb64(encoded)
    if len(data) <= _KEY_ID_SIZE:
        raise _malformed("not a signature line")
    return SignatureLine(name, data[:_KEY_ID_SIZE], data[_KEY_ID_SIZE:])


def _key_id(name: str, kind: bytes, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:_KEY_ID_SIZE]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    """The bytes of canonical base64 only: no blanks, full padding, zero trailing bits."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise _malformed("not base64") from error
    if _b64(data) != text:
        raise _malformed("not base64 in its one spelling")
    return data


def _malformed(reason: str) -> VerificationError:
    return VerificationError(
        "检查点格式不符，拒绝采信",
        f"this is not a checkpoint of version 1: {reason}",
        code="CHECKPOINT",
        details={"reason": reason},
    )


def _bad_signature(party: PartyId, zh: str, en: str) -> VerificationError:
    return VerificationError(
        f"{party} 对检查点的签名不成立：{zh}。请 {party} 的合规人员核查",
        f"the signature of {party} on the checkpoint does not hold: {en}. Compliance of {party} must look into it",
        code="CHECKPOINT_SIGNATURE",
        details={"party": party},
    )

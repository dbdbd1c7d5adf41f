"""One key for the messages of three institutions or more, given out in their pairwise sessions under a signed token.

Document: docs/protocols/frame.md section 16. The leader makes a token and hands it, with the key, to every other member; a
change of members is a new token with a new key. All members know the key, so every message carries its sender's signature.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from workbench.channel.exchange_messages import lv4
from workbench.channel.frame import check_purpose, prefixed, refused
from workbench.channel.session_keys import rekey_required
from workbench.channel.session_state import Window
from workbench.channel.terms import PROVENANCES, End, Order, Signer
from workbench.crypto import canonical, compare, gcm, kdf, labels, random, sm2, sm3
from workbench.errors import VerificationError

TOKEN_PURPOSE = "group.token"
KEY_SIZE = 32
MAX_MEMBERS = 16
MAX_VALID_MS = 24 * 3_600_000
MAX_FRAMES = 1 << 20

_MAGIC = b"WG\x01"
_GROUP = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_FIELDS = frozenset({"v", "kind", "group", "epoch", "leader", "members", "provenances", "made_ms", "until_ms", "check"})


@dataclass(frozen=True, slots=True)
class GroupToken:
    """Who belongs to a group in one epoch. members: sorted by identity, the leader among them."""

    group: str
    epoch: int
    leader: str
    members: tuple[End, ...]
    provenances: tuple[str, ...]
    made_ms: int
    until_ms: int
    check: str

    def __post_init__(self) -> None:
        names = [one.identity for one in self.members]
        sound = (
            _GROUP.fullmatch(self.group)
            and 1 <= self.epoch < 2**32
            and 2 <= len(names) <= MAX_MEMBERS
            and names == sorted(set(names))
            and len({one.key.raw for one in self.members}) == len(names)
            and self.leader in names
            and list(self.provenances) == sorted(set(self.provenances))
            and all(one in ("", *PROVENANCES) for one in self.provenances)
            and 0 <= self.made_ms < self.until_ms <= self.made_ms + MAX_VALID_MS
            and re.fullmatch(r"[0-9a-f]{64}", self.check)
        )
        if not sound:
            raise ValueError("a field of the group's token has another form")

    def format(self) -> bytes:
        """Canonical JSON."""
        return canonical.format(
            {
                "v": 1,
                "kind": "group-token",
                "group": self.group,
                "epoch": self.epoch,
                "leader": self.leader,
                "members": [{"identity": one.identity, "key": one.key.format()} for one in self.members],
                "provenances": list(self.provenances),
                "made_ms": self.made_ms,
                "until_ms": self.until_ms,
                "check": self.check,
            }
        )

    def key_of(self, identity: str) -> sm2.PublicKey | None:
        """The SM2 key of a member, None for anybody else."""
        return next((one.key for one in self.members if one.identity == identity), None)


@dataclass(frozen=True, slots=True)
class GroupMessage:
    """A frame of a group that was accepted."""

    sender: str
    purpose: str
    sequence: int
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def make_token(
    *,
    group: str,
    epoch: int,
    leader: str,
    key: Signer,
    members: Sequence[End],
    provenances: Sequence[str],
    now_ms: int,
    valid_ms: int,
    source: random.RandomSource = random.SYSTEM,
) -> bytes:
    """What the leader hands to every other member, each in the session with it, as a frame of purpose `group.token`.

    key: the leader's signing key. members: all ends, the leader's own among them. provenances: of the sessions that will
    carry it. The result holds the group key: seal it and keep no copy; the leader's own `GroupMember` takes it too.
    """
    group_key = source(KEY_SIZE)
    token = GroupToken(
        group,
        epoch,
        leader,
        tuple(sorted(members, key=lambda one: one.identity)),
        tuple(sorted(set(provenances))),
        now_ms,
        now_ms + valid_ms,
        _check(group_key, group, epoch),
    )
    encoded = token.format()
    signature = key.sign(labels.signing_input("group-token", party=leader, job=group, body=encoded))
    return lv4(encoded) + signature + group_key


class GroupMember:
    """One member of a group: takes tokens, seals and opens messages. For one thread at a time; not copied or stored."""

    def __init__(self, *, group: str, identity: str, key: Signer, leader: End) -> None:
        """key: this member's signing key. leader: who may make tokens for this group, with its pinned key."""
        self._group, self._identity, self._key, self._leader = group, identity, key, leader
        self._token: GroupToken | None = None
        self._epoch = 0
        self._digest = b""
        self._keys: dict[str, tuple[gcm.GcmKey, bytes]] = {}
        self._windows: dict[str, Window] = {}
        self._sent = 0

    @property
    def token(self) -> GroupToken | None:
        """The token in force, None before the first."""
        return self._token

    def accept_token(self, payload: bytes, *, now_ms: int) -> GroupToken:
        """Take a token and its key, from the session with the leader. Those before are overwritten.

        Raises VerificationError (GROUP_TOKEN_REFUSED) for every cause; nothing has changed then.
        """
        try:
            token, group_key = self._verified(payload, now_ms)
        except (VerificationError, ValueError):
            raise VerificationError(
                "群组令牌被拒收：签名、成员、有效期或期次不符，请与群组牵头方核对",
                "the group's token was refused: signature, members, validity or epoch do not fit; compare with the leader",
                code="GROUP_TOKEN_REFUSED",
            ) from None
        self.leave()
        self._token, self._epoch, self._sent = token, token.epoch, 0
        self._digest = sm3.digest(token.format())
        for member in token.members:
            context = self._digest + prefixed(member.identity)
            made = kdf.expand(group_key, "group/sender", context, length=20)
            self._keys[member.identity] = (gcm.GcmKey(gcm.CipherName.SM4_GCM, made[:16]), made[16:])
            self._windows[member.identity] = Window(Order.WINDOW)
        return token

    def seal(self, payload: bytes, *, purpose: str, now_ms: int) -> bytes:
        """A message for all members. Raises KeyUnavailable (REKEY_REQUIRED) without a valid token or at its limit."""
        check_purpose(purpose)
        token = self._token
        if token is None or now_ms >= token.until_ms or self._sent >= MAX_FRAMES:
            limit = "records" if token is not None and self._sent >= MAX_FRAMES else "time"
            raise rekey_required(self._group, self._epoch, limit)
        self._sent += 1
        head = _MAGIC + self._digest + prefixed(self._identity) + self._sent.to_bytes(8, "big") + prefixed(purpose)
        signature = self._key.sign(_item(self._identity, self._group, head, payload))
        key, salt = self._keys[self._identity]
        return key.seal(salt + self._sent.to_bytes(8, "big"), signature, payload, associated=head, prefix=head)

    def open(self, frame: bytes, *, now_ms: int) -> GroupMessage:
        """A member's message. Raises VerificationError (FRAME_REFUSED), one for every cause."""
        found = self._split(frame)
        if found is None or self._token is None or now_ms >= self._token.until_ms:
            raise refused()
        sender, sequence, purpose, head = found
        public = self._token.key_of(sender)
        if public is None or sender == self._identity or not self._windows[sender].admits(sequence):
            raise refused()
        key, salt = self._keys[sender]
        plaintext = key.open_sealed(salt + sequence.to_bytes(8, "big"), frame[len(head) :], associated=head)
        if plaintext is None:
            raise refused()
        signature, payload = plaintext[: sm2.SIGNATURE_SIZE], plaintext[sm2.SIGNATURE_SIZE :]
        try:
            public.verify(_item(sender, self._group, head, payload), signature)
        except VerificationError:
            raise refused() from None
        self._windows[sender].accept(sequence)
        return GroupMessage(sender, purpose, sequence, payload, signature)

    def leave(self) -> None:
        """Overwrite the keys: nothing is sealed or opened until the next token, of a higher epoch."""
        for key, _ in self._keys.values():
            key.wipe()
        self._keys, self._windows = {}, {}
        self._digest, self._token = b"", None

    def _verified(self, payload: bytes, now_ms: int) -> tuple[GroupToken, bytes]:
        size = int.from_bytes(payload[:4], "big")
        cut = 4 + size + sm2.SIGNATURE_SIZE
        if len(payload) != cut + KEY_SIZE:
            raise ValueError("another length")
        encoded, signature, group_key = payload[4 : 4 + size], payload[4 + size : cut], payload[cut:]
        token = parse_token(encoded)
        self._leader.key.verify(
            labels.signing_input("group-token", party=self._leader.identity, job=self._group, body=encoded), signature
        )
        fits = (
            token.group == self._group
            and token.leader == self._leader.identity
            and token.key_of(self._leader.identity) == self._leader.key
            and token.key_of(self._identity) == self._key.public
            and token.made_ms <= now_ms + 60_000
            and now_ms < token.until_ms
            and token.epoch > self._epoch
            and compare.equal(_check(group_key, token.group, token.epoch).encode(), token.check.encode())
        )
        if not fits:
            raise ValueError("the token does not fit")
        return token, group_key

    def _split(self, frame: bytes) -> tuple[str, int, str, bytes] | None:
        """(sender, sequence, purpose, head) of a frame under the token in force, None for anything else."""
        start = len(_MAGIC) + 32
        if not self._digest or frame[:start] != _MAGIC + self._digest or len(frame) <= start:
            return None
        cut = start + 1 + frame[start]
        if len(frame) <= cut + 8:
            return None
        end = cut + 9 + frame[cut + 8]
        if len(frame) < end + sm2.SIGNATURE_SIZE + gcm.TAG_SIZE:
            return None
        sender = frame[start + 1 : cut].decode("ascii", "replace")
        purpose = frame[cut + 9 : end].decode("ascii", "replace")
        try:
            check_purpose(purpose)
        except ValueError:
            return None
        return sender, int.from_bytes(frame[cut : cut + 8], "big"), purpose, frame[:end]

    def __repr__(self) -> str:
        return f"GroupMember({self._identity} in {self._group}, epoch {self._epoch})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a group's keys are not copied or stored")


def parse_token(encoded: bytes) -> GroupToken:
    """The token in its one spelling; its signature is not looked at. Raises VerificationError or ValueError."""
    value = canonical.parse_object(encoded)
    members = value.get("members")
    provenances = value.get("provenances")
    if set(value) != _FIELDS or not isinstance(members, list) or not isinstance(provenances, list):
        raise ValueError("other fields")
    ends = []
    for one in members:
        if not isinstance(one, dict) or set(one) != {"identity", "key"}:
            raise ValueError("a member has an identity and a key")
        ends.append(End(str(one["identity"]), sm2.PublicKey.parse(str(one["key"]))))
    numbers = [value[name] for name in ("v", "epoch", "made_ms", "until_ms")]
    if value["kind"] != "group-token" or not all(type(one) is int for one in numbers) or value["v"] != 1:
        raise ValueError("another kind or version")
    _, epoch, made_ms, until_ms = (int(str(one)) for one in numbers)
    token = GroupToken(
        str(value["group"]), epoch, str(value["leader"]), tuple(ends), tuple(map(str, provenances)), made_ms, until_ms,
        str(value["check"]),
    )  # fmt: skip
    if token.format() != encoded:
        raise ValueError("a field has another type")
    return token


def _check(group_key: bytes, group: str, epoch: int) -> str:
    return kdf.expand(group_key, "group/check", f"{group}\n{epoch}".encode("ascii")).hex()


def _item(sender: str, group: str, head: bytes, payload: bytes) -> bytes:
    return labels.signing_input("group-item", party=sender, job=group, body=sm3.digest(head) + payload)

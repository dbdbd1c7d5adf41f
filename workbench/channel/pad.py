"""One-time pads with a one-time MAC for small items, bounded by the keys there are.

Document: docs/protocols/frame.md section 11. A pool belongs to one direction; both ends have loaded the same keys into
theirs. Keys are removed and overwritten when used; nothing else takes their place when they run out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.channel.frame import Direction, Parts, prefixed
from workbench.channel.secret import Secret
from workbench.channel.terms import PROVENANCES, QkdShare
from workbench.crypto import compare, poly1305
from workbench.errors import KeyUnavailable

KEY_SIZE = 32
MAX_ITEM_BYTES = 1024


class PadPool:
    """Keys of one provenance for one direction, in the order in which they were loaded. For one thread at a time."""

    def __init__(self, direction: Direction, provenance: str) -> None:
        if provenance not in PROVENANCES:
            raise ValueError("a pool has one known provenance")
        self.direction = direction
        self.provenance = provenance
        self._keys: dict[str, Secret] = {}
        self._known: set[str] = set()

    def load(self, shares: Iterable[QkdShare]) -> None:
        """Add keys of 32 bytes of this pool's provenance. Raises ValueError for others and for an id seen before."""
        for share in shares:
            if len(share.value) != KEY_SIZE or share.provenance != self.provenance or share.key_id in self._known:
                raise ValueError(f"key {share.key_id} does not fit this pool or was in it before")
            self._known.add(share.key_id)
            self._keys[share.key_id] = Secret(share.value)

    @property
    def available(self) -> int:
        """Keys left."""
        return len(self._keys)

    @staticmethod
    def needed(size: int) -> int:
        """Keys that an item of `size` bytes uses up. Raises ValueError for an item that is too large."""
        if size > MAX_ITEM_BYTES:
            raise ValueError("an item under a one-time pad has at most 1,024 bytes")
        return -(-(size + poly1305.KEY_SIZE) // KEY_SIZE)

    def seal(self, header: bytes, payload: bytes, *, retry_after_s: int = 0) -> bytes:
        """The whole frame; its keys are gone then. Raises KeyUnavailable (PAD_EXHAUSTED): nothing was used."""
        count = self.needed(len(payload))
        if count > len(self._keys):
            raise _exhausted(available=len(self._keys), needed=count, retry_after_s=retry_after_s)
        ids = list(self._keys)[:count]
        pad = self._joined(ids)
        start = header + bytes([count]) + b"".join(map(prefixed, ids)) + _xor(payload, pad[poly1305.KEY_SIZE :])
        tag = poly1305.tag(pad[: poly1305.KEY_SIZE], start + prefixed(self.provenance))
        self.use(ids)
        return start + tag

    def open_sealed(self, parts: Parts) -> tuple[bytes, list[str]] | None:
        """(payload, key ids), or None if anything does not fit; the keys are still there: `use` them when accepted."""
        found = _read_ids(bytes(parts.sealed))
        ids, body = found if found is not None else ([], b"")
        sound = found is not None and len(set(ids)) == len(ids) and all(one in self._keys for one in ids)
        cut = max(len(body) - poly1305.TAG_SIZE, 0)
        sound = sound and cut <= MAX_ITEM_BYTES and len(ids) == self.needed(min(cut, MAX_ITEM_BYTES))
        # A frame that cannot be right is still put through the MAC, under a key of zeros.
        pad = self._joined(ids) if sound else bytes(cut + poly1305.KEY_SIZE)
        signed = parts.encoded + bytes(parts.sealed[: max(len(parts.sealed) - poly1305.TAG_SIZE, 0)])
        tag = poly1305.tag(pad[: poly1305.KEY_SIZE], signed + prefixed(self.provenance))
        payload = _xor(body[:cut], pad[poly1305.KEY_SIZE :])
        return (payload, ids) if compare.equal(tag, body[cut:]) and sound else None

    def use(self, ids: Sequence[str]) -> None:
        """Take these keys out and overwrite them."""
        for one in ids:
            self._keys.pop(one).wipe()

    def wipe(self) -> None:
        """Overwrite all keys."""
        self.use(list(self._keys))

    def _joined(self, ids: Sequence[str]) -> bytes:
        return b"".join(self._keys[one].reveal() for one in ids)

    def __repr__(self) -> str:
        return f"PadPool({self.direction.name.lower()}, {self.provenance}, {len(self._keys)} keys)"


def _read_ids(sealed: bytes) -> tuple[list[str], bytes] | None:
    """(key ids, what follows them), or None where they do not parse."""
    if not sealed:
        return None
    ids, place = [], 1
    for _ in range(sealed[0]):
        if place >= len(sealed):
            return None
        end = place + 1 + sealed[place]
        ids.append(sealed[place + 1 : end].decode("ascii", "replace"))
        place = end
    body = sealed[place:]
    return (ids, body) if len(body) >= poly1305.TAG_SIZE else None


def _xor(data: bytes, pad: bytes) -> bytes:
    """Each byte of `data` with the byte of `pad` in its place; the pad is at least as long."""
    size = len(data)
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad[:size], "big")).to_bytes(size, "big")


def _exhausted(*, available: int, needed: int, retry_after_s: int) -> KeyUnavailable:
    zh = f"请于 {retry_after_s} 秒后重试" if retry_after_s else "恢复时间未知，请密钥管理人员补充密钥"
    en = (
        f"try again in {retry_after_s} s"
        if retry_after_s
        else "when there will be more is not known: key staff fill the pool"
    )
    return KeyUnavailable(
        f"一次一密密钥不足：需要 {needed} 个，现有 {available} 个；未发送，也不改用其他加密方式；{zh}",
        f"too few keys for a one-time pad: {needed} needed, {available} there; nothing was sent and no other cipher is used"
        f" instead; {en}",
        code="PAD_EXHAUSTED",
        details={"needed": str(needed), "available": str(available), "retry_after_s": str(retry_after_s)},
    )

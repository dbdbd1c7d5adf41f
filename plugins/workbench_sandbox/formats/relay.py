"""Bodies of the calls below `sandbox/`: docs/protocols/sandbox.md sections 3, 5, 6 and 8.

A request that does not parse gets the one uniform refusal (SANDBOX_REFUSED), as whatever else is wrong with what it names. A
reply that does not parse is the other end's fault (SANDBOX_REPLY).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.crypto.canonical import Json
from workbench.errors import KeyUnavailable, ProtocolViolation, Refused
from workbench_sandbox.formats import reading

OFFER, FETCH, EVIDENCE, START, ANSWER = (
    "sandbox/offer",
    "sandbox/fetch",
    "sandbox/evidence",
    "sandbox/start",
    "sandbox/answer",
)
FRAMES, RELEASE, STATE, TICK, PULL = (
    "sandbox/frames",
    "sandbox/release",
    "sandbox/state",
    "sandbox/tick",
    "sandbox/pull",
)
"""Paths."""

EMPTY = b"{}"
"""The reply of calls that answer nothing."""
PULL_BYTES = 1 << 20
"""The most of a file that one reply carries."""
MAX_FRAMES_BYTES = 4 << 20
"""The most of a body of `sandbox/frames`, each way."""
MAX_WAIT_MS = 20_000
WAITING_FRAMES, WAITING_BYTES = 4_096, 8 << 20
"""The most that waits in a direction; then nothing more is read."""
LIVE, ENDED = 1, 2
"""States of a download."""
CAUSES = (
    "released", "lease-ended", "budget", "idle", "tenant-silent", "sandbox-died", "memory", "launcher-died", "freeze", "operator", "probe",
)  # fmt: skip
"""Why a sandbox ended, section 11."""
LEASE_STATES = ("ORDERED", "REFUSED", "RUNNING", "RELEASING", "ERASED", "UNPROVEN")
SERVER_STATES = ("DIRTY", "SANITISED", "READY", "LEASED")

_MAX_RETRY_S = 10**9
_MAX_FRAME = (16 << 20) + 1_024
_REPLIES = ("SANDBOX_BUSY", "QKD_KEY_REQUIRED", "SANDBOX_ENDED")


@dataclass(frozen=True, slots=True)
class Pool:
    """What of a pool could be had now, and the most cards of one order."""

    pool: str
    free: int
    most_cards: int

    def __post_init__(self) -> None:
        reading.need(self.pool in reading.POOLS and reading.within(self.free, self.most_cards, most=10**6), "pool")


@dataclass(frozen=True, slots=True)
class Offer:
    """What could be had now. images: ids of this tenant that are pulled; freezes: stretches in ms without leases."""

    pools: tuple[Pool, ...]
    assurance: tuple[str, ...]
    images: tuple[str, ...]
    fen_per_card_minute: int
    ready_s: int
    retry_after_s: int
    freezes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        need = reading.need
        need(
            [one.pool for one in self.pools] == [one for one in reading.POOLS if one in {p.pool for p in self.pools}],
            "pools",
        )
        need(self.assurance == tuple(one for one in reading.ASSURANCES if one in self.assurance), "assurance")
        need(reading.ascending(self.images) and reading.each(reading.HEX64, self.images), "images")
        need(reading.within(self.fen_per_card_minute, self.ready_s, self.retry_after_s, most=10**12), "numbers")
        need(all(reading.within(*one) and one[0] < one[1] for one in self.freezes), "freezes")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A corpus that the provider is to pull. corpus: SM3 of the sealed file; size: its bytes."""

    lease: str
    corpus: str
    size: int

    def __post_init__(self) -> None:
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.HEX64.fullmatch(self.corpus), "lease or corpus")
        reading.need(reading.within(self.size, least=1, most=2 << 30), "size")


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """sandbox: "" for one of the lease that has given no evidence yet; nonce: 64 hex, fresh."""

    lease: str
    sandbox: str
    nonce: str
    time_ms: int

    def __post_init__(self) -> None:
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.HEX64.fullmatch(self.nonce), "lease or nonce")
        reading.need(not self.sandbox or reading.SANDBOX.fullmatch(self.sandbox), "sandbox")
        reading.need(reading.within(self.time_ms), "time_ms")


@dataclass(frozen=True, slots=True)
class Start:
    """A session to begin (session "") or to renew (its id). evidence: SM3 of the statement; key_id, provenance: of the QKD key."""

    sandbox: str
    session: str
    evidence: str
    key_id: str
    provenance: str

    def __post_init__(self) -> None:
        need = reading.need
        need(reading.SANDBOX.fullmatch(self.sandbox) and reading.SESSION_OR_EMPTY.fullmatch(self.session), "sandbox")
        need(reading.HEX64.fullmatch(self.evidence) and reading.KEY_ID.fullmatch(self.key_id), "evidence or key")
        need(self.provenance in ("", *reading.PROVENANCES), "provenance")
        need((self.key_id == "") == (self.provenance == ""), "a key and its provenance")


@dataclass(frozen=True, slots=True)
class Upload:
    """Frames of the tenant for a sandbox. first: place of the first of them, from 0; taken: frames of the other direction that
    the tenant has."""

    first: int
    taken: int
    frames: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Download:
    """Frames of a sandbox for its tenant. state: 1 live, 2 ended: these are the last ones. received: how many of the tenant's
    frames have come so far."""

    state: int
    first: int
    frames: tuple[bytes, ...] = field(default=(), repr=False)
    received: int = 0


@dataclass(frozen=True, slots=True)
class FramesRequest:
    """One call of `sandbox/frames`."""

    sandbox: str
    upload: Upload
    wait_ms: int

    def __post_init__(self) -> None:
        reading.need(reading.SANDBOX.fullmatch(self.sandbox), "sandbox")
        reading.need(reading.within(self.wait_ms, most=MAX_WAIT_MS), "wait_ms")
        reading.need(reading.within(self.upload.first, self.upload.taken), "places")


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server of a lease. sandbox: that runs there, "" for none."""

    server: str
    state: str
    sandbox: str

    def __post_init__(self) -> None:
        reading.need(reading.SERVER.fullmatch(self.server) and self.state in SERVER_STATES, "server")
        reading.need(not self.sandbox or reading.SANDBOX.fullmatch(self.sandbox), "sandbox")


@dataclass(frozen=True, slots=True)
class LeaseView:
    """What the provider says of a lease now. at_s: second of the lease; queue: asks that wait in its sandboxes."""

    state: str
    at_s: int
    cards: int
    servers: tuple[ServerView, ...]
    queue: int

    def __post_init__(self) -> None:
        reading.need(
            self.state in LEASE_STATES and reading.within(self.at_s, self.cards, self.queue), "state or counts"
        )
        reading.need(reading.ascending([one.server for one in self.servers]), "servers ascend")


@dataclass(frozen=True, slots=True)
class Pull:
    """Bytes that the provider pulls. of: `image` or `corpus`; file: -1 for the manifest, 0 for a corpus."""

    of: str
    id: str
    file: int
    offset: int

    def __post_init__(self) -> None:
        reading.need(self.of in ("image", "corpus") and reading.HEX64.fullmatch(self.id), "of or id")
        reading.need(reading.within(self.file, least=-1) and reading.within(self.offset), "file or offset")
        reading.need(self.of == "image" or self.file == 0, "a corpus is one file")


# ------------------------------------------------------------------------------------------------------- every reply


def accepted(body: bytes) -> bytes:
    """The reply with this body."""
    return b"\x00" + body


def refused(code: str, *, cause: str = "", retry_after_s: int = 0) -> bytes:
    """A reply that says no. code: SANDBOX_BUSY, QKD_KEY_REQUIRED or SANDBOX_ENDED; cause: one of CAUSES with the last alone."""
    _check_refusal(code, cause, retry_after_s)
    return b"\x01" + reading.write({"code": code, "cause": cause, "retry_after_s": retry_after_s})


def read_reply(raw: bytes) -> bytes:
    """The body of a reply.

    Raises Refused (SANDBOX_BUSY with details["retry_after_s"], SANDBOX_ENDED with details["cause"]), KeyUnavailable
    (QKD_KEY_REQUIRED), ProtocolViolation (SANDBOX_REPLY).
    """
    if raw[:1] == b"\x00":
        return raw[1:]

    with reading.refusing(_reply_refused):
        reading.need(raw[:1] == b"\x01", "no known reply")
        body = reading.read(raw[1:], ("code", "cause", "retry_after_s"))
        (code, cause), retry_after_s = reading.texts_of(body, ("code", "cause")), reading.whole(body["retry_after_s"])
        _check_refusal(code, cause, retry_after_s)
    if code == "SANDBOX_ENDED":
        raise sandbox_ended(cause)
    raise sandbox_busy(retry_after_s) if code == "SANDBOX_BUSY" else _key_required(retry_after_s)


def sandbox_refused() -> Refused:
    """The one uniform refusal, the same bytes whatever was wrong."""
    return Refused(
        "没有这样的租约、沙箱或会话，或请求不合格式；未作处理",
        "there is no such lease, sandbox or session, or the request is malformed; nothing was done",
        code="SANDBOX_REFUSED",
    )


def sandbox_busy(retry_after_s: int) -> Refused:
    """The refusal of a call that was not looked at."""
    return Refused(
        f"算力方正忙，请求未处理；请 {retry_after_s} 秒后再试",
        f"the provider is busy and has not looked at this call; try again in {retry_after_s} s",
        code="SANDBOX_BUSY",
        details={"retry_after_s": str(retry_after_s)},
    )


def sandbox_ended(cause: str) -> Refused:
    """The refusal of a call about a sandbox of one's own that has ended."""
    return Refused(
        f"沙箱已结束（{cause}）；未完成的提问须重新提出",
        f"the sandbox has ended ({cause}); asks that were not finished are asked again",
        code="SANDBOX_ENDED",
        details={"cause": cause},
    )


def _key_required(retry_after_s: int) -> KeyUnavailable:
    return KeyUnavailable(
        f"算力方没有这把量子密钥分发的密钥，会话未建立，不改用其他方式；请 {retry_after_s} 秒后重试",
        f"the provider has not the QKD key that was named: no session was made and nothing else is used instead; try again in {retry_after_s} s",
        code="QKD_KEY_REQUIRED",
        details={"retry_after_s": str(retry_after_s)},
    )


def _check_refusal(code: str, cause: str, retry_after_s: int) -> None:
    reading.need(code in _REPLIES and reading.within(retry_after_s, most=_MAX_RETRY_S), "code or time")
    reading.need(cause in CAUSES if code == "SANDBOX_ENDED" else not cause, "cause")


# ----------------------------------------------------------------------------------------------------------- requests


def format_offer_request() -> bytes:
    """Of `sandbox/offer`."""
    return reading.write({})


def parse_offer_request(data: bytes) -> None:
    """Raises Refused (SANDBOX_REFUSED)."""
    with reading.refusing(sandbox_refused):
        reading.read(data, ())


def format_fetch(value: Fetch) -> bytes:
    """Of `sandbox/fetch`."""
    return reading.write({"lease": value.lease, "corpus": value.corpus, "size": value.size})


def parse_fetch(data: bytes) -> Fetch:
    """Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        body = reading.read(data, ("lease", "corpus", "size"))
        return Fetch(reading.text(body["lease"]), reading.text(body["corpus"]), reading.whole(body["size"]))


def format_evidence_request(value: EvidenceRequest) -> bytes:
    """Of `sandbox/evidence`."""
    return reading.write(
        {"lease": value.lease, "sandbox": value.sandbox, "nonce": value.nonce, "time_ms": value.time_ms},
        "sandbox-evidence-request",
    )


def parse_evidence_request(data: bytes) -> EvidenceRequest:
    """Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        body = reading.read(data, ("lease", "sandbox", "nonce", "time_ms"), "sandbox-evidence-request")
        lease, sandbox, nonce = reading.texts_of(body, ("lease", "sandbox", "nonce"))
        return EvidenceRequest(lease, sandbox, nonce, reading.whole(body["time_ms"]))


_START = ("sandbox", "session", "evidence", "key_id", "provenance")


def format_start(value: Start) -> bytes:
    """Of `sandbox/start`."""
    return reading.write(reading.body_of(value, _START))


def parse_start(data: bytes) -> Start:
    """Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        body = reading.read(data, _START)
        return Start(*reading.texts_of(body, _START))


def format_answer(sandbox: str, message: bytes) -> bytes:
    """Of `sandbox/answer`. message: answer or refusal of an exchange."""
    reading.need(reading.SANDBOX.fullmatch(sandbox), "sandbox")
    return reading.lv1(sandbox.encode("ascii")) + message


def parse_answer(data: bytes) -> tuple[str, bytes]:
    """(sandbox, message). Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        cursor = reading.Cursor(data)
        sandbox = cursor.lv1().decode("ascii")
        reading.need(reading.SANDBOX.fullmatch(sandbox), "sandbox")
        return sandbox, cursor.rest()


def format_frames(value: FramesRequest) -> bytes:
    """Of `sandbox/frames`. Raises ValueError for more than 4 MiB."""
    upload = value.upload
    head = b"\x01" + reading.lv1(value.sandbox.encode("ascii")) + upload.first.to_bytes(8, "big")
    body = head + upload.taken.to_bytes(8, "big") + value.wait_ms.to_bytes(2, "big") + _joined(upload.frames)
    reading.need(len(body) <= MAX_FRAMES_BYTES, "a body has at most 4 MiB")
    return body


def parse_frames(data: bytes) -> FramesRequest:
    """Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        cursor = reading.Cursor(data)
        reading.need(cursor.number(1) == 1 and len(data) <= MAX_FRAMES_BYTES, "version or size")
        sandbox = cursor.lv1().decode("ascii")
        first, taken, wait_ms = cursor.number(8), cursor.number(8), cursor.number(2)
        return FramesRequest(sandbox, Upload(first, taken, _split(cursor)), wait_ms)


def format_state_request(lease: str) -> bytes:
    """Of `sandbox/state`."""
    reading.need(reading.LEASE.fullmatch(lease), "lease")
    return reading.write({"lease": lease})


def parse_state_request(data: bytes) -> str:
    """The lease. Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        lease = reading.text(reading.read(data, ("lease",))["lease"])
        reading.need(reading.LEASE.fullmatch(lease), "lease")
        return lease


def format_pull(value: Pull) -> bytes:
    """Of `sandbox/pull`."""
    return reading.write({"of": value.of, "id": value.id, "file": value.file, "offset": value.offset})


def parse_pull(data: bytes) -> Pull:
    """Raises Refused (SANDBOX_REFUSED)."""

    with reading.refusing(sandbox_refused):
        body = reading.read(data, ("of", "id", "file", "offset"))
        of, id_ = reading.text(body["of"]), reading.text(body["id"])
        return Pull(of, id_, reading.whole(body["file"]), reading.whole(body["offset"]))


# ------------------------------------------------------------------------------------------------------------ replies


def format_offer(value: Offer) -> bytes:
    """The body of a reply to `sandbox/offer`."""
    return reading.write(
        {
            "pools": [{"pool": one.pool, "free": one.free, "most_cards": one.most_cards} for one in value.pools],
            "assurance": list(value.assurance), "images": list(value.images), "fen_per_card_minute": value.fen_per_card_minute,
            "ready_s": value.ready_s, "retry_after_s": value.retry_after_s, "freezes": [list(one) for one in value.freezes],
        }
    )  # fmt: skip


_OFFER = frozenset({"pools", "assurance", "images", "fen_per_card_minute", "ready_s", "retry_after_s", "freezes"})


def parse_offer(data: bytes) -> Offer:
    """Raises ProtocolViolation (SANDBOX_REPLY)."""

    with reading.refusing(_reply_refused):
        body = reading.read(data, _OFFER)
        price, ready_s, retry_s = reading.wholes_of(body, ("fen_per_card_minute", "ready_s", "retry_after_s"))
        return Offer(
            tuple(_pool(one) for one in reading.items(body["pools"], most=len(reading.POOLS))),
            reading.texts(body["assurance"], most=len(reading.ASSURANCES)), reading.texts(body["images"], most=400),
            price, ready_s, retry_s, tuple(_stretch(one) for one in reading.items(body["freezes"], most=400)),
        )  # fmt: skip


def read_empty(data: bytes) -> None:
    """The reply of calls that answer nothing. Raises ProtocolViolation (SANDBOX_REPLY)."""
    with reading.refusing(_reply_refused):
        reading.need(data == EMPTY, "not empty")


def format_download(value: Download) -> bytes:
    """The body of a reply to `sandbox/frames`. Raises ValueError for more than 4 MiB."""
    _check_download(value)
    head = bytes([1, value.state]) + value.first.to_bytes(8, "big") + value.received.to_bytes(8, "big")
    body = head + _joined(value.frames)
    reading.need(len(body) <= MAX_FRAMES_BYTES, "a body has at most 4 MiB")
    return body


def parse_download(data: bytes) -> Download:
    """Raises ProtocolViolation (SANDBOX_REPLY)."""

    with reading.refusing(_reply_refused):
        cursor = reading.Cursor(data)
        reading.need(cursor.number(1) == 1 and len(data) <= MAX_FRAMES_BYTES, "version or size")
        state, first, received = cursor.number(1), cursor.number(8), cursor.number(8)
        value = Download(state, first, _split(cursor), received)
        _check_download(value)
        return value


def format_state(value: LeaseView) -> bytes:
    """The body of a reply to `sandbox/state`."""
    servers: list[Json] = [{"server": one.server, "state": one.state, "sandbox": one.sandbox} for one in value.servers]
    counts = {"at_s": value.at_s, "cards": value.cards, "queue": value.queue}
    return reading.write({"state": value.state, "servers": servers, **counts})


def parse_state(data: bytes) -> LeaseView:
    """Raises ProtocolViolation (SANDBOX_REPLY)."""

    with reading.refusing(_reply_refused):
        body = reading.read(data, ("state", "at_s", "cards", "servers", "queue"), most=256 << 10)
        servers = tuple(_server(one) for one in reading.items(body["servers"], most=1_000))
        state, at_s, cards = reading.text(body["state"]), reading.whole(body["at_s"]), reading.whole(body["cards"])
        return LeaseView(state, at_s, cards, servers, reading.whole(body["queue"]))


def _pool(value: Json) -> Pool:
    body = reading.members(value, ("pool", "free", "most_cards"))
    return Pool(reading.text(body["pool"]), reading.whole(body["free"]), reading.whole(body["most_cards"]))


def _stretch(value: Json) -> tuple[int, int]:
    stretch = reading.items(value, most=2)
    reading.need(len(stretch) == 2, "from and until")
    return reading.whole(stretch[0]), reading.whole(stretch[1])


def _server(value: Json) -> ServerView:
    body = reading.members(value, ("server", "state", "sandbox"))
    return ServerView(reading.text(body["server"]), reading.text(body["state"]), reading.text(body["sandbox"]))


def _check_download(value: Download) -> None:
    reading.need(value.state in (LIVE, ENDED) and reading.within(value.first, value.received), "state or places")


def _joined(frames: tuple[bytes, ...]) -> bytes:
    reading.need(len(frames) <= WAITING_FRAMES, "too many frames")
    return b"".join((len(frames).to_bytes(2, "big"), *map(reading.lv4, frames)))


def _split(cursor: reading.Cursor) -> tuple[bytes, ...]:
    count = cursor.number(2)
    reading.need(count <= WAITING_FRAMES, "too many frames")
    frames = tuple(cursor.lv4(most=_MAX_FRAME) for _ in range(count))
    cursor.end()
    return frames


def _reply_refused() -> ProtocolViolation:
    return ProtocolViolation(
        "算力方的回复格式不对，已拒收；请双方运维人员核对版本",
        "a reply of the provider is malformed and was refused; operators of both ends compare versions",
        code="SANDBOX_REPLY",
    )

"""Time stamps on checkpoints: ask, check, keep; over HTTP or by files. Document: docs/protocols/anchor.md section 2."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from workbench.contracts import Transaction
from workbench.crypto import timestamps
from workbench.errors import InvalidRequest, NotFound, PeerUnavailable, Refused, VerificationError, WorkbenchError
from workbench_anchor import http, tables
from workbench_anchor.house import House
from workbench_anchor.notes import Note, read_note
from workbench_anchor.tables import StampRow

WHAT = "rfc3161"
LARGEST_SKEW_MS = 300_000
FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 300_000
MAX_CERTIFICATE_BYTES = 65_536
WAITING_FILES = 20
"""Requests handed out as files and not answered, of which the oldest is given up for another."""


class Stamping:
    """The time stamps of one node."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._host = house.host

    @property
    def is_on(self) -> bool:
        """Whether this node may go out for stamps."""
        return bool(self._host.setting("anchor.tsa_url"))

    def authority(self) -> timestamps.Authority:
        """The pinned authority. Raises VerificationError (TSA_CERTIFICATE) when the file is missing or no such file."""
        path = self._certificate_file()
        try:
            if path.stat().st_size > MAX_CERTIFICATE_BYTES:
                raise OSError("too large")
            pem = path.read_bytes()
        except OSError as error:
            raise VerificationError(
                "没有钉住时间戳机构的证书：运维人员把核对过的证书放到 anchor.tsa_certificate 所指的文件",
                "no time-stamping authority is pinned: operations put its compared certificates where "
                "anchor.tsa_certificate points",
                code="TSA_CERTIFICATE",
            ) from error
        return timestamps.read_authority(pem)

    def round(self, *, force: bool = False) -> StampRow | None:
        """One try, if one is due; the row it was about. Raises WorkbenchError when it failed; the row then waits."""
        host = self._host
        row: StampRow | None = None
        try:
            url = http.check_address(host.setting("anchor.tsa_url"), setting="anchor.tsa_url")
            authority = self.authority()
            row = self._due(force=force)
            if row is None:
                return None
            reply = self._fetch(url, row.request)
            return self._accept(row, reply, authority)
        except WorkbenchError as error:
            self._failed(row, error)
            raise

    def request_file(self, *, actor: str) -> StampRow:
        """A request to be carried by hand, about the newest note. Raises NotFound while the log is empty."""
        note = self._next_note(force=True)
        if note is None:
            raise NotFound(
                "最新的检查点已经有时间戳，没有新的可盖",
                "the newest checkpoint is stamped already; there is nothing new to stamp",
            )
        return self._ask_for(note, "file", actor=actor)

    def accept_file(self, reply: bytes, *, actor: str) -> StampRow:
        """The reply to a request that was carried by hand; the row it answers. Raises VerificationError."""
        authority = self.authority()
        with self._host.store.read() as reader:
            waiting = tables.waiting_stamps(reader, "file")
        if not waiting:
            raise Refused(
                "没有等待答复的离线请求：先用 --request 取一份", "no request file waits for a reply: take one with --request first",
                code="TSA_NO_REQUEST",
            )  # fmt: skip
        problem: VerificationError | None = None
        for row in reversed(waiting):
            try:
                return self._accept(row, reply, authority, actor=actor)
            except VerificationError as error:
                if error.code not in ("TSA_IMPRINT", "TSA_NONCE"):
                    raise
                problem = problem or error
        raise problem or AssertionError("there was a request")

    def check(self, row: StampRow) -> timestamps.Stamp:
        """Check a kept token again, with the certificates of its time. Raises VerificationError."""
        note = read_note(row.note)
        return timestamps.verify_response(
            row.reply,
            digest=note.digest,
            nonce=row.nonce,
            policy=row.policy,
            authority=timestamps.read_authority(row.authority),
        )

    # ---- private

    def _fetch(self, url: str, request: bytes) -> bytes:
        try:
            return http.post(
                url,
                request,
                sends="application/timestamp-query",
                expects="application/timestamp-reply",
                timeout_s=float(self._host.setting("anchor.timeout_s")),
                max_bytes=timestamps.MAX_REPLY_BYTES,
            )
        except http.Unanswered as error:
            raise PeerUnavailable(
                f"时间戳机构没有给出可用的回答（{error}）：运维人员检查 anchor.tsa_url 与网络；会自动重试",
                f"the time-stamping authority gave no usable answer ({error}): operations check anchor.tsa_url and the network; "
                "it is tried again",
                code="TSA_DOWN",
            ) from error

    def _certificate_file(self) -> Path:
        folder = self._host.folder.resolve()
        path = (folder / str(self._host.setting("anchor.tsa_certificate"))).resolve()
        if not path.is_relative_to(folder):
            raise InvalidRequest(
                "证书文件须在机构目录之内", "the certificate file must lie below the institution's folder"
            )
        return path

    def _due(self, *, force: bool) -> StampRow | None:
        """The request to be sent now, made first if a new one is due; None: nothing."""
        with self._host.store.read() as reader:
            waiting = tables.waiting_stamps(reader, "http")
        row = waiting[-1] if waiting else None
        if row is not None and not force and self._host.now_ms() < row.next_ms:
            return None
        if row is not None and not (row.tries and self._house.entries_after(row.size)):
            return row
        note = self._next_note(force=force or row is not None)
        if row is not None and (note is None or note.size <= row.size):
            return row
        return self._ask_for(note, "http") if note is not None else None

    def _next_note(self, *, force: bool) -> Note | None:
        with self._host.store.read() as reader:
            last = tables.newest_stamp(reader)
        covered, since_ms = (last.size, last.made_ms) if last else (0, 0)
        return self._house.next_note(WHAT, covered=covered, since_ms=since_ms, force=force)

    def _ask_for(self, note: Note, via: str, *, actor: str = "") -> StampRow:
        """Write down the request before anything is sent, and give up those it takes the place of."""
        host, now = self._host, self._host.now_ms()
        nonce = timestamps.make_nonce(host.random(timestamps.NONCE_SIZE))
        policy = host.setting("anchor.tsa_policy")
        try:
            request = timestamps.format_request(note.digest, nonce, policy)
        except ValueError as error:
            raise Refused(
                "设置 anchor.tsa_policy 不是对象标识符",
                "setting anchor.tsa_policy is no object identifier",
                code="WRONG_SETTING",
            ) from error
        row = StampRow(
            0,
            note.size,
            note.text,
            note.digest,
            request,
            nonce,
            policy,
            via,
            now,
            "waiting",
            0,
            now,
            "",
            b"",
            b"",
            0,
            -1,
        )
        values = {name: getattr(row, name) for name in StampRow.__slots__ if name != "number"}

        def keep(tx: Transaction) -> int:
            stay = WAITING_FILES - 1 if via == "file" else 0
            waiting = tables.waiting_stamps(tx, via)
            for old in waiting[: max(0, len(waiting) - stay)]:
                tables.change(tx, "stamp", old.number, state="given_up")
            if via == "file":
                self._house.record(tx, "anchor.ordered", {"what": WHAT, "size": str(note.size)}, actor=actor)
            return tables.add(tx, "stamp", **values)

        return replace(row, number=host.store.write(keep))

    def _accept(self, row: StampRow, reply: bytes, authority: timestamps.Authority, *, actor: str = "") -> StampRow:
        host, now = self._host, self._host.now_ms()
        stamp = timestamps.verify_response(
            reply, digest=row.digest, nonce=row.nonce, policy=row.policy, authority=authority
        )
        time_ms = int(stamp.time.timestamp() * 1000)
        if not row.made_ms - LARGEST_SKEW_MS <= time_ms <= now + LARGEST_SKEW_MS:
            raise VerificationError(
                "时间戳的时间早于请求或晚于现在 5 分钟以上：运维人员核对本机时钟与时间戳机构",
                "the stamp's time lies more than 5 minutes before the request or after now: operations compare both clocks",
                code="TSA_TIME",
            )
        note = read_note(row.note)
        values = {
            "size": str(row.size),
            "note_sha256": row.digest.hex(),
            "cosigners": " ".join(note.cosigners),
            "time": stamp.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "serial": str(stamp.serial),
            "policy": stamp.policy,
            "signer_sha256": stamp.signer,
            "reply_sha256": hashlib.sha256(reply).hexdigest(),
        }

        def keep(tx: Transaction) -> int:
            entry = self._house.record(tx, "anchor.stamped", values, actor=actor)
            tables.change(
                tx, "stamp", row.number, state="stamped", reply=reply, authority=authority.pem, time_ms=time_ms, entry=entry,
                problem="",
            )  # fmt: skip
            return entry

        entry = host.store.write(keep)
        self._house.succeeded(WHAT)
        return replace(row, state="stamped", reply=reply, authority=authority.pem, time_ms=time_ms, entry=entry)

    def _failed(self, row: StampRow | None, error: WorkbenchError) -> None:
        now = self._host.now_ms()

        def keep(tx: Transaction) -> None:
            self._house.record_failure(tx, WHAT, error.code, row.size if row else 0)
            if row is not None:
                tables.change(
                    tx, "stamp", row.number, tries=row.tries + 1, next_ms=now + pause_ms(row.tries), problem=error.code
                )

        self._host.store.write(keep)


def pause_ms(tries: int) -> int:
    """How long a request rests after failure number tries + 1: 1 s, 2 s, 4 s … 5 min."""
    return min(FIRST_PAUSE_MS << min(tries, 20), LONGEST_PAUSE_MS)

"""A soft device in a process of its own: `python -m workbench_kme.devices.worker FD`, FD one end of a socket pair.

Document: docs/protocols/key-delivery.md section 3.4. The key-encryption key is drawn or opened here and stays here. The first
message says which file, under which passphrase; the process ends when the socket does. Both ends are one program.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from workbench.errors import SelfTestFailed, VerificationError, WorkbenchError
from workbench_kme.devices.device import Device, Session
from workbench_kme.devices.selftest import SelfTestReport, TestResult
from workbench_kme.devices.soft import create_soft, open_soft

OK, REFUSED, UNFIT, BROKEN = b"ok", b"refused", b"unfit", b"broken"
_LENGTH = struct.Struct(">I")
_MOST_BYTES = 1 << 28
_YES, _NO = b"1", b"0"


def send(end: socket.socket, parts: Sequence[bytes | bytearray]) -> None:
    """One message: u32 length of what follows, u32 number of parts, the u32 length of each, then the parts."""
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    body = b"".join((_LENGTH.pack(len(parts)), lengths, *parts))
    end.sendall(_LENGTH.pack(len(body)) + body)


def receive(end: socket.socket) -> list[bytes]:
    """The parts of one message. Raises EOFError at the end of the stream, ValueError for another form."""
    body = _exactly(end, _LENGTH.unpack(_exactly(end, _LENGTH.size))[0])
    try:
        (count,) = _LENGTH.unpack_from(body)
        starts = list(accumulate(struct.unpack_from(f">{count}I", body, _LENGTH.size), initial=_LENGTH.size * (count + 1)))
    except struct.error as error:
        raise ValueError("a message has another form") from error
    if starts[-1] != len(body):
        raise ValueError("the parts of a message do not fill it")
    return [body[start:stop] for start, stop in pairwise(starts)]


def format_report(report: SelfTestReport) -> list[bytes]:
    """Four parts for each known answer."""
    return [
        part
        for one in report.results
        for part in (one.name.encode(), one.source.encode(), _YES if one.passed else _NO, one.algorithm.encode())
    ]


def parse_report(parts: Sequence[bytes]) -> SelfTestReport:
    """What `format_report` made."""
    found = zip(*(parts[n::4] for n in range(4)), strict=True)
    return SelfTestReport(
        tuple(TestResult(name.decode(), source.decode(), passed == _YES, algorithm.decode()) for name, source, passed, algorithm in found)
    )


def serve(end: socket.socket) -> None:
    """Open the device that the first message names, then answer until the other end closes."""
    act, path, passphrase = receive(end)
    try:
        device = (create_soft if act == b"create" else open_soft)(Path(path.decode()), passphrase.decode())
    except (WorkbenchError, OSError) as error:
        send(end, [REFUSED, *(_sentences(error))])
        return
    with device, Session(device) as session:
        send(end, [OK, device.kek_id, bytes([device.suite]), *format_report(device.report)])
        while True:
            try:
                asked = receive(end)
            except EOFError:
                return
            send(end, _answer(device, session, asked))


def _answer(device: Device, session: Session, asked: Sequence[bytes]) -> list[bytes | bytearray]:
    act, rest = asked[0], asked[1:]
    if act == b"selftest":
        return [OK, *format_report(device.selftest())]
    purpose, pairs = rest[0].decode("ascii"), list(zip(rest[1::2], rest[2::2], strict=True))
    try:
        done = session.wrap_many(purpose, pairs) if act == b"wrap" else session.unwrap_many(purpose, pairs)
        return [OK, *done]
    except VerificationError:
        return [BROKEN]
    except SelfTestFailed:
        return [UNFIT]


def _sentences(error: WorkbenchError | OSError) -> tuple[bytes, bytes, bytes]:
    if isinstance(error, WorkbenchError):
        return error.code.encode(), error.zh.encode(), error.en.encode()
    return b"DEVICE_FILE", "密码设备文件写不下".encode(), b"the file of the device could not be written"


def _exactly(end: socket.socket, count: int) -> bytes:
    if count > _MOST_BYTES:
        raise ValueError("a message is too long")
    found = bytearray()
    while len(found) < count:
        part = end.recv(min(1 << 20, count - len(found)))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def main(arguments: Sequence[str]) -> int:
    """Serve until the other end closes; it alone ends this process."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    with socket.socket(fileno=int(arguments[0])) as end:
        try:
            serve(end)
        except (EOFError, OSError):
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

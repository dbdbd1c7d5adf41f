"""`upstream_server` as a program inside a sandbox, for tests: on a Unix socket, and what it does is said by the question.

`python inside_server.py SOCKET MODEL`. A question with `!WORD` in it is answered as by the model of this name; `!die` ends it in
mid-answer, `!memory` takes all there is, `!reach` tries what must not be reached: places refused and reached stand in its usage; `!gone` says there whether a client has gone
within a second. In the environment SERVE names what a question without a word gets: `quote` says what the first source says.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import time
from typing import Any

from upstream_server import UpstreamServer, event


class InsideServer(UpstreamServer):
    """Listens on a path."""

    def __init__(self, path: str) -> None:
        super().__init__(listener=_listening(path))

    def _answer(self, connection: socket.socket, target: str, asked: Any) -> None:
        said = asked["messages"][-1]["content"] if asked.get("messages") else ""
        found = re.search(r"!([a-z0-9.-]+)", said)
        self.forced = found.group(1) if found else os.environ.get("SERVE", "plain")
        self._said = said
        super()._answer(connection, target, asked)

    def _stream(self, connection: socket.socket, model: str) -> None:
        if model == "quote":
            first = self._said.partition("[1] ")[2].partition("\n")[0].partition("。")[0]
            parts = [event(first[:5]), event(f"{first[5:]}[1]。另有百分之九十九点九九。"), event("", "stop")]
            for part in (*parts, b"data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 7}}).encode() + b"\n\n", b"data: [DONE]\n\n"):
                connection.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
            return
        if model == "die":
            chunk = event("管理费率为1.20%。")
            connection.sendall(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
            os._exit(3)
        if model == "memory":
            held = []
            while True:
                held.append(bytearray(16 << 20))
                held[-1][::4096] = b"1" * len(held[-1][::4096])
        if model in ("reach", "gone"):
            reached = [one for one in os.environ["REACH"].split(",") if _reaches(one)]
            if model == "gone":
                reached = ["a client that went"] if self.gone.wait(1) else []
                self.gone.clear()
            usage = {"prompt_tokens": len(os.environ["REACH"].split(",")) - len(reached), "completion_tokens": len(reached)}
            for part in (event("", "stop"), b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n", b"data: [DONE]\n\n"):
                connection.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
            return
        super()._stream(connection, model)


def _reaches(place: str) -> bool:
    """tcp:PORT of the host, unix:PATH or abstract:NAME of its sockets, read:PATH, run:PATH, memory:PID, worker (its memory)."""
    kind, _, rest = place.partition(":")
    try:
        if kind == "tcp":
            socket.create_connection(("127.0.0.1", int(rest)), timeout=1).close()
        elif kind in ("unix", "abstract"):
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
                made.connect(rest if kind == "unix" else "\0" + rest)
        elif kind == "read":
            open(rest, "rb").close()
        elif kind == "write":
            open(rest, "ab").close()
        elif kind == "run":
            os.posix_spawn(rest, [rest, "-V"], {})
        elif kind == "fork":
            if os.fork() == 0:
                os._exit(0)
        elif kind == "self":
            # The file it was started from is closed to it: so is its memory to everybody of its user.
            with open("/proc/self/exe", "rb"):
                pass
    except OSError:
        return False
    return True


def _listening(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen(16)
    return made


def main() -> None:
    path, model = sys.argv[1:3]
    if os.environ.get("SERVE") == "never":
        time.sleep(3600)
    if os.environ.get("SERVE") == "ends":
        sys.exit("no such model")
    with open(model, "rb") as file:
        assert file.read()
    print("listening")
    InsideServer(path)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()

"""A server with the interface of OpenAI's chat completions, for tests: real sockets, one thread a connection, faults on request.

The name of the model in a request says what it does; `seen` keeps requests, `gone` the moments at which a client was found gone.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from typing import Any

WORDS = ("管理费率为", "1.20%[1]。", "托管费率为9.99%[1]。")
USAGE = {"prompt_tokens": 41, "completion_tokens": 17, "total_tokens": 58}


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n".encode()


class UpstreamServer:
    """Listens on a free port of this machine until `close`. tls: context of a server, None for plain; listener: another place."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, listener: socket.socket | None = None) -> None:
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port: int = 0 if listener else self._listener.getsockname()[1]
        self._tls = tls
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.gone = threading.Event()
        self.refusals = 1
        self.forced = ""  # a model that is answered as, whatever was asked for
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._start(self._accept)

    def connect(self) -> socket.socket:
        """What a launcher would hand over."""
        return socket.create_connection(self._listener.getsockname())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            with connection, connection.makefile("rb") as reader:
                while line := reader.readline():
                    pairs = (one.decode().strip().partition(": ") for one in iter(reader.readline, b"\r\n"))
                    headers = {name.lower(): value for name, _, value in pairs}
                    body = reader.read(int(headers.get("content-length", "0")))
                    asked = json.loads(body) if body else {}
                    self.seen.append((line.decode().strip(), headers, asked))
                    self._answer(connection, line.split()[1].decode(), asked)

    def _answer(self, connection: socket.socket, target: str, asked: Any) -> None:
        model = self.forced or asked.get("model", "")
        if target.endswith("/models"):
            body = json.dumps({"object": "list", "data": [{"id": "small", "object": "model"}]}).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        elif model.startswith("status-"):
            self._status(connection, int(model[7:10]), model[11:])
        elif model == "busy-once" and self.refusals:
            self.refusals -= 1
            self._status(connection, 429, "0.05")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: up-7\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._stream(connection, model)

    def _status(self, connection: socket.socket, status: int, retry: str) -> None:
        body = b'{"error":{"message":"the question was ..."}}'
        after = f"Retry-After: {retry}\r\n" if retry else ""
        connection.sendall(f"HTTP/1.1 {status} X\r\n{after}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _stream(self, connection: socket.socket, model: str) -> None:
        def send(data: bytes) -> None:
            connection.sendall(b"%x\r\n" % len(data) + data + b"\r\n")

        first = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}],"usage":null,"error":null}\n\n'
        stream = b": ping\n\n" + first + b'data: {"choices":[{"index":0,"delta":null}]}\n\n' + b"".join(event(word) for word in WORDS)
        end = event("", "stop") + b'data: {"choices":[],"usage":%s}\n\n' % json.dumps(USAGE).encode()
        if model == "endless":
            with contextlib.suppress(OSError):
                while True:
                    send(event("还有，"))
                    if self.gone.wait(0.01):
                        return
            self.gone.set()
            return
        if model == "silent":
            connection.recv(1)  # until the client goes
            self.gone.set()
            return
        if model == "garbage":
            send(b"data: {\xff}\n\n")
        elif model == "flood":
            for _ in range(8):
                send(event("多" * 40_000))
            send(end + b"data: [DONE]\n\n")
        elif model == "usage":
            usage = {"prompt_tokens": -3, "completion_tokens": "17"}
            send(stream + event("", "stop") + b'data: {"choices":[],"usage":%s}\n\ndata: [DONE]\n\n' % json.dumps(usage).encode())
        elif model == "error-inside":
            send(stream + b'data: {"error":{"message":"out of memory"}}\n\n')
        elif model == "broken-off":
            send(stream)
            connection.shutdown(socket.SHUT_RDWR)
            return
        elif model == "no-done":
            send(stream + end)
        elif model == "no-done-no-finish":
            send(stream)
        else:
            whole = (stream + end + b"data: [DONE]\n\n").replace(b"\n", b"\r\n" if model == "crlf" else b"\n")
            for place in range(0, len(whole), 1 if model == "split" else 50):
                send(whole[place : place + (1 if model == "split" else 50)])
        connection.sendall(b"0\r\n\r\n")

"""Engine `openai-http`: drafts of an OpenAI-compatible server (vLLM, Ray Serve, KServe, others), over descriptors handed in.

It never opens a connection: the launcher does, and carries the bytes through the one descriptor that a sandbox is given
(`relayed`); or connected sockets are handed in. A cancelled answer closes its connection, which is how such servers stop working
on it. Always streamed upstream: behind a router a request that is not streamed is not cancelled [docs/sandbox-design.md section 4].

What it is told: `{"v":1,"host","path","model","tls","ca"}`; host for the Host header and the certificate, path such as "/v1", ca:
PEM of who signed the certificate, "" for the system's. The key comes with a descriptor and is in no image.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.engines.contract import EngineFailed, Stop
from workbench_sandbox.engines.drafting import Message, answered
from workbench_sandbox.engines.http_stream import LOOK_S, Broken, Exchange, Head, Stopped, events
from workbench_sandbox.engines.relayed import Relay, TlsConnection
from workbench_sandbox.formats.asking import Ask, Open, Record

CONFIGURATION: Final = "upstream.json"
VERSION: Final = "1"
_VISIBLE: Final = re.compile(r"[!-~]{0,4096}")
_MEMBERS: Final = {"v", "host", "path", "model", "tls", "ca"}
_BUSY: Final = frozenset({429, 503})
MOST_TOKENS: Final = 1 << 20
"""More than any answer has: a server that says more is not believed."""

_WAIT_S: Final = 3.0
"""The longest that a Retry-After is waited for; a longer one is `ENGINE_BUSY` at once."""

_MOST_DRAFT: Final = 1 << 18
"""Characters: more than 4,096 tokens are, the most that is asked for. A server that goes on is not read any further."""

_END_S: Final = 1.0
"""How long the end of a body may take after the stream's own end."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What the last answer was upstream, for meters and health; no text.

    status: HTTP; 0 where none came. request: id that the server gave, "" none. tokens_in, tokens_out: its usage, -1 where it
    sent none. pieces: of text that came, our own count. finish: its reason, "" where it broke off. retry_after_s: as asked for.
    """

    status: int = 0
    request: str = ""
    tokens_in: int = -1
    tokens_out: int = -1
    pieces: int = 0
    finish: str = ""
    retry_after_s: float = 0.0
    was_stopped: bool = False


class OpenAIHttp:
    """`AnswerEngine` of kind `upstream`. One answer at a time."""

    name = "openai-http"
    kind = "upstream"
    version = VERSION
    place = "behind"

    def __init__(self, *, silence_s: float = 30.0) -> None:
        self._silence_s = silence_s
        self._host, self._path, self._model = "localhost", "/v1", ""
        self._tls: ssl.SSLContext | None = None
        self._handed: deque[tuple[socket.socket, str]] = deque()
        self._exchange: tuple[Exchange, str] | None = None
        self._relay: tuple[Relay, str] | None = None
        self.last = Upstream()

    def load(self, weights: Mapping[str, Path], *, threads: int) -> None:
        """Read where and what to ask; certificates are read here too. ValueError for another file."""
        del threads
        for path, file in weights.items():
            if path.rsplit("/", 1)[-1] == CONFIGURATION:
                self.configure(json.loads(file.read_text("utf-8")))

    def configure(self, wanted: Any) -> None:  # Any: JSON of a file that the tenant signed, checked here
        """Take the members of `upstream.json`. ValueError."""
        if not isinstance(wanted, dict) or set(wanted) != _MEMBERS or wanted["v"] != 1 or not isinstance(wanted["tls"], bool):
            raise ValueError("upstream.json has other members")
        host, path, model, ca = (wanted[name] for name in ("host", "path", "model", "ca"))
        if not all(isinstance(one, str) for one in (host, path, model, ca)) or not all(map(_VISIBLE.fullmatch, (host, path, model))):
            raise ValueError("a member of upstream.json is no text of visible characters")
        self._host, self._path, self._model = host, path.rstrip("/"), model
        self.version = f"{VERSION}+{model}"[:32] if model else VERSION
        self._tls = ssl.create_default_context(cadata=ca or None) if wanted["tls"] else None

    def stands_inside(self, wanted: Any) -> None:  # Any: as `configure`
        """The server runs in this sandbox: `configure`, and every answer says so."""
        self.configure(wanted)
        self.place = "inside"

    def used(self) -> tuple[int, int] | None:
        """Tokens in and out of the last answer as the server counted them; None where it did not, or not so that it can be true."""
        tokens = self.last.tokens_in, self.last.tokens_out
        return tokens if all(0 <= one <= MOST_TOKENS for one in tokens) else None

    def hand(self, connection: socket.socket, *, key: str = "") -> None:
        """A connected socket for one or more answers, and the key that the server asks for. ValueError for a key with blanks."""
        if not _VISIBLE.fullmatch(key):
            raise ValueError("a key has visible ASCII characters only")
        self._handed.append((connection, key))

    def through(self, relay: Relay, *, key: str = "") -> None:
        """Where the launcher connects whenever no handed socket is left. ValueError for a key with blanks."""
        if not _VISIBLE.fullmatch(key):
            raise ValueError("a key has visible ASCII characters only")
        self._relay = relay, key

    def answer(self, ask: Ask, sources: Sources, stop: Stop) -> Iterator[Record]:
        """As the contract. EngineFailed ENGINE_BUSY: no descriptor is left, or the server asks to come again."""
        opened = Open(self.name, self.kind, self.version, self.place, ask.watermark)

        def drafts(messages: Sequence[Message], told: Stop) -> Iterator[str]:
            return self._pieces(ask, messages, told)

        return answered(ask, sources, stop, opened, drafts)

    def models(self, stop: Stop) -> list[str]:
        """Names of the models that the server has now. EngineFailed."""
        try:
            exchange, key = self._connected(stop)
            head = exchange.ask("GET", f"{self._path}/models", self._headers(key, ""), b"", stop)
            body = b"".join(exchange.body(head, stop))
            if head.status != 200:
                raise self._failed(head)
            return [str(one["id"]) for one in json.loads(body)["data"]]
        except (Broken, Stopped, ValueError, KeyError, TypeError) as error:
            raise EngineFailed("ENGINE_FAILED") from error

    def close(self) -> None:
        if self._exchange is not None:
            self._exchange[0].close()
        while self._handed:
            self._handed.popleft()[0].close()
        if self._relay is not None:
            self._relay[0].close()

    def _connected(self, stop: Stop) -> tuple[Exchange, str]:
        """The connection that is open, else another. Raises EngineFailed, Broken, Stopped."""
        if self._exchange is not None and self._exchange[0].is_open:
            return self._exchange
        if self._handed:
            connection, key = self._handed.popleft()
            made = self._over_socket(connection)
        elif self._relay is not None:
            relay, key = self._relay
            made = self._over_relay(relay, stop)
        else:
            raise EngineFailed("ENGINE_BUSY")
        self._exchange = made, key
        return self._exchange

    def _over_socket(self, connection: socket.socket) -> Exchange:
        try:
            if self._tls is not None:
                connection.settimeout(self._silence_s)
                connection = self._tls.wrap_socket(connection, server_hostname=self._name())
            return Exchange(connection, silence_s=self._silence_s)
        except OSError as error:  # ssl.SSLError is one
            connection.close()
            raise EngineFailed("ENGINE_FAILED") from error

    def _over_relay(self, relay: Relay, stop: Stop) -> Exchange:
        connection = relay.open(stop, silence_s=self._silence_s)
        if self._tls is None:
            return Exchange(connection, silence_s=self._silence_s)
        try:
            until = time.monotonic() + self._silence_s
            return Exchange(TlsConnection(connection, self._tls, self._name(), until=until, stop=stop), silence_s=self._silence_s)
        except OSError as error:
            connection.close()
            raise EngineFailed("ENGINE_FAILED") from error

    def _name(self) -> str:
        """The host without its port, as the certificate names it."""
        return self._host.rpartition(":")[0] or self._host

    def _headers(self, key: str, request: str) -> dict[str, str]:
        headers = {"Host": self._host, "Accept": "text/event-stream", "Content-Type": "application/json", "User-Agent": "evidence-workbench"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if request:
            headers["X-Request-Id"] = request
        return headers

    def _pieces(self, ask: Ask, messages: Sequence[Message], stop: Stop) -> Iterator[str]:
        self.last = Upstream()
        wanted = {
            "model": self._model, "messages": list(messages), "stream": True, "stream_options": {"include_usage": True},
            "max_tokens": ask.most_tokens, "temperature": 0, "seed": ask.seed,
        }  # fmt: skip
        body = json.dumps(wanted, ensure_ascii=False).encode()
        try:
            exchange, head = self._accepted(ask, body, stop)
            yield from self._text(exchange, head, stop)
        except Stopped:
            self._note(was_stopped=True)
        except Broken as error:
            raise EngineFailed("ENGINE_FAILED") from error

    def _accepted(self, ask: Ask, body: bytes, stop: Stop) -> tuple[Exchange, Head]:
        """The head of a stream; a server that is busy for a moment is asked again, twice at most."""
        waited = 0.0
        for turn in range(3):
            exchange, head = self._asked(ask, body, stop)
            self._note(status=head.status, request=head.headers.get("x-request-id", "")[:128])
            if head.status == 200:
                return exchange, head
            for _ in exchange.body(head, stop):  # what it says is not kept: it may repeat the question
                pass
            pause = _seconds(head.headers.get("retry-after", ""))
            self._note(retry_after_s=pause)
            if head.status not in _BUSY or turn == 2 or not 0 < pause <= _WAIT_S - waited:
                raise self._failed(head)
            waited += pause
            ends = time.monotonic() + pause
            while time.monotonic() < ends:
                if stop():
                    raise Stopped
                time.sleep(min(LOOK_S, max(0.0, ends - time.monotonic())))
        raise EngineFailed("ENGINE_BUSY")

    def _asked(self, ask: Ask, body: bytes, stop: Stop) -> tuple[Exchange, Head]:
        """A connection that served before may have been closed meanwhile: then the next one is asked."""
        while True:
            exchange, key = self._connected(stop)
            try:
                return exchange, exchange.ask("POST", f"{self._path}/chat/completions", self._headers(key, ask.ask), body, stop)
            except Broken:
                if exchange.requests < 2 or not (self._handed or self._relay):
                    raise

    def _failed(self, head: Head) -> EngineFailed:
        """401, 403, 404 and the like are for operators, 429 and 503 for whoever asks again."""
        return EngineFailed("ENGINE_BUSY" if head.status in _BUSY else "ENGINE_FAILED")

    def _text(self, exchange: Exchange, head: Head, stop: Stop) -> Iterator[str]:
        done, size = False, 0
        try:
            for data in events(exchange.body(head, stop)):
                if data.strip() == "[DONE]":
                    done = True  # the body is read to its end, so that the connection serves the next answer
                    exchange.silence_s = min(_END_S, self._silence_s)
                elif not done and (piece := self._piece(data)):
                    self._note(pieces=self.last.pieces + 1)
                    size += len(piece)
                    if size > _MOST_DRAFT:
                        raise Broken("more than any model was asked for")
                    yield piece
        except Broken:
            if not done:
                raise
        exchange.silence_s = self._silence_s
        # A stream without [DONE] is whole only when the model itself said that it had finished.
        if not done and not self.last.finish:
            raise Broken("the stream broke off")

    def _piece(self, data: str) -> str:
        try:
            event: Any = json.loads(data)
            if event.get("error"):
                raise Broken("an error in the stream")
            usage = event.get("usage")
            if isinstance(usage, dict):
                self._note(tokens_in=_count(usage.get("prompt_tokens")), tokens_out=_count(usage.get("completion_tokens")))
            pieces = []
            for choice in (event.get("choices") or ())[:1]:
                pieces.append((choice.get("delta") or {}).get("content") or "")
                if choice.get("finish_reason"):
                    self._note(finish=str(choice["finish_reason"])[:32])
            return "".join(pieces)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Broken("an event that is none of a chat completion") from error

    def _note(self, **changes: Any) -> None:  # Any: members of Upstream
        kept = {name: getattr(self.last, name) for name in Upstream.__slots__}
        self.last = Upstream(**(kept | changes))


def _count(value: Any) -> int:  # Any: JSON of the server
    """A number of tokens; -1 for anything else."""
    return value if type(value) is int and value >= 0 else -1


def _seconds(text: str) -> float:
    """Of a Retry-After in seconds; 0 for none and for a date, which no server of this kind sends."""
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) else 0.0

"""The calling end: one partner, its pinned certificate, one limit for the whole call.

Decision: docs/decisions/0026-calls-to-partners-with-aiohttp.md.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from workbench.contracts import ChannelIdentity, PeerAddress
from workbench.errors import PeerError, PeerUnavailable
from workbench_mutual_tls.contexts import client_context
from workbench_mutual_tls.server import PATH_PREFIX

OK = 200
CONNECT_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 16
MAX_REPLY_BYTES = 64 << 20
MAX_ERROR_BYTES = 16 * 1024
# Shorter than the server's, so that a kept connection is not closed under a request.
KEEP_ALIVE_S = 15.0
RETRY_PAUSES_S = (0.2, 0.6, 1.8)

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_MAX_SENTENCE = 300


class MutualTlsLink:
    """Calls to one partner (contract: workbench.contracts.PeerLink). Belongs to the event loop of its first call."""

    def __init__(self, *, identity: ChannelIdentity, peer: PeerAddress, source_address: str = "") -> None:
        self._identity, self._peer, self._source_address = identity, peer, source_address
        host = f"[{peer.host}]" if ":" in peer.host else peer.host
        self._base = f"https://{host}:{peer.port}{PATH_PREFIX}"
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """The partner's reply to `body` at `path`.

        timeout_s: for everything together, repetitions included. A call is repeated only while no connection came
        about, so nothing is ever delivered twice by this layer.
        Raises PeerUnavailable on time-out, refusal or loss of the connection; PeerError when the TLS identities do not
        fit or the partner answers with an error, then with the partner's own code.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call_repeatedly(path, body, timeout_s)
        except TimeoutError as error:
            raise self._unavailable(f"{timeout_s:g} 秒内没有回应", f"gave no answer for {timeout_s:g} s") from error

    async def close(self) -> None:
        """Close all connections to this partner; a call that comes later opens none."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connections(self) -> aiohttp.ClientSession:
        """The connections to this partner, kept between calls."""
        if self._closed:
            raise self._unavailable("的连接已关闭", "is not called any more over these connections", code="CONNECTION_LOST")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=client_context(self._identity, self._peer),
                local_addr=(self._source_address, 0) if self._source_address else None,
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEP_ALIVE_S,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
                # No proxy and no password file named by the environment has a say here.
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"content-type": "application/octet-stream", "accept-encoding": "identity"},
            )
        return self._session

    async def _call_repeatedly(self, path: str, body: bytes, timeout_s: float) -> bytes:
        for pause in (*RETRY_PAUSES_S, None):
            try:
                return await self._call_once(path, body)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                if _is_tls(error):
                    raise self._tls_refused() from error
                if pause is None:
                    raise self._unavailable("无法连接", "cannot be reached") from error
                await asyncio.sleep(pause)
            except aiohttp.ServerTimeoutError as error:
                raise self._unavailable(f"{timeout_s:g} 秒内没有回应", f"gave no answer for {timeout_s:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                # With TLS 1.3 a server that refuses our certificate does so after our side of the handshake; it may
                # send an alert, or just close.
                if _is_tls(error):
                    raise self._tls_refused() from error
                raise self._unavailable(
                    "中断了连接；若每次都立即中断，请核对双方名单中的证书",
                    "broke off the connection; if it does so at once every time, compare the certificates on both lists",
                    code="CONNECTION_LOST",
                ) from error
        raise AssertionError("the last attempt returns or raises")

    async def _call_once(self, path: str, body: bytes) -> bytes:
        async with self._connections().post(self._base + path, data=_Whole(body), allow_redirects=False) as response:
            limit = MAX_REPLY_BYTES if response.status == OK else MAX_ERROR_BYTES
            chunks, size = [], 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise PeerError(
                        f"{self._peer.party} 的回复过大",
                        f"the reply of {self._peer.party} is too large",
                        code="REPLY_TOO_LARGE",
                    )
                chunks.append(chunk)
            reply = b"".join(chunks)
            if response.status != OK:
                raise self._error_from(response.status, reply)
            return reply

    def _error_from(self, status: int, reply: bytes) -> PeerError:
        """The partner's refusal as an error of this side; its text is untrusted, so it is cut and stripped."""
        try:
            value = json.loads(reply)
            code, zh, en = (str(value[name]) for name in ("code", "zh", "en"))
        except (ValueError, KeyError, TypeError, RecursionError):
            code, zh, en = "", f"状态 {status}", f"status {status}"
        party = self._peer.party
        return PeerError(
            f"{party} 拒绝了请求：{_clean(zh)}",
            f"{party} refused the request: {_clean(en)}",
            code=code if _CODE.fullmatch(code) else "PEER_FAILED",
            details={"status": str(status)},
        )

    def _unavailable(self, zh: str, en: str, *, code: str = "") -> PeerUnavailable:
        party = self._peer.party
        return PeerUnavailable(f"{party} {zh}，请联系对方运维", f"{party} {en}; operations call theirs", code=code)

    def _tls_refused(self) -> PeerError:
        party = self._peer.party
        return PeerError(
            f"与 {party} 的加密连接未建立：证书或来源地址与双方名单不符",
            f"no encrypted connection to {party}: a certificate or source address differs from the allow-lists",
            code="TLS_REFUSED",
        )


class _Whole(aiohttp.Payload):
    """A body written in one piece: a frame of a megabyte costs the loop two milliseconds, and cut up it costs three."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Of no use here: what is sent is no text."""
        raise TypeError("a frame is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Hand the body to the connection."""
        await writer.write(self._value)


def _is_tls(error: BaseException) -> bool:
    """Whether a TLS error stands anywhere behind `error`."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _clean(text: str) -> str:
    return _INVISIBLE.sub(" ", text)[:_MAX_SENTENCE]

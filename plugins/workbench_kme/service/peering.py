"""Calls to the other KME of a line: JSON both ways, one place for what can go wrong. Document: section 8."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.crypto import canonical
from workbench.errors import PeerError, PeerUnavailable, VerificationError
from workbench_kme.service.config import LineConfig
from workbench_kme.service.tls import client_context
from workbench_kme.service.transport import Caller

HELLO_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 10.0
BLOCK_TIMEOUT_S = 120.0
PREFIX = "/link/v1/"
OTHER_TENANT = "OTHER_TENANT"


def address_of(line: str, tenant: str) -> str:
    """A line as every call between its KMEs names it: with the tag of its tenant."""
    return f"{line}@{tenant}" if tenant else line


class PeerRefused(PeerError):
    """The other KME answered 409. code: its own; value: the members of its answer."""

    def __init__(self, kme: str, code: str, value: Mapping[str, Any]) -> None:
        super().__init__(
            f"对端 {kme} 拒绝了请求（{code}）",
            f"the other end {kme} refused the request ({code})",
            code=code or "PEER_REFUSED",
        )
        self.value = dict(value)


class PeerLink:
    """Calls for one line."""

    def __init__(self, line: LineConfig, certificate: bytes, private_key: bytes) -> None:
        self._kme = line.peer.kme
        self._path = f"{PREFIX}{address_of(line.line, line.tenant)}/"
        peer = line.peer

        def context() -> ssl.SSLContext:
            return client_context(certificate, private_key, peer.authority, kme=peer.kme, fingerprint=peer.fingerprint)

        self._caller = Caller(peer.link_address, context, name=peer.kme)

    def call(
        self, verb: str, body: Mapping[str, Any], members: Sequence[str], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """The answer's members, which are exactly these.

        Raises PeerUnavailable (details["sent"]: "no" when it is certain that nothing arrived), PeerRefused, PeerError.
        """
        reply = self._caller.call("POST", f"{self._path}{verb}", canonical.format(body), timeout_s=timeout_s)
        try:
            value = canonical.parse_object(reply.body)
        except VerificationError as error:
            raise self._malformed() from error
        if reply.status == 409 and isinstance(value.get("code"), str):
            raise PeerRefused(self._kme, str(value["code"])[:40], value)
        if reply.status == 503:
            # Something of the other end failed, its storage or its program: how far it came is not known.
            raise PeerUnavailable(
                f"对端 {self._kme} 暂时不能处理，稍后重试；持续出现请对端运维人员检查",
                f"the other end {self._kme} cannot serve this now and is asked again; if it lasts, its operators check",
                code="PEER_BUSY",
                details={"sent": "maybe"},
            )
        if reply.status != 200 or set(value) != set(members):
            raise self._malformed()
        return value

    def close(self) -> None:
        """Close the kept connections."""
        self._caller.close()

    def _malformed(self) -> PeerError:
        return PeerError(
            f"对端 {self._kme} 的回答不合协议：请双方核对程序版本",
            f"the answer of {self._kme} breaks the protocol: compare program versions",
            code="PEER_MALFORMED",
        )

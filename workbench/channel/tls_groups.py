"""Link encryption besides the sealed frames: mutual TLS 1.3 with one chosen group and suite, read back after the handshake.

Document: docs/protocols/frame.md section 13. `LinkEnd` is TLS in memory: bytes in, bytes out, no socket. Nothing of ours is
sent and nothing received is handed on before version, group, suite and the other end's pinned certificate were compared.
A library that does not know the group ends here; no other group is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from OpenSSL import SSL, crypto
from OpenSSL._util import lib  # pyOpenSSL 26 has no public call that sets groups; what it did is read back (docstring)

from workbench.crypto import tls_material
from workbench.errors import KeyUnavailable, PeerError

SM2_MLKEM768 = "curveSM2MLKEM768"
X25519_MLKEM768 = "X25519MLKEM768"
SM4_GCM_SM3 = "TLS_SM4_GCM_SM3"
AES_256_GCM_SHA384 = "TLS_AES_256_GCM_SHA384"
GROUPS = (SM2_MLKEM768, X25519_MLKEM768)
SUITES = (SM4_GCM_SM3, AES_256_GCM_SHA384)
SUITE_OF = {SM2_MLKEM768: SM4_GCM_SM3, X25519_MLKEM768: AES_256_GCM_SHA384}
"""The suite that a link takes with a group where only the group is chosen."""

_VERSION = "TLSv1.3"
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """One end's side of a link.

    certificate_pem, key_pem: of this end (P-256). authorities_pem: certificates that may have issued the other end's.
    peer_fingerprint: SHA-256 of the other end's certificate, 64 lower-case hexadecimal digits. group, suite: the only ones.
    """

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    authorities_pem: tuple[bytes, ...]
    peer_fingerprint: str
    group: str = SM2_MLKEM768
    suite: str = SM4_GCM_SM3

    def __post_init__(self) -> None:
        if self.group not in GROUPS or self.suite not in SUITES:
            raise ValueError("a link takes one of the groups and suites of this module")
        if len(self.peer_fingerprint) != 64 or self.peer_fingerprint != self.peer_fingerprint.lower():
            raise ValueError("a fingerprint is 64 lower-case hexadecimal digits")


@dataclass(frozen=True, slots=True)
class NegotiatedLink:
    """What a handshake ended with; for pages and evidence."""

    version: str
    group: str
    suite: str
    peer_fingerprint: str


def make_context(settings: LinkSettings) -> SSL.Context:
    """A context for either side: TLS 1.3, client certificate required, no session tickets, one group, one suite.

    Raises KeyUnavailable (LINK_UNAVAILABLE) if the library knows the group or suite not, ValueError for unreadable
    certificates or keys.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    try:
        _choose(context, settings.group, settings.suite)
    except (SSL.Error, AttributeError):
        raise _unavailable(settings.group, settings.suite) from None
    try:
        context.use_certificate(tls_material.load_certificate(settings.certificate_pem))
        context.use_privatekey(tls_material.load_key(settings.key_pem))
        context.check_privatekey()
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(crypto.X509StoreFlags.X509_STRICT)
        for one in settings.authorities_pem:
            store.add_cert(crypto.X509.from_cryptography(tls_material.load_certificate(one)))
    except (ValueError, crypto.Error, SSL.Error) as error:
        raise ValueError("certificate, key or authority of the link cannot be read") from error
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_checked)
    return context


def check_negotiated(connection: SSL.Connection, settings: LinkSettings) -> NegotiatedLink:
    """What was negotiated, if it is exactly what `settings` ask for. Raises PeerError (LINK_REFUSED): close it then."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    found = NegotiatedLink(
        connection.get_protocol_version_name(),
        connection.get_group_name() or "",
        connection.get_cipher_name() or "",
        tls_material.fingerprint(certificate) if certificate is not None else "",
    )
    if found != NegotiatedLink(_VERSION, settings.group, settings.suite, settings.peer_fingerprint):
        raise refused("negotiated")
    return found


@cache
def is_available(group: str = SM2_MLKEM768, suite: str = SM4_GCM_SM3) -> bool:
    """Whether the library here knows the group and the suite."""
    try:
        _choose(SSL.Context(SSL.TLS_METHOD), group, suite)
    except (SSL.Error, AttributeError):
        return False
    return True


def require_available(group: str, suite: str) -> None:
    """Raises KeyUnavailable (LINK_UNAVAILABLE) if the library here lacks the group or the suite."""
    if not is_available(group, suite):
        raise _unavailable(group, suite)


class LinkEnd:
    """One end of a TLS connection in memory. `start`, then `receive` what arrives and send what `pending` gives."""

    def __init__(self, settings: LinkSettings, *, server: bool, context: SSL.Context | None = None) -> None:
        """context: of `make_context` with these settings, where many links share one. Raises as `make_context`."""
        self._settings = settings
        self._connection = SSL.Connection(make_context(settings) if context is None else context, None)
        self._connection.set_accept_state() if server else self._connection.set_connect_state()
        self._received = bytearray()
        self._broken = False
        self.ended = False
        """Whether the other end has closed the link in order: what came before is then all that it sent."""
        self.negotiated: NegotiatedLink | None = None
        """None until the handshake is done and was found to be what was asked for."""

    def start(self) -> bytes:
        """What the client sends first; empty at the server."""
        self._step()
        return self.pending()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the line; returns bytes for the line. Plaintext waits in `read`.

        Raises PeerError (LINK_REFUSED), after which the link stays closed.
        """
        if self._broken:
            raise refused("closed")
        if data:
            self._connection.bio_write(data)
        self._step()
        return self.pending()

    def send(self, plaintext: bytes) -> bytes:
        """Bytes for the line. Raises PeerError (LINK_REFUSED) before the handshake was compared, and on a closed link."""
        if self._broken or self.negotiated is None:
            raise refused("not ready")
        self._connection.sendall(plaintext)
        return self.pending()

    def read(self) -> bytes:
        """Plaintext that has come since the last call; empty before the handshake was compared."""
        made = bytes(self._received)
        self._received.clear()
        return made

    def close(self) -> bytes:
        """TLS's closing message for the line; nothing is sent after it."""
        if self._broken or self.negotiated is None:
            raise refused("not ready")
        self._connection.shutdown()
        return self.pending()

    def pending(self) -> bytes:
        """Bytes that wait to go on the line."""
        parts = []
        while True:
            try:
                parts.append(self._connection.bio_read(_READ_BYTES))
            except (SSL.WantReadError, SSL.ZeroReturnError, SSL.SysCallError):
                return b"".join(parts)

    def _step(self) -> None:
        try:
            if self.negotiated is None:
                self._connection.do_handshake()
                self.negotiated = check_negotiated(self._connection, self._settings)
            while True:
                self._received += self._connection.recv(_READ_BYTES)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            self.ended = True
        except (SSL.Error, PeerError) as error:
            self._broken = True
            self.negotiated = None
            self._received.clear()
            raise error if isinstance(error, PeerError) else refused("handshake or record") from None


class LinkEnds:
    """Ends of links with the same settings; certificates and key are read once. Safe from any thread."""

    def __init__(self, settings: LinkSettings) -> None:
        self.settings = settings
        self._context: SSL.Context | None = None

    def make(self, *, server: bool) -> LinkEnd:
        """One more end. Raises as `make_context`."""
        if self._context is None:
            self._context = make_context(self.settings)
        return LinkEnd(self.settings, server=server, context=self._context)


def _choose(context: SSL.Context, group: str, suite: str) -> None:
    """Set the only group and suite. Raises SSL.Error if the library lacks one, AttributeError if it lacks the call."""
    context.set_tls13_ciphersuites(suite.encode("ascii"))
    # The assertion also empties OpenSSL's queue of errors, where the next call of this thread would find the refusal.
    SSL._openssl_assert(lib.SSL_CTX_set1_curves_list(context._context, group.encode("ascii")) == 1)


def _accept_checked(
    connection: SSL.Connection, certificate: crypto.X509, number: int, depth: int, verified: int
) -> bool:
    """OpenSSL's own verdict on the chain stands; the fingerprint is compared after the handshake."""
    return bool(verified)


def refused(step: str) -> PeerError:
    """A link that is not, or no longer, as agreed, whatever is wrong. step: where it ended, for the own staff."""
    return PeerError(
        "链路加密未按约定建立（版本、密钥交换组、套件或证书不符），连接已关闭，未发送数据；请运维人员核对双方设置",
        "the link is not encrypted as agreed (version, group, suite or certificate): closed, no data was sent; operators"
        " compare both ends",
        code="LINK_REFUSED",
        details={"step": step},
    )


def _unavailable(group: str, suite: str) -> KeyUnavailable:
    return KeyUnavailable(
        f"本机的密码库不支持 {group} 与 {suite}，链路不建立，不改用其他算法；请运维人员核对安装版本",
        f"the library on this machine has no {group} with {suite}: there is no link and nothing else is"
        " used instead; operators check the installed versions",
        code="LINK_UNAVAILABLE",
        details={"group": group, "suite": suite},
    )

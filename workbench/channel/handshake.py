"""The exchange that makes a session: two state machines, messages in and out, no I/O.

Document: docs/protocols/frame.md sections 4 to 6. The session secret is derived from a QKD key (where the policy asks for
one), ML-KEM-768 and a curve together, under a transcript that holds all that both ends said. Each end signs with its
pinned SM2 key and proves the secret before a payload is sent. What an outsider sends is refused in one way and changes
nothing; what the other end itself sends and does not fit ends the exchange with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from workbench.channel.exchange_messages import (
    ANSWER,
    CONFIRM,
    HELLO,
    REFUSAL,
    Message,
    format_message,
    handshake_refused,
    lv4,
    parse_message,
    unsigned,
)
from workbench.channel.frame import share_facts
from workbench.channel.prepared import PreparedShares, Shares, make_shares
from workbench.channel.secret import Secret
from workbench.channel.session_keys import (
    Established,
    Keys,
    Renewal,
    Role,
    confirm_digest,
    derive_keys,
    other_role,
    session_broken,
    session_id,
)
from workbench.channel.terms import (
    SUITES,
    End,
    QkdShare,
    SessionTerms,
    Signer,
    Suite,
    choose_suite,
    qkd_key_required,
    terms_differ,
)
from workbench.crypto import canonical, compare, labels, mlkem, random, sm2_encapsulation, sm3, x25519
from workbench.errors import KeyUnavailable, PeerError, Refused, VerificationError, WorkbenchError

NONCE_SIZE = 32


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What an intact hello asks the responder for: the QKD key with this id, or none ("" under pqc-only)."""

    key_id: str
    provenance: str


class _Machine:
    """What both ends share: names, keys, the end of an exchange."""

    _role: Role

    def __init__(
        self, *, identity: str, key: Signer, peer: End, terms: SessionTerms, source: random.RandomSource,
        renews: Renewal | None,
    ) -> None:  # fmt: skip
        self._own, self._peer, self._key, self._terms = End(identity, key.public), peer, key, terms
        if self._own.identity == peer.identity or self._own.key == peer.key:
            raise ValueError("the two ends of a session have different identities and keys")
        self._source, self._renews = source, renews
        self._state = "new"
        self._hello = b""
        self._keys: Keys | None = None

    @property
    def state(self) -> str:
        """The state's name in section 6."""
        return self._state

    def end(self) -> None:
        """Break the exchange off and overwrite its secrets."""
        self._state = "ended"
        self._forget()

    def _forget(self) -> None:
        if self._keys is not None:
            self._keys.wipe()
            self._keys = None

    def _expect(self, state: str) -> None:
        """For calls of this end's own program: a call out of order is a mistake in it."""
        if self._state in ("done", "ended"):
            raise session_broken()
        if self._state != state:
            raise ValueError(f"this call does not fit the state {self._state}")

    def _expect_message(self, state: str) -> None:
        """For messages: one that comes out of order is refused as any other that does not fit."""
        if self._state in ("done", "ended"):
            raise session_broken()
        if self._state != state:
            raise handshake_refused()

    def _common(self, kind: str) -> dict[str, canonical.Json]:
        return {
            "v": 1,
            "kind": kind,
            "role": self._role.value,
            "from": self._own.identity,
            "to": self._peer.identity,
            "from_key": self._own.key.format(),
            "to_key": self._peer.key.format(),
            "nonce": self._source(NONCE_SIZE).hex(),
            **self._agreed(self._terms.own_evidence),
        }

    def _agreed(self, evidence: str) -> dict[str, canonical.Json]:
        """The fields that both ends must have alike, in the order in which a difference is named."""
        terms = self._terms
        return {
            "policy": terms.policy.value,
            "provenances": list(terms.counted),
            "order": terms.order.value,
            "signed": terms.signed,
            "group": terms.group,
            "lease": terms.lease,
            "evidence": evidence,
            "session": self._renews.session.hex() if self._renews else "",
            "epoch": self._renews.epoch if self._renews else 0,
        }

    def _sign(self, kind: str, body: bytes) -> bytes:
        return self._key.sign(labels.signing_input(kind, party=self._own.identity, job="", body=body))

    def _verify(self, kind: str, body: bytes, signature: bytes) -> None:
        """Return if the other end signed. Raises the one refusal of section 6."""
        try:
            self._peer.key.verify(labels.signing_input(kind, party=self._peer.identity, job="", body=body), signature)
        except VerificationError:
            raise handshake_refused() from None

    def _check_ends(self, message: Message) -> None:
        names = (self._peer.identity, self._own.identity, self._peer.key.format(), self._own.key.format())
        if tuple(message.body[one] for one in ("from", "to", "from_key", "to_key")) != names:
            raise handshake_refused()

    def _check_terms(self, message: Message) -> None:
        """Raise Refused (SESSION_TERMS_DIFFER) naming the first field in which an authentic message does not fit."""
        for name, expected in self._agreed(self._terms.peer_evidence).items():
            if message.body[name] != expected:
                raise terms_differ(name)

    def _mac(self, role: Role, transcript: bytes, signature: bytes) -> bytes:
        assert self._keys is not None
        return sm3.hmac(self._keys.confirm[role].reveal(), transcript + signature)

    def _established(self, suite: Suite, transcript: bytes, share: tuple[str, str]) -> Established:
        """The outcome; the keys change hands, the confirmation keys are overwritten."""
        keys, self._keys = self._keys, None
        assert keys is not None
        for one in keys.confirm.values():
            one.wipe()
        return Established(
            role=self._role,
            own=self._own,
            peer=self._peer,
            terms=self._terms,
            suite=suite,
            session=self._renews.session if self._renews else session_id(transcript),
            epoch=self._renews.epoch if self._renews else 0,
            key_id=share[0],
            provenance=share[1],
            transcript=transcript.hex(),
            send=keys.send_keys[self._role],
            receive=keys.send_keys[other_role(self._role)],
            renewal=keys.renewal,
            export=keys.export,
        )

    def _derive(
        self,
        suite: Suite,
        transcript: bytes,
        qkd: Secret | None,
        mlkem_secret: bytes,
        curve_secret: bytes,
        share: tuple[str, str],
    ) -> None:
        self._keys = derive_keys(
            suite,
            transcript,
            qkd=qkd.reveal() if qkd is not None else b"",
            mlkem_secret=mlkem_secret,
            curve_secret=curve_secret,
            renewal=self._renews.secret.reveal() if self._renews else b"",
            key_id=share[0],
            provenance=share[1],
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._own.identity} with {self._peer.identity}, {self._state})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an exchange is not copied or stored")


class Initiator(_Machine):
    """The end that speaks first: `hello()`, then `receive_answer(…)`, which gives the confirm and the session's keys."""

    _role = Role.INITIATOR

    def __init__(
        self,
        *,
        identity: str,
        key: Signer,
        peer: End,
        terms: SessionTerms,
        qkd: QkdShare | None = None,
        retry_after_s: int = 0,
        source: random.RandomSource = random.SYSTEM,
        renews: Renewal | None = None,
        prepared: PreparedShares | None = None,
    ) -> None:
        """qkd: a key reserved for this exchange alone, or None; retry_after_s: when keys are expected if it is None.

        prepared: keys made before, for exactly the suites of `terms`, instead of fresh ones; used here and nowhere else.
        Raises KeyUnavailable (QKD_KEY_REQUIRED) or Refused (PROVENANCE_REFUSED) as the policy says: nothing is sent then.
        """
        super().__init__(identity=identity, key=key, peer=peer, terms=terms, source=source, renews=renews)
        self._share = share_facts(qkd)
        terms.check_share(self._share[1], retry_after_s=retry_after_s)
        self._shares: Shares | None = prepared.take(terms.suites) if prepared is not None else None
        self._qkd = Secret(qkd.value) if qkd is not None else None

    def hello(self) -> bytes:
        """The first message. Cost: 1 ms."""
        self._expect("new")
        if self._shares is None:
            self._shares = make_shares(self._terms.suites, self._source)
        body: dict[str, canonical.Json] = {
            **self._common("hello"),
            "suites": list(self._terms.suites),
            "key_id": self._share[0],
            "provenance": self._share[1],
            "mlkem768": self._shares.mlkem.public.hex(),
            "shares": {**self._shares.public()},
        }
        start = unsigned(HELLO, body)
        self._hello = start + self._sign("session-hello", start)
        self._state = "waiting"
        return self._hello

    def receive_answer(self, message: bytes) -> tuple[bytes, Established]:
        """(the confirm to send, the session's keys). Use the keys only once the confirm was handed to the link.

        Raises ProtocolViolation (HANDSHAKE_REFUSED), after which the right answer may still come; for a refusal of the
        other end KeyUnavailable (QKD_KEY_REQUIRED) or Refused (SESSION_REFUSED), for settings that differ Refused: the
        exchange has then ended. Cost: 2 ms.
        """
        self._expect_message("waiting")
        if message[5:6] == bytes([REFUSAL]):
            self._receive_refusal(message)
        answer = parse_message(message, ANSWER)
        self._check_ends(answer)
        transcript = sm3.digest(lv4(b"workbench/v1/session/transcript") + lv4(self._hello) + lv4(answer.encoded))
        self._verify("session-answer", transcript, answer.signature)
        suite = self._checked(answer)
        self._agree(suite, transcript, answer)
        if not compare.equal(answer.mac, self._mac(Role.RESPONDER, transcript, answer.signature)):
            self._forget()
            raise handshake_refused()
        confirm = self._confirm(transcript, message)
        established = self._established(suite, transcript, self._share)
        self._state = "done"
        self._forget()
        return confirm, established

    def _checked(self, answer: Message) -> Suite:
        """The chosen suite of an authentic answer whose terms are ours; else the exchange ends."""
        try:
            self._check_terms(answer)
            if (answer.body["key_id"], answer.body["provenance"]) != self._share:
                raise terms_differ("key_id")
            if answer.body["suite"] not in self._terms.suites:
                raise terms_differ("suites")
        except Refused:
            self.end()
            raise
        return SUITES[str(answer.body["suite"])]

    def _agree(self, suite: Suite, transcript: bytes, answer: Message) -> None:
        own = self._shares
        assert own is not None
        try:
            mlkem_secret = own.mlkem.decapsulate(bytes.fromhex(str(answer.body["mlkem768"])))
            share = bytes.fromhex(str(answer.body["share"]))
            if suite.curve == "sm2":
                assert own.sm2 is not None
                curve_secret = own.sm2.decapsulate(share)
            else:
                assert own.x25519 is not None
                curve_secret = x25519.exchange(own.x25519.reveal(), share)
        except (ValueError, PeerError):
            raise handshake_refused() from None
        self._derive(suite, transcript, self._qkd, mlkem_secret, curve_secret, self._share)

    def _confirm(self, transcript: bytes, answer: bytes) -> bytes:
        body: dict[str, canonical.Json] = {
            "v": 1,
            "kind": "confirm",
            "session": (self._renews.session if self._renews else session_id(transcript)).hex(),
            "epoch": self._renews.epoch if self._renews else 0,
        }
        encoded = canonical.format(body)
        confirmed = confirm_digest(self._hello, answer, encoded)
        signature = self._sign("session-confirm", confirmed)
        return format_message(CONFIRM, body, signature, self._mac(Role.INITIATOR, confirmed, signature))

    def _receive_refusal(self, message: bytes) -> None:
        """Raise what the other end says; HANDSHAKE_REFUSED if it does not say it about our hello."""
        refusal = parse_message(message, REFUSAL)
        names = (self._peer.identity, self._own.identity, sm3.digest(self._hello).hex())
        if tuple(refusal.body[one] for one in ("from", "to", "hello")) != names:
            raise handshake_refused()
        self._verify("session-refusal", refusal.signed, refusal.signature)
        self.end()
        code, retry_after_s = str(refusal.body["code"]), int(str(refusal.body["retry_after_s"]))
        if code == "QKD_KEY_REQUIRED":
            raise qkd_key_required(self._terms.policy, missing=self._share[0] or "qkd-key", retry_after_s=retry_after_s)
        raise Refused(
            f"{self._peer.identity} 拒绝建立会话（{code}），请运维人员与对方核对",
            f"{self._peer.identity} refused the session ({code}); operators compare with the other end",
            code="SESSION_REFUSED",
            details={"reason": code, "retry_after_s": str(retry_after_s)},
        )

    def _forget(self) -> None:
        super()._forget()
        if self._state in ("done", "ended"):
            for one in (self._qkd, self._shares.x25519 if self._shares is not None else None):
                if one is not None:
                    one.wipe()
            self._shares = None


class Responder(_Machine):
    """The end that answers: `receive_hello`, fetch the key it names, `answer` or `refuse`, `receive_confirm`."""

    _role = Role.RESPONDER

    def __init__(
        self,
        *,
        identity: str,
        key: Signer,
        peer: End,
        terms: SessionTerms,
        source: random.RandomSource = random.SYSTEM,
        renews: Renewal | None = None,
    ) -> None:
        super().__init__(identity=identity, key=key, peer=peer, terms=terms, source=source, renews=renews)
        self._asked: Message | None = None
        self._answer = b""
        self._suite: Suite | None = None
        self._transcript = b""
        self.refusal = b""
        """The signed refusal to send where a call has just ended the exchange with a reason; else empty."""

    def receive_hello(self, message: bytes) -> KeyRequest:
        """What the other end asks for; only now may a QKD key be fetched.

        Raises ProtocolViolation (HANDSHAKE_REFUSED), after which the right hello may still come; Refused or KeyUnavailable
        for an authentic hello that does not fit: the exchange has ended and `refusal` says so. Cost: 1 ms.
        """
        self._expect_message("new")
        hello = parse_message(message, HELLO)
        self._check_ends(hello)
        self._verify("session-hello", hello.signed, hello.signature)
        self._hello, self._asked = message, hello
        provenance = str(hello.body["provenance"])
        try:
            self._check_terms(hello)
            self._suite = choose_suite([str(one) for one in hello.strings("suites")], self._terms.suites)
            self._terms.check_share(provenance)
        except WorkbenchError as reason:
            self._refuse(reason.code, 0)
            raise
        self._state = "asked"
        return KeyRequest(str(hello.body["key_id"]), provenance)

    def answer(self, qkd: QkdShare | None, *, retry_after_s: int = 0) -> bytes:
        """The second message.

        qkd: the key that `receive_hello` named, from this end's own store, or None if it is not there; retry_after_s: when
        keys are expected again. Raises KeyUnavailable (QKD_KEY_REQUIRED) if it is missing, Refused (SESSION_TERMS_DIFFER)
        if the two stores name different origins: the exchange has then ended and `refusal` says so. Cost: 1 ms.
        """
        self._expect("asked")
        assert self._asked is not None and self._suite is not None
        hello, share = self._asked, share_facts(qkd)
        wanted = (str(hello.body["key_id"]), str(hello.body["provenance"]))
        if qkd is not None and share[0] != wanted[0]:
            raise ValueError("this is not the key that was asked for")
        try:
            if wanted[0] and qkd is None:
                raise qkd_key_required(self._terms.policy, missing=wanted[0], retry_after_s=retry_after_s)
            if share != wanted:
                # The two stores disagree about where the key comes from: one of them would state a wrong origin.
                raise terms_differ("provenance")
        except (KeyUnavailable, Refused) as reason:
            self._refuse(reason.code, retry_after_s)
            raise
        try:
            mlkem_secret, ciphertext = mlkem.encapsulate(bytes.fromhex(str(hello.body["mlkem768"])))
            curve_secret, own_share = self._curve(hello)
        except (ValueError, PeerError):
            self._refuse("HANDSHAKE_REFUSED", 0)
            raise handshake_refused() from None
        body: dict[str, canonical.Json] = {
            **self._common("answer"),
            "suite": self._suite.name,
            "key_id": share[0],
            "provenance": share[1],
            "mlkem768": ciphertext.hex(),
            "share": own_share.hex(),
        }
        encoded = canonical.format(body)
        self._transcript = sm3.digest(lv4(b"workbench/v1/session/transcript") + lv4(self._hello) + lv4(encoded))
        with Secret(qkd.value if qkd is not None else b"") as value:
            self._derive(self._suite, self._transcript, value, mlkem_secret, curve_secret, share)
        signature = self._sign("session-answer", self._transcript)
        mac = self._mac(Role.RESPONDER, self._transcript, signature)
        self._answer = format_message(ANSWER, body, signature, mac)
        self._state = "answered"
        return self._answer

    def receive_confirm(self, message: bytes) -> Established:
        """The session's keys; only from here on may this end seal.

        Raises ProtocolViolation (HANDSHAKE_REFUSED), after which the right confirm may still come. Cost: 1 ms.
        """
        self._expect_message("answered")
        assert self._asked is not None and self._suite is not None
        confirm = parse_message(message, CONFIRM)
        expected = self._renews.session if self._renews else session_id(self._transcript)
        if (confirm.body["session"], confirm.body["epoch"]) != (
            expected.hex(),
            self._renews.epoch if self._renews else 0,
        ):
            raise handshake_refused()
        confirmed = confirm_digest(self._hello, self._answer, confirm.encoded)
        self._verify("session-confirm", confirmed, confirm.signature)
        if not compare.equal(confirm.mac, self._mac(Role.INITIATOR, confirmed, confirm.signature)):
            raise handshake_refused()
        share = (str(self._asked.body["key_id"]), str(self._asked.body["provenance"]))
        established = self._established(self._suite, self._transcript, share)
        self._state = "done"
        return established

    def refuse(self, code: str, *, retry_after_s: int = 0) -> bytes:
        """A signed refusal for a reason of the caller's own; the exchange ends. code: as in section 4."""
        self._expect("asked")
        return self._refuse(code, retry_after_s)

    def _curve(self, hello: Message) -> tuple[bytes, bytes]:
        """(secret, own share) for the chosen suite."""
        assert self._suite is not None
        public = bytes.fromhex(hello.share(self._suite.curve))
        if self._suite.curve == "sm2":
            return sm2_encapsulation.encapsulate(public, self._source)
        with Secret(self._source(x25519.SIZE)) as scalar:
            return x25519.exchange(scalar.reveal(), public), x25519.public_from(scalar.reveal())

    def _refuse(self, code: str, retry_after_s: int) -> bytes:
        body: dict[str, canonical.Json] = {
            "v": 1,
            "kind": "refusal",
            "from": self._own.identity,
            "to": self._peer.identity,
            "hello": sm3.digest(self._hello).hex(),
            "code": code,
            "retry_after_s": retry_after_s,
        }
        start = unsigned(REFUSAL, body)
        self.refusal = start + self._sign("session-refusal", start)
        self.end()
        return self.refusal

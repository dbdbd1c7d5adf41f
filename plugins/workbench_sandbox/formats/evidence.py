"""What a sandbox states about itself, and its provider about it: docs/protocols/sandbox.md sections 6 and 7.

The launcher's and the node's facts come in from outside, the worker adds what it measured and the keys it made, writes the
statement and signs first; the node compares the outer facts with its own and signs too. What the tenant checks beyond form and
signatures is the tenant's: `workbench_inference.asking.verifying`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.channel.terms import Signer
from workbench.crypto import mlkem, x25519
from workbench.crypto.canonical import Json
from workbench.crypto.sm2 import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PublicKey
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading, servicekey
from workbench_sandbox.formats.manifest import Engine, Limits

KIND = "sandbox-evidence"
SELF = "sandbox-self"
MAX_BYTES = 48 << 10
MAX_WEIGHTS = 200
MAX_PROBES = 1_000
VALID_MS = 120_000
"""How long after it was made a document may be used to begin a session, at most."""

CONTROLS = (
    "host-user", "user", "no-capabilities", "no-new-privileges", "no-more-namespaces", "own-processes", "no-network", "own-ipc", "own-hostname",
    "own-cgroup-view", "files", "scratch", "filter", "no-programs", "no-debugging", "memory", "processes", "cpu", "group-kill", "no-core", "no-swap",
    "dies-with-launcher", "clean-start", "image-measured", "engine-inside", "probe",
)  # fmt: skip
"""Names of section 7, in its order."""
STATES = ("on", "off", "unknown")
SEEN = ("inside", "outside", "both", "")

_TEXTS = ("provider", "tenant", "lease", "mode", "server", "pool", "sandbox", "nonce", "boot", "assurance")
_NUMBERS = ("serial", "started_ms", "made_ms", "until_ms")
_OTHERS = ("image", "weights", "runtime", "limits", "controls", "probe", "keys", "attestation")
_MEMBERS = frozenset({*_TEXTS, *_NUMBERS, *_OTHERS})
_FACTS = frozenset(
    {
        "provider", "tenant", "lease", "mode", "server", "pool", "sandbox", "serial", "started_ms", "boot", "assurance", "image", "listing",
        "isolation", "limits", "controls",
    }
)  # fmt: skip
_IMAGE = ("id", "name", "version")
_RUNTIME = ("listing", "python", "kernel", "machine", "isolation", "program")
_CONTROL = ("name", "state", "how", "seen")


@dataclass(frozen=True, slots=True)
class ImageName:
    """Which image runs. id: SM3 of its manifest."""

    id: str
    name: str
    version: str
    engine: Engine

    def __post_init__(self) -> None:
        reading.need(reading.HEX64.fullmatch(self.id) and reading.NAME.fullmatch(self.name), "image")
        reading.need(reading.VERSION.fullmatch(self.version), "version")

    def body(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"id": self.id, "name": self.name, "version": self.version, "engine": self.engine.body()}

    @classmethod
    def read(cls, value: Json) -> ImageName:
        """Raises ValueError."""
        body = reading.members(value, (*_IMAGE, "engine"))
        id_, name, version = reading.texts_of(body, _IMAGE)
        return cls(id_, name, version, Engine.read(body["engine"]))


@dataclass(frozen=True, slots=True)
class Control:
    """One control of section 7. how: by what it is in force. seen: from inside, outside, both; "" where nobody could look."""

    name: str
    state: str
    how: str
    seen: str

    def __post_init__(self) -> None:
        reading.need(self.name in CONTROLS and self.state in STATES and self.seen in SEEN, "control")
        reading.need(reading.ASCII_LINE.fullmatch(self.how), "how")
        reading.need(self.seen or self.state == "unknown", "what nobody saw is unknown")

    def body(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return reading.body_of(self, _CONTROL)

    @classmethod
    def read(cls, value: Json) -> Control:
        """Raises ValueError."""
        return cls(*reading.texts_of(reading.members(value, _CONTROL), _CONTROL))


@dataclass(frozen=True, slots=True)
class OuterFacts:
    """What the launcher and the node know. controls: those seen from outside, `seen` = "outside", in the order of CONTROLS."""

    provider: PartyId
    tenant: PartyId
    lease: str
    mode: str
    server: str
    pool: str
    sandbox: str
    serial: int
    started_ms: int
    boot: str
    assurance: str
    image: ImageName
    listing: str
    isolation: str
    limits: Limits
    controls: tuple[Control, ...]

    def __post_init__(self) -> None:
        _check_place(self)
        reading.need(reading.DIGEST_OR_EMPTY.fullmatch(self.listing), "listing")
        reading.need(reading.ASCII_LINE.fullmatch(self.isolation), "isolation")
        names = [one.name for one in self.controls]
        reading.need(names == [one for one in CONTROLS if one in names], "controls in the order of the document")
        reading.need(all(one.seen == "outside" for one in self.controls), "controls seen from outside")


@dataclass(frozen=True, slots=True)
class Weight:
    """Weights as the worker measured them while loading. sm3: hexadecimal."""

    path: str
    sm3: str

    def __post_init__(self) -> None:
        reading.need(reading.PATH.fullmatch(self.path) and reading.HEX64.fullmatch(self.sm3), "weights")


@dataclass(frozen=True, slots=True)
class Probe:
    """What the suite of section 7 tried, and the names of what was not refused."""

    tried: int
    refused: int
    failed: tuple[str, ...]

    def __post_init__(self) -> None:
        reading.need(reading.within(self.tried, self.refused, most=MAX_PROBES), "probe")
        reading.need(reading.each(reading.NAME, self.failed), "failed")
        reading.need(self.refused + len(self.failed) == self.tried, "what was tried was refused or failed")

    def body(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"tried": self.tried, "refused": self.refused, "failed": list(self.failed)}

    @classmethod
    def read(cls, value: Json) -> Probe:
        """Raises ValueError."""
        body = reading.members(value, ("tried", "refused", "failed"))
        failed = reading.texts(body["failed"], most=MAX_PROBES)
        return cls(reading.whole(body["tried"]), reading.whole(body["refused"]), failed)


@dataclass(frozen=True, slots=True)
class Attestation:
    """Of hardware: kind and quote (base64), both "" below level `tee`."""

    kind: str = ""
    quote: str = ""

    def __post_init__(self) -> None:
        reading.need((self.kind == "") == (self.quote == ""), "both or neither")
        reading.need(not self.kind or reading.NAME.fullmatch(self.kind), "kind")
        reading.need(len(self.quote) <= 32_768 and self.quote.isascii(), "quote")


@dataclass(frozen=True, slots=True)
class Measured:
    """What the worker found from inside. controls: `seen` = "inside", in the order of CONTROLS; program: SM3 of the definition of the
    server that it started beside itself, "" for none."""

    weights: tuple[Weight, ...]
    python: str
    kernel: str
    machine: str
    controls: tuple[Control, ...]
    probe: Probe
    program: str = ""
    attestation: Attestation = Attestation()

    def __post_init__(self) -> None:
        _check_measured(self.weights, self.python, self.kernel, self.machine)
        reading.need(reading.DIGEST_OR_EMPTY.fullmatch(self.program), "program")
        names = [one.name for one in self.controls]
        reading.need(names == [one for one in CONTROLS if one in names], "controls in the order of the document")
        reading.need(all(one.seen == "inside" for one in self.controls), "controls seen from inside")


@dataclass(frozen=True, slots=True)
class PublicShares:
    """The keys that were made inside for one document, hexadecimal. sm2: the sandbox's own, `04` and 128 digits.

    mlkem768, and x25519 and sm2_share where a suite of the session needs that curve ("" else, then not a member): what the hello
    will carry. `PublicShares.of` takes them from `PreparedShares.public()`.
    """

    sm2: str
    mlkem768: str
    x25519: str = ""
    sm2_share: str = ""

    def __post_init__(self) -> None:
        PublicKey.parse(self.sm2)
        reading.need(_hex(self.mlkem768, mlkem.PUBLIC_KEY_SIZE), "mlkem768")
        reading.need(not self.x25519 or _hex(self.x25519, x25519.SIZE), "x25519")
        reading.need(not self.sm2_share or _hex(self.sm2_share, PUBLIC_KEY_SIZE), "sm2_share")
        reading.need(self.x25519 or self.sm2_share, "a curve")
        values = self.members().values()
        reading.need(len(set(values)) == len(values) and self.sm2[2:] != self.sm2_share, "all keys differ")

    @classmethod
    def of(cls, key: PublicKey, shares: Mapping[str, str]) -> PublicShares:
        """key: the sandbox's own; shares: `PreparedShares.public()`."""
        return cls(key.format(), **shares)

    def members(self) -> dict[str, str]:
        """Those that are there, by name."""
        named = {"sm2": self.sm2, "mlkem768": self.mlkem768, "x25519": self.x25519, "sm2_share": self.sm2_share}
        return {name: value for name, value in named.items() if value}

    def shares(self) -> dict[str, str]:
        """What the hello's `shares` must be, by curve."""
        named = {"x25519": self.x25519, "sm2": self.sm2_share}
        return {curve: value for curve, value in named.items() if value}

    @property
    def key(self) -> PublicKey:
        """The sandbox's own key."""
        return PublicKey.parse(self.sm2)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, member by member as in section 6."""

    provider: PartyId
    tenant: PartyId
    lease: str
    mode: str
    server: str
    pool: str
    sandbox: str
    nonce: str
    serial: int
    started_ms: int
    made_ms: int
    until_ms: int
    boot: str
    assurance: str
    image: ImageName
    weights: tuple[Weight, ...]
    listing: str
    python: str
    kernel: str
    machine: str
    isolation: str
    program: str
    limits: Limits
    controls: tuple[Control, ...]
    probe: Probe
    keys: PublicShares
    attestation: Attestation

    def __post_init__(self) -> None:
        _check_place(self)
        _check_measured(self.weights, self.python, self.kernel, self.machine)
        reading.need(reading.HEX64.fullmatch(self.nonce), "nonce")
        reading.need(reading.within(self.made_ms, self.until_ms), "times")
        reading.need(0 < self.until_ms - self.made_ms <= VALID_MS, "valid for at most two minutes")
        reading.need(reading.DIGEST_OR_EMPTY.fullmatch(self.listing), "listing")
        reading.need(reading.ASCII_LINE.fullmatch(self.isolation), "isolation")
        reading.need(reading.DIGEST_OR_EMPTY.fullmatch(self.program), "program")
        reading.need(tuple(one.name for one in self.controls) == CONTROLS, "every control, in order")

    @property
    def identity(self) -> str:
        """The sandbox's identity in its session."""
        return f"{self.provider}:{self.sandbox}"

    def control(self, name: str) -> Control:
        """The control of this name."""
        return self.controls[CONTROLS.index(name)]

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the controls that are not on."""
        return tuple(one.name for one in self.controls if one.state != "on")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document whose form is right. encoded: the statement's bytes; service: the service-key statement as written."""

    statement: Statement
    encoded: bytes
    self_signature: bytes
    service_signature: bytes
    service: bytes

    @property
    def digest(self) -> str:
        """SM3 of the statement, hexadecimal: what the session binds and entries name."""
        return reading.digest(self.encoded)


# ---------------------------------------------------------------------------------------------- facts, server -> worker


def format_facts(facts: OuterFacts) -> bytes:
    """What the launcher tells the worker."""
    return reading.write(
        {
            "provider": facts.provider, "tenant": facts.tenant, "lease": facts.lease, "mode": facts.mode, "server": facts.server,
            "pool": facts.pool, "sandbox": facts.sandbox, "serial": facts.serial, "started_ms": facts.started_ms, "boot": facts.boot,
            "assurance": facts.assurance, "image": facts.image.body(), "listing": facts.listing, "isolation": facts.isolation,
            "limits": facts.limits.body(), "controls": [one.body() for one in facts.controls],
        }
    )  # fmt: skip


def parse_facts(data: bytes) -> OuterFacts:
    """Raises VerificationError (EVIDENCE_REFUSED, check `form`)."""
    with reading.refusing(lambda: evidence_refused("form")):
        body = reading.read(data, _FACTS)
        texts = _FACTS - {"serial", "started_ms", "image", "limits", "controls"}
        named = {one: reading.text(body[one]) for one in texts}
        return OuterFacts(
            PartyId(named["provider"]), PartyId(named["tenant"]), named["lease"], named["mode"], named["server"], named["pool"],
            named["sandbox"], reading.whole(body["serial"]), reading.whole(body["started_ms"]), named["boot"], named["assurance"],
            ImageName.read(body["image"]), named["listing"], named["isolation"], Limits.read(body["limits"]),
            _controls(body["controls"]),
        )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- the statement


def make_statement(
    facts: OuterFacts, measured: Measured, keys: PublicShares, *, nonce: str, made_ms: int, until_ms: int
) -> bytes:
    """The statement's canonical bytes. A control is on where everybody who looked saw it on; where nobody looked, unknown.

    Raises ValueError.
    """
    outer, inner = ({one.name: one for one in part} for part in (facts.controls, measured.controls))
    controls = tuple(_joined(name, outer.get(name), inner.get(name)) for name in CONTROLS)
    return format_statement(
        Statement(
            facts.provider, facts.tenant, facts.lease, facts.mode, facts.server, facts.pool, facts.sandbox, nonce, facts.serial,
            facts.started_ms, made_ms, until_ms, facts.boot, facts.assurance, facts.image, measured.weights, facts.listing,
            measured.python, measured.kernel, measured.machine, facts.isolation, measured.program, facts.limits, controls, measured.probe, keys,
            measured.attestation,
        )
    )  # fmt: skip


def format_statement(value: Statement) -> bytes:
    """The canonical bytes."""
    return reading.write(
        {
            **reading.body_of(value, (*_TEXTS, *_NUMBERS)),
            "image": value.image.body(),
            "weights": [{"path": one.path, "sm3": one.sm3} for one in value.weights],
            "runtime": reading.body_of(value, _RUNTIME),
            "limits": value.limits.body(),
            "controls": [one.body() for one in value.controls],
            "probe": value.probe.body(),
            "keys": {**value.keys.members()},
            "attestation": {"kind": value.attestation.kind, "quote": value.attestation.quote},
        },
        KIND,
    )


def parse_statement(encoded: bytes) -> Statement:
    """Raises VerificationError (EVIDENCE_REFUSED, check `form`)."""
    with reading.refusing(lambda: evidence_refused("form")):
        body = reading.read(encoded, _MEMBERS, KIND, most=MAX_BYTES)
        named = {one: reading.text(body[one]) for one in _TEXTS}
        serial, started_ms, made_ms, until_ms = reading.wholes_of(body, _NUMBERS)
        runtime = reading.members(body["runtime"], _RUNTIME)
        listing, python, kernel, machine, isolation, program = reading.texts_of(runtime, _RUNTIME)
        attestation = reading.members(body["attestation"], ("kind", "quote"))
        return Statement(
            PartyId(named["provider"]), PartyId(named["tenant"]), named["lease"], named["mode"], named["server"], named["pool"],
            named["sandbox"], named["nonce"], serial, started_ms, made_ms, until_ms, named["boot"], named["assurance"],
            ImageName.read(body["image"]), tuple(_weight(one) for one in reading.items(body["weights"], most=MAX_WEIGHTS)),
            listing, python, kernel, machine, isolation, program, Limits.read(body["limits"]), _controls(body["controls"]),
            Probe.read(body["probe"]), _keys(body["keys"]),
            Attestation(reading.text(attestation["kind"]), reading.text(attestation["quote"])),
        )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- signatures


def sign_statement(encoded: bytes, *, key: Signer) -> bytes:
    """LV4(statement) ‖ the sandbox's signature. key: the private half of `keys.sm2`. Cost: 0.4 ms."""
    value = parse_statement(encoded)
    signature = reading.sign(SELF, party=value.identity, job=value.lease, body=encoded, key=key)
    return reading.lv4(encoded) + signature


def verify_self(raw: bytes) -> Statement:
    """The statement in LV4(statement) ‖ signature, signed with the key that it names. Raises VerificationError (EVIDENCE_REFUSED)."""
    with reading.refusing(lambda: evidence_refused("form")):
        encoded, signature, rest = reading.split_signed(raw, most=MAX_BYTES)
        reading.need(not rest, "bytes after the end")
    value = parse_statement(encoded)
    _check_self(value, encoded, signature)
    return value


def sign_evidence(raw: bytes, *, facts: OuterFacts, nonce: str, key: Signer, service: bytes) -> bytes:
    """The document that the provider gives out. raw: LV4(statement) ‖ the sandbox's signature, as the server handed it over.

    facts, nonce: as this node knows them; key: its service key, of the statement as written in `service`.
    Raises VerificationError (EVIDENCE_REFUSED, check `facts`) where the statement says anything else: nothing is signed then.
    """
    value = verify_self(raw)
    if value.nonce != nonce or not _agrees(value, facts):
        raise evidence_refused("facts")
    encoded = raw[4:-SIGNATURE_SIZE]
    return raw + reading.sign(KIND, party=value.provider, job=value.lease, body=encoded, key=key) + service


def parse_evidence(raw: bytes) -> Evidence:
    """The document's parts, no signature looked at. Raises VerificationError (EVIDENCE_REFUSED, check `form`)."""
    with reading.refusing(lambda: evidence_refused("form")):
        cursor = reading.Cursor(raw)
        encoded = cursor.lv4(most=MAX_BYTES)
        own, provider = cursor.take(SIGNATURE_SIZE), cursor.take(SIGNATURE_SIZE)
        service = cursor.rest()
        reading.need(len(service) <= 2 * servicekey.MAX_BYTES, "the service-key statement is too long")
    return Evidence(parse_statement(encoded), encoded, own, provider, service)


def verify_signatures(document: Evidence, *, service_key: PublicKey) -> None:
    """Both signatures: of the sandbox and of its provider. Raises VerificationError (EVIDENCE_REFUSED, check `signatures`)."""
    value, encoded = document.statement, document.encoded
    _check_self(value, encoded, document.self_signature)
    with reading.refusing(lambda: evidence_refused("signatures")):
        reading.verify(KIND, party=value.provider, job=value.lease, body=encoded, key=service_key, signature=document.service_signature)


def evidence_refused(check: str) -> VerificationError:
    """The refusal of a document. check: its name in section 6, or `facts` at the provider."""
    return VerificationError(
        f"沙箱证据未通过核对（{check}），未发送任何内容；请运维人员查看租约，必要时退租",
        f"the sandbox's evidence does not hold ({check}): nothing was sent; operators look at the lease and release it if need be",
        code="EVIDENCE_REFUSED",
        details={"check": check},
    )


def _check_self(value: Statement, encoded: bytes, signature: bytes) -> None:
    with reading.refusing(lambda: evidence_refused("signatures")):
        reading.verify(SELF, party=value.identity, job=value.lease, body=encoded, key=value.keys.key, signature=signature)


def _agrees(value: Statement, facts: OuterFacts) -> bool:
    """Whether a statement says of the outside what this end knows, and no control is better than it was seen."""
    same = (
        "provider", "tenant", "lease", "mode", "server", "pool", "sandbox", "serial", "started_ms", "boot", "assurance", "image", "listing",
        "isolation", "limits",
    )  # fmt: skip
    known = {one.name: one for one in facts.controls}
    return all(getattr(value, one) == getattr(facts, one) for one in same) and all(
        _control_agrees(one, known.get(one.name)) for one in value.controls
    )


def _control_agrees(said: Control, known: Control | None) -> bool:
    if known is None:
        return said.seen in ("inside", "")
    if said.seen == "outside":
        return (said.state, said.how) == (known.state, known.how)
    return said.seen == "both" and (known.state == "on" or said.state != "on")


def _joined(name: str, outer: Control | None, inner: Control | None) -> Control:
    if outer is None or inner is None:
        return outer or inner or Control(name, "unknown", "", "")
    states = {outer.state, inner.state}
    state = "on" if states == {"on"} else "off" if "off" in states else "unknown"
    how = (
        outer.how
        if outer.how == inner.how or not inner.how
        else f"{outer.how}; {inner.how}"
        if outer.how
        else inner.how
    )
    return Control(name, state, how[:200], "both")


def _check_place(value: OuterFacts | Statement) -> None:
    reading.party(value.provider)
    reading.party(value.tenant)
    reading.need(reading.LEASE.fullmatch(value.lease) and value.mode in reading.MODES, "lease or mode")
    reading.need(reading.SERVER.fullmatch(value.server) and value.pool in reading.POOLS, "server or pool")
    reading.need(reading.SANDBOX.fullmatch(value.sandbox) and reading.HEX32.fullmatch(value.boot), "sandbox or boot")
    reading.need(value.assurance in reading.ASSURANCES, "assurance")
    reading.need(reading.within(value.serial, least=1) and reading.within(value.started_ms), "serial or started_ms")


def _check_measured(weights: tuple[Weight, ...], *texts: str) -> None:
    paths = [one.path for one in weights]
    reading.need(len(paths) <= MAX_WEIGHTS and reading.ascending(paths), "weights ascend by path")
    reading.need(all(reading.ASCII_LINE.fullmatch(one) for one in texts), "versions")


def _controls(value: Json) -> tuple[Control, ...]:
    return tuple(Control.read(one) for one in reading.items(value, most=len(CONTROLS)))


def _weight(value: Json) -> Weight:
    body = reading.members(value, ("path", "sm3"))
    return Weight(reading.text(body["path"]), reading.text(body["sm3"]))


def _keys(value: Json) -> PublicShares:
    names = {"sm2", "mlkem768"} | ({"x25519", "sm2_share"} & set(value) if isinstance(value, dict) else set())
    body = reading.members(value, names)
    named = {name: reading.text(one) for name, one in body.items()}
    reading.need(all(named.values()), "a key is empty")
    return PublicShares(**named)


def _hex(text: str, size: int) -> bool:
    try:
        return len(text) == 2 * size and bytes.fromhex(text).hex() == text
    except ValueError:
        return False

"""What a tenant checks of a sandbox's evidence before a key is taken or a byte is sent: docs/protocols/sandbox.md section 6.

Pure. The checks stand in their order and by their names; the first that does not hold refuses the document, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from workbench.crypto import sm2
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats.evidence import Evidence, Statement, evidence_refused, parse_evidence, verify_signatures
from workbench_sandbox.formats.manifest import RUNTIME_IMAGE, Manifest
from workbench_sandbox.formats.reading import ASSURANCES
from workbench_sandbox.formats.servicekey import SKEW_MS, ServiceKey, parse_service_key, verify_service_key

HELD: Final = "RUNNING"


@dataclass(frozen=True, slots=True)
class Expected:
    """What this end knows beforehand.

    contract_key: the provider's pinned one; known_service_key: the newest of its statements that was kept. sandbox: asked for by
    name, "" for any. state: of the lease here. nonce: of the request, "" once it was answered. last_serial: sandbox -> serial of
    its last document; seen_keys: every public key of an earlier document of this lease, hex. image: the manifest ordered.
    assurance, controls: of the order; class_level: the least level of the data classes that the scenario allows.
    """

    provider: PartyId
    tenant: PartyId
    contract_key: sm2.PublicKey
    known_service_key: ServiceKey | None
    lease: str
    state: str
    mode: str
    pool: str
    sandbox: str
    nonce: str
    last_serial: Mapping[str, int]
    seen_keys: frozenset[str]
    image: Manifest
    assurance: str
    controls: frozenset[str]
    class_level: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document whose form is right, beside what is expected of it."""

    evidence: Evidence
    service: ServiceKey
    expected: Expected
    now_ms: int

    @property
    def statement(self) -> Statement:
        """What it states."""
        return self.evidence.statement


def _service_key(one: Document) -> bool:
    expected = one.expected
    try:
        verify_service_key(
            one.evidence.service,
            party=expected.provider,
            contract_key=expected.contract_key,
            known=expected.known_service_key,
            now_ms=one.now_ms,
        )
    except VerificationError:
        return False
    return True


def _signatures(one: Document) -> bool:
    try:
        verify_signatures(one.evidence, service_key=one.service.key)
    except VerificationError:
        return False
    return True


def _freshness(one: Document) -> bool:
    said = one.statement
    is_own = bool(one.expected.nonce) and said.nonce == one.expected.nonce
    return is_own and abs(one.now_ms - said.made_ms) <= SKEW_MS and one.now_ms <= said.until_ms


def _lease(one: Document) -> bool:
    said, expected = one.statement, one.expected
    same = (said.provider, said.tenant, said.lease, said.mode, said.pool) == (
        expected.provider, expected.tenant, expected.lease, expected.mode, expected.pool,
    )  # fmt: skip
    named = said.sandbox == (expected.sandbox or said.sandbox)
    return same and named and expected.state == HELD and said.serial > expected.last_serial.get(said.sandbox, 0)


def _image(one: Document) -> bool:
    said, manifest = one.statement, one.expected.image
    named = (said.image.id, said.image.name, said.image.version, said.image.engine) == (
        manifest.id, manifest.name, manifest.version, manifest.engine,
    )  # fmt: skip
    listing = "" if manifest.runtime == RUNTIME_IMAGE else manifest.runtime
    weights = [(file.path, file.sm3) for file in manifest.of_role("weights")]
    server = said.program == manifest.engine.program_sm3
    return named and server and said.listing == listing and [(file.path, file.sm3) for file in said.weights] == weights


def _assurance(one: Document) -> bool:
    level = ASSURANCES.index(one.statement.assurance)
    return all(level >= ASSURANCES.index(least) for least in (one.expected.assurance, one.expected.class_level))


def _controls(one: Document) -> bool:
    on = {control.name for control in one.statement.controls if control.state == "on"}
    return one.expected.controls <= on and not one.statement.probe.failed


def _limits(one: Document) -> bool:
    return one.statement.limits.fits(one.expected.image.limits)


def _attestation(one: Document) -> bool:
    # No verifier of quotes is installed in this version: what claims hardware is not believed.
    return one.statement.assurance != "tee" and one.statement.attestation.kind == ""


def _keys(one: Document) -> bool:
    return one.expected.seen_keys.isdisjoint(one.statement.keys.members().values())


CHECKS: Final[Mapping[str, Callable[[Document], bool]]] = {
    "service-key": _service_key,
    "signatures": _signatures,
    "freshness": _freshness,
    "lease": _lease,
    "image": _image,
    "assurance": _assurance,
    "controls": _controls,
    "limits": _limits,
    "attestation": _attestation,
    "keys": _keys,
}
"""Name -> check, in the order of the document; `form` comes before them, with the reading."""


def read_document(raw: bytes, expected: Expected, *, now_ms: int) -> Document:
    """The document, only its form looked at. Raises VerificationError (EVIDENCE_REFUSED: form, service-key)."""
    evidence = parse_evidence(raw)
    try:
        service = parse_service_key(evidence.service)
    except VerificationError as error:
        raise evidence_refused("service-key") from error
    return Document(evidence, service, expected, now_ms)


def verify_evidence(raw: bytes, expected: Expected, *, now_ms: int) -> Evidence:
    """The document, once all eleven checks held.

    Raises VerificationError (EVIDENCE_REFUSED), details["check"] naming the first that did not. Cost: 3 ms.
    """
    document = read_document(raw, expected, now_ms=now_ms)
    for name, holds in CHECKS.items():
        if not holds(document):
            raise evidence_refused(name)
    return document.evidence


__all__ = ["CHECKS", "Document", "Expected", "read_document", "verify_evidence"]

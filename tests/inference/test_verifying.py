"""The eleven checks of a sandbox's evidence: each has a document that fails it alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.sandbox.samples import (
    FACTS, KEYS, LEASE, LIMITS, MANIFEST, MEASURED, NONCE, NOW, PROVIDER, PROVIDER_SERVICE, PUBLIC_SHARES, SANDBOX, TENANT, make_evidence,
)  # fmt: skip
from workbench.errors import VerificationError
from workbench_inference.asking.verifying import CHECKS, Expected, read_document, verify_evidence
from workbench_sandbox.formats import evidence, manifest

EXPECTED = Expected(
    PROVIDER, TENANT, KEYS["provider-contract"].public, PROVIDER_SERVICE, LEASE, "RUNNING", "run", "shared", "", NONCE, {}, frozenset(), MANIFEST,
    "process", frozenset({"no-network", "filter"}), "process",
)  # fmt: skip


def other_engine() -> evidence.OuterFacts:
    engine = replace(MANIFEST.engine, version="2")
    return replace(FACTS, image=replace(FACTS.image, engine=engine))


SERVED = manifest.Engine("openai-http", "upstream", "1", "inside", "small", "ab" * 32)
INSIDE = replace(MANIFEST, engine=SERVED)
"""An image whose server is started inside."""


def inside(digest: str) -> evidence.OuterFacts:
    return replace(FACTS, image=replace(FACTS.image, id=INSIDE.id, engine=replace(SERVED, program_sm3=digest)))


def stranger() -> bytes:
    """Signed by a service key that the provider's contract key vouches for, but not the one that signed the statement."""
    raw = make_evidence()
    document = evidence.parse_evidence(raw)
    other = evidence.reading.sign(
        evidence.KIND, party=PROVIDER, job=LEASE, body=document.encoded, key=KEYS["tenant-service"]
    )
    return raw[: 4 + len(document.encoded) + 64] + other + document.service


FAILING: dict[str, list[tuple[bytes, dict[str, Any], int]]] = {
    "service-key": [
        (make_evidence(), {"known_service_key": replace(PROVIDER_SERVICE, previous="00" * 32)}, NOW),
        (make_evidence(), {"contract_key": KEYS["tenant-contract"].public}, NOW),
    ],
    "signatures": [(stranger(), {}, NOW)],
    "freshness": [
        (make_evidence(), {"nonce": "00" * 32}, NOW), (make_evidence(), {"nonce": ""}, NOW), (make_evidence(), {}, NOW + 5_001),
        (make_evidence(), {}, NOW - 5_001), (make_evidence(until_ms=NOW + 10), {}, NOW + 11),
    ],
    "lease": [
        (make_evidence(), {"state": "RELEASING"}, NOW), (make_evidence(), {"pool": "dedicated"}, NOW), (make_evidence(), {"lease": "L-20251122-00000000"}, NOW),
        (make_evidence(), {"tenant": "cardnet"}, NOW), (make_evidence(), {"mode": "debug"}, NOW), (make_evidence(), {"last_serial": {SANDBOX: 1}}, NOW),
        (make_evidence(), {"sandbox": "sb-" + "0" * 16}, NOW),
    ],
    "image": [
        (make_evidence(facts=replace(FACTS, listing="00" * 32)), {}, NOW), (make_evidence(measured=replace(MEASURED, weights=())), {}, NOW),
        (make_evidence(measured=replace(MEASURED, weights=(evidence.Weight("weights/words.bin", "00" * 32),))), {}, NOW),
        (make_evidence(measured=replace(MEASURED, program="00" * 32)), {}, NOW), (make_evidence(facts=inside("00" * 32)), {"image": INSIDE}, NOW),
        (make_evidence(facts=inside("ab" * 32)), {"image": INSIDE}, NOW),
        (make_evidence(facts=other_engine()), {}, NOW), (make_evidence(), {"image": replace(MANIFEST, made_ms=1)}, NOW),
        (make_evidence(), {"image": replace(MANIFEST, runtime=manifest.RUNTIME_IMAGE)}, NOW),
    ],
    "assurance": [(make_evidence(), {"assurance": "gvisor"}, NOW), (make_evidence(), {"class_level": "tee"}, NOW)],
    "controls": [
        (make_evidence(), {"controls": frozenset({"no-swap"})}, NOW), (make_evidence(), {"controls": frozenset({"own-ipc"})}, NOW),
        (make_evidence(measured=replace(MEASURED, probe=evidence.Probe(22, 21, ("mount",)))), {}, NOW),
    ],
    "limits": [(make_evidence(facts=replace(FACTS, limits=replace(LIMITS, scratch_bytes=LIMITS.scratch_bytes + 1))), {}, NOW)],
    "attestation": [
        (make_evidence(facts=replace(FACTS, assurance="tee")), {}, NOW),
        (make_evidence(measured=replace(MEASURED, attestation=evidence.Attestation("quote", "AAAA"))), {}, NOW),
    ],
    "keys": [
        (make_evidence(), {"seen_keys": frozenset({PUBLIC_SHARES.mlkem768})}, NOW), (make_evidence(), {"seen_keys": frozenset({PUBLIC_SHARES.sm2})}, NOW),
    ],
}  # fmt: skip


def test_a_document_that_holds_is_taken() -> None:
    found = verify_evidence(make_evidence(), EXPECTED, now_ms=NOW + 4_000)
    assert found.statement.sandbox == SANDBOX and found.digest == evidence.reading.digest(found.encoded)
    verify_evidence(
        make_evidence(),
        replace(EXPECTED, sandbox=SANDBOX, known_service_key=None, last_serial={SANDBOX: 0}),
        now_ms=NOW,
    )


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_has_documents_that_fail_it_alone(check: str) -> None:
    for raw, changes, now_ms in FAILING[check]:
        expected = replace(EXPECTED, **changes)
        document = read_document(raw, expected, now_ms=now_ms)
        failed = [name for name, holds in CHECKS.items() if not holds(document)]
        assert failed == [check], (check, changes)
        with pytest.raises(VerificationError) as caught:
            verify_evidence(raw, expected, now_ms=now_ms)
        assert (caught.value.code, caught.value.details) == ("EVIDENCE_REFUSED", {"check": check})


def test_what_does_not_parse_fails_at_the_form() -> None:
    for raw in (b"", make_evidence()[:-1] + b"\xff" * 4097, b"\x00" * 200, make_evidence()[4:]):
        with pytest.raises(VerificationError) as caught:
            verify_evidence(raw, EXPECTED, now_ms=NOW)
        assert caught.value.details["check"] in ("form", "service-key")
    with pytest.raises(VerificationError) as caught:
        verify_evidence(make_evidence()[:-1], EXPECTED, now_ms=NOW)
    assert caught.value.details == {"check": "service-key"}


def test_the_checks_are_the_documents_and_in_its_order() -> None:
    assert ["form", *CHECKS] == [
        "form", "service-key", "signatures", "freshness", "lease", "image", "assurance", "controls", "limits", "attestation", "keys",
    ]  # fmt: skip
    # The first that does not hold is named, whatever else is wrong.
    wrong = replace(
        EXPECTED,
        nonce="",
        state="ERASED",
        assurance="tee",
        controls=frozenset({"no-swap"}),
        seen_keys=frozenset({PUBLIC_SHARES.sm2}),
    )
    with pytest.raises(VerificationError) as caught:
        verify_evidence(make_evidence(), wrong, now_ms=NOW)
    assert caught.value.details == {"check": "freshness"}


def test_a_server_inside_is_the_one_of_the_manifest_as_the_worker_measured_it() -> None:
    raw = make_evidence(facts=inside("ab" * 32), measured=replace(MEASURED, program="ab" * 32))
    assert verify_evidence(raw, replace(EXPECTED, image=INSIDE), now_ms=NOW).statement.program == "ab" * 32

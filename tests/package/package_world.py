"""Packages of small worlds, and what can be done to them: changed bytes, exchanged files, manifests made anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.crypto import canonical, sm2, sm3
from workbench.crypto.random import SeededSource
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import Opening
from workbench.domain.package import Container, KindText, PackageOrder, PackageSummary, Place, Selection
from workbench.domain.party import PartyId
from workbench_ledger.package.assemble import verify_py
from workbench_ledger.package.build import build_package

from tests.ledger.world import BROKER, EXPORTED, JOB, NOW_MS, PINNED, RELEASED, World

NAMES = {"broker": ("甲证券", "Broker A"), "cardnet": ("乙卡组织", "Card network B"), "bank": ("丙银行", "Bank C")}
KINDS = {
    one.name: KindText(one.zh, one.en, {field.name: (field.zh, field.en, field.unit) for field in one.fields})
    for one in (RELEASED, EXPORTED)
}
NAMED = {
    party: PartyKeys(party, keys.ed25519, keys.sm2, *NAMES[party]) for party, keys in PINNED.items()
}


EXPLAINED = ("README.txt", "report.html", "report.pdf", "verify.html", "verify.py", "keys/COMPARE.txt")
"""Only the manifest covers them; section 0 of the document says so, and the receipt of the export covers them too."""

CONTRACT_KEYS = {party: sm2.generate(SeededSource(b"contract " + party.encode())).public for party in PINNED}


def trust_bytes(version: int = 1, **changed: Mapping[str, Any]) -> bytes:
    """The trust file of the world; changed: party -> other members."""
    parties = []
    for party, keys in sorted(PINNED.items()):
        contract = CONTRACT_KEYS[party]
        members = {
            "party": party, "name_zh": NAMES[party][0], "name_en": NAMES[party][1], "contract_key": contract.format(),
            "cosign_ed25519": keys.ed25519.format(), "cosign_sm2": keys.sm2.format(),
        }  # fmt: skip
        parties.append({**members, **changed.get(party, {})})
    return canonical.format({"v": version, "kind": "trust", "parties": parties})


def order_of(places: list[Place], openings: Mapping[int, Mapping[str, Opening]] | None = None, **changed: object) -> PackageOrder:
    values: dict[str, object] = {
        "project": "evidence",
        "exporter": BROKER,
        "made_ms": NOW_MS,
        "actor": "P-1",
        "workspace": "test",
        "selection": Selection("job", JOB),
        "places": places,
        "openings": lambda index: (openings or {}).get(index, {}),
        "withheld": 0,
        "trust": trust_bytes(),
        "keys": NAMED,
        "kinds": KINDS,
        "step": lambda done: None,
        "font": "no such font",  # a PDF takes seconds; tests/package/test_report.py makes one
        **changed,
    }
    return PackageOrder(**values)  # type: ignore[arg-type]  # a table of arguments


def build(world: World, order: PackageOrder, party: PartyId = BROKER) -> tuple[bytes, PackageSummary]:
    node, summary = world.nodes[party], PackageSummary()
    parts = build_package(node.store, party, node.ledger._own_note, order, summary)
    return b"".join(parts), summary


def files_of(package: bytes) -> dict[str, bytes]:
    """The files of a package by name, read by the standard library."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        assert archive.testzip() is None
        return {one: archive.read(one) for one in archive.namelist()}


def packed(files: Mapping[str, bytes]) -> bytes:
    """A package of these files with a manifest made anew, as a careful forger would: the old manifest is not used."""
    container = Container()
    parts = [container.add(name, files[name]) for name in sorted(files) if name != "manifest.json"]
    return b"".join([*parts, container.close()])


def digests(data: bytes) -> tuple[str, str]:
    return hashlib.sha256(data).hexdigest(), sm3.digest(data).hex()


def write_verifier(folder: Path) -> Path:
    path = folder / "verify.py"
    path.write_bytes(verify_py())
    return path



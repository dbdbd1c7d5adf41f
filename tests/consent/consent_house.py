"""One institution in a temporary folder: real database, vault and evidence log, a fixed clock, seeded randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import workbench_consent
from workbench_consent.registry import Registry

from workbench.contracts import ConsentRegistry, Ledger, OperationContext, Transaction
from workbench.crypto import random as random_sources
from workbench.domain.erasure import Terms
from workbench.domain.evidence import EntryRef
from workbench.domain.identifiers import id_check_character
from workbench.domain.party import Caller, PartyId, Person, PersonId, Role
from workbench.store import Database
from workbench.store.blobs import BLOB_MIGRATIONS, Blobs
from workbench.store.evidence_log import EvidenceLog
from workbench.store.restricted import ERASURE_MIGRATIONS, Restricted
from workbench.store.vault import Vault

BEIJING = ZoneInfo("Asia/Shanghai")
HEADER = "phone,id_no,purpose,recipient,valid_from,valid_until,document_digest,channel"
DOCUMENT = "ab" * 32
TERMS = {"consent.": [1096, "测试", "for the test"], "consent.checked": [0, "无", "none"]}


def beijing_ms(text: str) -> int:
    """Milliseconds since the epoch of an instant in Asia/Shanghai, e.g. "2026-11-20 23:59:59.999"."""
    return round(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp() * 1000)


def phone_number(number: int) -> str:
    """A phone with a prefix no carrier has (decision 30)."""
    return f"100{number:08d}"


def identity_number(number: int) -> str:
    """An identity number of an area that does not exist (decision 30), with its check character."""
    body = f"9900001990{1 + number // 28 % 12:02d}{1 + number % 28:02d}{number % 1000:03d}"
    return body + id_check_character(body)


class MemoryLedger:
    """A log that keeps its bodies in memory; enough to read back what was written."""

    name = "memory"

    def __init__(self, party: PartyId) -> None:
        self._party = party
        self.bodies: list[bytes] = []

    def append(self, tx: Transaction, bodies: Sequence[bytes]) -> list[EntryRef]:
        first = len(self.bodies)
        self.bodies += bodies
        return [EntryRef(self._party, first + i, bytes(32)) for i in range(len(bodies))]

    def entry_bodies(self, log: PartyId, start: int, stop: int) -> list[bytes]:
        return self.bodies[start:stop]

    def size(self, log: PartyId) -> int:
        return len(self.bodies)


@dataclass
class Uploads:
    folder: Path

    def path(self, file_id: str) -> Path:
        return self.folder / file_id

    def remove(self, file_id: str) -> None:
        (self.folder / file_id).unlink()


@dataclass
class Downloads:
    offered: dict[str, bytes] = field(default_factory=dict)

    def offer(self, tx: Transaction, caller: Caller, name: str, data: bytes) -> str:
        self.offered[name] = data
        return name


@dataclass
class Lists:
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)

    def frame(self, list_id: str) -> pl.DataFrame:
        return self.frames[list_id]


class House:
    """A node's services without its network: what operations and providers may use."""

    kind = "test"

    def __init__(self, folder: Path) -> None:
        self.party = PartyId("broker")
        self.time_ms = beijing_ms("2026-06-01 12:00:00")
        self.path = folder / "evidence.db"
        self.folder = folder
        self.source = random_sources.SeededSource(b"consent tests")
        self.store = Database(self.path, [*BLOB_MIGRATIONS, *ERASURE_MIGRATIONS, *workbench_consent.workbench_migrations()], reserve_bytes=0)
        self.vault = Vault(self.store, b"\x07" * 32, source=self.source)
        self.ledger = MemoryLedger(self.party)
        self.evidence = EvidenceLog(
            workbench_consent.workbench_evidence_kinds(),
            self.ledger,  # type: ignore[arg-type]  # only what this plugin uses of a ledger
            self.vault,
            now_ms=self.now_ms,
            random=self.source,
            party=self.party,
        )
        self.blobs = Blobs(self.store, self.vault, folder / "blobs", now_ms=self.now_ms, source=self.source)
        self.restricted = Restricted(
            self.vault, self.evidence, self.ledger, self.blobs, party=self.party, terms=Terms(TERMS), now_ms=self.now_ms,  # type: ignore[arg-type]
            source=self.source,
        )  # fmt: skip
        self.uploads = Uploads(folder)
        self.downloads = Downloads()
        self.lists = Lists()
        self.registry = Registry(self)

    def now_ms(self) -> int:
        return self.time_ms

    def random(self, size_bytes: int) -> bytes:
        return self.source(size_bytes)

    def setting(self, name: str) -> Any:
        return {one.name: one.default for one in workbench_consent.workbench_settings()}[name]

    def person_named(self, token: str) -> str:
        return token

    def today(self) -> date:
        return datetime.fromtimestamp(self.time_ms / 1000, BEIJING).date()

    def restricted_customers(self) -> frozenset[str]:
        return frozenset()

    def parties(self) -> Sequence[PartyId]:
        return [PartyId("bank"), PartyId("broker"), PartyId("cardnet")]

    def names(self, party: PartyId) -> tuple[str, str]:
        return f"{party} 机构", f"institution {party}"

    def provider(self, contract: type[Any]) -> Any:
        return {ConsentRegistry: self.registry, Ledger: self.ledger}[contract]

    def write_file(self, lines: Sequence[str], name: str = "consents.csv") -> Path:
        path = self.folder / name
        path.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
        return path

    def give(self, *lines: str, **options: Any) -> Any:
        """Import consent rows written as in a file."""
        return self.registry.import_file(self.write_file(lines), actor="t-compliance", **options)

    def context(self, *roles: Role) -> OperationContext:
        person = Person(PersonId("chen"), self.party, frozenset(roles or {Role.COMPLIANCE}), "陈", "t-chen")
        return OperationContext(self, Caller(person), lambda done, total, zh, en: None, lambda: False)

    def entries(self, kind: str) -> list[dict[str, str]]:
        """All entries of a kind as this institution reads them."""
        with self.store.read() as reader:
            found = [row.index for row in self.evidence.search(reader, kind=kind)]
            return [self.evidence.view(reader, index) for index in sorted(found)]

    def restart(self) -> None:
        """Forget everything in memory, as a new process would."""
        self.registry = Registry(self)


def customer_list(*rows: tuple[str, str | None, str | None]) -> pl.DataFrame:
    """Rows (customer_id, phone, id_no) as a list."""
    columns = ("customer_id", "phone", "id_no")
    return pl.DataFrame(
        {name: [row[i] for row in rows] for i, name in enumerate(columns)}, schema=dict.fromkeys(columns, pl.String)
    )

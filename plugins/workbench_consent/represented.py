"""Who signed for a customer: name, relation, authority; encrypted, found by the number of the grant. docs/consent.md section 19.

Lies in the vault beside the registry, is shown with the grant, goes where the grant goes when the customer is erased, and is in
no entry of the log but sealed under the customer's key (`consent.captured`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical
from workbench.domain.identifiers import mask_name
from workbench.errors import VerificationError
from workbench.intake.grant_scope import SIGNER_FIELDS
from workbench_consent import tables

PREFIX = "represented/"
KIND = "consent.representative"
"""Decides the term after an erasure (setting erasure.retention)."""
LABEL = b"workbench/v1/representatives\n"
BLOCK_RECORDS = 4096
SIGNERS: Mapping[str, tuple[str, str]] = {"guardian": ("监护人", "guardian"), "agent": ("代理人", "agent"), "kin": ("近亲属", "next of kin")}


@dataclass(frozen=True, slots=True)
class Representative:
    """One person who signed for a customer. digest: SM3 of the document of authority in hex, "" where none was given."""

    name: str = field(repr=False)
    relation: str = field(default="", repr=False)
    authority: str = field(default="", repr=False)
    digest: str = ""

    @property
    def text(self) -> str:
        """In one line: who, in what relation, on what authority."""
        return self._told(self.name)

    @property
    def masked(self) -> str:
        """The same with the name masked, for what leaves this institution."""
        return self._told(mask_name(self.name))

    def _told(self, name: str) -> str:
        who = f"{name}（{self.relation}）" if self.relation else name
        return "；".join(one for one in (who, self.authority, f"SM3 {self.digest}" if self.digest else "") if one)

    @property
    def values(self) -> dict[str, str]:
        """By the names of the columns they came in; only what was said."""
        told = dict(zip(SIGNER_FIELDS, (self.name, self.relation, self.authority, self.digest), strict=True))
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Block:
    """What one object of the vault holds: people who signed grants of one import, within 4,096 consecutive records."""

    number: int
    data: bytes = field(repr=False)


def blocks(signers: pl.DataFrame | None, first: int) -> list[Block]:
    """The people named in the rows of an import, whose first record is `first`; none where no row names anybody."""
    if signers is None:
        return []
    named = signers.with_row_index("at").filter(pl.col("signer_name").is_not_null())
    told: dict[int, dict[int, Representative]] = {}
    for at, *texts in named.select("at", *SIGNER_FIELDS).iter_rows():
        record = first + at
        told.setdefault(record // BLOCK_RECORDS, {})[record] = Representative(*(one or "" for one in texts))
    return [Block(number, _format(found)) for number, found in told.items()]


def keep(tx: Transaction, host: Host, event: int, made: Iterable[Block]) -> None:
    """Write the blocks of an import, in the change that writes its grants."""
    for one in made:
        host.vault.put(tx, f"{PREFIX}{event}/{one.number}", one.data)


def of_records(reader: tables.Reader, host: Host, records: Sequence[int]) -> dict[int, Representative]:
    """record -> who signed it for the customer, for those where somebody is named. Cost: 10 ms for each block touched."""
    found: dict[int, Representative] = {}
    for name, wanted in _by_object(reader, host, records).items():
        held = _parse(host.vault.get(reader, name))
        found |= {record: held[record] for record in wanted if record in held}
    return found


def take_out(tx: Transaction, host: Host, records: Sequence[int]) -> dict[str, bytes]:
    """Take the people of these grants out; the objects are written anew under fresh keys. record -> its canonical line."""
    taken: dict[str, bytes] = {}
    for name, wanted in _by_object(tx, host, records).items():
        held = _parse(host.vault.get(tx, name))
        gone = {record: held.pop(record) for record in wanted if record in held}
        if not gone:
            continue
        taken |= {str(record): _line(record, one) for record, one in gone.items()}
        if held:
            host.vault.put(tx, name, _format(held))
        else:
            host.vault.shred(tx, name)
    return taken


def _by_object(reader: tables.Reader, host: Host, records: Sequence[int]) -> dict[str, list[int]]:
    """Object of the vault -> those of the records that it may hold."""
    there = set(host.vault.names(reader, PREFIX))
    if not there or not records:
        return {}
    imports = reader.execute("SELECT seq, first, rows FROM consent_event WHERE kind = 'imported' AND rows > 0 ORDER BY first").fetchall()
    found: dict[str, list[int]] = {}
    place = 0
    for record in sorted(records):
        while place < len(imports) and record >= imports[place][1] + imports[place][2]:
            place += 1
        if place == len(imports):
            break
        name = f"{PREFIX}{imports[place][0]}/{record // BLOCK_RECORDS}"
        if record >= imports[place][1] and name in there:
            found.setdefault(name, []).append(record)
    return found


def _format(held: Mapping[int, Representative]) -> bytes:
    return LABEL + b"".join(_line(record, one) for record, one in sorted(held.items()))


def _line(record: int, one: Representative) -> bytes:
    value = {"authority": one.authority, "digest": one.digest, "name": one.name, "record": record, "relation": one.relation}
    return canonical.format(value) + b"\n"


def _parse(data: bytes) -> dict[int, Representative]:
    """The inverse of `_format`. Raises VerificationError for anything else."""
    return {int(one["record"]): Representative(one["name"], one["relation"], one["authority"], one["digest"]) for one in _lines(data)}


def _lines(data: bytes) -> Iterator[Mapping[str, Any]]:
    if not data.startswith(LABEL) or not data.endswith(b"\n"):
        raise VerificationError(
            "代签人登记不是本程序写入的格式：合规岗核查数据库", "who signed for customers is not as this program wrote it: compliance looks into the database",
            code="CONSENT_ALTERED",
        )  # fmt: skip
    for line in data[len(LABEL) :].splitlines():
        yield canonical.parse_object(line)


__all__ = ["KIND", "PREFIX", "SIGNERS", "Block", "Representative", "blocks", "keep", "of_records", "take_out"]

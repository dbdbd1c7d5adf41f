"""The service key 服务密钥 of this institution and those of its partners: docs/protocols/sandbox.md section 2.

A seventh pair, in the vault, used for evidence, ticks and erase receipts and for nothing else. What a partner states is kept only
when its pinned contract key signed it and it continues what is known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from workbench.contracts import BackgroundWork, Host, Transaction
from workbench.crypto import sm2
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, NotFound, Refused, VerificationError
from workbench_sandbox.formats.servicekey import ServiceKey, parse_service_key, sign_service_key, verify_service_key

VAULT: Final = "inference/service-key"
VALID_DAYS: Final = 365
RENEW_DAYS: Final = 30
"""So long before its end the health page asks for another one."""
DAY_MS: Final = 86_400_000

Reader = sqlite3.Connection | Transaction


class LeasingHost(Host, Protocol):
    """contracts.Host, and what of the node only leasing needs. folder: of the institution; keys: `contract` signs statements."""

    folder: Path
    keys: Any
    background: Iterable[BackgroundWork]
    people: Any
    gate: Any
    question: Any
    downloads: Any
    ledger: Any

    def pinned_keys(self, party: PartyId) -> Any:
        """Public keys of a partner as the allow-list pins them."""

    def log_fault(self, fault: BaseException) -> None:
        """An unexpected failure to the log, without values."""


def send_now(host: LeasingHost) -> None:
    """Let letters that were just written leave now, not within a second; after the change is on disk."""
    letters: Any = host.letters
    letters.wake()


def newest(reader: Reader, party: PartyId) -> tuple[int, bytes] | None:
    """(number, statement as written) of an institution's newest service key; None without any."""
    row = reader.execute("SELECT number, statement FROM inference_service_key WHERE party = ? ORDER BY number DESC LIMIT 1", (party,)).fetchone()
    return (int(row[0]), bytes(row[1])) if row else None


def known(reader: Reader, party: PartyId) -> ServiceKey | None:
    """An institution's newest service key as it is kept here."""
    found = newest(reader, party)
    return parse_service_key(found[1]) if found else None


def every(reader: Reader, party: PartyId) -> list[ServiceKey]:
    """All service keys of an institution, newest first: what an earlier one signed stays what it was."""
    rows = reader.execute("SELECT statement FROM inference_service_key WHERE party = ? ORDER BY number DESC", (party,)).fetchall()
    return [parse_service_key(bytes(one[0])) for one in rows]


def require_known(reader: Reader, party: PartyId) -> ServiceKey:
    """As `known`; VerificationError SERVICE_KEY without one."""
    found = known(reader, party)
    if found is None:
        raise VerificationError(
            f"没有 {party} 的服务密钥声明，其签名无从核对。请双方密钥管理人员核对", f"No service key of {party} is known, so nothing it signed can be checked; key staff of both ends compare",
            code="SERVICE_KEY",
        )  # fmt: skip
    return found


def keep(tx: Transaction, host: LeasingHost, party: PartyId, raw: bytes) -> ServiceKey:
    """A partner's statement as written: checked, and kept when it is new. Raises Refused SERVICE_KEY, which a letter answers with."""
    before = newest(tx, party)
    try:
        found = verify_service_key(
            raw, party=party, contract_key=host.pinned_keys(party).contract, known=parse_service_key(before[1]) if before else None, now_ms=host.now_ms()
        )
    except VerificationError as error:
        raise Refused(error.zh, error.en, code=error.code) from error
    if before is None or parse_service_key(before[1]) != found:
        number = before[0] + 1 if before else 1
        tx.execute("INSERT INTO inference_service_key (party, number, statement, until_ms) VALUES (?, ?, ?, ?)", (party, number, raw, found.until_ms))
    return found


def make(tx: Transaction, host: LeasingHost, *, actor: str = "") -> tuple[int, ServiceKey]:
    """A new pair of this institution; (its number, its statement). The one before it ends with this one's beginning."""
    before = newest(tx, host.party)
    key = sm2.generate(host.random)
    now = host.now_ms()
    previous = parse_service_key(before[1]).digest if before else ""
    value = ServiceKey(host.party, key.public, now, now + VALID_DAYS * DAY_MS, previous)
    written = sign_service_key(value, key=host.keys.contract)
    number = before[0] + 1 if before else 1
    tx.execute("INSERT INTO inference_service_key (party, number, statement, until_ms) VALUES (?, ?, ?, ?)", (host.party, number, written, value.until_ms))
    host.vault.put(tx, VAULT, key.secret_bytes())
    host.evidence.append(tx, "inference.service_key_made", {"statement": written.hex()}, actor=actor)
    return number, value


def own(reader: Reader, host: LeasingHost) -> tuple[sm2.PrivateKey, bytes]:
    """(private key, statement as written) of this institution. Raises KeyUnavailable NO_SERVICE_KEY without one that is valid now."""
    found = newest(reader, host.party)
    if found is not None and parse_service_key(found[1]).until_ms > host.now_ms():
        try:
            return sm2.PrivateKey.parse(host.vault.get(reader, VAULT)), found[1]
        except NotFound:
            pass  # a restored copy: the statement came back, the private half did not
    raise KeyUnavailable(
        "本机构没有有效的服务密钥，不能签发证据、计量或擦除收据。管理员执行 inference.service_key_make 生成",
        "This institution has no valid service key, so it signs no evidence, meter or erase receipt. An administrator makes one by inference.service_key_make",
        code="NO_SERVICE_KEY",
    )


__all__ = ["DAY_MS", "RENEW_DAYS", "VALID_DAYS", "VAULT", "LeasingHost", "Reader", "every", "keep", "known", "make", "newest", "own", "require_known", "send_now"]

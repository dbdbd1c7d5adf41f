"""A node's store at work until it is killed: run by test_killed.py with the path of a database.

Four threads write a row, a message and an entry per change; one acknowledges messages; one stores, replaces and shreds
objects. Whatever the store has confirmed is then told on standard output.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from functools import partial
from pathlib import Path

from plain_ledger import LEDGER_MIGRATION, PlainLedger

from workbench.contracts import Migration, Transaction
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.party import PartyId
from workbench.store import Database, EvidenceLog, Outbox, Vault

MIGRATIONS = [LEDGER_MIGRATION, Migration("host", 1, "CREATE TABLE host_row (name TEXT PRIMARY KEY);")]
KIND = EvidenceKind(
    "test.written",
    (Field("thread", Visibility.SHARED, "线程", "thread"), Field("number", Visibility.COMMITTED, "号", "number")),
    "已写",
    "written",
)
BROKER, BANK = PartyId("broker"), PartyId("bank")


def make_log(database: Database, vault: Vault) -> EvidenceLog:
    ledger = PlainLedger(database, BROKER)
    return EvidenceLog(
        [KIND],
        ledger,  # type: ignore[arg-type]  # the part of the contract that is used here
        vault,
        now_ms=lambda: 1_790_000_000_000,
        random=secrets.token_bytes,
        party=BROKER,
    )


def tell(line: str) -> None:
    os.write(1, line.encode() + b"\n")  # short enough to arrive whole or not at all


def main(path: str, run: str) -> None:
    database = Database(Path(path), MIGRATIONS)
    vault = Vault(database, bytes(range(32)))
    log, outbox = make_log(database, vault), Outbox(database, now_ms=lambda: 1000)

    def write(thread: str) -> None:
        for number in range(100_000):
            name = f"{run}-{thread}-{number}"

            def change(tx: Transaction, name: str = name, number: int = number) -> None:
                tx.execute("INSERT INTO host_row VALUES (?)", (name,))
                outbox.put(tx, BANK, "test", name.encode())
                log.append(tx, KIND.name, {"thread": thread, "number": str(number)}, job=name)

            database.write(change)
            tell(f"row {name}")

    def acknowledge() -> None:
        while True:
            for message in outbox.due(2000, limit=5):
                database.write(partial(outbox.done, message=message.id, now_ms=3000))
                tell(f"done {message.id}")

    def store() -> None:
        for number in range(100_000):
            data = str(number).encode() * 5000
            database.write(partial(vault.put, name="object", data=data))
            tell(f"object {number}")
            if number % 3 == 0:
                database.write(lambda tx: vault.shred(tx, "object"))

    threads = [threading.Thread(target=write, args=(str(i),)) for i in range(4)]
    threads += [threading.Thread(target=acknowledge), threading.Thread(target=store)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

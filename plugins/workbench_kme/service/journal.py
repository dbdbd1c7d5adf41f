"""What the service writes down besides keys: blocks, alarms, switches, what the other end must still be told.

Document: key-delivery.md sections 5, 7 and 8. Every change is one transaction; nothing here is a key but the
authentication pool, which is sealed by the device.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workbench.contracts import Store, Transaction
from workbench.crypto import canonical
from workbench_kme.service.views import Alarm, Block

Clock = Callable[[], int]

_BLOCK_COLUMNS = tuple(one.name for one in dataclasses.fields(Block))
_SENTENCES: dict[str, tuple[str, str]] = {
    "qber-drift": (
        "误码率相对该线路的基线显著升高：可能有人在线窃听，或器件失准；请运维人员检查线路",
        "the error rate has risen against the line's baseline: an eavesdropper, or a device out of tune; operators check",
    ),
    "rate-collapse": (
        "成码率相对基线骤降：该数据块不用，请运维人员检查线路",
        "the key rate has collapsed against the baseline: the block is not used; operators check the line",
    ),
    "gain-shift": (
        "不同光强的计数率相对基线偏移：可能有人在拆分光子；请运维人员检查线路",
        "the gains have shifted against the baseline: somebody may be splitting photons; operators check the line",
    ),
    "qber-limit": (
        "误码率超过上限，不可能安全成码：请运维人员检查线路",
        "the error rate is above the limit, no key can be secure: operators check the line",
    ),
    "verification": (
        "数据块纠错、校验或认证未通过：该块不用；持续出现请检查线路与对端",
        "a block failed correction, verification or authentication and is not used: if it lasts, check the line",
    ),
    "peer-unreachable": (
        "对端密钥管理实体没有回应：请双方运维人员检查进程与网络",
        "the other key-management entity does not answer: operators of both sites check process and network",
    ),
    "other-tenant": (
        "线路 {line} 两端的租户标记不同，一律不成码、不交付：双方运维人员核对 kme.json 中该线路的标记",
        "the ends of line {line} name different tenants, so no key is made or given out: operators of both sites check its tag in kme.json",
    ),
    "out-of-step": (
        "两端密钥库不一致，正在重新同步：持续出现请密钥管理员处理",
        "the key stores of both ends differ and are being brought in step: if it lasts, key staff must act",
    ),
    "restored-copy": (
        "本站密钥库是较早的副本：可能用过的密钥已全部作废",
        "this site's key store is an older copy: every key that may have been used is destroyed",
    ),
    "low-stock": (
        "密钥存量低于警戒线：请减少用量或检查产生速度",
        "the stock of keys is below its low-water mark: use fewer, or check how fast they are made",
    ),
    "authentication-low": (
        "线路 {line} 的认证密钥即将用尽，仍在成码：两端密钥管理员准备同一份新的初始秘密（workbench qkd initial-secret）",
        (
            "the authentication pool of line {line} is nearly used up, keys are made yet: key staff of both ends prepare one"
            " new initial secret (workbench qkd initial-secret)"
        ),
    ),
    "authentication-stopped": (
        (
            "线路 {line} 的认证密钥池停用：已用尽，或可能是用过的旧副本。不再成码，库存用完即止；两端密钥管理员换入同一份新的初始秘密"
            "（workbench qkd initial-secret），两端重启密钥管理实体"
        ),
        (
            "the authentication pool of line {line} is out of use: spent, or perhaps an older copy that was used since. No key"
            " is made any more, what is in stock is the last; key staff of both ends put in one new initial secret (workbench"
            " qkd initial-secret) and restart both key-management entities"
        ),
    ),
    "self-test": (
        "密码设备自检未通过，已停用：请密钥管理员更换或修复",
        "the device failed its self-test and is disabled: key staff replace or repair it",
    ),
}


@dataclass(frozen=True, slots=True)
class LineRecord:
    """The switches of a line. pool_key, pool: sealed, None before the first block."""

    next_block: int
    policy: str
    paused: bool
    eavesdropper: tuple[str, int]
    pool_key: bytes | None = field(repr=False)
    pool: bytes | None = field(repr=False)


class Journal:
    """The service's tables. now_ms: the clock of every record."""

    def __init__(self, store: Store, *, now_ms: Clock) -> None:
        self._store, self._now_ms = store, now_ms

    # ---- lines

    def add_line(self, line: str, *, policy: str) -> None:
        """Make the record of a line unless it is there; a policy once set stays."""
        self._store.write(
            lambda tx: tx.execute("INSERT OR IGNORE INTO service_line (line, policy) VALUES (?, ?)", (line, policy))
        )

    def line(self, line: str) -> LineRecord:
        """The switches of a line."""
        with self._store.read() as reader:
            row = reader.execute(
                "SELECT next_block, policy, paused, eve_kind, eve_ppm, pool_key, pool FROM service_line WHERE line = ?",
                (line,),
            ).fetchone()
        return LineRecord(row[0], row[1], bool(row[2]), (row[3], row[4]), row[5], row[6])

    def take_block_number(self, line: str, block: int) -> bool:
        """Write down that this number is used; False when it, or a higher one, was used before."""

        def change(tx: Transaction) -> bool:
            row = tx.execute("SELECT next_block FROM service_line WHERE line = ?", (line,)).fetchone()
            if block < row[0]:
                return False
            tx.execute("UPDATE service_line SET next_block = ? WHERE line = ?", (block + 1, line))
            return True

        return self._store.write(change)

    def set_policy(self, line: str, policy: str) -> None:
        """Keep a policy."""
        self._store.write(lambda tx: tx.execute("UPDATE service_line SET policy = ? WHERE line = ?", (policy, line)))

    def set_paused(self, line: str, paused: bool) -> None:
        """Keep whether blocks are made."""
        self._store.write(lambda tx: tx.execute("UPDATE service_line SET paused = ? WHERE line = ?", (paused, line)))

    def set_eavesdropper(self, line: str, kind: str, ppm: int) -> None:
        """Keep the switch of a demonstration line."""
        self._store.write(
            lambda tx: tx.execute("UPDATE service_line SET eve_kind = ?, eve_ppm = ? WHERE line = ?", (kind, ppm, line))
        )

    def set_pool(self, line: str, pool_key: bytes, pool: bytes) -> None:
        """Keep the sealed authentication pool; on disk when it returns."""
        self._store.write(
            lambda tx: tx.execute(
                "UPDATE service_line SET pool_key = ?, pool = ? WHERE line = ?", (pool_key, pool, line)
            )
        )

    # ---- blocks

    def add_block(self, block: Block, counts: Any) -> None:  # Any: plain JSON
        """Write down what came of a block, and what its line's baseline learns from."""
        row = (*(getattr(block, name) for name in _BLOCK_COLUMNS), canonical.format(counts).decode("ascii"))
        columns, marks = ", ".join((*_BLOCK_COLUMNS, "counts")), ", ".join("?" * len(row))
        self._store.write(
            lambda tx: tx.execute(f"INSERT OR REPLACE INTO service_block ({columns}) VALUES ({marks})", row)
        )

    def set_block_state(self, line: str, block: int, state: str) -> None:
        """A block that was quarantined afterwards."""
        self._store.write(
            lambda tx: tx.execute(
                "UPDATE service_block SET state = ? WHERE line = ? AND block = ?", (state, line, block)
            )
        )

    def blocks(self, line: str, *, limit: int, before: int = -1) -> list[Block]:
        """Newest first."""
        with self._store.read() as reader:
            rows = reader.execute(
                f"SELECT {', '.join(_BLOCK_COLUMNS)} FROM service_block"
                " WHERE line = ? AND (? < 0 OR block < ?) ORDER BY block DESC LIMIT ?",
                (line, before, before, limit),
            ).fetchall()
        return [Block(*row) for row in rows]

    def first_counts(self, line: str, number: int) -> list[tuple[Any, int, int]]:  # Any: plain JSON
        """(counts, pulses, secret bits) of the first good blocks of a line."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT counts, pulses, length_bits FROM service_block"
                " WHERE line = ? AND state = 'stored' AND counts <> 'null' ORDER BY block LIMIT ?",
                (line, number),
            ).fetchall()
        return [(canonical.parse(row[0].encode("ascii")), row[1], row[2]) for row in rows]

    # ---- alarms

    def raise_alarm(self, line: str, kind: str, *, block: int = -1, value: float = -1.0, limit: float = -1.0) -> bool:
        """An alarm of this kind stands on the line; False when it did before."""

        def change(tx: Transaction) -> bool:
            return (
                tx.execute(
                    "INSERT OR IGNORE INTO service_alarm (line, kind, block, raised_ms, value, threshold)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (line, kind, block, self._now_ms(), value, limit),
                ).rowcount
                == 1
            )

        return self._store.write(change)

    def clear_alarms(self, line: str, kinds: tuple[str, ...]) -> int:
        """End alarms of these kinds; how many stood."""
        marks = ", ".join("?" * len(kinds))
        return self._store.write(
            lambda tx: (
                tx.execute(
                    f"UPDATE service_alarm SET cleared_ms = ? WHERE line = ? AND cleared_ms = 0 AND kind IN ({marks})",
                    (self._now_ms(), line, *kinds),
                ).rowcount
            )
        )

    def alarms(self, *, line: str = "", open_only: bool = False, limit: int = 100) -> list[Alarm]:
        """Newest first. line: "" for all."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT number, line, kind, block, raised_ms, cleared_ms, value, threshold FROM service_alarm"
                " WHERE (? = '' OR line = ?) AND (NOT ? OR cleared_ms = 0) ORDER BY number DESC LIMIT ?",
                (line, line, open_only, limit),
            ).fetchall()
        return [
            Alarm(
                row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7],
                zh=zh.format(line=row[1]), en=en.format(line=row[1]),
            )
            for row in rows
            for zh, en in (_SENTENCES[row[2]],)
        ]

    def open_kinds(self, line: str) -> set[str]:
        """Kinds of the alarms that stand on a line."""
        with self._store.read() as reader:
            rows = reader.execute("SELECT kind FROM service_alarm WHERE line = ? AND cleared_ms = 0", (line,))
            return {row[0] for row in rows}

    # ---- a memory of names

    def was_used(self, name: str) -> bool:
        """Whether `use_once` saw this name."""
        with self._store.read() as reader:
            return reader.execute("SELECT 1 FROM service_used WHERE name = ?", (name,)).fetchone() is not None

    def use_once(self, name: str) -> bool:
        """Write a name down for ever; False when it was there."""
        return self._store.write(
            lambda tx: (
                tx.execute("INSERT OR IGNORE INTO service_used VALUES (?, ?)", (name, self._now_ms())).rowcount == 1
            )
        )

    # ---- what the other end must still be told

    def tell(self, line: str, body: dict[str, Any]) -> None:  # Any: plain JSON
        """Keep a message until the other end has answered it."""
        text = canonical.format(body).decode("utf-8")
        self._store.write(lambda tx: tx.execute("INSERT INTO service_told (line, body) VALUES (?, ?)", (line, text)))

    def untold(self, line: str) -> list[tuple[int, dict[str, Any]]]:
        """What was not answered yet, oldest first, at most 100."""
        with self._store.read() as reader:
            rows: list[sqlite3.Row] = reader.execute(
                "SELECT number, body FROM service_told WHERE line = ? ORDER BY number LIMIT 100", (line,)
            ).fetchall()
        return [(row[0], canonical.parse_object(row[1].encode("utf-8"))) for row in rows]

    def told(self, number: int) -> None:
        """The other end has answered."""
        self._store.write(lambda tx: tx.execute("DELETE FROM service_told WHERE number = ?", (number,)))

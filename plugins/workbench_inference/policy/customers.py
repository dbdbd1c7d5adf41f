"""Names, numbers and risk classes of the institution's customers: digests in memory, made anew when a list comes, goes or is corrected."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.contracts import ConsentRegistry, FindsCustomers
from workbench.domain.identifiers import RISK_LEVELS
from workbench.errors import Refused
from workbench_inference.policy import stages, tables
from workbench_inference.policy.channels import Standing
from workbench_inference.policy.cohort import cap_of
from workbench_inference.policy.redaction import PAIRS, KnownNames, Pairs
from workbench_inference.policy.tables import Reader

UNKNOWN = len(RISK_LEVELS)
"""A customer whose class no list states."""


@dataclass(frozen=True, slots=True)
class _Classes:
    """keys: first eight bytes of customers' tokens, ascending, each once; levels: beside them C1 = 0 to C5 = 4, or UNKNOWN. Nine
    bytes a customer; of two rows of one customer the lower class counts."""

    keys: npt.NDArray[np.uint64] = field(repr=False)
    levels: npt.NDArray[np.uint8] = field(repr=False)

    def of(self, token: str) -> int | None:
        """None where no list has this customer."""
        wanted = np.frombuffer(bytes.fromhex(token)[:8], ">u8")[0]
        at = int(np.searchsorted(self.keys, wanted))
        return int(self.levels[at]) if at < len(self.keys) and self.keys[at] == wanted else None


class CustomerNames:
    """One for a node, shared by its threads. Cost: reading every list once after a change, about 3 microseconds a name, eight bytes kept for
    each; classes the same, the first time that a customer asks after a change."""

    def __init__(self, host: Any) -> None:  # Any: the node, with its lists
        self._host = host
        self._key: bytes = host.random(32)
        self._lock = threading.Lock()
        self._seen: object = None
        self._known = KnownNames.of((), key=self._key)
        self._indexed = -1
        self._seen_classes: object = None
        self._classes = _Classes(np.empty(0, np.uint64), np.empty(0, np.uint8))

    def now(self) -> KnownNames:
        """What the lists hold at this moment. Raises what reading a list raises: without it nothing may be sent."""
        lists, seen = self._lists()
        with self._lock:
            if seen != self._seen:
                self._known = KnownNames.of(self._column(lists, "name"), key=self._key, accounts=self._column(lists, "customer_id"))
                self._seen, self._indexed = seen, -1
            self._look_at_documents()
            return self._known

    def standing(self, reader: Reader, tokens: tuple[str, ...]) -> Standing:
        """What this institution's records say of the customer with these tokens; the class is never the caller's word.

        Raises Refused RESTRICTIONS_UNKNOWN, NO_CUSTOMER_TOKENS, COHORT_CAP: where they cannot be read, nobody comes in.
        """
        now = self._host.now_ms()
        classes = self._classes_now()
        levels = [level for one in tokens if (level := classes.of(one)) is not None]
        known = [level for level in levels if level < UNKNOWN]
        return Standing(
            stages.stage(reader), tables.cohort_size(reader, now), cap_of(int(self._host.setting("inference.cohort_cap"))), bool(levels),
            bool(set(tokens) & self._host.restricted_customers()), tables.is_invited(reader, tokens, now), RISK_LEVELS[min(known)] if known else "",
        )  # fmt: skip

    def _look_at_documents(self) -> None:
        """Put beside the names which characters go together in this institution's documents, as the newest index counted them."""
        with self._host.store.read() as reader:
            indexed = reader.execute("SELECT coalesce(max(entry_idx), 0) FROM evidence_index WHERE kind = 'inference.corpus_indexed'").fetchone()[0]
            if indexed == self._indexed:
                return
            pairs = Pairs.read(self._host.vault.get(reader, PAIRS)) if self._host.vault.names(reader, PAIRS) else Pairs()
        self._known, self._indexed = self._known.beside(pairs), indexed

    def forget(self) -> None:
        """A customer was erased: read the lists again."""
        with self._lock:
            self._seen = self._seen_classes = None

    def _lists(self) -> tuple[Any, object]:
        """Lists of this moment, and what changes with them: a corrected list has its old name and length."""
        lists = self._host.lists.everything()
        with self._host.store.read() as reader:
            corrected = reader.execute("SELECT max(entry_idx) FROM evidence_index WHERE kind = 'lists.corrected'").fetchone()[0]
        return lists, (corrected, *sorted((one.list_id, one.rows) for one in lists))

    def _classes_now(self) -> _Classes:
        lists, seen = self._lists()
        with self._lock:
            if seen != self._seen_classes:
                self._classes = self._read_classes(lists)
                self._seen_classes = seen
            return self._classes

    def _read_classes(self, lists: Any) -> _Classes:
        registry: Any = self._host.provider(ConsentRegistry)
        if not isinstance(registry, FindsCustomers):
            raise Refused(
                "授权登记不能按客户查找，因此不知道客户的等级。管理员检查插件", "the consent registry cannot find customers, so their class is not known: an administrator checks the plugin",
                code="NO_CUSTOMER_TOKENS",
            )  # fmt: skip
        keys, levels = [np.empty(0, np.uint64)], [np.empty(0, np.uint8)]
        for one in lists:
            frame = self._host.lists.frame(one.list_id)
            rows = frame.select("phone", "risk_level").drop_nulls("phone")
            tokens = registry.tokens_of(phones=rows["phone"].to_list(), id_nos=())
            keys.append(np.frombuffer(bytes.fromhex("".join(token[:16] for token in tokens)), ">u8").astype(np.uint64))
            levels.append(np.array([RISK_LEVELS.index(level) if level in RISK_LEVELS else UNKNOWN for level in rows["risk_level"].to_list()], np.uint8))
        every, stated = np.concatenate(keys), np.concatenate(levels)
        order = np.lexsort((stated, every))
        every, stated = every[order], stated[order]
        first = np.ones(len(every), bool)
        first[1:] = every[1:] != every[:-1]
        return _Classes(every[first], stated[first])

    def _column(self, lists: Any, name: str) -> Iterator[str]:
        for one in lists:
            frame = self._host.lists.frame(one.list_id)
            if name in frame.columns:
                yield from frame[name].drop_nulls().unique()


__all__ = ["UNKNOWN", "CustomerNames"]

"""Keys for a master in one change of this end, while the other end makes its own: what an entity does for a request.

Document: docs/protocols/key-delivery.md sections 1 and 2.1. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from workbench.contracts import Transaction
from workbench.errors import VerificationError
from workbench_kme.keys import ending, taking
from workbench_kme.keys.core import Core, cut_off
from workbench_kme.keys.model import KEY_BITS, KeyValue, Position, Provenance, Reservation, State
from workbench_kme.keys.quota import Quota


class Together:
    """`reserve` and `hand_out` of a store in one change. default_quota: as of the store."""

    def __init__(self, core: Core, default_quota: Quota | None) -> None:
        self._core, self._quota = core, default_quota
        self._unkept: dict[str, Position] = {}
        """Up to where the other end of a line may have heard of keys whose change was lost here."""
        self._lock = threading.Lock()

    def take(
        self,
        line: str,
        master: str,
        slaves: Sequence[str],
        *,
        number: int = 1,
        size: int = KEY_BITS,
        origins: Collection[Provenance] = (),
        tell: Callable[[Reservation], None],
    ) -> tuple[Reservation, list[KeyValue]]:
        """STORED → RESERVED, with the values out for the master: they are with the caller alone from then on.

        tell: called inside the change, once the mark covers the keys, so that the other end may hear of them while
        this one commits; it must not wait. Give the values out when the other end has accepted and `check` returned;
        otherwise wipe them and `withhold` the keys. Raises as the two steps do, and StorageFailed also after `tell`:
        then these keys are gone, and both ends compare before others are taken.
        """
        self._core.session.check()
        self.cut_unkept(line)
        chosen: list[UUID] = []
        values: list[KeyValue] = []
        told: list[Position] = []

        def work(tx: Transaction, now: int) -> Reservation:
            reservation, keys = taking.reserve(
                self._core, tx, now, self._core.line(tx, line), master, slaves,
                number=number, size=size, origins=origins, default_quota=self._quota,
            )  # fmt: skip
            chosen.extend(reservation.key_ids)
            values.extend(taking.give_out(self._core, tx, now, keys, master))
            positions = [Position(one.block, one.index) for one in values]
            self._core.cover(line, positions)
            told.extend(positions)
            tell(reservation)
            return reservation

        try:
            return self._core.change(work), values
        except BaseException as error:
            for value in values:
                value.wipe()
            if told:
                with self._lock:
                    self._unkept[line] = max(*told, self._unkept.get(line, told[0]))
            elif isinstance(error, VerificationError):
                self._core.strict_change(
                    lambda tx, now: ending.end(tx, now, chosen, State.QUARANTINED, reason="altered")
                )
            raise

    def check(self, reservation: Reservation) -> None:
        """Return if nothing has come between since the keys were taken.

        Raises KeyUnavailable KEY_GONE, KME_UNCONFIRMED, OUT_OF_STEP.
        """
        with self._core.database.read() as reader:
            self._core.check_usable(reader, self._core.line(reader, reservation.line))
            taking.check_reserved(reader, reservation.key_ids)

    def withhold(self, line: str, key_ids: Sequence[UUID], *, refused: Collection[UUID] = ()) -> None:
        """Taken keys whose values did not leave: what the other end refused is QUARANTINED, the rest DESTROYED."""
        self._core.strict_change(
            lambda tx, now: ending.withhold(tx, now, self._core.line(tx, line), key_ids, refused=refused)
        )

    def cut_all_unkept(self) -> None:
        """`cut_unkept` of every line. Raises StorageFailed: then no clean end may be written down."""
        with self._lock:
            lines = list(self._unkept)
        for line in lines:
            self.cut_unkept(line)

    def cut_unkept(self, line: str) -> None:
        """Destroy here what the other end may hold as reserved although this end's change was lost.

        As an opening does after a crash, so that a comparison does not take this end for an older copy. Raises StorageFailed.
        """
        with self._lock:
            position = self._unkept.get(line)
        if position is None:
            return
        self._core.strict_change(lambda tx, now: cut_off(tx, now, self._core.line(tx, line).number, line, position))
        with self._lock:
            if self._unkept.get(line) == position:
                del self._unkept[line]

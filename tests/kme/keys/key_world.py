"""Two key stores of one line, each with its own folder, device and clock; closed, killed, copied and restored at will."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from workbench.crypto import random
from workbench.store import Database

from workbench_kme.devices import Device, Session, Suite, pkcs11
from workbench_kme.devices.device import fresh_keys
from workbench_kme.devices.soft import SoftKek
from workbench_kme.keys import KEY_MIGRATIONS, KeyStore, Line, Provenance, Quota, Reservation

SENDER, RECEIVER, LINE = "KME-A", "KME-B", "line-1"
PIN, TOKEN = "1234", "kme-test"
FREE_QUOTA = Quota(10**6, 10**6)


needs_softhsm = pytest.mark.skipif(pkcs11.usual_module() is None, reason="SoftHSM2 is not installed (make system)")


def token_module() -> Path:
    """The library of SoftHSM2."""
    module = pkcs11.usual_module()
    assert module is not None
    return module


def make_device(seed: bytes, suite: Suite = Suite.SM4_GCM) -> Device:
    """A soft device without a file; the passphrase step is tested on its own."""
    source = random.SeededSource(seed)
    backend = SoftKek(source(16 if suite is Suite.SM4_GCM else 32), source(8), suite)
    return Device(backend, fresh_keys(backend, source))


@dataclass
class Clock:
    """Milliseconds since the epoch, set by hand."""

    ms: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


@dataclass
class End:
    """One end of the line."""

    folder: Path
    name: str
    session: Session
    clock: Clock = field(default_factory=Clock)
    limits: dict[str, int] = field(default_factory=dict)
    peer_required: bool = False
    quota: Quota | None = FREE_QUOTA

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.open()

    @property
    def path(self) -> Path:
        return self.folder / "keys.sqlite"

    @property
    def mark(self) -> Path:
        return self.folder / "keys.sqlite.mark"

    def open(self) -> None:
        self.database = Database(self.path, KEY_MIGRATIONS, reserve_bytes=0)
        self.store = KeyStore(
            self.database, self.session, now_ms=self.clock, default_quota=self.quota, peer_required=self.peer_required
        )
        self.store.register_line(Line(LINE, SENDER, RECEIVER, self.name, **self.limits))

    def close(self) -> None:
        self.store.close()
        self.database.close()

    def kill(self) -> None:
        """End without the clean mark, as a killed process does."""
        self.database.close()

    def reopen(self, *, clean: bool = True) -> None:
        self.close() if clean else self.kill()
        self.open()

    def copy(self) -> Path:
        """A copy of the database alone, as a backup makes it."""
        target = self.folder / "copy.sqlite"
        target.unlink(missing_ok=True)
        self.database.backup(target)
        return target

    def restore(self, copy: Path, *, mark: bytes | None = None, clean: bool = True) -> None:
        """Put an older copy in the place of the database; mark: an older mark too."""
        self.close() if clean else self.kill()
        for name in ("-wal", "-shm"):
            self.path.with_name(self.path.name + name).unlink(missing_ok=True)
        shutil.copyfile(copy, self.path)
        if mark is not None:
            self.mark.write_bytes(mark)
        self.open()


class TwoEnds:
    """Both ends of the line with blocks at will."""

    def __init__(self, folder: Path, sessions: tuple[Session, Session], **limits: int) -> None:
        clock = Clock()
        self.sender = End(folder / "a", SENDER, sessions[0], clock, limits)
        self.receiver = End(folder / "b", RECEIVER, sessions[1], clock, limits)
        self.clock = clock
        self._source = random.SeededSource(b"blocks")

    def add_block(self, keys: int, block: int | None = None) -> bytes:
        """A block at both ends, STORED; returns its bytes."""
        number = self.sender.store.next_block(LINE) if block is None else block
        value = self._source(32 * keys)
        ours = self.sender.store.add_block(LINE, number, Provenance.SIMULATED, value)
        theirs = self.receiver.store.add_block(LINE, number, Provenance.SIMULATED, value)
        self.sender.store.confirm_block(LINE, number, theirs.check)
        self.receiver.store.confirm_block(LINE, number, ours.check)
        return value

    def deliver(self, number: int = 1, master: str = "app-a", slave: str = "app-b") -> list[tuple[UUID, bytes]]:
        """Keys all the way from the sender's master to the receiver's slave; both values agree."""
        reservation = self.reserve(number, master, slave)
        ours = self.sender.store.hand_out(reservation.key_ids, master)
        theirs = self.receiver.store.deliver(reservation.key_ids, slave, master=master)
        assert [one.value for one in ours] == [one.value for one in theirs]
        self.sender.store.report_delivered(LINE, reservation.key_ids)
        return [(one.key_id, bytes(one.value)) for one in ours]

    def reserve(self, number: int = 1, master: str = "app-a", *slaves: str) -> Reservation:
        """Keys set aside at both ends."""
        reservation = self.sender.store.reserve(LINE, master, slaves or ("app-b",), number=number)
        self.receiver.store.accept(reservation)
        return reservation

    def sync(self) -> tuple[object, object]:
        """Each end tells the other, and bitmaps follow where they must."""
        states = self.sender.store.sync_state(LINE), self.receiver.store.sync_state(LINE)
        reports = self.sender.store.apply_sync(states[1]), self.receiver.store.apply_sync(states[0])
        blocks = sorted({*reports[0].differing, *reports[1].differing})
        maps = {one: (self.sender.store.bitmap(LINE, one), self.receiver.store.bitmap(LINE, one)) for one in blocks}
        for one, (ours, theirs) in maps.items():
            self.sender.store.apply_bitmap(LINE, one, theirs)
            self.receiver.store.apply_bitmap(LINE, one, ours)
        return reports

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()

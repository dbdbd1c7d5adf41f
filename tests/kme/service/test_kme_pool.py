"""The authentication pool across restarts, copies and losses (docs/protocols/qkd.md section 5): no pad is drawn twice."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.crypto import random
from workbench.errors import KeyUnavailable, StorageFailed
from workbench.store import Database

from workbench_kme.devices import Device, Session, Suite
from workbench_kme.devices.device import fresh_keys
from workbench_kme.devices.soft import SoftKek
from workbench_kme.distill import AuthenticationPool
from workbench_kme.keys import KEY_MIGRATIONS, KeyStore, Line
from workbench_kme.service.journal import Journal
from workbench_kme.service.pool import AHEAD_BYTES, LOW_BYTES, PoolKeeper
from workbench_kme.service.schema import SERVICE_MIGRATIONS

LINE = "line-1"
_RANDOM = random.SeededSource(b"secrets of a line")
FIRST, SECOND, THIRD = (_RANDOM(2 * 8192) for _ in range(3))
Place = tuple[int, int]


class Site:
    """The folder of one end: key store, journal, mark and the pool of one line; killed, copied and restored at will."""

    def __init__(self, folder: Path, session: Session) -> None:
        self.path, self.mark, self.session = folder / "kme.sqlite", folder / "kme.mark", session
        self.secret = FIRST
        self.open()

    def open(self) -> None:
        self.database = Database(self.path, (*KEY_MIGRATIONS, *SERVICE_MIGRATIONS), reserve_bytes=0)
        self.store = KeyStore(self.database, self.session, mark=self.mark)
        self.store.register_line(Line(LINE, "KME-A", "KME-B", "KME-A"))
        self.journal = Journal(self.database, now_ms=lambda: 0)
        self.journal.add_line(LINE, policy="pqc-only")
        self.keeper = self.make_keeper()

    def make_keeper(self, line: str = LINE, *, distils: bool = True) -> PoolKeeper:
        mark = self.store.core.keeper
        return PoolKeeper(self.journal, self.session, line, self.secret, is_sender=True, mark=mark, distils=distils)

    def close(self) -> None:
        self.store.close()
        self.database.close()

    def reopen(self, *, clean: bool = True) -> None:
        self.close() if clean else self.database.close()
        self.open()

    def copy(self) -> Path:
        target = self.path.with_name("copy.sqlite")
        self.database.backup(target)
        return target

    def put_back(self, copy: Path | None) -> None:
        """End as if killed, and go on with an older copy of the database, or with none."""
        self.database.close()
        for name in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + name).unlink(missing_ok=True)
        if copy is not None:
            shutil.copyfile(copy, self.path)
            self.path.chmod(0o600)
        self.open()

    def bring(self, secret: bytes) -> None:
        """People put another secret into the folder and restart."""
        self.secret = secret
        self.reopen()

    def send(self, number: int = 1) -> list[Place]:
        """Draw for messages and let them leave; where their pads began."""
        drawn = [self.keeper.pool().draw(16) for _ in range(number)]
        self.keeper.before_sending()
        return [(one.segment, one.offset) for one in drawn]

    def is_refused(self) -> bool:
        try:
            self.keeper.pool()
        except KeyUnavailable as error:
            assert error.code == "POOL_UNREADABLE" and "secrets.json" in error.en
            assert self.keeper.is_low and self.keeper.is_stopped, "people are told by an alarm"
            return True
        return False


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    source = random.SeededSource(b"device")
    backend = SoftKek(source(16), source(8), Suite.SM4_GCM)
    with Device(backend, fresh_keys(backend, source)) as device:
        yield device.open_session()


@pytest.fixture
def site(session: Session) -> Iterator[Site]:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="kme-", dir=shared if shared.is_dir() else None))
    made = Site(folder, session)
    yield made
    made.close()
    shutil.rmtree(folder)


def test_no_restart_and_no_kill_draws_a_pad_twice(site: Site) -> None:
    source, seen = random.SeededSource(b"steps"), set[Place]()
    for step in source(60):
        sent = site.send(1 + step % 40)
        assert not seen & set(sent)
        seen |= set(sent)
        if step % 5 == 0:
            site.keeper.after_block()
        if step % 3 == 0:
            site.reopen(clean=step % 2 == 0)
        if site.keeper.pool().own_bytes < 60 * 16:
            break
    assert len(seen) > 100


def test_a_restart_costs_no_more_than_what_ran_ahead(site: Site) -> None:
    ((_, last),) = site.send()
    site.keeper.after_block()
    for _ in range(3):
        site.reopen()
        site.keeper.pool()
    assert site.keeper.pool().draw(16).offset <= last + 16 + AHEAD_BYTES


def test_a_copy_that_the_key_store_takes_for_a_crash_is_no_pool_any_more(site: Site) -> None:
    """Drawing counts as no change of the key store: only the positions in the mark tell."""
    site.send()
    site.keeper.after_block()
    copy = site.copy()
    site.send(AHEAD_BYTES // 16 + 1)
    site.put_back(copy)
    assert not site.store.status(LINE).older_copy
    assert site.is_refused()
    site.reopen()
    assert site.is_refused(), "and a clean restart does not heal it"


def test_what_the_other_end_sent_since_a_copy_counts_as_well(site: Site) -> None:
    site.send()
    copy = site.copy()
    site.keeper.pool().accept(0, 64)
    site.keeper.after_block()
    site.put_back(copy)
    assert site.is_refused()


def test_an_older_copy_of_the_store_needs_a_new_secret_even_where_nothing_was_drawn_since(site: Site) -> None:
    site.send()
    site.keeper.after_block()
    copy = site.copy()
    site.store.charges.fill("li.ming", "card-1", LINE, 1)
    site.put_back(copy)
    assert site.store.status(LINE).older_copy
    assert site.is_refused()
    site.bring(SECOND)
    assert site.send()[0] == (0, 0), "a new secret begins at its start"
    for used in (FIRST, SECOND, FIRST):
        site.bring(used)
        assert site.is_refused() == (used == FIRST)


def test_a_deleted_database_does_not_begin_the_secret_again(site: Site) -> None:
    site.send()
    site.put_back(None)
    assert site.is_refused()
    site.reopen()
    assert site.is_refused()
    site.bring(SECOND)
    assert site.send()[0] == (0, 0)
    site.put_back(None)
    for used in (FIRST, SECOND, THIRD):
        site.bring(used)
        assert site.is_refused() == (used != THIRD)


@pytest.mark.parametrize("harm", ["missing", "altered", "both"])
def test_where_the_mark_is_lost_the_secret_in_place_is_not_used_again(site: Site, harm: str) -> None:
    site.send()
    site.close()
    data = site.mark.read_bytes()
    site.mark.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    if harm == "missing":
        site.mark.unlink()
    if harm == "both":
        site.path.unlink()
    site.open()
    assert site.is_refused()
    site.reopen()
    assert site.is_refused()
    site.bring(SECOND)
    assert site.send()[0] == (0, 0)
    site.bring(FIRST)
    assert site.is_refused()


def test_a_lost_mark_beside_a_database_from_before_the_first_block_brings_no_secret_back(site: Site) -> None:
    copy = site.copy()
    site.send()
    site.mark.unlink()
    site.put_back(copy)
    assert site.is_refused()


def test_a_mark_from_before_a_secret_says_nothing_of_it(site: Site) -> None:
    old = site.mark.read_bytes()
    site.send()
    site.database.close()
    site.mark.write_bytes(old)
    site.open()
    assert site.is_refused()
    site.bring(SECOND)
    assert site.send()[0] == (0, 0)
    site.bring(FIRST)
    assert site.is_refused()


def test_a_kill_between_record_and_mark_costs_no_secret(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.keeper.pool()
    site.reopen(clean=False)  # the mark names the secret, the record is not there yet
    for _ in range(2):
        drawn = [site.keeper.pool().draw(16) for _ in range(AHEAD_BYTES // 16 + 1)][-1]

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", full)
            with pytest.raises(StorageFailed, match="MARK_NOT_WRITTEN"):
                site.keeper.before_sending()  # so the message does not leave
        site.reopen(clean=False)
        assert site.send()[0] > (drawn.segment, drawn.offset)


def test_a_pool_in_use_stops_when_the_other_end_proves_the_store_older(site: Site) -> None:
    site.send()
    site.store.core.keeper.retire_secrets("another-line")
    site.send()
    site.store.core.keeper.retire_secrets(LINE)
    assert site.is_refused()


def test_an_altered_record_needs_a_new_secret_and_gets_one(site: Site) -> None:
    site.send()
    record = site.journal.line(LINE)
    assert record.pool is not None and record.pool_key is not None
    site.journal.set_pool(LINE, record.pool_key, record.pool[:-1] + bytes([record.pool[-1] ^ 1]))
    site.reopen()
    assert site.is_refused()
    site.bring(SECOND)
    assert site.send()[0] == (0, 0)


def test_two_lines_do_not_share_a_secret(site: Site) -> None:
    site.send()
    site.store.register_line(Line("line-2", "KME-A", "KME-C", "KME-A"))
    site.journal.add_line("line-2", policy="pqc-only")
    with pytest.raises(KeyUnavailable, match="POOL_UNREADABLE"):
        site.make_keeper("line-2").pool()
    assert site.send()


def test_a_line_that_does_not_distil_needs_no_pool_and_draws_none(site: Site) -> None:
    site.send()
    site.store.core.keeper.retire_secrets()
    keeper = site.make_keeper(distils=False)
    with pytest.raises(KeyUnavailable, match="POOL_EXHAUSTED"):
        keeper.pool().draw(16)
    keeper.before_sending()
    keeper.after_block()
    assert not keeper.is_low


def test_the_record_holds_what_blocks_gave_back(site: Site) -> None:
    site.send()
    pool: AuthenticationPool = site.keeper.pool()
    pool.add(0, bytes(4096), bytes(4096))
    pool.share(0)
    left = pool.own_bytes
    site.keeper.after_block()
    site.reopen()
    assert left - AHEAD_BYTES <= site.keeper.pool().own_bytes <= left


def test_a_pool_is_low_while_blocks_are_made_and_stopped_when_none_can_be(site: Site) -> None:
    pool = site.keeper.pool()
    assert not site.keeper.is_low and not site.keeper.is_stopped
    while pool.own_bytes >= LOW_BYTES:
        pool.draw(16)
    assert site.keeper.is_low and not site.keeper.is_stopped
    while pool.own_bytes >= 32:
        pool.draw(16)
    assert site.keeper.is_stopped
    site.bring(SECOND)
    site.keeper.pool()
    assert not site.keeper.is_low and not site.keeper.is_stopped


def test_the_alarm_of_a_pool_names_the_line_what_happened_and_who_does_what(site: Site) -> None:
    for kind in ("authentication-low", "authentication-stopped"):
        assert site.journal.raise_alarm(LINE, kind)
    told = {one.kind: one for one in site.journal.alarms()}
    for one in told.values():
        assert LINE in one.zh and LINE in one.en and "workbench qkd initial-secret" in one.zh and "key staff of both ends" in one.en
    assert told["authentication-low"].zh != told["authentication-stopped"].zh

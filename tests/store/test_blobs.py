"""Signed forms at rest: docs/protocols/erasure.md section 7."""

from __future__ import annotations

import hashlib
import random
import select
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from blob_child import content

from workbench.crypto import sm3
from workbench.errors import Denied, NotFound, Refused, VerificationError
from workbench.store import Database, Vault
from workbench.store.blobs import BLOB_MIGRATIONS, CHUNK_BYTES, Blobs

KEY = bytes(range(32))
FORM = b"I, phone 10012345678, agree. " * 5000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "evidence.db", BLOB_MIGRATIONS) as opened:
        yield opened


@pytest.fixture
def blobs(database: Database) -> Blobs:
    return opened(database)


def opened(database: Database) -> Blobs:
    return Blobs(database, Vault(database, KEY), database.path.parent / "blobs", now_ms=lambda: 1000)


def put(blobs: Blobs, data: bytes, ref: str = "1") -> str:
    draft = blobs.stage([data])
    return blobs._database.write(lambda tx: blobs.adopt(tx, draft, owner="consent", ref=ref))


def get(blobs: Blobs, name: str) -> bytes:
    with blobs._database.read() as reader:
        return blobs.get(reader, name)


def fault(blobs: Blobs, name: str) -> tuple[str, int, int, int] | None:
    with blobs._database.read() as reader:
        found = blobs.verify(reader, name)
    return None if found is None else (found.problem, found.chunk, found.first, found.stop)


def files(blobs: Blobs) -> list[Path]:
    return sorted(blobs._folder.glob("??/*"))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5])
def test_what_was_put_is_what_is_got(blobs: Blobs, size: int) -> None:
    data = random.Random(size).randbytes(size)
    name = put(blobs, data)
    assert get(blobs, name) == data
    assert get(opened(blobs._database), name) == data
    with blobs._database.read() as reader:
        assert blobs.address(reader, name) == sm3.digest(data)
        assert blobs.named(reader, "consent", "1") == name
    assert fault(blobs, name) is None


def test_one_content_lies_here_once_and_goes_with_its_last_reference(blobs: Blobs) -> None:
    name = put(blobs, FORM, "1")
    assert put(blobs, FORM, "2") == name
    assert len(files(blobs)) == 1
    assert not blobs._database.write(lambda tx: blobs.unlink(tx, "consent", "1"))
    assert get(blobs, name) == FORM
    assert blobs._database.write(lambda tx: blobs.unlink(tx, "consent", "2"))
    assert files(blobs) == []
    with pytest.raises(NotFound):
        get(blobs, name)


def test_every_flipped_byte_is_noticed_and_located(blobs: Blobs) -> None:
    data = random.Random(7).randbytes(2 * CHUNK_BYTES + 100)
    name = put(blobs, data)
    (path,) = files(blobs)
    stored = path.read_bytes()
    places = [*range(40), *random.Random(8).sample(range(40, len(stored)), 60), len(stored) - 1]
    for place in places:
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
        found = fault(blobs, name)
        assert found is not None and found[0] == "CHANGED", place
        assert found[2] <= place < found[3], place
        with pytest.raises(VerificationError) as error:
            get(blobs, name)
        assert error.value.code == "BLOB_ALTERED"
    for cut in (stored[:-1], stored + b"x", stored[: len(stored) - CHUNK_BYTES], stored[:10], b""):
        path.write_bytes(cut)
        assert fault(blobs, name) is not None


def test_a_file_in_anothers_place_is_a_swapped_document(blobs: Blobs) -> None:
    first, second = put(blobs, FORM + b"A", "1"), put(blobs, FORM + b"B", "2")
    with blobs._database.read() as reader:
        ids = dict(reader.execute("SELECT name, id FROM blob_object").fetchall())
    path = {name: blobs._path(ids[name]) for name in (first, second)}
    kept = path[second].read_bytes()
    path[second].write_bytes(path[first].read_bytes())
    assert fault(blobs, second) == ("SWAPPED", -1, -1, -1)
    assert fault(blobs, first) is None
    # With the right id written over the header, its chunks still do not open.
    path[second].write_bytes(kept[:34] + path[first].read_bytes()[34:])
    assert fault(blobs, second) == ("CHANGED", 0, 34, 34 + CHUNK_BYTES + 16)
    path[second].unlink()
    assert fault(blobs, second) == ("MISSING", -1, -1, -1)


def test_rows_exchanged_in_the_database_are_a_swapped_document(blobs: Blobs) -> None:
    first, second = put(blobs, FORM + b"A", "1"), put(blobs, FORM + b"B", "2")

    def exchange(tx: object) -> None:
        for old, new in ((first, "x"), (second, first), ("x", second)):
            tx.execute("UPDATE blob_object SET name = ? WHERE name = ?", (new, old))  # type: ignore[attr-defined]
            tx.execute(  # type: ignore[attr-defined]
                "UPDATE vault_subject SET subject = replace(subject, ?, ?)", (f"blob/{old}/", f"blob/{new}/")
            )

    blobs._database.write(exchange)
    assert fault(blobs, first) == fault(blobs, second) == ("SWAPPED", -1, -1, -1)


def test_a_change_that_fails_leaves_neither_row_nor_file(blobs: Blobs) -> None:
    def change(tx: object) -> None:
        blobs.put(tx, [FORM], owner="consent", ref="1")  # type: ignore[arg-type]
        raise Refused("不行", "no")

    with pytest.raises(Refused):
        blobs._database.write(change)
    assert files(blobs) == []
    draft = blobs.stage([FORM])
    assert len(files(blobs)) == 1
    assert blobs.sweep() == 0, "a draft of this process is not a stray"
    blobs.discard(draft)
    assert files(blobs) == []


def test_files_without_a_row_are_swept(blobs: Blobs) -> None:
    name = put(blobs, FORM)
    blobs.stage([b"never adopted"])
    assert len(files(blobs)) == 2
    again = opened(blobs._database)
    assert again.sweep() == 1
    assert get(again, name) == FORM


def test_a_form_is_found_in_no_file_by_content_or_digest_and_not_at_all_once_shredded(blobs: Blobs) -> None:
    name = put(blobs, FORM)
    (path,) = files(blobs)
    sealed = path.read_bytes()[100:200]
    folder = blobs._database.path.parent
    needles = [FORM[:40], sm3.digest(FORM), sm3.digest(FORM).hex().encode(), hashlib.sha256(FORM).digest()]

    def hits(needles: list[bytes]) -> list[str]:
        blobs._database.checkpoint()
        everything = [one for one in folder.rglob("*") if one.is_file()]
        return [one.name for one in everything for needle in needles if needle in one.read_bytes()]

    assert hits(needles) == []
    with blobs._database.read() as reader:
        wrapped = reader.execute("SELECT wrapped FROM vault_subject").fetchone()[0]
    assert hits([wrapped, sealed]) != []
    blobs._database.write(lambda tx: blobs.shred(tx, name))
    assert hits([wrapped, sealed, name.encode(), *needles]) == []


def test_what_an_erasure_set_aside_is_not_given_out(blobs: Blobs) -> None:
    name = put(blobs, FORM)
    assert blobs._database.write(lambda tx: blobs.hold(tx, "consent", "1", "R-1"))
    with blobs._database.read() as reader:
        with pytest.raises(Denied) as error:
            blobs.named(reader, "consent", "1")
        assert error.value.code == "RESTRICTED"
        assert blobs.held(reader, "R-1") == [("consent", "1", name)]


def test_a_new_vault_key_keeps_blobs_readable(blobs: Blobs) -> None:
    name = put(blobs, FORM)
    new = bytes(reversed(KEY))
    blobs._vault.rewrap(new)
    other = Blobs(blobs._database, Vault(blobs._database, new), blobs._folder, now_ms=lambda: 1000)
    assert get(other, name) == FORM


def test_a_large_content_needs_memory_for_a_few_chunks_only(blobs: Blobs) -> None:
    part, count = bytes(8 * CHUNK_BYTES), 24
    tracemalloc.start()
    draft = blobs.stage(part for _ in range(count))
    name = blobs._database.write(lambda tx: blobs.adopt(tx, draft, owner="consent", ref="1"))
    with blobs._database.read() as reader:
        assert sum(map(len, blobs.get_stream(reader, name))) == count * len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * CHUNK_BYTES


def child(folder: Path, mode: str) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("blob_child.py")
    return subprocess.Popen([sys.executable, str(script), str(folder), mode], stdout=subprocess.PIPE)


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = child(tmp_path, "limited")
    output, _ = process.communicate(timeout=60)
    assert output == b"BLOB_NOT_STORED\n"
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


@pytest.mark.timeout(120)
def test_a_killed_process_loses_no_confirmed_blob_and_leaves_no_stray(tmp_path: Path) -> None:
    chance = random.Random(3)
    told: list[int] = []
    for _ in range(6):
        process = child(tmp_path, str(told[-1] + 1000 if told else 0))
        assert process.stdout is not None
        select.select([process.stdout], [], [], 60)
        time.sleep(chance.uniform(0.01, 0.1))
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
        process.stdout.close()
        process.wait(60)
        with Database(tmp_path / "evidence.db", BLOB_MIGRATIONS) as database:
            blobs = opened(database)
            blobs.sweep()
            with database.read() as reader:
                known = blobs.references(reader, "test")
                assert {str(one) for one in told if one % 3 != 1} <= known.keys()
                for ref in list(known)[-5:]:
                    assert blobs.get(reader, known[ref]) == content(int(ref))
                assert len(files(blobs)) == len(blobs.names(reader))
    assert len(told) > 6

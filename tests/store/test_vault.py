"""Personal data at rest: docs/store.md, section "Vault"."""

from __future__ import annotations

import secrets
import stat
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from workbench.crypto import sm3
from workbench.errors import KeyUnavailable, NotFound, Refused, VerificationError
from workbench.store import (
    Database,
    Vault,
    change_passphrase,
    create_vault_key,
    open_vault,
    replace_vault_key,
    unlock_vault_key,
)
from workbench.store.vault import CHUNK_BYTES

KEY = bytes(range(32))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "evidence.db") as opened:
        yield opened


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, KEY)


def put(vault: Vault, name: str, data: bytes) -> None:
    vault.database.write(lambda tx: vault.put(tx, name, data))


def get(vault: Vault, name: str) -> bytes:
    with vault.database.read() as reader:
        return vault.get(reader, name)


def alter(vault: Vault, sql: str, *parameters: object) -> int:
    """Change rows behind the vault's back, as somebody with the sqlite3 tool would."""
    return vault.database.write(lambda tx: tx.execute(sql, parameters).rowcount)


def files_hold(database: Database, needle: bytes) -> list[str]:
    """Names of the files of a database that contain these bytes."""
    return [file.name for file in database.path.parent.iterdir() if needle in file.read_bytes()]


def wrapped_key(vault: Vault, name: str) -> bytes:
    with vault.database.read() as reader:
        wrapped: bytes = reader.execute("SELECT wrapped FROM vault_object WHERE name = ?", (name,)).fetchone()[0]
        return wrapped


@pytest.mark.parametrize("size", [0, 1, 15, 16, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5])
def test_what_was_put_is_what_is_got(vault: Vault, size: int) -> None:
    data = secrets.token_bytes(size)
    put(vault, "list", data)
    assert get(vault, "list") == data
    assert get(Vault(vault.database, KEY), "list") == data


def test_parts_of_any_size_make_one_object(vault: Vault) -> None:
    data = secrets.token_bytes(CHUNK_BYTES + 4321)
    cuts = [0, 0, 1, 1000, 70_000, CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES + 4000, len(data)]
    parts = [data[a:b] for a, b in pairwise(cuts)]
    assert vault.database.write(lambda tx: vault.put_stream(tx, "list", parts)) == len(data)
    assert get(vault, "list") == data


def test_stream_needs_memory_for_a_few_chunks_only(vault: Vault) -> None:
    part, count = secrets.token_bytes(CHUNK_BYTES // 2), 48
    tracemalloc.start()
    draft = vault.stage("large", (part for _ in range(count)))
    vault.database.write(lambda tx: vault.adopt(tx, draft))
    with vault.database.read() as reader:
        assert sum(len(chunk) for chunk in vault.get_stream(reader, "large")) == count * len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * CHUNK_BYTES


def test_change_that_fails_leaves_the_old_object(vault: Vault) -> None:
    put(vault, "list", b"old")

    def change(tx: object) -> None:
        vault.put(tx, "list", b"new")  # type: ignore[arg-type]
        raise Refused("不行", "no")

    with pytest.raises(Refused):
        vault.database.write(change)
    assert get(vault, "list") == b"old"


def test_staged_object_exists_from_its_adoption_on(vault: Vault) -> None:
    put(vault, "list", b"old")
    draft = vault.stage("list", [b"n" * CHUNK_BYTES, b"ew"])
    assert get(vault, "list") == b"old"
    vault.database.write(lambda tx: vault.adopt(tx, draft))
    assert get(vault, "list") == b"n" * CHUNK_BYTES + b"ew"
    with pytest.raises(ValueError, match="sealed once"):
        list(draft.seal([b"again"]))


def test_draft_that_was_never_adopted_is_swept_at_the_next_opening(vault: Vault) -> None:
    put(vault, "kept", b"kept")
    vault.stage("list", [b"x" * 10])
    again = Vault(vault.database, KEY)
    with vault.database.read() as reader:
        assert reader.execute("SELECT count(*) FROM vault_chunk").fetchone()[0] == 1
    assert get(again, "kept") == b"kept"


def test_draft_can_be_taken_back_and_adopted_but_once(vault: Vault) -> None:
    database = vault.database
    draft, other = vault.stage("list", [b"data"]), vault.stage("other", [b"data"])
    vault.discard(other)
    for _ in range(2):
        database.write(lambda tx: vault.adopt(tx, draft))
    vault.discard(draft)
    assert get(vault, "list") == b"data"
    with database.read() as reader:
        assert reader.execute("SELECT count(*) FROM vault_chunk").fetchone()[0] == 1


def test_staging_that_fails_leaves_nothing(vault: Vault) -> None:
    def parts() -> Iterator[bytes]:
        yield b"x" * (2 * CHUNK_BYTES)
        raise Refused("不行", "no")

    with pytest.raises(Refused):
        vault.stage("list", parts())
    with vault.database.read() as reader:
        assert reader.execute("SELECT count(*) FROM vault_chunk").fetchone()[0] == 0


def test_unfinished_draft_cannot_be_adopted(vault: Vault) -> None:
    draft = vault._draft("list")
    next(draft.seal([b"x" * (2 * CHUNK_BYTES)]))
    with pytest.raises(ValueError, match="not written to its end"):
        vault.database.write(lambda tx: vault.adopt(tx, draft))


# ---- alterations


def three_chunks(vault: Vault) -> None:
    put(vault, "a", b"a" * (2 * CHUNK_BYTES + 100))
    put(vault, "b", b"b" * (2 * CHUNK_BYTES + 100))


OBJECT = "(SELECT object FROM vault_object WHERE name = ?)"


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        pytest.param(f"DELETE FROM vault_chunk WHERE object = {OBJECT} AND number = 2", "a", id="end cut off"),
        pytest.param(f"DELETE FROM vault_chunk WHERE object = {OBJECT} AND number = 1", "a", id="middle taken out"),
        pytest.param(f"DELETE FROM vault_chunk WHERE object = {OBJECT}", "a", id="all taken out"),
        pytest.param(
            f"UPDATE vault_chunk SET number = CASE number WHEN 0 THEN -1 ELSE number END WHERE object = {OBJECT}",
            "a",
            id="moved",
        ),
        pytest.param(
            f"INSERT INTO vault_chunk SELECT object, 3, sealed FROM vault_chunk WHERE object = {OBJECT} AND number = 2",
            "a",
            id="added",
        ),
        pytest.param(
            f"UPDATE vault_chunk SET sealed = (SELECT sealed FROM vault_chunk WHERE object = {OBJECT} AND number = 1)"
            f" WHERE object = {OBJECT} AND number = 1",
            "ba",
            id="taken from another object",
        ),
        pytest.param(
            f"UPDATE vault_chunk SET sealed = (SELECT sealed FROM vault_chunk WHERE object = {OBJECT} AND number = 0)"
            f" WHERE object = {OBJECT} AND number = 1",
            "aa",
            id="repeated",
        ),
        pytest.param(f"UPDATE vault_chunk SET sealed = x'' WHERE object = {OBJECT} AND number = 0", "a", id="emptied"),
        pytest.param(
            f"UPDATE vault_chunk SET sealed = 'text' WHERE object = {OBJECT} AND number = 0", "a", id="made text"
        ),
        pytest.param("UPDATE vault_object SET chunks = chunks - 1 WHERE name = ?", "a", id="count lowered"),
        pytest.param("UPDATE vault_object SET chunks = 'x' WHERE name = ?", "a", id="count made text"),
        pytest.param("UPDATE vault_object SET size_bytes = size_bytes - 1 WHERE name = ?", "a", id="size lowered"),
        pytest.param("UPDATE vault_object SET generation = generation + 1 WHERE name = ?", "a", id="generation raised"),
        pytest.param("UPDATE vault_object SET name = 'x' || name WHERE name = ?", "a", id="renamed"),
        pytest.param(
            "UPDATE vault_object SET wrapped = (SELECT wrapped FROM vault_object WHERE name = ?) WHERE name = ?",
            "ba",
            id="other key",
        ),
    ],
)
def test_altered_exchanged_or_truncated_object_is_noticed(vault: Vault, sql: str, parameters: str) -> None:
    three_chunks(vault)
    assert alter(vault, sql, *parameters) >= 1
    with pytest.raises(VerificationError):
        get(vault, "xa" if "'x' ||" in sql else "a")
    assert get(vault, "b") == b"b" * (2 * CHUNK_BYTES + 100)


def test_every_changed_byte_of_a_small_object_is_noticed(vault: Vault) -> None:
    put(vault, "a", b"secret")
    with vault.database.read() as reader:
        sealed: bytes = reader.execute("SELECT sealed FROM vault_chunk").fetchone()[0]
    wrapped = wrapped_key(vault, "a")
    for table, column, value in (("vault_chunk", "sealed", sealed), ("vault_object", "wrapped", wrapped)):
        for position in range(len(value)):
            spoiled = value[:position] + bytes([value[position] ^ 1 << position % 8]) + value[position + 1 :]
            alter(vault, f"UPDATE {table} SET {column} = ?", spoiled)
            with pytest.raises(VerificationError):
                get(vault, "a")
        alter(vault, f"UPDATE {table} SET {column} = ?", value)
    assert get(vault, "a") == b"secret"


def test_chunks_of_an_older_generation_do_not_pass_for_the_newer(vault: Vault) -> None:
    put(vault, "a", b"old")
    with vault.database.read() as reader:
        old = reader.execute("SELECT sealed FROM vault_chunk").fetchone()[0]
    put(vault, "a", b"new")
    alter(vault, "UPDATE vault_chunk SET sealed = ?", old)
    with pytest.raises(VerificationError):
        get(vault, "a")


# ---- erasure


def test_shredded_object_is_in_no_file_any_more(vault: Vault) -> None:
    secret = secrets.token_bytes(64)
    with vault.database.read() as reader:
        reader.execute("SELECT 1 FROM vault_object").fetchone()
    put(vault, "list", b"\0" * CHUNK_BYTES + secret)
    put(vault, "other", b"other")
    key = wrapped_key(vault, "list")
    with vault.database.read() as reader:
        pieces = [row[0][:64] for row in reader.execute("SELECT sealed FROM vault_chunk WHERE length(sealed) > 100")]
    assert files_hold(vault.database, key)
    assert all(files_hold(vault.database, piece) for piece in pieces)
    assert vault.database.write(lambda tx: vault.shred(tx, "list"))
    assert vault.database.checkpoint(timeout_s=10)
    for needle in (secret, key, *pieces):
        assert files_hold(vault.database, needle) == []
    with pytest.raises(NotFound):
        get(vault, "list")
    assert get(vault, "other") == b"other"
    assert not vault.database.write(lambda tx: vault.shred(tx, "list"))


def test_replaced_object_takes_its_old_key_along(vault: Vault) -> None:
    put(vault, "list", b"old")
    key = wrapped_key(vault, "list")
    put(vault, "list", b"new")
    assert vault.database.checkpoint(timeout_s=10)
    assert files_hold(vault.database, key) == []
    assert get(vault, "list") == b"new"


def test_log_is_emptied_after_an_erasure_once_the_last_reader_has_left(vault: Vault) -> None:
    """Nobody has to remember the checkpoint: the writer comes back to it by itself."""
    put(vault, "list", b"data")
    key = wrapped_key(vault, "list")
    with vault.database.read() as reader:
        assert vault.get(reader, "list") == b"data"
        vault.database.write(lambda tx: vault.shred(tx, "list"))
        assert vault.get(reader, "list") == b"data"  # an older snapshot still holds it, so the log must not be cut yet
        assert not vault.database.checkpoint(timeout_s=0.05)
    until = time.monotonic() + 20
    while files_hold(vault.database, key) and time.monotonic() < until:
        time.sleep(0.05)
    assert files_hold(vault.database, key) == []


def test_plaintext_is_never_in_a_file(vault: Vault) -> None:
    secret = secrets.token_hex(32).encode()
    put(vault, "list", secret * 100)
    vault.database.write(lambda tx: vault.subject_key(tx, "s"))
    assert files_hold(vault.database, secret) == []
    vault.database.checkpoint()
    assert files_hold(vault.database, secret) == []
    for needle in (KEY, vault.token_key("p"), vault.evidence_key(), *vault._wrapping_keys, *vault._roots.values()):
        assert files_hold(vault.database, needle) == []
        assert needle.hex() not in repr(vault)


def test_customer_key_is_stable_until_it_is_shredded(vault: Vault) -> None:
    database = vault.database
    first = database.write(lambda tx: vault.subject_key(tx, "s1"))
    other = database.write(lambda tx: vault.subject_key(tx, "s2"))
    assert len(first) == 16
    assert first != other
    with database.read() as reader:
        assert vault.open_subject_key(reader, "s1") == first
        wrapped = reader.execute("SELECT wrapped FROM vault_subject WHERE subject = 's1'").fetchone()[0]
    assert database.write(lambda tx: vault.shred_subject(tx, "s1"))
    assert not database.write(lambda tx: vault.shred_subject(tx, "s1"))
    assert database.checkpoint(timeout_s=10)
    assert files_hold(database, wrapped) == []
    with database.read() as reader, pytest.raises(NotFound):
        vault.open_subject_key(reader, "s1")
    assert database.write(lambda tx: vault.subject_key(tx, "s1")) != first
    assert database.write(lambda tx: vault.subject_key(tx, "s2")) == other


def test_exchanged_customer_keys_are_noticed(vault: Vault) -> None:
    for subject in ("s1", "s2"):
        vault.database.write(partial(vault.subject_key, subject=subject))
    alter(
        vault,
        "UPDATE vault_subject SET wrapped = (SELECT wrapped FROM vault_subject WHERE subject = 's2') WHERE subject = 's1'",
    )
    with vault.database.read() as reader, pytest.raises(VerificationError):
        vault.open_subject_key(reader, "s1")


# ---- tokens and the vault key


def test_token_depends_on_institution_purpose_and_value(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Database(tmp_path / "other" / "evidence.db") as second:
        other = Vault(second, KEY)
        tokens = {
            vault.token("suppression", b"13800000000"),
            vault.token("suppression", b"13800000001"),
            vault.token("subject", b"13800000000"),
            other.token("suppression", b"13800000000"),
        }
    assert len(tokens) == 4
    assert vault.token("p", b"x") == sm3.hmac(vault.token_key("p"), b"x")
    assert Vault(vault.database, KEY).token("p", b"x") == vault.token("p", b"x")


def test_other_vault_key_is_refused(vault: Vault) -> None:
    with pytest.raises(KeyUnavailable) as caught:
        Vault(vault.database, bytes(32))
    assert caught.value.code == "VAULT_KEY_MISMATCH"
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(vault.database, bytes(16))


def test_new_vault_key_opens_everything_and_the_old_nothing(vault: Vault) -> None:
    database, new = vault.database, secrets.token_bytes(32)
    put(vault, "a", b"data")
    subject = database.write(lambda tx: vault.subject_key(tx, "s"))
    token, evidence, old_wrapping = vault.token("p", b"x"), vault.evidence_key(), wrapped_key(vault, "a")
    assert vault.rewrap(new) == 4
    put(vault, "b", b"later")
    for one in (vault, Vault(database, new)):
        assert (get(one, "a"), get(one, "b")) == (b"data", b"later")
        assert (one.token("p", b"x"), one.evidence_key()) == (token, evidence)
        with database.read() as reader:
            assert one.open_subject_key(reader, "s") == subject
    with pytest.raises(KeyUnavailable):
        Vault(database, KEY)
    assert files_hold(database, old_wrapping) == []


def test_replacement_that_fails_leaves_the_old_vault_key_in_force(vault: Vault) -> None:
    put(vault, "a", b"data")
    put(vault, "z", b"data")
    good = wrapped_key(vault, "z")
    alter(vault, "UPDATE vault_object SET wrapped = x'00' WHERE name = 'z'")
    with pytest.raises(VerificationError):
        vault.rewrap(bytes(32))
    alter(vault, "UPDATE vault_object SET wrapped = ? WHERE name = 'z'", good)
    put(vault, "b", b"later")
    again = Vault(vault.database, KEY)
    assert [get(again, name) for name in "abz"] == [b"data", b"later", b"data"]
    with vault.database.read() as reader:
        assert vault.names(reader) == ["a", "b", "z"]
        assert vault.names(reader, "a") == ["a"]


# ---- the file of the vault key


def test_vault_key_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    key = create_vault_key(path, "口令 one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_bytes()
    assert key.hex().encode() not in path.read_bytes()
    assert unlock_vault_key(path, "口令 one") == key
    with pytest.raises(KeyUnavailable):
        unlock_vault_key(path, "another")
    with pytest.raises(KeyUnavailable):
        unlock_vault_key(tmp_path / "missing.key", "口令 one")
    with pytest.raises(FileExistsError):
        create_vault_key(path, "口令 one")
    change_passphrase(path, "口令 one", "second")
    assert unlock_vault_key(path, "second") == key
    with pytest.raises(KeyUnavailable):
        unlock_vault_key(path, "口令 one")


def test_vault_key_is_replaced_with_its_file(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    old = create_vault_key(path, "p")
    vault = open_vault(database, path, "p")
    put(vault, "a", b"data")
    assert replace_vault_key(vault, path, "p") == 3
    assert unlock_vault_key(path, "p") != old
    assert get(open_vault(database, path, "p"), "a") == b"data"
    assert not path.with_name("vault.key.next").exists()


def test_replacement_interrupted_before_the_database_changed_keeps_the_old_key(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "vault.key"
    key = create_vault_key(path, "p")
    open_vault(database, path, "p")
    create_vault_key(path.with_name("vault.key.next"), "p")
    open_vault(database, path, "p")
    assert unlock_vault_key(path, "p") == key
    assert not path.with_name("vault.key.next").exists()


def test_replacement_interrupted_after_the_database_changed_takes_the_new_key(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "vault.key"
    create_vault_key(path, "p")
    vault = open_vault(database, path, "p")
    put(vault, "a", b"data")
    new = create_vault_key(path.with_name("vault.key.next"), "p")
    vault.rewrap(new)
    assert get(open_vault(database, path, "p"), "a") == b"data"
    assert unlock_vault_key(path, "p") == new
    assert not path.with_name("vault.key.next").exists()

"""The vault key's file: 32 random bytes wrapped under a passphrase, made, opened, re-wrapped and replaced.

Document: docs/store.md, section "The vault key". The file lies outside the database and belongs in no backup of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from workbench.crypto import random, wrap
from workbench.errors import KeyUnavailable
from workbench.store.database import Database
from workbench.store.vault import VAULT_KEY_BYTES, Vault

_PURPOSE = "vault"


def create_vault_key(path: Path, passphrase: str, *, source: random.RandomSource = random.SYSTEM) -> bytes:
    """Draw a vault key and write it to `path` (mode 0600), wrapped under `passphrase`; returns the key.

    Raises FileExistsError when the file exists: an older key must never be written over. Cost: 0.1 s.
    """
    vault_key = source(VAULT_KEY_BYTES)
    _write_new(path, wrap.wrap(vault_key, passphrase, purpose=_PURPOSE, source=source))
    return vault_key


def unlock_vault_key(path: Path, passphrase: str) -> bytes:
    """The 32 bytes of the vault key. Raises KeyUnavailable when the file is missing or does not open. Cost: 0.1 s."""
    try:
        wrapped = path.read_bytes()
    except OSError as error:
        raise KeyUnavailable(
            f"找不到保险库密钥文件 {path.name}：请管理员恢复该文件",
            f"the vault key file {path.name} cannot be read: restore it",
            code="VAULT_KEY_MISSING",
        ) from error
    return wrap.unwrap(wrapped, passphrase, purpose=_PURPOSE)


def change_passphrase(path: Path, old: str, new: str, *, source: random.RandomSource = random.SYSTEM) -> None:
    """Wrap the same vault key under another passphrase; the file is replaced in one step."""
    wrapped = wrap.wrap(unlock_vault_key(path, old), new, purpose=_PURPOSE, source=source)
    staged = path.with_name(path.name + ".staged")
    staged.unlink(missing_ok=True)
    _write_new(staged, wrapped)
    _move(staged, path)


def open_vault(
    database: Database, path: Path, passphrase: str, *, source: random.RandomSource = random.SYSTEM
) -> Vault:
    """The vault of a database with the key in `path`; finishes a replacement that a crash interrupted.

    Raises KeyUnavailable when the passphrase or the key does not fit.
    """
    following = _following(path)
    try:
        vault = Vault(database, unlock_vault_key(path, passphrase), source=source)
    except KeyUnavailable:
        if not following.exists():
            raise
        vault = Vault(database, unlock_vault_key(following, passphrase), source=source)
        _move(following, path)
        return vault
    following.unlink(missing_ok=True)
    return vault


def replace_vault_key(vault: Vault, path: Path, passphrase: str, *, source: random.RandomSource = random.SYSTEM) -> int:
    """Draw a new vault key, wrap everything under it and put it in the file's place; returns the number of keys.

    The new file exists before the database needs it and replaces the old one after, so that at every instant one of
    the two opens the database; `open_vault` finds out which.
    """
    following = _following(path)
    following.unlink(missing_ok=True)
    count = vault.rewrap(create_vault_key(following, passphrase, source=source))
    _move(following, path)
    return count


def _following(path: Path) -> Path:
    return path.with_name(path.name + ".next")


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    _sync_folder(path)


def _move(source: Path, target: Path) -> None:
    os.replace(source, target)
    _sync_folder(target)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

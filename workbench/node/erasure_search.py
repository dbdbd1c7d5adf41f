"""The proof at the end of an erasure: is the customer in any file of this node, in any form that can be recognised?

Document: docs/protocols/erasure.md section 10. The identifiers are known in the run that erases and nowhere afterwards, so
this runs there, over every byte of every file: database, write-ahead log and its index, blobs, uploads, exports, logs.

It runs in a process of its own (`search`). Whoever closes a file gives up all locks that its process has on it (POSIX), and
SQLite's locks are of that kind: a node that read its own database as a file would lose them, and the next program that opens
the database would cut off the index of the log which the node has in its memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.crypto import sm3
from workbench.errors import Cancelled, StorageFailed

BLOCK_BYTES = 8 << 20
SHORTEST = 8
ENDING_S = 30
"""How long a process that has said everything, or nothing, may take to end."""

GIVEN_OUT = ("exports",)
"""Folders of files that were handed out: they are people's, and are told of apart."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that holds the customer. file: below the node's folder, its own name masked by who shows it. form: how."""

    file: Path
    form: str


@dataclass(frozen=True, slots=True)
class Searched:
    """files and size_bytes looked at; hits: none where the erasure holds; unread: files that could not be opened."""

    files: int
    size_bytes: int
    hits: tuple[Hit, ...]
    unread: int = 0


def forms_of(identifier: str) -> dict[str, bytes]:
    """The ways in which an identifier is recognised by whoever guesses it: name of the form -> bytes.

    Plain, UTF-16 both ways, hexadecimal, base64 at its three offsets (without the edges that depend on what lies beside),
    and bare digests, which numbers of so few digits do not hide behind.
    """
    plain = identifier.encode()
    found = {
        "plain": plain, "utf-16-le": identifier.encode("utf-16-le"), "utf-16-be": identifier.encode("utf-16-be"),
        "hex": plain.hex().encode(), "HEX": plain.hex().upper().encode(),
        "hex of utf-16": identifier.encode("utf-16-le").hex().encode(),
    }  # fmt: skip
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + plain)
        found[f"base64 at {offset}"] = encoded[-(-offset * 8 // 6) + (offset > 0) : (offset + len(plain)) * 8 // 6]
    for name, digest in (("SM3", sm3.digest(plain)), ("SHA-256", hashlib.sha256(plain).digest())):
        found |= {name: digest, f"{name} hex": digest.hex().encode(), f"{name} HEX": digest.hex().upper().encode()}
    # A form that says nothing new, such as the upper-case hex of digits, is looked for once.
    seen: dict[bytes, str] = {}
    for name, form in found.items():
        if len(form) >= SHORTEST:
            seen.setdefault(form, name)
    return {name: form for form, name in seen.items()}


def search(
    folder: Path,
    identifiers: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Searched:
    """As `search_files`, in a process of its own, which gets the identifiers on its input: arguments can be read by others.

    Raises Cancelled, StorageFailed when that process ended without an answer. Cost: its start besides, about half a second.
    """
    command = [sys.executable, "-m", __name__, str(folder)]
    told: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(list(identifiers)).encode())
            child.stdin.close()
            for line in child.stdout:
                told = json.loads(line)
                if "hits" in told:
                    break
                if cancelled():
                    raise Cancelled("查找已停止；擦除本身已完成", "the search was stopped; the erasure itself is done")
                progress(told["done"], told["total"])
        except (BrokenPipeError, ValueError):
            told = {}
        except BaseException:
            child.kill()
            raise
        try:
            child.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            child.kill()
    if "hits" not in told:
        raise StorageFailed(
            f"擦除已完成，但查找文件的进程没有结果（退出码 {child.returncode}），文件尚未查找：请运维查看内存与磁盘，并告知合规岗",
            f"the erasure is done, but the process that searches the files gave no answer (exit status {child.returncode}), so"
            " they were not searched: operators look at memory and disk and tell compliance",
        )
    hits = tuple(Hit(Path(file), form) for file, form in told["hits"])
    return Searched(told["files"], told["size_bytes"], hits, told["unread"])


def search_files(
    folder: Path,
    identifiers: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Searched:
    """Every file below the folder for every form of every identifier; each (file, form) once.

    progress: bytes done, bytes in all. Raises Cancelled. Files that vanish meanwhile are left out. Cost: about 15 ms a MiB
    for a phone and an identity number; memory: one block.
    """
    patterns = {name: form for one in identifiers for name, form in _numbered(one, identifiers.index(one))}
    longest = max((len(form) for form in patterns.values()), default=1)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    total = sum(_size(path) for path in paths)
    done, files, unread = 0, 0, 0
    hits: list[Hit] = []
    for path in paths:
        left = dict(patterns)
        try:
            for block, fresh in _blocks(path, longest - 1):
                if cancelled():
                    raise Cancelled("查找已停止；擦除本身已完成", "the search was stopped; the erasure itself is done")
                found = [name for name, form in left.items() if form in block]
                hits += [Hit(path.relative_to(folder), name.partition(" ")[2]) for name in found]
                for name in found:
                    del left[name]
                done += fresh
                progress(done, max(total, done))
        except FileNotFoundError:
            continue
        except OSError:
            unread += 1
            continue
        files += 1
    return Searched(files, done, tuple(dict.fromkeys(hits)), unread)


def _numbered(identifier: str, number: int) -> Iterator[tuple[str, bytes]]:
    """The forms under names that do not collide and do not hold the identifier."""
    for name, form in forms_of(identifier).items():
        yield f"{number} {name}", form


def _blocks(path: Path, overlap: int) -> Iterator[tuple[bytes, int]]:
    """Blocks of a file, each beginning with the end of the one before; how many bytes of it are new."""
    with path.open("rb") as file:
        tail = b""
        while part := file.read(BLOCK_BYTES):
            yield tail + part, len(part)
            tail = (tail + part)[-overlap:] if overlap else b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def main() -> int:
    """The process of `search`: identifiers as JSON on the input, a line of JSON for each block and one at the end."""

    def tell(**values: object) -> None:
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()

    found = search_files(
        Path(sys.argv[1]), json.load(sys.stdin), progress=lambda done, total: tell(done=done, total=total)
    )
    hits = [(str(one.file), one.form) for one in found.hits]
    tell(files=found.files, size_bytes=found.size_bytes, hits=hits, unread=found.unread)
    return 0


__all__ = ["GIVEN_OUT", "Hit", "Searched", "forms_of", "search", "search_files"]

if __name__ == "__main__":
    sys.exit(main())

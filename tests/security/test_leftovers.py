"""Customers' data that somebody forgot must not lie about: uploads in clear, files that nobody fetched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.host.house import House
from workbench.domain.party import Role
from workbench.node.files import UPLOAD_HOURS, Uploads


async def piece(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_a_list_that_nobody_imported_is_gone_the_next_day(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads", max_bytes=100)
    old, young = (asyncio.run(uploads.receive("list.csv", piece(b"10000000001"))) for _ in range(2))
    for path in (uploads.path(old), uploads.path(old).parent):
        past_s = path.stat().st_mtime - UPLOAD_HOURS * 3600 - 60
        os.utime(path, (past_s, past_s))
    newest = asyncio.run(uploads.receive("list.csv", piece(b"x")))
    assert sorted(one.name for one in (tmp_path / "uploads").iterdir()) == sorted([young, newest])


def test_a_name_of_many_wide_letters_is_cut_and_no_full_disk(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads", max_bytes=100)
    path = uploads.path(asyncio.run(uploads.receive("𠀀" * 90 + ".csv", piece(b"x"))))
    assert path.suffix == ".csv" and len(os.fsencode(path.name)) <= 255


def test_a_download_that_nobody_fetched_is_shredded_with_the_next_one(house: House) -> None:
    """Not only when somebody takes a file: an export that was forgotten may be the last thing anybody asked for."""
    node = house.node
    marketing = house.caller(Role.MARKETING)
    first = node.store.write(lambda tx: node.downloads.offer(tx, marketing, "a.csv", b"10000000001"))
    house.clock.forward(minutes=61)
    second = node.store.write(lambda tx: node.downloads.offer(tx, marketing, "b.csv", b"x"))
    with node.store.read() as reader:
        assert node.vault.names(reader, "download/") == [f"download/{second}"]
        assert [row["download"] for row in reader.execute("SELECT download FROM host_download")] == [second]
    assert first != second

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect

from tests.host.house import House
from workbench.domain.party import Role
from workbench.errors import NotFound, StorageFailed, TooLarge, VerificationError
from workbench.node.files import Uploads


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for one in parts:
        yield one


async def breaking(*parts: bytes) -> AsyncIterator[bytes]:
    for one in parts:
        yield one
    raise ClientDisconnect


def receive(uploads: Uploads, name: str, *parts: bytes) -> str:
    return asyncio.run(uploads.receive(name, pieces(*parts)))


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", max_bytes=100)


def left(tmp_path: Path) -> list[str]:
    return [one.name for one in (tmp_path / "uploads").rglob("*")]


def test_an_upload_is_found_by_its_id_and_closed_to_others(uploads: Uploads) -> None:
    path = uploads.path(receive(uploads, "客户.csv", b"a,", b"b"))
    assert path.read_bytes() == b"a,b"
    assert path.name == "客户.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/etc/shadow", "a/b\\c", "", "x\0y", "\n", "名" * 300, "-rf *"])
def test_no_name_leads_out_of_the_folder(uploads: Uploads, tmp_path: Path, name: str) -> None:
    path = uploads.path(receive(uploads, name, b"x"))
    assert path.resolve().is_relative_to((tmp_path / "uploads").resolve())
    assert path.parent.parent == tmp_path / "uploads"
    assert len(os.fsencode(path.name)) <= 255


def test_a_file_over_the_limit_leaves_nothing(uploads: Uploads, tmp_path: Path) -> None:
    assert uploads.path(receive(uploads, "a", b"x" * 100)).stat().st_size == 100
    before = left(tmp_path)
    with pytest.raises(TooLarge):
        receive(uploads, "b", b"x" * 60, b"x" * 41)
    assert left(tmp_path) == before


def test_a_broken_connection_leaves_nothing(uploads: Uploads, tmp_path: Path) -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(uploads.receive("a", breaking(b"half of a list")))
    assert left(tmp_path) == []


@pytest.mark.parametrize("file_id", ["", "..", "../x", "0" * 23, "0" * 25, "g" * 24, "0" * 24, "A" * 24, "0" * 24 + "\n"])
def test_only_ids_of_uploads_lead_to_files(uploads: Uploads, tmp_path: Path, file_id: str) -> None:
    (tmp_path / "x").write_text("secret")
    with pytest.raises(NotFound):
        uploads.path(file_id)
    uploads.remove(file_id)
    assert (tmp_path / "x").exists()


def test_what_a_stopped_node_left_is_removed_at_its_start(uploads: Uploads, tmp_path: Path) -> None:
    file_id = receive(uploads, "a", b"x")
    again = Uploads(tmp_path / "uploads", max_bytes=100)
    with pytest.raises(NotFound):
        again.path(file_id)
    assert left(tmp_path) == []


def test_a_removed_upload_is_gone(uploads: Uploads, tmp_path: Path) -> None:
    uploads.remove(receive(uploads, "a", b"x"))
    assert left(tmp_path) == []


def test_a_copy_is_taken_of_a_file_of_this_machine(uploads: Uploads, tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_bytes(b"a")
    path = uploads.path(uploads.adopt(source))
    source.write_bytes(b"changed")
    assert path.read_bytes() == b"a"


def offer(house: House, data: bytes = b"secret list 10012345678") -> str:
    marketing = house.caller(Role.MARKETING)
    return house.node.store.write(lambda tx: house.node.downloads.offer(tx, marketing, "J.csv", data))


def test_a_download_is_handed_out_once_and_then_destroyed(house: House) -> None:
    marketing = house.caller(Role.MARKETING)
    download = offer(house)
    assert house.node.downloads.take(marketing, download) == ("J.csv", b"secret list 10012345678")
    with pytest.raises(NotFound):
        house.node.downloads.take(marketing, download)
    with house.node.store.read() as reader, pytest.raises(NotFound):
        house.node.vault.get(reader, f"download/{download}")


def test_a_large_download_leaves_chunk_by_chunk_and_is_destroyed_with_the_last(house: House) -> None:
    marketing, node = house.caller(Role.MARKETING), house.node
    data = bytes(range(256)) * (3 << 12) + b"end"
    taken = node.downloads.hand_out(marketing, offer(house, data))
    assert (taken.name, taken.size) == ("J.csv", len(data))
    first = next(taken.parts)
    assert 0 < len(first) <= 1 << 20
    offer(house)  # a sweep meanwhile leaves alone what is under way
    assert first + b"".join(taken.parts) == data
    with node.store.read() as reader:
        assert len(node.vault.names(reader, "download/")) == 1


def test_a_download_that_was_begun_and_left_is_gone_for_its_person_and_destroyed_after_an_hour(house: House) -> None:
    marketing, node = house.caller(Role.MARKETING), house.node
    download = offer(house, bytes(3 << 20))
    taken = node.downloads.hand_out(marketing, download)
    next(taken.parts)
    with pytest.raises(NotFound):
        node.downloads.take(marketing, download)
    house.clock.forward(minutes=60.1)
    offer(house)
    with node.store.read() as reader:
        assert f"download/{download}" not in node.vault.names(reader, "download/")
    with pytest.raises(VerificationError):
        list(taken.parts)


def test_what_goes_with_a_download_is_written_in_the_change_that_gives_it_away(house: House) -> None:
    """Without its entry no file leaves: a refusal there keeps the file for its person."""
    marketing, download = house.caller(Role.MARKETING), offer(house)

    def fail(tx: object, name: str) -> None:
        raise StorageFailed("", name)

    with pytest.raises(StorageFailed):
        house.node.downloads.hand_out(marketing, download, also=fail)
    assert house.node.downloads.take(marketing, download)[0] == "J.csv"


def test_a_download_belongs_to_the_person_it_was_made_for(house: House) -> None:
    download = offer(house)
    with pytest.raises(NotFound):
        house.node.downloads.take(house.caller(Role.COMPLIANCE), download)
    assert house.node.downloads.take(house.caller(Role.MARKETING), download)[0] == "J.csv"


def test_a_download_ends_after_an_hour_and_its_bytes_with_it(house: House) -> None:
    download = offer(house)
    house.clock.forward(minutes=60.1)
    with pytest.raises(NotFound):
        house.node.downloads.take(house.caller(Role.MARKETING), download)
    with house.node.store.read() as reader:
        with pytest.raises(NotFound):
            house.node.vault.get(reader, f"download/{download}")
        assert reader.execute("SELECT count(*) FROM host_download").fetchone()[0] == 0


def test_a_waiting_download_lies_encrypted(house: House) -> None:
    offer(house)
    house.node.store.close()
    for path in house.node.folder.rglob("*"):
        if path.is_file():
            assert b"10012345678" not in path.read_bytes(), path.name

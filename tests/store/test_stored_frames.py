"""Tables in the vault: docs/store.md, section "Frames"."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from workbench.errors import NotFound, VerificationError
from workbench.store import Database, Vault
from workbench.store.frames import BATCH_ROWS, get_frame, iter_frame, put_frame, stage_frame


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with Database(tmp_path / "evidence.db") as database:
        yield Vault(database, bytes(range(32)))


def put(vault: Vault, frame: pl.DataFrame, name: str = "list") -> int:
    return vault.database.write(lambda tx: put_frame(tx, vault, name, frame))


def get(vault: Vault, name: str = "list") -> pl.DataFrame:
    with vault.database.read() as reader:
        return get_frame(reader, vault, name)


def customers(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "customer_id": [f"C{i}" for i in range(count)],
            "phone": [None if i % 7 == 0 else f"100{i:08d}" for i in range(count)],
            "name": ["王伟", "", None][0:1] * count,
            "amount": range(count),
            "share": [i / 3 for i in range(count)],
            "risk": pl.Series(["C1"] * count, dtype=pl.Categorical),
            "kind": pl.Series(["A"] * count, dtype=pl.Enum(["A", "B"])),
            "tags": [["x", str(i)] if i % 2 else [] for i in range(count)],
            "digest": [i.to_bytes(32, "big") for i in range(count)],
            "born": [date(2000, 1, 1)] * count,
            "at": [datetime(2026, 1, 1, tzinfo=UTC)] * count,
            "flag": [i % 2 == 0 for i in range(count)],
        },
        schema_overrides={"amount": pl.Int64, "digest": pl.Binary, "born": pl.Date, "tags": pl.List(pl.String)},
    )


@pytest.mark.parametrize("count", [1, 1000, BATCH_ROWS + 17])
def test_frame_comes_back_with_its_rows_order_and_types(vault: Vault, count: int) -> None:
    frame = customers(count)
    put(vault, frame)
    found = get(vault)
    assert found.schema == frame.schema
    assert found.equals(frame)


def test_frame_without_rows_keeps_its_columns(vault: Vault) -> None:
    frame = customers(3).clear()
    put(vault, frame)
    assert get(vault).schema == frame.schema
    assert get(vault).height == 0


def test_categories_that_differ_between_batches_survive(vault: Vault) -> None:
    words = [f"w{i // 1000}" for i in range(2 * BATCH_ROWS + 5)]
    frame = pl.DataFrame({"word": pl.Series(words, dtype=pl.Categorical)})
    put(vault, frame)
    assert get(vault)["word"].cast(pl.String).to_list() == words


def test_frame_made_of_pieces_is_stored_whole(vault: Vault) -> None:
    frame = pl.concat([customers(10), customers(20), customers(5)], rechunk=False)
    put(vault, frame)
    assert get(vault).equals(frame)


def test_batches_are_bounded_and_in_order(vault: Vault) -> None:
    put(vault, pl.DataFrame({"n": range(3 * BATCH_ROWS + 1)}))
    with vault.database.read() as reader:
        batches = list(iter_frame(reader, vault, "list"))
    assert max(batch.height for batch in batches) <= BATCH_ROWS
    assert pl.concat(batches)["n"].to_list() == list(range(3 * BATCH_ROWS + 1))


def test_staged_frame_is_there_after_its_adoption(vault: Vault) -> None:
    frame = customers(500)
    draft = stage_frame(vault, "list", frame)
    with pytest.raises(NotFound):
        get(vault)
    vault.database.write(lambda tx: vault.adopt(tx, draft))
    assert get(vault).equals(frame)


def test_cut_frame_is_noticed_even_when_its_batches_are_whole(vault: Vault) -> None:
    """The Arrow stream alone would end quietly where a batch ends; the vault knows better."""
    frame = pl.DataFrame({"n": [i * 7919 % 1_000_003 for i in range(20 * BATCH_ROWS)]})
    put(vault, frame)
    with vault.database.read() as reader:
        chunks = reader.execute("SELECT count(*) FROM vault_chunk").fetchone()[0]
    assert chunks >= 3
    vault.database.write(lambda tx: tx.execute("DELETE FROM vault_chunk WHERE number = ?", (chunks - 1,)))
    with pytest.raises(VerificationError):
        get(vault)


def test_object_that_is_no_frame_is_refused(vault: Vault) -> None:
    vault.database.write(lambda tx: vault.put(tx, "list", b"no frame at all" * 100))
    with pytest.raises(VerificationError):
        get(vault)

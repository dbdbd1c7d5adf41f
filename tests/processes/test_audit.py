"""Any row of the public table `entry`, edited from outside while the node runs, is found and named by `workbench audit`."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from tests.processes.live import Live, wait_until, workbench


def edit(live: Live, party: str, sql: str, *values: object) -> None:
    """Change one row as somebody with the file would, taking away and putting back what guards the table."""
    path = live.workspace.node_folder(party) / "evidence.db"
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as rows, rows:
        guards = rows.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entry'").fetchall()
        for name, _ in guards:
            rows.execute(f'DROP TRIGGER "{name}"')
        assert rows.execute(sql, values).rowcount == 1
        for _, text in guards:
            rows.execute(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"kind":"', b'"kind":"x', 1),
        lambda body: body.replace(b"20", b"21", 1),
        lambda body: body[:-1] + b" }",
        lambda body: b"",
    ],
)
def test_an_edited_row_is_located(live: Live, change) -> None:  # type: ignore[no-untyped-def]
    # What is edited lies with both mirrors before: a body sent after the edit would be held against the log, rightly, for ever.
    wait_until(lambda: live.nobody_is_behind("cardnet"), limit_s=60, what="the co-signatures")
    rows = live.rows("cardnet", "SELECT idx, body FROM entry ORDER BY idx")
    chosen = {rows[0][0], rows[len(rows) // 2][0], rows[-1][0]}
    kept = {index: body for index, body in rows if index in chosen}
    try:
        for index, body in kept.items():
            edit(live, "cardnet", "UPDATE entry SET body = ? WHERE idx = ?", change(body), index)
        found = workbench("audit", live.folder, "--party", "cardnet", "--json")
        assert found.status == 2 and not found.value["holds"]
        # A changed year also makes the next entry look older than the one before it: named as CLOCK, beside the edits.
        located = {
            one["index"]
            for one in found.value["findings"]
            if one["log"] == "cardnet" and one["index"] is not None and one["problem"] != "CLOCK"
        }
        assert located == chosen
    finally:
        for index, body in kept.items():
            edit(live, "cardnet", "UPDATE entry SET body = ? WHERE idx = ?", body, index)
    again = workbench("audit", live.folder, "--party", "cardnet", "--json")
    assert again.status == 0 and again.value["holds"], again

"""The command line with signed forms and erasures, against running nodes."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path

from tests.consent.captured_files import pdf
from tests.flows import population
from tests.processes.live import Live, workbench
from workbench.domain.party import PartyId
from workbench.supervisor import running_nodes

NOBODY_ELSE_KNOWS = iter((9, 19, 29))
"""Customers of the broker alone, so that no other test misses them: one for each try."""

_FLOCK = "hhqqi"
_STILL_OPEN = 128
"""The byte of the write-ahead log's index on which SQLite holds a lock as long as a process has the database open."""


def holder(path: Path, at: int) -> int:
    """The process that keeps a lock on this byte of a file; 0 without any."""
    with path.open("rb+") as file:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, 0, at, 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked)[: struct.calcsize(_FLOCK)])
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def test_forms_come_with_their_rows_and_go_with_their_customer(live: Live, tmp_path: Path) -> None:
    person = next(NOBODY_ELSE_KNOWS)
    phone, number = population.phone(person), population.id_no(person)
    blobs = live.workspace.node_folder("broker") / "blobs"
    kept = set(blobs.glob("??/*.blob"))
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "phone,id_no,purpose,recipient,valid_from,valid_until,channel,document\n"
        f"{phone},{number},customer-service,bank,2020-01-01,2099-12-31,网点,a.pdf\n",
        "utf-8",
    )
    folder = tmp_path / "forms"
    folder.mkdir()
    arguments = ("import", "consents", live.folder, "--party", "broker", "--json", rows)
    missing = workbench(*arguments, "--documents", folder)
    assert (missing.status, missing.value["error"]["code"]) == (2, "QUALITY")
    assert "FORM_MISSING" in Path(missing.value["error"]["details"]["rejects_file"]).read_text("utf-8-sig")
    (folder / "a.pdf").write_bytes(pdf("form of one customer " * 1000))
    (folder / "stray.pdf").write_bytes(pdf("nobody's"))
    done = workbench(*arguments, "--documents", folder)
    assert (done.status, done.value["accepted"], done.value["rejected"], done.value["orphans"]) == (0, 1, 0, 1)
    assert "stray.pdf" in Path(done.value["rejects_file"]).read_text("utf-8-sig")
    assert len(set(blobs.glob("??/*.blob")) - kept) == 1

    short = workbench("erase", live.folder, "--party", "broker", "--phone", phone, "--reason", "x", "--json")
    assert (short.status, short.value["error"]["code"]) == (2, "INVALID_REQUEST")
    erased = workbench(
        "consent", "erase", live.folder, "--party", "broker", "--phone", phone, "--reason", "asked for it in writing", "--json"
    )
    assert (erased.status, erased.value["state"]) == (0, "RESTRICTED")
    by_owner = {one["owner"]: one for one in erased.value["findings"] if one["what"] in ("grants", "list rows")}
    assert by_owner["lists"]["erased"] == 1 and by_owner["consent"]["restricted"] > 1
    assert phone not in str(erased.value) and number not in str(erased.value)
    again = workbench("erase", live.folder, "--party", "broker", "--phone", phone, "--reason", "asked for it once more")
    assert again.status == 0
    # Reading every file has not cost the node its locks: without them the next reader would cut off what it has in memory.
    index = live.workspace.node_folder("broker") / "evidence.db-shm"
    assert holder(index, _STILL_OPEN) == running_nodes(live.workspace)[PartyId("broker")].pid
    request = erased.value["request"]
    report = workbench("consent", "report", live.folder, "--party", "broker", "--request", request, "--json")
    assert (report.status, report.value["holds"]) == (0, True)
    [shown] = report.value["erasures"]
    [searched] = [one for one in shown["findings"] if one["owner"] == "search"]
    assert searched["found"] == 0 and "write-ahead log included" in searched["en"]
    assert phone not in report.out and number not in report.out
    unknown = workbench("consent", "report", live.folder, "--party", "broker", "--request", "E-0", "--json")
    assert (unknown.status, unknown.value["error"]["code"]) == (2, "NO_ERASURE")
    audit = workbench("audit", live.folder, "--party", "broker", "--json")
    assert (audit.status, audit.value["findings"]) == (0, [])

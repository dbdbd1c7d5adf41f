"""What the benchmark rests on: its lists, its meters, its table. Nothing here measures."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench import intersections, metered, report, stores
from workbench.contracts import Phase, Receive, Send
from workbench.domain.identifiers import parse_id_no
from workbench.errors import PeerUnavailable


def test_the_lists_have_the_intersection_that_is_claimed(tmp_path: Path) -> None:
    truth = intersections.write_lists(tmp_path, 101)
    keys = {}
    for party in ("broker", "bank"):
        with (tmp_path / f"{party}-101.csv").open(newline="", encoding="utf-8") as source:
            keys[party] = [row["手机号"] for row in csv.DictReader(source)]
        with (tmp_path / f"{party}-101-ids.csv").open(newline="") as source:
            assert [row["id"] for row in csv.DictReader(source)] == keys[party], "both engines get the same identifiers"
        assert len(set(keys[party])) == 101
    assert set(keys["broker"]) & set(keys["bank"]) == truth


def test_the_population_has_sound_identity_numbers_of_different_people() -> None:
    numbers = stores._id_numbers(np.arange(0, 1_000_000, 4999))
    assert len(set(numbers)) == len(numbers)
    assert all(parse_id_no(number, today=date(2026, 1, 1)) == number for number in numbers)


def test_a_metered_session_gives_and_takes_what_the_session_does(tmp_path: Path) -> None:
    """The meter stands between the flow and the engine of every measured run."""
    seen: list[Any] = []

    def session() -> Generator[Any, Any, str]:
        yield Phase(1, "prepare", 0, 1)
        seen.append((yield Receive("points")))
        try:
            yield Send("points", b"x")
        except PeerUnavailable as failure:
            seen.append(failure.code)
        yield Phase(2, "mask", 0, 1)
        return "outcome"

    (tmp_path / "run").mkdir()
    meter = metered.Meter(tmp_path / metered.FILE)
    watched = meter.watch(session())
    requests = [next(watched), watched.send(None), watched.send(b"theirs"), watched.throw(PeerUnavailable("停", "gone"))]
    with pytest.raises(StopIteration) as stop:
        watched.send(None)
    assert [type(one) for one in requests] == [Phase, Receive, Send, Phase] and stop.value.value == "outcome"
    assert seen == [b"theirs", PeerUnavailable.default_code]
    written = json.loads((tmp_path / metered.FILE).read_text())
    assert [one["name"] for one in written["phases"]] == ["prepare", "mask"]


def test_the_curves_account_counts_rows_of_all_calls(tmp_path: Path) -> None:
    meter = metered.Meter(tmp_path / "meter.json")
    double = meter.around("x25519", lambda scalar, rows, *, threads: rows * 2)
    assert double(b"", np.ones((3, 32)), threads=1).sum() == 192 and double(b"", np.ones((4, 32)), threads=1).sum() == 256
    meter.phase("one")
    assert json.loads((tmp_path / "meter.json").read_text())["curve"]["x25519"]["rows"] == 7


def test_the_ledger_s_table_tells_rounds_between_processes_from_rounds_of_calls() -> None:
    rate, proof = {"per_s": 1, "cpu_us": 2.0, "longest_s": 0.5}, dict.fromkeys(("p50_ms", "p99_ms", "cpu_p50_ms", "cpu_p99_ms"), 0.1)
    value = {
        "batches": rate, "single": {"4": rate}, "proofs": {"inclusion": proof}, "entries": 1_000_000, "peak_mb": 777,
        "queries": {"entries_per_s": 1, "searches_per_s": 2}, "audit": {"wall_s": 8.0, "cpu_s": 15.0},
        "catch_up": {"entries": 100_000, "wall_s": 3.0, "per_s": 33_333, "cpu_us": 30.0},
        "round_ms": {"p50": 20.5, "p99": 28.5, "cpu_p50": 22.5},
        "network_ms": {"sealed_p50": 74.1, "sealed_p95": 147.1, "full_p50": 83.1, "full_p95": 148.1},
        "deployment": dict.fromkeys(("workspace_s", "ready_s", "start_cpu_s", "idle_mb"), 1),
        "growth": dict.fromkeys(("body", "trees", "mirror_trees", "search", "openings"), 100), "published": [["a", "b", "c"]],
    }  # fmt: skip
    text = report._ledger(value)
    processes, calls = text[text.index("three node processes") :].split("function calls")
    assert all(one in processes for one in ("74.1", "147.1", "83.1", "148.1")) and "20.5" in calls
    assert "777 MB" in text and "at 1,000,000" in text


def test_the_distillation_s_table_shows_aims_beside_figures() -> None:
    value = {
        "blocks": 3, "sifted_bits": 2_000_000, "qber": 0.033, "efficiency": 1.0512, "rounds": 200, "messages": 207, "wire_bytes": 10_000_000,
        "secret_fraction": 0.25, "authentication_bits": 30_000, "sifted_mbit_s": 4.1, "secret_mbit_s": 1.03,
        "parts": {"correction_ns": 29.0, "amplification_ns": 52.0},
    }  # fmt: skip
    lines = {line.split("  ")[0]: line for line in report._distillation(value).splitlines()}
    assert lines["secret Mbit a CPU second, both ends"].split()[-2:] == ["1.0", "1"]
    assert lines["efficiency f of error correction"].split()[-2:] == ["1.0512", "1.07"]


def test_the_table_says_what_was_skipped_and_what_was_wrong() -> None:
    phases = [{"name": "mask", "cpu_s": 1.0, "thread_s": 1.0, "wall_s": 1.0, "peak_mb": 300.0}]
    run = {
        "size": 65536, "bucket": 73728, "cpu_s": 2.5, "outside_s": 1.2, "per_identifier_us": 38.1, "outside_us": 18.3,
        "outside_share": 0.48, "point_us": 7.5, "wall_s": 6.0, "peak_mb": 400.0, "wire_bytes": 20_000_000, "released": 5,
        "agrees": False, "parties": {"broker": {"phases": phases}},
    }  # fmt: skip
    beside = {
        "protocol": "RR22", "curve": "", "size": 65536, "cpu_s": 0.5, "per_identifier_us": 7.6, "wall_s": 1.0, "peak_mb": 255,
        "wire_bytes": 3_000_000, "same_result": False,
    }  # fmt: skip
    machine = {
        "processor": "P", "cores": 2, "memory_gb": 8.0, "features": {"fma": True, "avx512f": False}, "vectors": "AVX2",
        "curve": "double-fma", "kernel": "Linux", "python": "3.11", "packages": {"numpy": "2"}, "load": [1.0, 1.0, 1.0],
    }  # fmt: skip
    text = report.render(
        {
            "machine": machine, "load_at_end": [9.5, 1.0, 1.0], "intersections": [run], "secretflow": [beside],
            "skipped": {"pages": "no Chromium"},
        }
    )
    assert "5 WRONG" in text and "NO" in text and "skipped: pages: no Chromium" in text
    assert "no avx512f" in text and "9.5" in text
    assert "5.0" in text, "processor time of ours over theirs"
    assert "55.0" in text, "the aim for AVX2"

"""SecretFlow SPU beside ours: its own environment, two supervised processes over loopback, the same identifiers.

Two processes, because its native code may end the interpreter, and ending a process is the only way to cancel. Each side
reaches the other through a relay here that only counts bytes.
"""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VERSION = "0.9.5"
FOLDER = Path(__file__).parents[2] / "build" / "bench-spu"
INSTALL_S = 600
CHILD = Path(__file__).with_name("secretflow_child.py")


class Unavailable(Exception):
    """SPU cannot be used here; the text says why."""


@dataclass(frozen=True, slots=True)
class SpuCost:
    """One run of another engine. cpu_s: of the larger side, inside the engine's call; wire_bytes: both directions."""

    protocol: str
    curve: str
    size: int
    wall_s: float
    cpu_s: float
    cpu_other_s: float
    process_cpu_s: float
    per_identifier_us: float
    peak_mb: float
    loaded_mb: float
    wire_bytes: int
    common: int
    keys: frozenset[str] = field(repr=False, default=frozenset())

    def as_dict(self) -> dict[str, Any]:
        value = asdict(self)
        del value["keys"]
        return value


def interpreter() -> Path:
    """The Python of SPU's environment, made on first use (about 1 GB); Unavailable says why there is none."""
    python = FOLDER / "bin" / "python"
    ready = FOLDER / ".installed"
    if ready.exists():
        return python
    found = shutil.which("python3.11")
    if found is None:
        raise Unavailable(f"python3.11 was not found, and spu {VERSION} has no wheel for another")
    shutil.rmtree(FOLDER, ignore_errors=True)
    commands: list[list[str]] = [
        [found, "-m", "venv", str(FOLDER)],
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", f"spu=={VERSION}"],
    ]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"spu {VERSION} was not installed within {INSTALL_S} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Unavailable(f"spu {VERSION} could not be installed: {last[:200]}")
    ready.touch()
    return python


def measure(
    python: Path, *, lists: tuple[Path, Path], size: int, protocol: str, curve: str = "", timeout_s: float = 300.0
) -> SpuCost:
    """Run one intersection of two CSV files with the column `id`. Raises Unavailable when a side fails or is late."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-spu-") as name, _relays() as (addresses, counted):
        folder = Path(name)
        children = []
        for rank, source in enumerate(lists):
            # The engine writes an unkeyed digest of its input beside it; so it gets a copy of its own, removed below.
            own = folder / f"side{rank}"
            own.mkdir(mode=0o700)
            shutil.copyfile(source, own / "input.csv")
            config = {
                "job": "bench",
                "rank": rank,
                "addresses": addresses[rank],
                "protocol": protocol,
                "curve": curve,
                "input": str(own / "input.csv"),
                "output": str(own / "output.csv"),
                "report": str(own / "report.json"),
            }
            (own / "config.json").write_text(json.dumps(config))
            with (own / "log").open("wb") as log:
                children.append(
                    subprocess.Popen(
                        [str(python), str(CHILD), str(own / "config.json")],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=own,
                        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(own), "HOME": str(own)},
                    )
                )
        try:
            for rank, child in enumerate(children):
                status = child.wait(timeout=timeout_s)
                if status:
                    said = _last_line(folder / f"side{rank}" / "log")
                    raise Unavailable(f"{protocol} {curve}: side {rank} ended with status {status}: {said}")
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{protocol} {curve}: not done within {timeout_s:.0f} s") from None
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()
        reports = [json.loads((folder / f"side{rank}" / "report.json").read_text()) for rank in (0, 1)]
        keys = [_column(folder / f"side{rank}" / "output.csv") for rank in (0, 1)]
    if keys[0] != keys[1]:
        raise Unavailable(f"{protocol} {curve}: the two sides found different sets")
    cpu = sorted((one["cpu_s"] for one in reports), reverse=True)
    return SpuCost(
        protocol=protocol.removeprefix("PROTOCOL_"),
        curve=curve.removeprefix("CURVE_"),
        size=size,
        wall_s=max(one["wall_s"] for one in reports),
        cpu_s=cpu[0],
        cpu_other_s=cpu[1],
        process_cpu_s=max(one["process_cpu_s"] for one in reports),
        per_identifier_us=round(cpu[0] / size * 1e6, 1),
        peak_mb=max(one["peak_mb"] for one in reports),
        loaded_mb=max(one["loaded_mb"] for one in reports),
        wire_bytes=counted[0],
        common=len(keys[0]),
        keys=frozenset(keys[0]),
    )


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def _column(path: Path) -> set[str]:
    with path.open(newline="") as source:
        return {row["id"] for row in csv.DictReader(source)}


@contextmanager
def _relays() -> Iterator[tuple[list[list[str]], list[int]]]:
    """(addresses as each rank must be told them, [bytes relayed so far]): each side sees the other behind a relay."""
    real = _free_ports(2)
    counted = [0]
    loop = asyncio.new_event_loop()
    ports: list[int] = []

    async def open_relays() -> None:
        for port in real:
            server = await asyncio.start_server(lambda r, w, port=port: _relay(r, w, port, counted), "127.0.0.1", 0)
            ports.append(server.sockets[0].getsockname()[1])

    loop.run_until_complete(open_relays())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        relayed = [f"127.0.0.1:{port}" for port in ports]
        own = [f"127.0.0.1:{port}" for port in real]
        yield [[own[0], relayed[1]], [relayed[0], own[1]]], counted
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, counted: list[int]) -> None:
    try:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # the other side is not up yet; the engine tries again
        writer.close()
        return
    await asyncio.gather(_copy(reader, onward_writer, counted), _copy(onward_reader, writer, counted))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, counted: list[int]) -> None:
    with suppress(OSError):
        while piece := await source.read(1 << 16):
            counted[0] += len(piece)
            target.write(piece)
            await target.drain()
    with suppress(OSError):
        target.close()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports

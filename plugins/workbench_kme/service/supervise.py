"""Starting and stopping the KMEs of a folder of sites on this machine; ends only processes it can name.

The folder is the one of `make_sites`: every folder in it with a `kme.json` is a site. Works without the host.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import StartRefused
from workbench.programs import Program, end, kill, last_error

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
PROGRAM = "workbench_kme.service"


@dataclass(frozen=True, slots=True)
class RunningKme:
    """A KME's process: its id, and where SAEs and node, and the other KMEs, reach it."""

    site: str
    kme: str
    pid: int
    address: str
    link_address: str


def sites_of(folder: Path) -> list[str]:
    """The sites below this folder, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/kme.json"))


def running_kmes(folder: Path) -> dict[str, RunningKme]:
    """KMEs that run now, by site; a stale file of a killed one does not count."""
    found = {site: _running(folder, site) for site in sites_of(folder)}
    return {site: kme for site, kme in found.items() if kme is not None}


def start_kmes(
    folder: Path,
    *,
    sites: Sequence[str] = (),
    passphrases: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, RunningKme]:
    """Start every KME that does not run yet, each a process of its own; returns when all are ready.

    sites: by default all of the folder. Raises StartRefused with the KME's own reason when one does not come up; those
    started by this call are stopped again then.
    """
    wanted = [site for site in (sites or sites_of(folder)) if _running(folder, site) is None]
    children = {site: _spawn(folder, site, (passphrases or {}).get(site, ""), environment) for site in wanted}
    limit = time.monotonic() + START_TIMEOUT_S
    try:
        for site, child in children.items():
            _await_ready(folder, site, child, limit)
    except BaseException:
        end([(_program(folder, site), child.pid) for site, child in children.items()], timeout_s=STOP_TIMEOUT_S)
        raise
    return running_kmes(folder)


def stop_kmes(folder: Path, *, sites: Sequence[str] = ()) -> list[str]:
    """Stop the KMEs of this folder that run; returns which. One that does not end in 15 s is killed."""
    kmes = [kme for site, kme in running_kmes(folder).items() if not sites or site in sites]
    end([(_program(folder, kme.site), kme.pid) for kme in kmes], timeout_s=STOP_TIMEOUT_S)
    for kme in kmes:
        (folder / kme.site / "run" / "kme.json").unlink(missing_ok=True)
    return [kme.site for kme in kmes]


def kill_kme(folder: Path, site: str) -> bool:
    """End a KME at once, as a power failure would; False when it does not run."""
    kme = _running(folder, site)
    if kme is not None:
        kill(_program(folder, site), kme.pid)
    return kme is not None


def _program(folder: Path, site: str) -> Program:
    return Program(PROGRAM, (str((folder / site).resolve()),))


def _spawn(folder: Path, site: str, passphrase: str, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    run = folder / site / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    (run / "kme.json").unlink(missing_ok=True)
    return _program(folder, site).start(log=run / "kme.log", passphrase=passphrase, environment=environment)


def _await_ready(folder: Path, site: str, child: subprocess.Popen[bytes], limit: float) -> None:
    while _running(folder, site) is None:
        if child.poll() is not None:
            error = last_error(folder / site / "run" / "kme.log")
            raise StartRefused(
                f"站点 {site} 的密钥管理实体没有启动：{error.get('zh', '见 run/kme.log')}",
                f"the key-management entity of site {site} did not start: {error.get('en', 'see run/kme.log')}",
                code=str(error.get("code", "KME_FAILED")),
            )
        if time.monotonic() > limit:
            raise StartRefused(
                f"站点 {site} 的密钥管理实体 {START_TIMEOUT_S:.0f} 秒内没有就绪，见 run/kme.log",
                f"the key-management entity of {site} was not ready within {START_TIMEOUT_S:.0f} s; see run/kme.log",
                code="KME_SLOW",
            )
        time.sleep(0.02)


def _running(folder: Path, site: str) -> RunningKme | None:
    try:
        state = json.loads((folder / site / "run" / "kme.json").read_text("utf-8"))
        kme = RunningKme(site, state["kme"], state["pid"], state["address"], state["link_address"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return kme if _program(folder, site).is_process(kme.pid) else None

"""Starting one person's JupyterLab for a node of this machine, and telling the node where a sign-in may return.

Everything of Jupyter's (settings, runtime files, history) stays in one 0700 folder, so that a person's own Jupyter
configuration neither changes the workbench nor is changed by it. Jupyter's token lies in a 0600 file, never in an
argument or an environment variable.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from workbench.errors import StartRefused
from workbench.workspace import Workspace

HOST = "127.0.0.1"
FIRST_PORT = 8890
READY_S = 60.0
STOP_S = 15.0
CALLBACK = "workbench/callback"


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A Lab process. url: with no token; open_url: with the one that lets a browser in, for its owner's eyes."""

    process: subprocess.Popen[bytes]
    url: str
    open_url: str
    folder: Path

    def __repr__(self) -> str:
        return f"RunningLab({self.url})"

    def stop(self) -> None:
        """End the Lab with its kernels and pages."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def register_lab(workspace: Workspace, party: str, base_url: str) -> None:
    """Let sign-ins of one node return to this Lab. base_url: "http://127.0.0.1:8890/"; its localhost name counts too."""
    base = base_url.rstrip("/")
    callbacks = [f"{name}/{CALLBACK}" for name in (base, base.replace("//127.0.0.1:", "//localhost:"))]
    path = workspace.node_folder(party) / "run" / "labs.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    known = json.loads(path.read_text("utf-8")) if path.exists() else []
    _write_private(path, json.dumps(sorted({*known, *callbacks}), indent=1))


def forget_labs(workspace: Workspace, party: str) -> None:
    """No sign-in returns anywhere until the next `register_lab`."""
    (workspace.node_folder(party) / "run" / "labs.json").unlink(missing_ok=True)


def start_lab(
    workspace: Workspace, party: str, node_url: str, *, notebooks: Path | None = None, port: int = FIRST_PORT,
    log: int | None = None,
) -> RunningLab:  # fmt: skip
    """Start JupyterLab for one person of a party and wait until it answers.

    notebooks: copied into the Lab's root folder when missing there. A taken port is replaced by a free one.
    log: file descriptor for output; the folder's lab.log by default. StartRefused when it does not come up.
    """
    folder = workspace.folder / "lab" / party
    for name in ("..", ".", "root", "config", "data", "runtime", "ipython", "ipython/profile_default", "state"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    if notebooks is not None:
        _copy_missing(notebooks, folder / "root")
    chosen = free_port(port)
    base = f"http://{HOST}:{chosen}/"
    register_lab(workspace, party, base)
    token = secrets.token_urlsafe(24)
    _write_private(folder / "token", token)
    with as_file(files("workbench.jupyter")) as package:
        shutil.copyfile(package / "etc/ipython/ipython_config.py", folder / "ipython/profile_default/ipython_config.py")
        command, environment = lab_command(folder, package, node_url=node_url, port=chosen)
        out = log if log is not None else os.open(folder / "lab.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder / "root",
            start_new_session=True,
        )  # fmt: skip
        if log is None:
            os.close(out)
    lab = RunningLab(child, base, f"{base}lab?token={token}", folder)
    try:
        _await_ready(lab)
    except BaseException:
        lab.stop()
        raise
    return lab


def lab_command(folder: Path, package: Path, *, node_url: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a Lab whose files all lie in `folder`; package: where workbench.jupyter lies."""
    arguments = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", "--ServerApp.allow_root=True", "--ServerApp.allow_remote_access=False",
        f"--ServerApp.root_dir={folder / 'root'}", f"--WorkbenchLab.node_url={node_url}",
        f"--WorkbenchLab.state_folder={folder / 'state'}",
        f"--LabApp.extra_labextensions_path={package / 'labextensions'}",
        "--LabApp.news_url=", "--LabApp.extension_manager=readonly", "--KernelSpecManager.ensure_native_kernel=True", "--FileContentsManager.delete_to_trash=False",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_CONFIG_PATH": str(package / "etc"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_TOKEN_FILE": str(folder / "token"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    environment.pop("JUPYTER_TOKEN", None)
    return arguments, environment


def free_port(wanted: int) -> int:
    """The wanted port of this machine when nobody listens there, else one that is free."""
    for candidate in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, candidate))
            return int(probe.getsockname()[1])
    raise StartRefused("没有可用的端口", "There is no free port", code="NO_PORT")


def _await_ready(lab: RunningLab) -> None:
    limit = time.monotonic() + READY_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < limit:
        if lab.process.poll() is not None:
            raise StartRefused(
                "JupyterLab 没有启动，见 lab/…/lab.log", "JupyterLab did not start; see lab/…/lab.log", code="LAB_FAILED"
            )
        with suppress(OSError):
            opener.open(lab.url + "api", timeout=5).read()
            return
        time.sleep(0.1)
    raise StartRefused("JupyterLab 60 秒内没有就绪", "JupyterLab was not ready within 60 s", code="LAB_SLOW")


def _copy_missing(source: Path, target: Path) -> None:
    for notebook in sorted(source.glob("*.ipynb")):
        if not (target / notebook.name).exists():
            shutil.copyfile(notebook, target / notebook.name)


def _write_private(path: Path, text: str) -> None:
    staged = path.with_name(path.name + ".new")
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    staged.replace(path)


__all__ = ["RunningLab", "forget_labs", "free_port", "lab_command", "register_lab", "start_lab"]

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
from urllib.parse import urlsplit

from workbench.errors import StartRefused
from workbench.supervisor import running_nodes
from workbench.workspace import Workspace

HOST = "127.0.0.1"
FIRST_PORT = 8890
READY_S = 60.0
STOP_S = 15.0
CALLBACK = "workbench/callback"


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A Lab process. url: what its owner opens, Jupyter's token included; base_url: without it."""

    process: subprocess.Popen[bytes]
    base_url: str
    url: str
    folder: Path

    def __repr__(self) -> str:
        return f"RunningLab({self.base_url})"

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
    # A Lab that has gone left its port to whoever takes it next: sign-ins no longer return there.
    known = [one for one in (json.loads(path.read_text("utf-8")) if path.exists() else []) if _is_listening(one)]
    _write_private(path, json.dumps(sorted({*known, *callbacks}), indent=1))


def _is_listening(url: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, urlsplit(url).port or 0)) == 0


def forget_labs(workspace: Workspace, party: str) -> None:
    """No sign-in returns anywhere until the next `register_lab`."""
    (workspace.node_folder(party) / "run" / "labs.json").unlink(missing_ok=True)


def start_lab(
    workspace: Workspace,
    party: str,
    *,
    open_browser: bool = False,
    notebooks: Path | None = None,
    port: int = FIRST_PORT,
) -> RunningLab:
    """Start JupyterLab for one person of a party whose node runs, and wait until it answers.

    notebooks: copied into the Lab's root folder where missing; the demonstration's by default, in demo workspaces.
    A taken port is replaced by a free one. StartRefused when the node does not run or the Lab does not come up.
    """
    node = {str(name): node for name, node in running_nodes(workspace).items()}.get(party)
    if node is None:
        raise StartRefused(f"{party} 的节点没有运行", f"The node of {party} does not run", code="NODE_DOWN")
    folder = workspace.folder.resolve() / "lab" / party
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    for name in (".", "root", "config", "data", "runtime", "ipython", "ipython/profile_default", "state"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    source = notebooks or (demo_notebooks() if workspace.kind == "demo" else None)
    first = _copy_missing(source, folder / "root") if source is not None else ""
    base = f"http://{HOST}:{free_port(port)}/"
    register_lab(workspace, party, base)
    token = secrets.token_urlsafe(24)
    _write_private(folder / "token", token)
    path = f"lab/tree/{first}" if first else "lab"
    with as_file(files("workbench.jupyter")) as package:
        shutil.copyfile(package / "etc/ipython/ipython_config.py", folder / "ipython/profile_default/ipython_config.py")
        command, environment = lab_command(folder, package, node_url=node.staff_url, base_url=base, path=path)
        if not open_browser:
            command.append("--no-browser")
        out = os.open(folder / "lab.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder / "root",
            start_new_session=True,
        )  # fmt: skip
        os.close(out)
    lab = RunningLab(child, base, f"{base}{path}?token={token}", folder)
    try:
        _await_ready(lab)
    except BaseException:
        lab.stop()
        raise
    return lab


def lab_command(folder: Path, package: Path, *, node_url: str, base_url: str, path: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a Lab whose files all lie in `folder`; package: where workbench.jupyter lies.

    Jupyter opens a browser through a 0600 file of its own, so its token is in no argument either.
    """
    port = int(base_url.rstrip("/").rpartition(":")[2])
    arguments = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", "--ServerApp.allow_root=True", "--ServerApp.allow_remote_access=False",
        f"--ServerApp.root_dir={folder / 'root'}", f"--LabApp.default_url=/{path}",
        f"--WorkbenchLab.node_url={node_url}", f"--WorkbenchLab.state_folder={folder / 'state'}",
        f"--LabApp.extra_labextensions_path={package / 'labextensions'}",
        "--LabApp.news_url=", "--LabApp.extension_manager=readonly",  # neither feeds nor a package index are asked
        "--FileContentsManager.delete_to_trash=False",
        "--KernelManager.transport=ipc",  # kernels talk over sockets in the 0700 folder, not over open ports
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


def demo_notebooks() -> Path | None:
    """Where the demonstration's notebooks lie: beside the sources, or below the environment of an installed wheel."""
    places = (Path(__file__).parents[2] / "demo_notebooks", Path(sys.prefix) / "share/evidence-workbench/notebooks")
    return next((place for place in places if place.is_dir()), None)


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
            opener.open(lab.base_url + "api", timeout=5).read()
            return
        time.sleep(0.1)
    raise StartRefused("JupyterLab 60 秒内没有就绪", "JupyterLab was not ready within 60 s", code="LAB_SLOW")


def _copy_missing(source: Path, target: Path) -> str:
    """Copy notebooks that are not there yet; returns the name of the first."""
    names = [notebook.name for notebook in sorted(source.glob("*.ipynb"))]
    for name in names:
        if not (target / name).exists():
            shutil.copyfile(source / name, target / name)
    return names[0] if names else ""


def _write_private(path: Path, text: str) -> None:
    staged = path.with_name(path.name + ".new")
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    staged.replace(path)


__all__ = ["RunningLab", "demo_notebooks", "forget_labs", "free_port", "lab_command", "register_lab", "start_lab"]

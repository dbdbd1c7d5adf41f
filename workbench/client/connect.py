"""connect(): from a notebook to the own institution's node, with the weak token that JupyterLab's sign-in left.

The token lies in a 0600 file whose path is in WORKBENCH_SESSION; it is read before each request, shown nowhere, and
gone at sign-out (decision 18).
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from workbench.client.handed import HandedClient, signed_out
from workbench.client.notebook import NotebookWorkbench
from workbench.errors import Denied, Refused

SESSION_VARIABLE = "WORKBENCH_SESSION"
SESSION_FORMAT = "workbench/v1/session"
LOOK_AGAIN_S = 0.1


class SessionFile:
    """A TicketSource: the file in which the Lab server keeps the kernel's token fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return "SessionFile()"

    def read(self) -> dict[str, Any]:
        """The file's content; SignInRequired when it is not there, Denied when others may read it."""
        try:
            status = self._path.stat()
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid != os.getuid():
                raise Denied(
                    "会话文件对他人可读，不使用。运维检查 JupyterLab 的目录权限",
                    "The session file is readable by others and is not used. Operations check the folder of JupyterLab",
                    code="SESSION_FILE_OPEN",
                )
            value: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            raise signed_out() from None
        if value.get("v") != SESSION_FORMAT:
            raise signed_out()
        return value

    def current(self) -> str:
        return str(self.read()["ticket"])

    def next_after(self, ticket: str, wait_s: float) -> str | None:
        limit = time.monotonic() + wait_s
        while time.monotonic() < limit and self._path.exists():
            if self.current() != ticket:
                return self.current()
            time.sleep(LOOK_AGAIN_S)
        return None


def connect(session: str | Path | None = None) -> NotebookWorkbench:
    """The workbench of the person who is signed in in this JupyterLab.

    session: path of a session file; the one of this JupyterLab by default. Refused NOT_IN_LAB outside of it,
    SignInRequired when nobody is signed in.
    """
    path = session or os.environ.get(SESSION_VARIABLE, "")
    if not path:
        raise Refused(
            "这里不是证据工作台的 JupyterLab。用 workbench demo 打开，或在命令行用 workbench call",
            "This is not a JupyterLab of the workbench. Open one with workbench demo, or use workbench call in a terminal",
            code="NOT_IN_LAB",
        )
    source = SessionFile(Path(path))
    value = source.read()
    return NotebookWorkbench(HandedClient(str(value["node_url"]), source), base_url=str(value.get("base_url", "/")))


__all__ = ["SessionFile", "connect"]

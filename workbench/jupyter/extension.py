"""The server extension: configuration, start and stop of what stands between Lab and pages."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.utils import url_path_join
from traitlets import List, Unicode

from workbench.jupyter.handlers import handlers
from workbench.jupyter.notebook_cleaning import clean_before_saving
from workbench.jupyter.pages_process import PagesProcess
from workbench.jupyter.proxy import PagesProxy
from workbench.jupyter.session import LabSession

PAGES_PREFIX = "workbench/app"
SESSION_VARIABLE = "WORKBENCH_SESSION"


class WorkbenchLab(ExtensionApp):
    """Idle until `node_url` is set; the pre-save hook works always."""

    name = "workbench"
    load_other_extensions = True

    node_url = Unicode("", help="Address of the institution's node, e.g. http://127.20.1.11:8800").tag(config=True)
    state_folder = Unicode("", help="0700 folder for the kernels' session file and logs; a temporary one by default").tag(
        config=True
    )
    origins = List(Unicode(), help="Exact host:port values from which pages may open websockets; Lab's own by default").tag(
        config=True
    )

    _session: LabSession | None = None
    _pages: PagesProcess | None = None

    def initialize_handlers(self) -> None:
        server = self.serverapp
        assert server is not None  # handlers are initialised by a server
        server.contents_manager.register_pre_save_hook(clean_before_saving)  # type: ignore[no-untyped-call]
        if not self.node_url:
            self.log.info("workbench: no node is configured (WorkbenchLab.node_url)")
            return
        base = server.base_url
        folder = self._folder()
        # The path goes to kernels, the token never does: it lies in the file, and only while somebody is signed in.
        session_path = folder / f"session-{os.getpid()}.json"
        os.environ[SESSION_VARIABLE] = str(session_path)
        self._pages = PagesProcess(
            node_url=self.node_url,
            prefix=url_path_join(base, PAGES_PREFIX),
            origins=list(self.origins) or [f"127.0.0.1:{server.port}", f"localhost:{server.port}"],
            log_path=folder / "pages.log",
        )
        self._session = LabSession(
            node_url=self.node_url, session_path=session_path, base_url=base, told=self._pages.told
        )
        self.handlers.extend(handlers(base, self._session))
        proxied = {"session": self._session, "pages": self._pages}
        self.handlers.append((url_path_join(base, PAGES_PREFIX) + r"/(.*)", PagesProxy, proxied))
        self.settings.update(workbench_session=self._session)

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        if self._pages is not None:
            self._pages.start()

    async def stop_extension(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._pages is not None:
            await self._pages.stop()

    def _folder(self) -> Path:
        if not self.state_folder:
            return Path(tempfile.mkdtemp(prefix="workbench-lab-"))
        folder = Path(self.state_folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        return folder

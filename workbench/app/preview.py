"""See pages without JupyterLab while writing them: `python -m workbench.app.preview DIR PARTY ROLE [--port N]`.

Signs in as the demonstration person of a role and serves on a loopback port. Demo and test workspaces only.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop, PeriodicCallback

from workbench.app import SIGN_IN_HEADER, TICKET_HEADER
from workbench.app.server import FileHandler, PageApplication, build_server
from workbench.app.shell import App
from workbench.app.signins import SignIns
from workbench.client.session import Client, sign_in
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.loading import load_plugins
from workbench.supervisor import running_nodes
from workbench.workspace import load_workspace

PREFIX = "/workbench/app"
REFERENCE = "preview"


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="workbench.app.preview")
    parser.add_argument("dir", type=Path)
    parser.add_argument("party")
    parser.add_argument("role", type=Role)
    parser.add_argument("--port", type=int, default=5006)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    workspace = load_workspace(options.dir)
    account, password = workspace.sign_in(options.party, options.role)  # refuses outside demo and test
    node = {str(party): node for party, node in running_nodes(workspace).items()}.get(options.party)
    if node is None:
        raise Refused("节点没有运行", "The node does not run", code="NODE_DOWN")
    client = sign_in(node.staff_url, account, password, audience="page")
    app = App(node_url=node.staff_url, prefix=PREFIX, sign_ins=SignIns(), plugins=load_plugins())
    _sign_every_request(app, client)

    def keep() -> None:
        app.sign_ins.seen(REFERENCE, client.ticket())

    app.warm()
    origin = f"127.0.0.1:{options.port}"
    server = build_server(app, origins=[origin], port=options.port, address="127.0.0.1")
    server.start()
    PeriodicCallback(keep, 60_000).start()
    for name in app.dashboards():
        print(f"http://{origin}{PREFIX}/page?name={name}", flush=True)
    IOLoop.current().start()
    return 0


def _sign_every_request(app: App, client: Client) -> None:
    """Stand in for the proxy: every request belongs to the one person who signed in."""
    given = PageApplication.process_request

    def signed(self: PageApplication, request: HTTPServerRequest) -> dict[str, Any]:
        request.headers[SIGN_IN_HEADER], request.headers[TICKET_HEADER] = REFERENCE, client.ticket()
        return given(self, request)

    def sign_file(self: FileHandler) -> None:
        self.request.headers[SIGN_IN_HEADER], self.request.headers[TICKET_HEADER] = REFERENCE, client.ticket()

    PageApplication.process_request = signed  # type: ignore[method-assign]  # this process only shows previews
    FileHandler.prepare = sign_file  # type: ignore[method-assign, assignment]  # downloads take the same way as behind the proxy


if __name__ == "__main__":
    sys.exit(main())

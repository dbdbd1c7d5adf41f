"""The pages' process: `python -m workbench.app.serve --socket … --prefix … --node-url … --origin …`.

Started and ended by the Lab server. It ends by itself when its parent is gone: its standard input closes.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from tornado.ioloop import IOLoop


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM, or until standard input closes."""
    parser = argparse.ArgumentParser(prog="workbench.app.serve")
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--node-url", required=True)
    parser.add_argument("--origin", required=True, action="append")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s pages %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options.socket.unlink(missing_ok=True)

    from workbench.app.server import build_server
    from workbench.app.shell import App
    from workbench.app.signins import SignIns
    from workbench.loading import load_plugins

    app = App(node_url=options.node_url.rstrip("/"), prefix=options.prefix.rstrip("/"), sign_ins=SignIns(), plugins=load_plugins())
    app.warm()
    server = build_server(app, origins=options.origin, unix_socket=str(options.socket))
    server.start()
    loop = IOLoop.current()
    signal.signal(signal.SIGTERM, lambda number, frame: loop.add_callback_from_signal(loop.stop))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the Lab server ends this process
    threading.Thread(target=_stop_with_parent, args=(loop,), daemon=True).start()
    logging.getLogger("workbench.app").info("ready")
    loop.start()
    options.socket.unlink(missing_ok=True)
    return 0


def _stop_with_parent(loop: IOLoop) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    loop.add_callback(loop.stop)


if __name__ == "__main__":
    sys.exit(main())

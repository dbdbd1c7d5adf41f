"""The process of one node: staff API and peer API on one event loop, work in threads.

Run as `python -m workbench.node.service DIR PARTY`; the passphrase of a production node comes on standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import uvicorn

from workbench.node.memory import give_back_promptly

log = logging.getLogger("workbench")


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Exit 0 stopped, 2 refused to start, 1 failed."""
    give_back_promptly()
    folder, party = (arguments or sys.argv[1:])[:2]
    os.umask(0o077)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s " + party + " %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Compiled code must lie where nobody else can write (decision 19); numba reads this when it is imported.
    cache = Path(folder) / ".compiled"
    cache.mkdir(mode=0o700, exist_ok=True)
    elsewhere = os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
    from workbench.errors import WorkbenchError
    from workbench.workspace import load_workspace

    try:
        workspace = load_workspace(Path(folder))
        if workspace.kind == "production" and elsewhere != str(cache):
            log.warning("NUMBA_CACHE_DIR is not used in production: compiled code lies in the workspace")
            os.environ["NUMBA_CACHE_DIR"] = str(cache)
        passphrase = sys.stdin.readline().strip() if workspace.kind == "production" else ""
        asyncio.run(_serve(workspace, party, passphrase))
    except WorkbenchError as error:
        log.error("%s", error)
        print(json.dumps(error.as_dict(), ensure_ascii=False), file=sys.stderr)
        return error.exit_status
    return 0


async def _serve(workspace: Any, party: str, passphrase: str) -> None:
    from workbench.node.links import ChannelLinks
    from workbench.node.staff import build_staff_app
    from workbench.workspace import open_node

    node = await asyncio.to_thread(open_node, workspace, party, passphrase=passphrase)
    address = workspace.address(party)
    loop = asyncio.get_running_loop()
    channel = node.channel()
    server = await channel.serve(
        identity=node.keys.channel_identity(),
        host=address.peer_host,
        port=address.peer_port,
        peers=node.partners.addresses,
        handler=node.peer_api.handle,
        refused=lambda remote, reason: node.peer_api.record_refusal_soon(remote, reason),
        max_body_bytes=node.setting("node.max_message_bytes") + 65_536,
    )
    links = ChannelLinks(
        channel=channel,
        identity=node.keys.channel_identity(),
        source_address=node.keys.bundle.source_addresses[0],
        peer=node.partners.address,
        loop=loop,
    )
    await asyncio.to_thread(node.start, links)
    hosts = {f"{address.staff_host}:{address.staff_port}", f"localhost:{address.staff_port}"}
    staff = uvicorn.Server(
        uvicorn.Config(
            build_staff_app(node, allowed_hosts=hosts),
            host=address.staff_host,
            port=address.staff_port,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=30,
            access_log=False,
        )
    )
    staff.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # ours below stop both servers
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, lambda: setattr(staff, "should_exit", True))
    run_folder = node.folder / "run"
    run_folder.mkdir(mode=0o700, exist_ok=True)
    state = {
        "pid": os.getpid(),
        "party": party,
        "staff_url": f"http://{address.staff_host}:{address.staff_port}",
        "peer": f"{address.peer_host}:{server.port}",
    }
    announcing = asyncio.create_task(_announce(staff, run_folder / "node.json", state))
    try:
        await staff.serve()
    finally:
        announcing.cancel()
        with contextlib.suppress(FileNotFoundError):
            (run_folder / "node.json").unlink()
        await server.close()
        await asyncio.to_thread(node.close)


async def _announce(staff: uvicorn.Server, path: Path, state: dict[str, Any]) -> None:
    """Say where the node is once it listens; whoever reads the file may call at once."""
    while not staff.started:  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0.01)
    staged = path.with_name(path.name + ".new")
    staged.write_text(json.dumps(state), "utf-8")
    staged.replace(path)
    log.info("ready: staff %s, peers %s", state["staff_url"], state["peer"])


if __name__ == "__main__":
    sys.exit(main())

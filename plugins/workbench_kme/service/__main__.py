"""The process of one KME: `python -m workbench_kme.service <site folder>`, passphrase on standard input.

Document: key-delivery.md section 5. Ends in good order on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench_kme.service import delivery, link, management
from workbench_kme.service.config import split_address
from workbench_kme.service.entity import Entity
from workbench_kme.service.listening import Answer, Call, Listener
from workbench_kme.service.peering import MAX_BODY_BYTES as LINK_BODY_BYTES
from workbench_kme.service.standard import MAX_BODY_BYTES
from workbench_kme.service.tls import server_context

_TOO_LARGE = Answer(400, b'{"message":"the request is too large or incomplete"}')
_FAILED = Answer(503, b'{"message":"the KME failed internally","details":[{"code":"INTERNAL"}]}')
_LINK_TOO_LARGE = Answer(409, b'{"code":"MALFORMED"}')
_LINK_FAILED = Answer(409, b'{"code":"FAILED"}')


async def serve(entity: Entity) -> None:
    """Listen for the site and for the other KMEs until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)

    def for_the_site(call: Call) -> Answer:
        if management.handles(call.path):
            return management.answer(entity, call)
        return delivery.answer(entity, call)

    pair = (entity.certificate, entity.secrets.tls_key)
    site = Listener(for_the_site, max_body_bytes=MAX_BODY_BYTES, too_large=_TOO_LARGE, failed=_FAILED)
    peers = Listener(
        lambda call: link.answer(entity, call),
        max_body_bytes=LINK_BODY_BYTES,
        too_large=_LINK_TOO_LARGE,
        failed=_LINK_FAILED,
    )
    host, port = split_address(entity.config.address)
    link_host, link_port = split_address(entity.config.link_address)
    try:
        await site.start(host, port, server_context(*pair, [entity.authority]))
        authorities = [one.peer.authority for one in entity.config.lines]
        if authorities:
            await peers.start(link_host, link_port, server_context(*pair, authorities))
        entity.start()
        _tell_where(entity, f"{host}:{site.port}", f"{link_host}:{peers.port}")
        await stop.wait()
    finally:
        await site.close()
        await peers.close()
        (entity.folder / "run" / "kme.json").unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Run until stopped; the exit status."""
    if len(arguments) != 1:
        print("usage: python -m workbench_kme.service <site folder>", file=sys.stderr)
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    passphrase = sys.stdin.readline().rstrip("\n")
    try:
        entity = Entity(Path(arguments[0]), passphrase)
        try:
            asyncio.run(serve(entity))
        finally:
            entity.close()
    except WorkbenchError as error:
        print(json.dumps(error.as_dict(), ensure_ascii=False), file=sys.stderr)
        return error.exit_status
    except OSError as error:
        told = {
            "code": "KME_ADDRESS",
            "zh": f"地址不可用：{error.strerror}",
            "en": f"the address cannot be used: {error.strerror}",
        }
        print(json.dumps(told, ensure_ascii=False), file=sys.stderr)
        return 1
    return 0


def _tell_where(entity: Entity, address: str, link_address: str) -> None:
    run = entity.folder / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    state = {"kme": entity.config.kme, "pid": os.getpid(), "address": address, "link_address": link_address}
    staged = run / "kme.json.new"
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(state, file)
    staged.replace(run / "kme.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

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
from workbench_kme.service import compiled, delivery, link, management
from workbench_kme.service.config import split_address
from workbench_kme.service.entity import Entity
from workbench_kme.service.listening import Answer, Call, Limits, Listener
from workbench_kme.service.standard import MAX_BODY_BYTES
from workbench_kme.service.tls import server_context

_TOO_LARGE = Answer(400, b'{"message":"the request is too large or incomplete"}')
_BUSY = Answer(503, b'{"message":"too much at once","details":[{"retry_after_s":5},{"code":"BUSY"}]}')
_FAILED = Answer(503, b'{"message":"the KME failed internally","details":[{"code":"INTERNAL"}]}')
_LINK_TOO_LARGE = Answer(409, b'{"code":"TOO_LARGE"}')
_LINK_BUSY = Answer(503, b'{"code":"BUSY"}')
_LINK_FAILED = Answer(503, b'{"code":"FAILED"}')
_SITE_LIMITS = Limits(connections=256, connections_of_one_address=192, bytes_in_flight=8 << 20)
"""A site's node and applications may well share one machine, and keep connections open."""
_LINK_LIMITS = Limits(connections=128, connections_of_one_address=64, bytes_in_flight=192 << 20)
"""Another KME keeps eight connections a line at most."""


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
    site = Listener(
        for_the_site,
        # Whoever gets here has a certificate of this site's own authority; what it may do is said with the answer.
        admits=lambda _caller, _fingerprint, _path: MAX_BODY_BYTES,
        limits=_SITE_LIMITS,
        too_large=_TOO_LARGE,
        busy=_BUSY,
        failed=_FAILED,
    )
    peers = Listener(
        lambda call: link.answer(entity, call),
        admits=lambda caller, fingerprint, path: link.admit(entity, caller, fingerprint, path),
        limits=_LINK_LIMITS,
        too_large=_LINK_TOO_LARGE,
        busy=_LINK_BUSY,
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
        compiled.keep_within(entity.folder)
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

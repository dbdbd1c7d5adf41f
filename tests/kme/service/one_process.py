"""Both ends of a line in one process: two entities whose calls to one another are function calls, with a place between."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kme_pair import LINE, RECEIVER, SAES, SENDER
from workbench_kme.service import link
from workbench_kme.service.config import Quota
from workbench_kme.service.entity import Entity
from workbench_kme.service.line import LineEnd
from workbench_kme.service.listening import Call
from workbench_kme.service.sites import LinePlan, make_sites
from workbench_kme.service.transport import Reply
from workbench_kme.sources.imported import make_key_file

from workbench.crypto import canonical

Between = Callable[[str, dict[str, Any], Reply], Reply]


class Wire:
    """What stands where HTTPS does: the listening side's own code answers, and failures of it are 503 as there.

    between: given verb, body and reply of every call on its way back; what it returns arrives.
    """

    def __init__(self, caller: Entity, other: Entity) -> None:
        self._caller, self._other = caller, other
        self.between: Between = lambda _verb, _body, reply: reply

    def call(self, method: str, path: str, body: bytes = b"", *, kind: str = "application/json", timeout_s: float) -> Reply:
        pin = self._other.lines[LINE].config.peer.fingerprint
        call = Call(method, path, (), kind, body, ("kme", self._caller.config.kme), pin)
        try:
            answer = link.answer(self._other, call)
            reply = Reply(answer.status, answer.body)
        except Exception:  # noqa: BLE001 - as the listener does
            reply = Reply(503, b'{"code":"FAILED"}')
        return self.between(path.rpartition("/")[2], json.loads(body), reply)

    def close(self) -> None:
        """Nothing is held."""


class OneProcess:
    """Sender and receiver of a line; no thread runs unless a test starts one."""

    def __init__(self, folder: Path, plan: LinePlan) -> None:
        generous = Quota(burst=1_000_000, per_minute=60_000_000, kept_back=0)
        sites = make_sites(folder, [plan], now=datetime.now(UTC), saes=SAES, quota=generous)
        self.folders = {name: site.folder for name, site in sites.items()}
        self.open()

    def open(self) -> None:
        """Both entities from what lies in their folders."""
        self.sender, self.receiver = (Entity(self.folders[name], "") for name in (SENDER, RECEIVER))
        self.there, self.back = Wire(self.sender, self.receiver), Wire(self.receiver, self.sender)
        for end, wire in ((self.here_line, self.there), (self.there_line, self.back)):
            end._link._caller = wire  # type: ignore[assignment]  # the same calls

    @property
    def here_line(self) -> LineEnd:
        return self.sender.lines[LINE]

    @property
    def there_line(self) -> LineEnd:
        return self.receiver.lines[LINE]

    def beat(self) -> None:
        """What the sender's thread does once a second."""
        self.here_line._beat_once()

    def bring_file(self, count: int) -> None:
        """Keys into the stock of both."""
        data = make_key_file(LINE, count)
        for folder in self.folders.values():
            path = folder / "inbox" / "keys.wbki"
            path.write_bytes(data)
            path.chmod(0o600)
        self.here_line.maker.begin_afresh()
        self.beat()
        assert self.sender.store.status(LINE).available >= count // 2

    def ask_receiver(self, verb: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """One call of the pinned sender, as it stands on the wire."""
        reply = self.there.call("POST", f"/link/v1/{LINE}/{verb}", canonical.format(body), timeout_s=1)
        return reply.status, json.loads(reply.body)

    def close(self) -> None:
        for entity in (self.sender, self.receiver):
            entity.close()

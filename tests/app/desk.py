"""What tests of pages share: a person's client without HTTP, opened evidence pages, and made-up entries."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from workbench_ledger.pages.evidence import EvidencePage
from workbench_ledger.pages.words import Words

from tests.flows.institutions import Institutions
from workbench.app.page import PageContext, SilentSurroundings
from workbench.app.texts import texts_of, translate
from workbench.client.session import Namespace, Record
from workbench.domain.party import Role

PARTIES = (("bank", "乙银行", "Yi Bank"), ("broker", "甲证券", "Jia Securities"), ("cardnet", "丙卡组织", "Bing Card Network"))
LANGUAGES = ("zh", "en")


def words(lang: Any = "zh", own: str = "broker") -> Words:
    texts = texts_of("workbench_ledger")
    return Words(lambda key, /, **fields: translate(texts, lang, key, fields), lang, PARTIES, own)


class Desk:
    """A client of one person that calls the node in this process instead of over HTTP; called: operations so far."""

    def __init__(self, house: Institutions, party: str, role: Role) -> None:
        self._house, self._party, self._role = house, party, role
        self.called: list[str] = []
        self.prepared: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: str, /, *, progress: Any = None, cancelled: Any = None, **request: Any) -> Any:
        self.called.append(operation)
        reply = self._house.call(self._party, self._role, operation, **request)
        return json.loads(reply.model_dump_json(), object_hook=Record)

    def upload_bytes(self, name: str, content: bytes) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            return str(self._house.nodes[self._party].uploads.adopt(path))

    def download(self, download: str) -> bytes:
        node = self._house.nodes[self._party]
        content: bytes = node.downloads.take(self._house.caller(self._party, self._role), download)[1]
        return content

    def prepare_action(self, operation: str, /, **request: Any) -> Record:
        self.prepared.append((operation, request))
        return Record(action="A-1", url="http://node/confirm/A-1")

    def openapi(self) -> dict[str, Any]:
        return {"paths": {}}

    def __getattr__(self, name: str) -> Namespace:
        return Namespace(self, name)  # type: ignore[arg-type]  # it only calls `call`


def opened(house: Institutions, role: Role, *, party: str = "broker", lang: str = "zh", **params: str) -> tuple[EvidencePage, SilentSurroundings]:
    desk, around = Desk(house, party, role), SilentSurroundings()
    page = PageContext(
        client=desk,  # type: ignore[arg-type]
        me=desk.call("people.me"), package="workbench_ledger", params=params, lang=lang, surroundings=around,
    )  # fmt: skip
    made = EvidencePage(page)
    made.view()
    asyncio.run(made.open())
    return made, around


def buttons(made: EvidencePage) -> list[str]:
    return [one["name"] for one in made.answer.actions]


def entry(log: str, index: int, kind: str = "intersection.sealed", **other: Any) -> dict[str, Any]:
    made = {
        "log": log, "index": index, "kind": kind, "zh": "双方共签完成", "en": "sealed", "time_ms": 1000 + index, "job": "J-1",
        "actor": "", "actor_token": "", "values": {}, "closed": [], "refs": [], "seal": "FULL",
        "cosigners": ["bank", "broker", "cardnet"], "missing": [], "counterpart": "", "problem": "",
    }  # fmt: skip
    return {**made, **other}


def frame(number: int, kind: str, sender: str = "broker", recipient: str = "bank") -> list[dict[str, Any]]:
    """Both records of one frame; the recipient's a moment later."""
    def record(log: str, partner: str, direction: str, late: int) -> dict[str, Any]:
        other = f"{partner}/{number}"
        values = {"message": kind, "direction": direction, "partner": partner, "digest": f"{number:064x}"}
        return entry(log, number, "intersection.message", values=values, counterpart=other, time_ms=1000 + 10 * number + late)

    return [record(sender, recipient, "sent", 0), record(recipient, sender, "received", 4)]

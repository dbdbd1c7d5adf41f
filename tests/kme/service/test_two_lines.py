"""Two lines between the same two sites: keys of each by its own applications, one that is cut leaves the other alone, one more brings more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kme_pair import LINE, RECEIVER, SENDER
from one_process import Wire
from workbench_kme.service import delivery
from workbench_kme.service.entity import Entity
from workbench_kme.service.listening import Call
from workbench_kme.service.sites import LinePlan, make_sites
from workbench_kme.sources.imported import make_key_file
from workbench_qkd.connecting import place

from workbench.crypto import certificates
from workbench.errors import PeerUnavailable

SECOND = "metro-2"
SAES = {SENDER: ("sae-broker", "sae-broker-2"), RECEIVER: ("sae-provider", "sae-provider-2")}
PLANS = [
    LinePlan(
        line, SENDER, RECEIVER, source="imported", options={}, demonstration=False, target_keys=1000, low_water=4,
        saes={site: (SAES[site][number],) for site in SAES},
    )
    for number, line in enumerate((LINE, SECOND))
]  # fmt: skip


class Sites:
    def __init__(self, folder: Path, plans: Sequence[LinePlan] = PLANS, *, before_start: Callable[[Mapping[str, Path]], None] = lambda folders: None) -> None:
        self.folders = {name: one.folder for name, one in make_sites(folder, plans, now=datetime.now(UTC), saes=SAES).items()}
        before_start(self.folders)
        self.open()

    def open(self) -> None:
        self.sender, self.receiver = (Entity(self.folders[name], "") for name in (SENDER, RECEIVER))
        for one, other in ((self.sender, self.receiver), (self.receiver, self.sender)):
            wire = Wire(one, other)
            wire.between = self.between
            for end in one.lines.values():
                end._link._caller = wire  # type: ignore[assignment]  # the same calls

    def between(self, _verb: str, body: dict[str, Any], reply: Any) -> Any:
        return reply

    def cut_line(self, line: str) -> None:
        class Away:
            def call(self, *_values: Any, **_named: Any) -> Any:
                raise PeerUnavailable("断了", "cut")

            def close(self) -> None: ...

        for entity in (self.sender, self.receiver):
            entity.lines[line]._link._caller = Away()  # type: ignore[assignment]

    def take(self, number: int) -> tuple[int, Any]:
        """A key of the line with this number, as the node's application on it."""
        master, slave = SAES[SENDER][number], SAES[RECEIVER][number]
        return ask(self.sender, master, f"/api/v1/keys/{slave}/enc_keys")

    def fetch(self, number: int, key_id: str) -> tuple[int, Any]:
        master, slave = SAES[SENDER][number], SAES[RECEIVER][number]
        return ask(self.receiver, slave, f"/api/v1/keys/{master}/dec_keys", (("key_ID", key_id),))

    def bring_files(self) -> None:
        for name in (LINE, SECOND):
            data = make_key_file(name, 40)
            for folder in self.folders.values():
                path = folder / "inbox" / f"{name}.wbki"
                path.write_bytes(data)
                path.chmod(0o600)
            self.sender.lines[name].maker.begin_afresh()
        self.beat()

    def beat(self) -> None:
        for line in self.sender.lines.values():
            line._beat_once()

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


def ask(entity: Entity, sae: str, path: str, query: tuple[tuple[str, str], ...] = ()) -> tuple[int, Any]:
    pinned = certificates.describe((entity.folder / "clients" / f"{sae}.pem").read_bytes()).fingerprint
    answer = delivery.answer(entity, Call("GET", path, query, "", b"", ("sae", sae), pinned))
    return answer.status, json.loads(answer.body)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(tmp_path_factory.mktemp("two-lines") / "sites")
    made.bring_files()
    yield made
    made.close()


def test_each_line_gives_keys_to_its_own_applications_and_the_far_end_has_the_same(sites: Sites) -> None:
    sites.beat()
    for number, line in enumerate((LINE, SECOND)):
        assert sites.sender.store.status(line).available > 0
        status, told = sites.take(number)
        assert status == 200, told
        [key] = told["keys"]
        status, there = sites.fetch(number, key["key_ID"])
        assert (status, there["keys"][0]["key"]) == (200, key["key"])
    status, _ = ask(sites.sender, SAES[SENDER][0], f"/api/v1/keys/{SAES[RECEIVER][1]}/enc_keys")
    assert status != 200, "an application of the other line gets no key over this one"


def test_the_node_is_on_each_line_the_application_that_the_far_site_knows(sites: Sites) -> None:
    folder = sites.folders[SENDER]
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "kme.json").write_text(json.dumps({"address": "127.0.0.1:1"}), "utf-8")
    found = place({"folder": str(folder), "line_saes": {SECOND: SAES[SENDER][1]}}, folder)
    assert (found.for_line(LINE)[0], found.for_line(SECOND)[0]) == SAES[SENDER]
    certificates = [found.for_line(line)[1] for line in (LINE, SECOND)]
    assert certificates[0] is not None and certificates[1] is not None and certificates[0].certificate != certificates[1].certificate


def test_a_line_that_is_cut_gives_no_key_and_the_other_one_goes_on(sites: Sites) -> None:
    sites.cut_line(LINE)
    sites.beat()
    status, told = sites.take(0)
    assert (status, told["details"][-1]["code"]) == (503, "PEER_UNREACHABLE"), told
    status, told = sites.take(1)
    assert status == 200
    assert sites.fetch(1, told["keys"][0]["key_ID"])[0] == 200

"""An entity with several key devices: one joins while keys are taken, each opens its own values, one fails alone."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from kme_pair import LINE, SENDER, imported_plan, until
from one_process import OneProcess
from workbench_kme.devices.group import HOME
from workbench_kme.devices.selftest import known_answers, run
from workbench_kme.devices.wrapping import kek_of
from workbench_kme.service import management
from workbench_kme.service.client import ManagementClient
from workbench_kme.service.entity import Entity
from workbench_kme.service.listening import Call
from workbench_kme.service.standard import DeliveredKey, KeyRequest
from workbench_kme.service.transport import Reply
from workbench_kme.sources.imported import make_key_file

from workbench.errors import KeyUnavailable, NotFound, Refused

ASKED: dict[str, Any] = {"number": 1, "size": 256, "origins": (), "master": "sae-broker", "slaves": ("sae-sandbox",)}


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[OneProcess]:
    made = OneProcess(tmp_path / "sites", imported_plan())
    yield made
    made.close()


class Direct:
    """Calls of the node as the listener hands them over. Stands where HTTPS does."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity

    def call(self, method: str, path: str, body: bytes = b"", *, timeout_s: float) -> Reply:
        config = self._entity.config
        call = Call(method, path, (), "application/json", body, ("node", config.site), config.node_fingerprint)
        answer = management.answer(self._entity, call)
        return Reply(answer.status, answer.body)


def node_of(entity: Entity) -> ManagementClient:
    client = ManagementClient.__new__(ManagementClient)
    client._timeout_s, client._caller = 5.0, Direct(entity)  # type: ignore[assignment]  # the same calls
    return client


def stored_by(entity: Entity) -> Counter[str]:
    """Free keys by the name of the device that wrapped them."""
    names = {one.kek_id: name for name, one in entity.devices.group.members.items()}
    with entity.store.core.database.read() as reader:
        return Counter(names[kek_of(row[0])] for row in reader.execute("SELECT wrapped FROM kme_key WHERE state = 2"))


def taken_by(ends: OneProcess, number: int) -> list[DeliveredKey]:
    """Keys for the master; the other end was heard just before."""
    ends.beat()
    return ends.sender.get_keys(LINE, KeyRequest(number=number), master="sae-broker", slave="sae-sandbox")


def events(entity: Entity, kind: str) -> list[Any]:
    return [one.facts.get("device", one.facts.get("values")) for one in entity.store.events(limit=10_000) if one.kind == kind]


def test_a_device_joins_while_keys_are_taken_and_is_drained_again(ends: OneProcess) -> None:
    ends.bring_file(800)
    node = node_of(ends.sender)
    stop, taken, failed = threading.Event(), list[UUID](), list[BaseException]()

    def take() -> None:
        while not stop.wait(0.005):
            try:
                ends.beat()  # as the line's own thread, without a second of pause
                taken.extend(one.key_id for one in ends.here_line.get_keys(**ASKED))
            except BaseException as error:  # noqa: BLE001 - whatever it is, no request may fail
                failed.append(error)
                return

    def another() -> bool:
        count = len(taken)
        until(lambda: failed or len(taken) > count + 2, what="keys are taken meanwhile")
        return not failed

    thread = threading.Thread(target=take)
    thread.start()
    try:
        assert another()
        added = node.add_device("second")
        assert (added.state, added.own_process, added.values) == ("serving", True, 0) and another()
        data = make_key_file(LINE, 400)
        for folder in ends.folders.values():
            path = folder / "inbox" / "more.wbki"
            path.write_bytes(data)
            path.chmod(0o600)
        ends.here_line.wake(try_now=True)
        until(lambda: stored_by(ends.sender)["second"], what="new values go to the second device")
        assert [(one.name, one.values) for one in node.devices() if one.own_process] == [("second", 200)]
        assert node.drain_device("second") == 200 and another()
    finally:
        stop.set()
        thread.join()
    assert not failed and len(set(taken)) == len(taken)
    assert list(node.overview().devices) == [HOME] and set(stored_by(ends.sender)) == {HOME}
    assert events(ends.sender, "device.added") == ["second"] and events(ends.sender, "device.drained") == [200]
    assert not list((ends.folders[SENDER] / "devices").iterdir())
    some = taken[:50]
    fetched = ends.there_line.get_keys_by_id(some, master="sae-broker", slave="sae-sandbox")
    assert len({bytes(one.value) for one in fetched}) == len(some)


def test_devices_serve_after_a_restart_and_each_fails_alone(ends: OneProcess) -> None:
    node = node_of(ends.sender)
    for name, code in (("home", "DEVICE_NAME"), ("../x", "DEVICE_NAME"), ("", "DEVICE_NAME")):
        with pytest.raises(Refused, match=code):
            node.add_device(name)
    with pytest.raises(Refused, match="NO_TOKEN_MODULE"):
        node.add_device("token", backend="pkcs11")
    for name, kind, code in (("home", Refused, "DEVICE_FIRST"), ("nobody", NotFound, "NO_SUCH_DEVICE")):
        with pytest.raises(kind, match=code):
            node.drain_device(name)
    node.add_device("second")
    with pytest.raises(Refused, match="DEVICE_KNOWN"):
        node.add_device("second")
    ends.bring_file(80)
    assert stored_by(ends.sender) == {HOME: 40, "second": 40}

    file, away = ends.folders[SENDER] / "devices" / "second.json", ends.folders[SENDER] / "second.json"
    ends.close()
    file.rename(away)
    ends.open()
    node, group = node_of(ends.sender), ends.sender.devices.group
    missing = node.devices()[-1]
    assert (missing.name, missing.state, missing.values) == ("", "missing", 40)
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        taken_by(ends, 21)
    away.rename(file)
    assert node.self_test().passed and node.overview().devices == {HOME: "serving", "second": "serving"}
    ids = [UUID(one.key_id) for one in taken_by(ends, 8)]

    os.kill(group.members["second"].pid, signal.SIGKILL)  # type: ignore[attr-defined]  # a process
    got = taken_by(ends, 8)
    assert len(got) == 8 and node.overview().devices == {HOME: "serving", "second": "out"}
    assert stored_by(ends.sender)["second"] == 36, "kept"
    assert events(ends.sender, "device.out-of-service") == ["second"]
    assert node.self_test().passed and events(ends.sender, "device.back") == ["second"]

    wrong = [{**one, "digest": "00" * 32} if one["algorithm"] == "sm3" else one for one in known_answers()]
    ends.sender.device._self_test = lambda: run(wrong)
    tested = node.self_test()
    assert {one.name for one in tested.tests if not one.passed} == {"SM3 one block", "SM3 two blocks"}
    told = node.overview()
    assert told.device_enabled and told.devices == {HOME: "out", "second": "serving"}
    more = taken_by(ends, 4)
    fetched = ends.there_line.get_keys_by_id([UUID(one.key_id) for one in (*got, *more)] + ids, master="sae-broker", slave="sae-sandbox")
    assert len({bytes(one.value) for one in fetched}) == 20
    with pytest.raises(Refused, match="DEVICE_LAST"):
        node.drain_device("second")


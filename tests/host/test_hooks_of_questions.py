"""Hooks of what a node does for questions in a sandbox: calls of partners, keys, engines, documents, servers; see test_hooks.py."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.host.house import opened, plugin_module, with_plugins
from tests.host.test_hooks import _dashboard, use, workbench_operations, workbench_settings
from workbench.contracts import (
    Dashboard,
    EngineRecipe,
    ImageFile,
    PeerCall,
    PeerPath,
    ReadDocuments,
    ReadLimits,
    RejectedItem,
)
from workbench.domain.party import PartyId, Role
from workbench.errors import KeyUnavailable, NotFound, PeerUnavailable, Refused, StartRefused, WorkbenchError
from workbench.hookspecs import hookimpl
from workbench.node.peer import PeerApi
from workbench.operations import Operation
from workbench.workspace import Workspace


def test_hook_workbench_peer_paths(workspace: Workspace) -> None:
    """The plugin's paths are answered for partners, in one refusal whatever was wrong; the reason stays here as a count."""

    def answer(call: PeerCall) -> bytes:
        match call.path:
            case "extra/echo":
                return f"{call.peer} {call.path} ".encode() + call.body
            case "extra/fault":
                raise RuntimeError("customer 10012345678")
        raise NotFound("没有", "none", code="EXTRA_UNKNOWN")

    def refusal() -> WorkbenchError:
        return Refused("不行", "no", code="EXTRA_REFUSED")

    found = [PeerPath("extra/", answer, refusal=refusal), PeerPath("extra/wait", lambda call: b"waited", threads=1)]

    @hookimpl
    def workbench_peer_paths(host: Any) -> Sequence[PeerPath]:
        return found

    with use(workspace, workbench_peer_paths=workbench_peer_paths) as house:
        api, peer = house.node.peer_api, PartyId("bank")
        house.node.partners.parties = lambda: [peer, house.node.party]
        assert api.answer(PeerCall(peer, "extra/echo", b"hi")) == b"bank extra/echo hi"
        assert api.answer(PeerCall(peer, "extra/wait", b"")) == b"waited"
        told = set()
        for path in ("extra/nothing", "extra/fault", "extra/"):
            with pytest.raises(Refused) as refused:
                api.answer(PeerCall(peer, path, b"", "127.0.0.9"))
            told.add((refused.value.code, refused.value.zh, refused.value.en, refused.value.http_status, str(refused.value.details)))
        assert told == {("EXTRA_REFUSED", "不行", "no", 409, "{}")}, "the partner cannot tell them apart"
        assert api.plugin_paths.reasons() == {("bank", "extra/", "EXTRA_UNKNOWN"): 2, ("bank", "extra/", "INTERNAL"): 1}
        assert [one["code"] for one in house.entries("peer.refused")] == ["EXTRA_REFUSED"] * 3, "whoever mirrors the log learns no more"
        for path in ("other/echo", "extra", "message2"):
            with pytest.raises(NotFound, match="UNKNOWN_PATH"):
                api.answer(PeerCall(peer, path, b""))
        with pytest.raises(NotFound, match="UNKNOWN_PARTY"):
            api.answer(PeerCall(PartyId("stranger"), "extra/echo", b""))


@pytest.mark.parametrize(
    ("paths", "code"),
    [(["message/x"], "PEER_PATH_TAKEN"), (["qkd/hello"], "PEER_PATH_TAKEN"), (["extra/", "extra/"], "PEER_PATH_TAKEN"), (["extra"], "PEER_PATH_FORM"), (["a/b/c"], "PEER_PATH_FORM")],
)
def test_a_path_that_is_not_one_plugins_alone_stops_the_start(workspace: Workspace, paths: list[str], code: str) -> None:
    @hookimpl
    def workbench_peer_paths(host: Any) -> Sequence[PeerPath]:
        return [PeerPath(one, lambda call: b"") for one in paths]

    with pytest.raises(StartRefused, match=code), use(workspace, workbench_peer_paths=workbench_peer_paths):
        pass


def test_two_plugins_do_not_share_an_area_of_paths(workspace: Workspace) -> None:
    def plugin(name: str, path: str) -> Any:
        @hookimpl
        def workbench_peer_paths(host: Any) -> Sequence[PeerPath]:
            return [PeerPath(path, lambda call: b"")]

        return plugin_module(name, workbench_peer_paths=workbench_peer_paths)

    both = with_plugins(plugin("extra", "extra/a"), plugin("other", "extra/b"))
    with pytest.raises(StartRefused, match="PEER_PATH_TAKEN"), opened(workspace, plugins=both):
        pass


def test_a_call_that_waits_holds_up_no_other_path() -> None:
    """Two nodes over their links: every thread of the waiting path is taken, and the other path and the node's own still answer."""
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def wait(call: PeerCall) -> bytes:
        waiting.release()
        go_on.wait(30)
        return b"late"

    paths = [PeerPath("extra/wait", wait, threads=2), PeerPath("extra/", lambda call: call.body, threads=1)]
    api = PeerApi(cast("Any", types.SimpleNamespace(parties=lambda: ["bank", "broker"])))
    api.serve([("extra", one) for one in paths], channels=())
    api._paths["hello"] = lambda call: b"hello"

    async def calls() -> list[bytes]:
        late = [asyncio.create_task(api.handle(PeerCall(PartyId("bank"), "extra/wait", b""))) for _ in range(3)]
        await asyncio.to_thread(lambda: [waiting.acquire() for _ in range(2)])
        others = [await api.handle(PeerCall(PartyId(peer), path, b"now")) for peer, path in (("bank", "extra/x"), ("bank", "hello"), ("broker", "extra/x"))]
        go_on.set()
        return others + await asyncio.gather(*late)

    assert asyncio.run(calls()) == [b"now", b"hello", b"now", b"late", b"late", b"late"]
    api.close()


def test_a_node_calls_its_partner_by_the_host(workspace: Workspace) -> None:
    from workbench.node.links import MemoryLinks

    with use(workspace) as house:
        links = MemoryLinks(house.node.party)
        links.join(PartyId("bank"), lambda call: f"{call.peer} {call.path} ".encode() + call.body)
        house.node.links = links
        assert house.node.call(PartyId("bank"), "extra/echo", b"hi", timeout_s=1) == b"broker extra/echo hi"
        with pytest.raises(PeerUnavailable):
            house.node.call(PartyId("cardnet"), "extra/echo", b"hi", timeout_s=1)


class FewKeys:
    """Keys in name only, for one partner."""

    def serves(self, partner: PartyId) -> bool:
        return partner == "bank"


def test_hook_workbench_session_keys(workspace: Workspace) -> None:
    """Asked by partner; without a line there is no key of another kind, and a plugin that fails is named."""
    made = FewKeys()

    @hookimpl
    def workbench_session_keys(host: Any) -> Sequence[Any]:
        return [made]

    @hookimpl
    def broken_keys(host: Any) -> Sequence[Any]:
        raise RuntimeError("no keys today")

    good = plugin_module("extra", workbench_session_keys=workbench_session_keys)
    bad = plugin_module("broken", workbench_session_keys=broken_keys)
    with opened(workspace, plugins=with_plugins(good, bad)) as house:
        assert house.node.session_keys(PartyId("bank")) is made
        with pytest.raises(KeyUnavailable, match="NO_LINE"):
            house.node.session_keys(PartyId("cardnet"))
        assert [one.state for one in house.node.health() if one.name == "broken"] == ["failed"]


def test_hook_workbench_answer_engines(workspace: Workspace) -> None:
    """Listed without touching a file of theirs."""

    def files() -> Sequence[ImageFile]:
        raise AssertionError("nothing is read before an image is signed")

    @hookimpl
    def workbench_answer_engines() -> Sequence[EngineRecipe]:
        return [EngineRecipe("parrot", "extractive", "1", "inside", "自制", "own", files, {"processes": 8})]

    with use(workspace, workbench_answer_engines=workbench_answer_engines) as house:
        assert "parrot" in [one.name for one in house.node.answer_engines()]


class ReadsLines:
    """A document a line."""

    name, suffixes = "lines", (".lines",)

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        return ReadDocuments((), tuple(RejectedItem(place, "EMPTY", "空", "empty") for place, one in enumerate(content.split(b"\n"), 1) if not one))


def test_hook_workbench_document_connectors(workspace: Workspace) -> None:
    @hookimpl
    def workbench_document_connectors() -> Sequence[Any]:
        return [ReadsLines()]

    with use(workspace, workbench_document_connectors=workbench_document_connectors) as house:
        [found] = [one for one in house.node.document_connectors() if one.name == "lines"]
    read = found.read(b"a\n\nb", kind="news", name="x.lines", source="test", time_ms=1, limits=ReadLimits())
    assert [one.place for one in read.rejects] == [2]


class Counting:
    """Servers by number alone."""

    name, count = "counting", 2

    def replicas(self) -> int:
        return self.count

    ready = replicas

    def set_replicas(self, count: int) -> None:
        self.count = count


def test_hook_workbench_scalers(workspace: Workspace) -> None:
    @hookimpl
    def workbench_scalers(host: Any) -> Sequence[Any]:
        return [Counting()]

    with use(workspace, workbench_scalers=workbench_scalers) as house:
        [found] = [one for one in house.node.scalers() if one.name == "counting"]
        found.set_replicas(3)
    assert (found.replicas(), found.ready()) == (3, 3)


def test_what_a_setting_opens_does_not_exist_with_another_value(workspace: Workspace) -> None:
    """Operation and page of a role that the node does not have: not even its name is known."""
    only = ("extra.volume", (7,))

    @hookimpl
    def operations() -> Sequence[Operation]:
        return [replace(one, only_with=only) for one in workbench_operations()]

    @hookimpl
    def dashboards() -> Sequence[Dashboard]:
        return [replace(_dashboard("extra", "auditor"), only_with=only)]

    hooks = {"workbench_operations": operations, "workbench_dashboards": dashboards, "workbench_settings": workbench_settings}
    for value, is_there in ((3, False), (7, True)):
        with opened(workspace, plugins=with_plugins(plugin_module("extra", **hooks)), settings={"extra.volume": value}) as house:
            pages = house.node.gate.call("pages.list", {}, house.caller(Role.AUDITOR)).model_dump()["pages"]
            operations_there = [one.name for one in house.node.gate.registry]
            assert ("extra" in [one["name"] for one in pages], "extra.greet" in operations_there) == (is_there, is_there)
            if not is_there:
                with pytest.raises(NotFound, match="UNKNOWN_OPERATION"):
                    house.node.gate.call("extra.greet", {}, house.caller(Role.AUDITOR))
                with pytest.raises(NotFound, match="UNKNOWN_PAGE"):
                    house.node.gate.call("pages.open", {"page": "extra"}, house.caller(Role.AUDITOR))

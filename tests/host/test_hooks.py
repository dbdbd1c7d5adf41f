"""Every hook of the page, answered by a plugin of the test and used through the node, with its docs/hooks.md paragraph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.flows import population
from tests.flows.institutions import fresh_workspace, running
from tests.host.house import House, opened, plugin_module, with_plugins
from workbench.contracts import Channel, Dashboard, EngineGuarantees, HealthReport, LetterKind, Migration, PublicAnswer, PublicPage, Setting
from workbench.domain.evidence import EvidenceKind, Field, ReplayNeed, RestoredEntry, Visibility
from workbench.domain.party import Caller, PartyId, Person, PersonId, Role
from workbench.errors import Denied, InvalidRequest, Refused, SignInRequired, StartRefused
from workbench.hookspecs import hookimpl
from workbench.node.staff import build_staff_app, openapi_document
from workbench.operations import NoInput, Operation, Reply
from workbench.workspace import Workspace


class Greeting(Reply):
    text: str


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    def run(ctx: Any, request: NoInput) -> Greeting:
        return Greeting(text=f"hello from {ctx.host.party}")

    return [
        Operation(
            name="extra.greet", zh="问候", en="greet", request=NoInput, reply=Greeting, roles=frozenset({Role.AUDITOR}), run=run
        )
    ]


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return [Migration("extra", 1, "CREATE TABLE extra_note (text TEXT NOT NULL);")]


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    fields = (Field("open", Visibility.SHARED, "公开", "in the open"), Field("shut", Visibility.COMMITTED, "不公开", "closed"))
    return [EvidenceKind("extra.noted", fields, "记了一笔", "a note was taken")]


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return [Setting("extra.volume", int, 3, "dB", "音量", "volume")]


def _dashboard(name: str, *roles: str) -> Dashboard:
    return Dashboard(name, "页", "Page", "home", frozenset(roles), 99, lambda page: None)


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    return [_dashboard("extra", "auditor")]


@hookimpl
def workbench_health(host: Any) -> Sequence[HealthReport]:
    return [HealthReport("extra", "warning", f"{host.party} 有点累", "a little tired")]


class EchoEngine:
    """An engine in name only."""

    name = "echo"
    version = "7"
    guarantees = EngineGuarantees(False, True, "无", "none", (), ())

    def self_test(self) -> None:
        return


@hookimpl
def workbench_intersection_engines() -> Sequence[Any]:
    return [EchoEngine()]


def use(workspace: Workspace, **hooks: Any) -> Any:
    return opened(workspace, plugins=with_plugins(plugin_module("extra", **hooks)))


def test_hook_workbench_operations(workspace: Workspace) -> None:
    """An operation is known to the gate, to the HTTP interface and its description, and to its roles alone."""
    with use(workspace, workbench_operations=workbench_operations) as house:
        assert house.node.gate.call("extra.greet", {}, house.caller(Role.AUDITOR)) == Greeting(text="hello from broker")
        with pytest.raises(Denied):
            house.node.gate.call("extra.greet", {}, house.caller(Role.ADMIN))
        described = openapi_document(build_staff_app(house.node, allowed_hosts={"127.0.0.1"}))
        assert "/api/v1/operations/extra.greet" in described["paths"]


def test_hook_workbench_migrations(workspace: Workspace) -> None:
    with use(workspace, workbench_migrations=workbench_migrations) as house:
        house.node.store.write(lambda tx: tx.execute("INSERT INTO extra_note VALUES ('kept')") and None)
    with use(workspace, workbench_migrations=workbench_migrations) as house, house.node.store.read() as reader:
        assert reader.execute("SELECT text FROM extra_note").fetchone()[0] == "kept"


def test_hook_workbench_evidence_kinds(workspace: Workspace) -> None:
    with use(workspace, workbench_evidence_kinds=workbench_evidence_kinds) as house:
        house.node.store.write(
            lambda tx: house.node.evidence.append(tx, "extra.noted", {"open": "seen", "shut": "hidden"}) and None
        )
        assert [(one["open"], one["shut"]) for one in house.entries("extra.noted")] == [("seen", "hidden")]
        size = house.node.ledger.size(house.node.party)
        envelope = house.node.ledger.entry_bodies(house.node.party, size - 1, size)[0]
        assert b'"open":"seen"' in envelope
        assert b"hidden" not in envelope


def test_hook_workbench_settings(workspace: Workspace) -> None:
    plugins = with_plugins(plugin_module("extra", workbench_settings=workbench_settings))
    with opened(workspace, plugins=plugins) as house:
        assert house.node.setting("extra.volume") == 3
    with opened(workspace, plugins=plugins, settings={"extra.volume": 9}) as house:
        assert house.node.setting("extra.volume") == 9
    with pytest.raises(StartRefused), opened(workspace, settings={"extra.volume": 9}):
        pass


def test_hook_workbench_dashboards(workspace: Workspace) -> None:
    """Pages are listed for their roles; a plugin whose pages cannot be listed is named, the others stay."""

    @hookimpl
    def broken_dashboards() -> Sequence[Dashboard]:
        raise RuntimeError("no page today")

    good = plugin_module("extra", workbench_dashboards=workbench_dashboards)
    bad = plugin_module("broken", workbench_dashboards=broken_dashboards)
    with opened(workspace, plugins=with_plugins(good, bad)) as house:
        shown = {role: house.node.gate.call("pages.list", {}, house.caller(role)) for role in (Role.AUDITOR, Role.ADMIN)}
    names = {role: {page["name"] for page in reply.model_dump()["pages"]} for role, reply in shown.items()}
    assert "extra" in names[Role.AUDITOR]
    assert "extra" not in names[Role.ADMIN]
    assert [fault["plugin"] for fault in shown[Role.AUDITOR].model_dump()["faults"]] == ["broken"]


def test_hook_workbench_public_pages(workspace: Workspace) -> None:
    """Served without a ticket under the node's policy; its form counts only from this page; a refusal is shown, escaped."""
    told: list[tuple[str, Mapping[str, Sequence[str]], str]] = []

    def show(secret: str, language: str) -> PublicAnswer:
        if secret.startswith("b"):
            raise Refused("用过 <b>", "used <b>", code="LINK_USED")
        return PublicAnswer("问", "Ask", f"<p>{language}</p>")

    def answer(secret: str, fields: Mapping[str, Sequence[str]], language: str) -> PublicAnswer:
        told.append((secret, fields, language))
        return PublicAnswer("谢", "Thanks", "<p>done</p>")

    @hookimpl
    def workbench_public_pages(host: Any) -> Sequence[PublicPage]:
        return [PublicPage("extra", "p { color: red }", show, answer)]

    place, secret, other = "127.0.0.1:9", "a" * 43, "b" * 43
    with use(workspace, workbench_public_pages=workbench_public_pages) as house:
        web = TestClient(build_staff_app(house.node, allowed_hosts={place}), base_url=f"http://{place}")
        shown = web.get(f"/p/extra/{secret}?lang=en")
        assert (shown.status_code, "<p>en</p>" in shown.text) == (200, True)
        assert "script-src" not in shown.headers["Content-Security-Policy"]
        assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        assert shown.headers["Cache-Control"] == "no-store"
        assert "set-cookie" not in shown.headers
        assert web.get("/p/extra.css").text == "p { color: red }"
        refused = web.get(f"/p/extra/{other}")
        assert (refused.status_code, "用过 &lt;b&gt;" in refused.text, "LINK_USED" in refused.text) == (Refused("", "").http_status, True, True)
        assert [web.get(path).status_code for path in ("/p/extra/short", f"/p/none/{secret}", "/p/none.css")] == [404] * 3
        assert web.get(f"/p/extra/{secret}", headers={"Host": "elsewhere"}).status_code == 403
        for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            assert web.post(f"/p/extra/{secret}", content="decision=yes", headers=origin).status_code == 403
        many = "&".join(f"f{number}=1" for number in range(300))
        assert web.post(f"/p/extra/{secret}", content=many, headers={"Origin": f"http://{place}"}).status_code == InvalidRequest("", "").http_status
        assert told == []
        done = web.post(f"/p/extra/{secret}?lang=zh", content="decision=yes&a=1&a=2", headers={"Origin": f"http://{place}"})
        assert (done.status_code, told) == (200, [(secret, {"decision": ["yes"], "a": ["1", "2"]}, "zh")])


def test_hook_workbench_machines(workspace: Workspace) -> None:
    """A machine calls what was made for its kind, by its own secret, and nothing of people's; people call none of it."""

    class Robots:
        prefix = "robot-"

        def caller(self, secret: str) -> Caller:
            if secret != "robot-7":
                raise SignInRequired("不认识", "unknown")
            return Caller(Person(PersonId("seven"), PartyId("broker"), frozenset({Role.AUDITOR}), "seven", "R-7"), machine="welding")

    @hookimpl
    def workbench_machines(host: Any) -> Sequence[Robots]:
        return [Robots()]

    @hookimpl
    def operations() -> Sequence[Operation]:
        [greet] = workbench_operations()
        return [greet, replace(greet, name="extra.weld", machines=frozenset({"welding"}))]

    place = "127.0.0.1:9"
    with use(workspace, workbench_machines=workbench_machines, workbench_operations=operations) as house:
        web = TestClient(build_staff_app(house.node, allowed_hosts={place}), base_url=f"http://{place}")

        def post(path: str, secret: str) -> tuple[int, str]:
            reply = web.post(path, json={}, headers={"Authorization": f"Bearer {secret}"})
            return reply.status_code, str(reply.json().get("code", ""))

        assert post("/api/v1/operations/extra.weld", "robot-7") == (200, "")
        assert post("/api/v1/operations/extra.weld", "robot-8")[0] == 401
        for path in ("/api/v1/operations/extra.greet", "/api/v1/operations/people.add", "/api/v1/session/renew", "/api/v1/files"):
            assert post(path, "robot-7") == (403, "MACHINE_SCOPE")
        with pytest.raises(Denied) as person:
            house.node.gate.call("extra.weld", {}, house.caller(Role.AUDITOR))
        assert person.value.code == "MACHINE_ONLY"
        assert "extra.weld" not in house.node.gate.call("people.me", {}, house.caller(Role.AUDITOR)).model_dump()["operations"]


def test_hook_workbench_health(workspace: Workspace) -> None:
    """A check that raises becomes a failed line of its own plugin, without the exception's text."""

    @hookimpl
    def broken_health(host: Any) -> Sequence[HealthReport]:
        raise RuntimeError("customer 10012345678")

    good = plugin_module("extra", workbench_health=workbench_health)
    bad = plugin_module("broken", workbench_health=broken_health)
    with opened(workspace, plugins=with_plugins(good, bad)) as house:
        lines = {one.name: one for one in house.node.health()}
    assert (lines["extra"].state, lines["extra"].zh) == ("warning", "broker 有点累")
    assert lines["broken"].state == "failed"
    assert "10012345678" not in str(lines["broken"])


def test_hook_workbench_intersection_engines(workspace: Workspace) -> None:
    with use(workspace, workbench_intersection_engines=workbench_intersection_engines) as house:
        assert house.node.engine("echo/7").name == "echo"
        assert house.node.engine("ddh-x25519/1").name == "ddh-x25519"


def test_hook_workbench_channels(house: House) -> None:
    """Without any channel the host does not start: tests/host/test_loading.py."""
    assert isinstance(house.node.channel(), Channel)
    assert house.node.channel().name == "mutual-tls"


class Reversing:
    """Calls travel backwards over another channel."""

    name = "reversing"

    def over(self, carrier: Channel, wanted: Callable[[PartyId], bool]) -> Channel:
        self.carrier, self.wanted = carrier, wanted
        return carrier


def test_hook_workbench_carried_channels(workspace: Workspace) -> None:
    """Picked for a partner by a setting and for no other; a name that nothing offers stops the start."""
    made = Reversing()

    @hookimpl
    def workbench_carried_channels() -> list[Reversing]:
        return [made]

    with use(workspace, workbench_carried_channels=workbench_carried_channels) as house:
        assert house.node.channel().name == "mutual-tls"
        house.node.settings._values["node.channels"] = {"broker": "reversing"}
        assert house.node.channel().name == "mutual-tls+reversing"
        assert made.carrier.name == "mutual-tls"
        assert (made.wanted(PartyId("broker")), made.wanted(PartyId("cardnet"))) == (True, False)
        house.node.settings._values["node.channels"] = {"broker": "reversed"}
        with pytest.raises(StartRefused) as refused:
            house.node.channel()
        assert refused.value.code == "UNKNOWN_CHANNEL"
        house.node.settings._values["node.channels"] = {"bnak": "reversing"}
        with pytest.raises(StartRefused) as refused:
            house.node.channel()
        assert refused.value.code == "UNKNOWN_PARTNER"


def test_hook_workbench_consent_registry(house: House) -> None:
    """The one provider is what the node asks; none, two or a wrapped one stop the start: tests/host/test_loading.py."""
    [(plugin, _)] = house.node.plugins.collect("workbench_consent_registry", host=house.node)
    assert plugin == "consent"
    assert house.node.consent.name
    assert not house.node.consent.changed_since(0)


def test_hook_workbench_ledger(house: House) -> None:
    """Everything the node records lies in the one provider's log."""
    assert house.node.plugins.manager.hook.workbench_ledger.get_hookimpls()[0].plugin_name == "ledger"
    before = house.node.ledger.size(house.node.party)
    with pytest.raises(Denied):
        house.node.gate.call("people.all", {}, house.caller(Role.MARKETING))
    assert house.node.ledger.size(house.node.party) == before + 1


@pytest.mark.parametrize("stage", ["proposal", "approval", "release", "export"])
def test_hook_workbench_guard(stage: str) -> None:
    """A guard stops each of the four stages and is told counts and names of rules, never a customer."""
    told: list[tuple[str, dict[str, str]]] = []

    @hookimpl
    def workbench_guard(host: Any, stage: str, facts: Mapping[str, str]) -> None:
        told.append((stage, dict(facts)))
        if stage == stopped:
            raise Refused("今天不行", "not today", code="EXTRA_SAYS_NO")

    stopped = stage
    guarded = with_plugins(plugin_module("extra", workbench_guard=workbench_guard))
    with running(fresh_workspace(), ("broker", "bank")) as three:
        decider = "bank" if stage == "approval" else "broker"
        three.nodes[decider].plugins = guarded
        if stage == "proposal":
            refuse(lambda: three.propose("broker", "bank", population.RICH))
            assert three.nodes["broker"].jobs.all() == three.nodes["bank"].jobs.all() == []
        elif stage == "approval":
            job = three.propose("broker", "bank", population.RICH)
            refuse(lambda: three.approve("bank", job))
            assert three.nodes["bank"].jobs.get(job).state == "PROPOSED"
        elif stage == "release":
            job = three.propose("broker", "bank", population.RICH)
            three.approve("bank", job)
            three.wait_until(lambda: all(three.nodes[one].jobs.get(job).is_final for one in ("broker", "bank")), timeout_s=60)
            assert {three.nodes[one].jobs.get(job).state for one in ("broker", "bank")}.isdisjoint({"RELEASED", "SEALING"})
            assert three.nodes["broker"].jobs.get(job).error["code"] == "EXTRA_SAYS_NO"
        else:
            three.run("broker", "bank", population.RICH)
            refuse(lambda: three.exported("broker", three.nodes["broker"].jobs.all()[0].job))
            assert "intersection.exported" not in three.kinds("broker")
    assert stage in [one for one, _ in told]
    assert all(set(facts) <= {"job", "partner", "purpose", "list", "customers", "columns"} for _, facts in told)


class Ticking:
    """Background work in name only."""

    name = "ticking"

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self) -> None:
        self.said.append("start")

    def stop(self) -> None:
        self.said.append("stop")


def test_hook_workbench_background(workspace: Workspace) -> None:
    """Work starts and stops with the node; a plugin that cannot make its own is named, the others work."""
    from workbench.node.links import NoLinks

    work = Ticking()

    @hookimpl
    def workbench_background(host: Any) -> Sequence[Any]:
        return [work]

    @hookimpl
    def broken_background(host: Any) -> Sequence[Any]:
        raise RuntimeError("customer 10012345678")

    good = plugin_module("extra", workbench_background=workbench_background)
    bad = plugin_module("broken", workbench_background=broken_background)
    with opened(workspace, plugins=with_plugins(good, bad)) as house:
        assert work in house.node.background
        assert work.said == []
        house.node.start(NoLinks())
        assert work.said == ["start"]
        lines = {one.name: one for one in house.node.health()}
        assert (lines["broken"].state, "10012345678" in str(lines["broken"])) == ("failed", False)
    assert work.said == ["start", "stop"]


def test_hook_workbench_anchors(workspace: Workspace) -> None:
    """Whoever makes a package asks for the anchors of a log at a size and gets those of every plugin."""
    asked: list[tuple[str, int]] = []

    @hookimpl
    def workbench_anchors(host: Any, origin: str, size: int) -> Sequence[Any]:
        asked.append((origin, size))
        return ["anchor of the test"]

    with use(workspace, workbench_anchors=workbench_anchors) as house:
        found = house.node.plugins.collect_all("workbench_anchors", host=house.node, origin="broker", size=7)
    assert found[-1] == "anchor of the test"
    assert asked == [("broker", 7)]


def refuse(action: Callable[[], Any]) -> None:
    with pytest.raises(Refused, match="EXTRA_SAYS_NO"):
        action()


def test_a_guard_that_fails_stops_like_one_that_refuses(workspace: Workspace) -> None:
    @hookimpl
    def workbench_guard(host: Any, stage: str, facts: Mapping[str, str]) -> None:
        raise RuntimeError("customer 10012345678")

    with use(workspace, workbench_guard=workbench_guard) as house, pytest.raises(Refused) as refused:
        house.node.guard("export", customers="3")
    assert refused.value.code == "GUARD_FAILED"
    assert "10012345678" not in str(refused.value)


def test_a_guard_can_neither_change_the_facts_nor_widen_anything(workspace: Workspace) -> None:
    @hookimpl
    def workbench_guard(host: Any, stage: str, facts: Any) -> str:
        facts["customers"] = "0"
        return "allow everything"

    with use(workspace, workbench_guard=workbench_guard) as house, pytest.raises(Refused, match="GUARD_FAILED"):
        house.node.guard("export", customers="3")


def test_the_first_entry_of_a_run_lists_plugins_with_version_and_state(workspace: Workspace) -> None:
    from workbench.node.links import NoLinks

    def broken() -> Mapping[str, str]:
        raise ImportError("gone")

    with use(workspace, workbench_settings=workbench_settings) as house:
        house.node.start(NoLinks())
        [started] = house.entries("node.started")
    assert "extra 9.9 ok" in started["plugins"]
    for name in ("psi", "ledger", "consent", "mutual_tls"):
        assert f"{name} 0." in started["plugins"]


def test_every_hook_has_a_test_here() -> None:
    from workbench.hookspecs import HookSpecs

    here = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_hooks*.py"))
    wanted = [name for name in vars(HookSpecs) if name.startswith("workbench_")]
    assert [name for name in wanted if f"def test_hook_{name}(" not in here] == []


def test_hook_workbench_letters(workspace: Workspace) -> None:
    """A plugin's kinds are received (tests/flows/test_letters.py); one that cannot name its own is left out of them."""

    @hookimpl
    def workbench_letters(host: Any) -> Sequence[LetterKind]:
        return [LetterKind("extra.hello", lambda tx, letter: b"seen")]

    @hookimpl
    def broken_letters(host: Any) -> Sequence[LetterKind]:
        raise RuntimeError("no letters today")

    good = plugin_module("extra", workbench_letters=workbench_letters)
    bad = plugin_module("broken", workbench_letters=broken_letters)
    with use(workspace) as house:
        own = set(house.node.letters._kinds)
    with opened(workspace, plugins=with_plugins(good, bad)) as house:
        assert set(house.node.letters._kinds) == own | {"extra.hello"}


def test_hook_workbench_replay(house: House) -> None:
    """Entries that came back are offered to every plugin before the node opens; one that fails keeps it closed."""
    offered: list[str] = []

    @hookimpl
    def workbench_replay(host: Any, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
        offered.extend(one.kind for one in entries)
        return [ReplayNeed("extra.noted", 1, "补一笔", "note it again")]

    @hookimpl
    def failing_replay(host: Any, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
        raise RuntimeError("customer 10012345678")

    entry = RestoredEntry(7, "consent.withdrawn", house.clock(), "", "", {"root": "00"}, ("subject",))
    house.node.plugins = with_plugins(plugin_module("extra", workbench_replay=workbench_replay))
    needs = house.node.replay([entry])
    assert offered == ["consent.withdrawn"]
    assert {(one.name, one.count) for one in needs} == {("extra.noted", 1), ("consent.withdrawn", 1)}
    house.node.plugins = with_plugins(plugin_module("broken", workbench_replay=failing_replay))
    with pytest.raises(StartRefused) as closed:
        house.node.replay([entry])
    assert closed.value.code == "REPLAY_FAILED"
    assert "10012345678" not in str(closed.value)


def test_hook_workbench_erase_customer(workspace: Workspace) -> None:
    """Every owner is asked with tokens and, this once, identifiers; one that fails leaves the request unfinished."""
    from workbench.domain.erasure import ErasureFinding, ErasureRequest
    from workbench.errors import WorkbenchError

    asked: list[ErasureRequest] = []
    fails = [True]

    @hookimpl
    def workbench_erase_customer(host: Any, request: ErasureRequest) -> Sequence[ErasureFinding]:
        asked.append(request)
        if fails[0]:
            raise RuntimeError("customer 10000000001")
        return [ErasureFinding("extra", "notes", 2, 2, 0, 0, "已删", "deleted")]

    with use(workspace, workbench_erase_customer=workbench_erase_customer) as house:
        node = house.node
        caller = house.caller(Role.COMPLIANCE)
        with pytest.raises(WorkbenchError) as error:
            node.erasure.ask(caller, phone="10000000001", id_no="", reason="asked for it")
        assert (error.value.code, "10000000001" in str(error.value.details)) == ("ERASURE_UNFINISHED", False)
        [left] = node.erasure.requests()
        assert left.state == "RUNNING"
        fails[0] = False
        node.erasure.sweep()
        done = node.erasure.asked(left.request)
    assert {one.request for one in asked} == {left.request}
    assert asked[-1].customer.phones == ("10000000001",) and len(asked[-1].customer.names[0]) == 32
    assert {"owner": "extra", "what": "notes"}.items() <= next(one for one in done.report if one["owner"] == "extra").items()


def test_hook_workbench_subject_records(workspace: Workspace) -> None:
    """Every owner is asked with tokens and identifiers; one that fails leaves no answer at all."""
    from workbench.domain.subject import SubjectRecord, SubjectRequest

    asked: list[SubjectRequest] = []
    fails = [False]

    @hookimpl
    def workbench_subject_records(host: Any, request: SubjectRequest) -> Sequence[SubjectRecord]:
        asked.append(request)
        if fails[0]:
            raise RuntimeError("customer 10000000001")
        return [SubjectRecord("extra", "extra.note", "note 1", "一条备注", "a note", values={"text": "hello"})]

    with use(workspace, workbench_subject_records=workbench_subject_records) as house:
        request = SubjectRequest(house.node.identify_customer("10000000001", None))
        found = house.node.subject_records(request)
        assert [one.place for one in found if one.owner == "extra"] == ["note 1"]
        fails[0] = True
        with pytest.raises(Refused) as refused:
            house.node.subject_records(request)
    assert (refused.value.code, "10000000001" in str(refused.value)) == ("SUBJECT_RECORDS_FAILED", False)
    assert asked[0].customer.phones == ("10000000001",) and "10000000001" not in repr(asked[0])


def test_hook_workbench_restricted_customers(workspace: Workspace) -> None:
    """Who is named is refused in every decision, and a plugin that cannot say stops all of them."""
    import polars as pl

    from workbench.contracts import GrantQuery
    from workbench.domain.intersection import KeyKind
    from workbench.domain.party import PartyId

    named: list[str] = []
    fails = [False]

    @hookimpl
    def workbench_restricted_customers(host: Any) -> Sequence[str]:
        if fails[0]:
            raise RuntimeError("customer 10000000001")
        return named

    with use(workspace, workbench_restricted_customers=workbench_restricted_customers) as house:
        house.node.parties = lambda: [PartyId("bank"), PartyId("broker")]
        people = pl.DataFrame({"customer_id": ["1", "2"], "phone": ["10000000001", "10000000002"], "id_no": [None, None]})
        people = people.with_columns(pl.col("id_no").cast(pl.String))
        query = GrantQuery("customer-service", PartyId("bank"), house.clock(), KeyKind.PHONE)
        assert list(house.node.consent.decide(people, query).reason) == ["NO_GRANT", "NO_GRANT"]
        named += house.node.identify_customer("10000000002", None).names
        assert list(house.node.consent.decide(people, query).reason) == ["NO_GRANT", "RESTRICTED"]
        fails[0] = True
        with pytest.raises(Refused) as refused:
            house.node.consent.decide(people, query)
    assert (refused.value.code, "10000000001" in str(refused.value)) == ("RESTRICTIONS_UNKNOWN", False)


def test_hook_workbench_audit(workspace: Workspace) -> None:
    """What a plugin finds in its own records stands in the report of every audit."""
    from workbench.domain.evidence import AuditFinding
    from workbench.domain.party import PartyId
    from workbench.node.evidence_audit import AuditRequest, run_audit

    @hookimpl
    def workbench_audit(host: Any) -> Sequence[AuditFinding]:
        return [AuditFinding(PartyId("broker"), 3, "note", "NOTE_GONE", "不见", "gone")]

    with use(workspace, workbench_audit=workbench_audit) as house:
        context = house.node.gate.context(house.caller(Role.COMPLIANCE))
        found = run_audit(context, AuditRequest(compare=False)).findings
    assert [one.problem for one in found if one.field == "note"] == ["NOTE_GONE"]

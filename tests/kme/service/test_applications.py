"""Applications of a site: who is admitted, with which certificate, within which quota, and what the other end is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kme_pair import LINE, RECEIVER, SENDER, imported_plan
from one_process import OneProcess
from workbench_kme.service import delivery, device_routes, management, views
from workbench_kme.service.applications import FILE, REGISTERED, WITHDRAWN, Application, format_list, parse_list
from workbench_kme.service.config import SAE_URI
from workbench_kme.service.entity import Entity
from workbench_kme.service.far import FarApplications
from workbench_kme.service.listening import Answer, Call
from workbench_kme.service.registering import ROUTES
from workbench_kme.service.sites import issue_client

from workbench.crypto import certificates
from workbench.errors import StorageFailed

NEW = "app-archive"
SLAVE = "sae-sandbox"


class Asked:
    """Two sites in one process, and what applications and the node of the sender's ask its entity."""

    def __init__(self, folder: Path) -> None:
        self.ends = OneProcess(folder, imported_plan())
        self.folder = self.ends.folders[SENDER]
        issue_client(self.folder, NEW, SAE_URI + NEW, now=datetime.now(UTC))

    @property
    def entity(self) -> Entity:
        return self.ends.sender

    def certificate(self, name: str, site: str = SENDER) -> bytes:
        return (self.ends.folders[site] / "clients" / f"{name}.pem").read_bytes()

    def call(self, name: str, method: str, path: str, body: Any = None, *, entity: Entity | None = None, fingerprint: str = "") -> Answer:
        entity = entity or self.entity
        site = RECEIVER if entity is self.ends.receiver else SENDER
        kind, who = ("node", site) if name == "node" else ("sae", name)
        pinned = fingerprint or certificates.describe(self.certificate(name, site)).fingerprint
        data = b"" if body is None else json.dumps(body).encode()
        answers = management.answer if path.startswith("/management/") else delivery.answer
        return answers(entity, Call(method, path, (), "application/json", data, (kind, who), pinned))

    def keys(self, name: str, number: int = 1, *, slave: str = SLAVE) -> Answer:
        return self.call(name, "POST", f"/api/v1/keys/{slave}/enc_keys", {"number": number})

    def manage(self, verb: str, body: Any = None) -> dict[str, Any]:
        answer = self.call("node", "GET" if body is None else "POST", f"/management/v1/applications{verb}", body)
        return {"status": answer.status, **json.loads(answer.body)}

    def wanted(self, **changes: Any) -> dict[str, Any]:
        made = {
            "application": NEW, "certificate": self.certificate(NEW).decode(), "line": LINE, "tenant": "", "per_hour": 60, "burst": 4, "most_reserved": 0,
            "priority": 1, "act": "E-17",
        }  # fmt: skip
        return {**made, **changes}

    def listed(self, name: str = NEW) -> dict[str, Any]:
        return next(one for one in self.manage("")["applications"] if one["application"] == name)

    def events(self, start: str = "application.") -> list[tuple[str, dict[str, Any]]]:
        return [(one.kind, dict(one.facts)) for one in self.entity.store.events(limit=500) if one.kind.startswith(start)]

    def reopen(self) -> None:
        self.ends.close()
        self.ends.open()
        self.ends.beat()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites in step, with keys in stock."""
    made = Asked(tmp_path_factory.mktemp("template") / "sites")
    made.ends.bring_file(200)
    made.ends.close()
    return made.folder.parent


def copied(template: Path, folder: Path) -> Asked:
    shutil.copytree(template, folder)
    made = Asked.__new__(Asked)
    made.ends = OneProcess.__new__(OneProcess)
    made.ends.folders = {name: folder / name for name in (SENDER, RECEIVER)}
    made.folder = made.ends.folders[SENDER]
    made.ends.open()
    made.ends.beat()
    return made


@pytest.fixture(scope="module")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made = copied(template, tmp_path_factory.mktemp("shared") / "sites")
    yield made
    made.ends.close()


@pytest.fixture
def asked(shared: Asked) -> Asked:
    """The same two sites for several tests, which leave only a new application behind; its quota goes with it."""
    if shared.entity.applications.registered(NEW) is not None:
        shared.manage("/withdraw", {"application": NEW, "act": "E-0"})
        shared.ends.beat()
    return shared


@pytest.fixture
def own(template: Path, tmp_path: Path) -> Iterator[Asked]:
    """Two sites for one test, which stops and starts them."""
    made = copied(template, tmp_path / "sites")
    yield made
    made.ends.close()


def details(answer: Answer) -> dict[str, Any]:
    return {name: value for one in json.loads(answer.body)["details"] for name, value in one.items()}


# ------------------------------------------------------------------------------------------ admission


def test_an_application_gets_keys_only_while_it_is_registered_and_both_ends_keep_to_it(asked: Asked) -> None:
    before = len(asked.events())
    refused = asked.keys(NEW)
    assert refused.status == 401 and details(refused)["code"] == "APPLICATION_NOT_REGISTERED", "its certificate alone is not enough"
    made = asked.manage("/register", asked.wanted())
    assert (made["status"], made["state"], made["left"], made["known_there"]) == (200, REGISTERED, 4, False)
    early = asked.keys(NEW)
    assert early.status == 503 and details(early)["code"] == "APPLICATION_NOT_TOLD", "no key is lost to an end that does not know it"
    asked.ends.beat()
    given = asked.keys(NEW, 2)
    assert given.status == 200 and asked.listed()["known_there"]
    first, second = (one["key_ID"] for one in json.loads(given.body)["keys"])
    fetched = asked.call(SLAVE, "POST", f"/api/v1/keys/{NEW}/dec_keys", {"key_IDs": [{"key_ID": first}]}, entity=asked.ends.receiver)
    assert fetched.status == 200 and json.loads(fetched.body)["keys"][0]["key"] == json.loads(given.body)["keys"][0]["key"]

    there = asked.call("sae-sandbox", "POST", f"/api/v1/keys/{NEW}/enc_keys", {}, entity=asked.ends.receiver)
    assert there.status == 200, "it is known there as a slave as well"

    gone = asked.manage("/withdraw", {"application": NEW, "act": "E-18"})
    assert (gone["withdrawn"], gone["revoked"]) == (True, 2), "what its far application has not fetched, or is not known to have"
    assert asked.keys(NEW).status == 401
    asked.ends.beat()
    late = asked.call(SLAVE, "POST", f"/api/v1/keys/{NEW}/dec_keys", {"key_IDs": [{"key_ID": second}]}, entity=asked.ends.receiver)
    assert late.status == 400, "the other end knows no such master any more"
    assert NEW not in asked.ends.there_line.far.saes
    assert asked.manage("/withdraw", {"application": NEW, "act": "E-19"}) == {"status": 200, "withdrawn": False, "revoked": 0}
    assert [kind for kind, _facts in asked.events()[before:]] == ["application.registered", "application.withdrawn"]


def test_another_certificate_of_the_same_id_is_refused_until_it_is_the_registered_one(asked: Asked) -> None:
    asked.manage("/register", asked.wanted())
    asked.ends.beat()
    authority = certificates.KeyAndCertificate((asked.folder / "authority.key").read_bytes(), (asked.folder / "authority.pem").read_bytes())
    renewed = certificates.issue_certificate(authority, name=NEW, uri=SAE_URI + NEW, now=datetime.now(UTC)).certificate_pem
    fingerprint = certificates.describe(renewed).fingerprint
    path = f"/api/v1/keys/{SLAVE}/status"
    assert asked.call(NEW, "GET", path).status == 200
    assert asked.call(NEW, "GET", path, fingerprint=fingerprint).status == 401
    assert asked.manage("/set", asked.wanted(certificate=renewed.decode()))["fingerprint"] == fingerprint
    assert asked.call(NEW, "GET", path).status == 401
    assert asked.call(NEW, "GET", path, fingerprint=fingerprint).status == 200
    assert asked.manage("/set", asked.wanted(certificate=""))["fingerprint"] == fingerprint, "none keeps its own"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"application": "sae-broker"}, "APPLICATION_CERTIFICATE"), ({"certificate": ""}, "APPLICATION_CERTIFICATE"),
        ({"certificate": "of the other site"}, "APPLICATION_CERTIFICATE"), ({"line": "nowhere"}, "NO_SUCH_LINE"), ({"line": "No"}, "MALFORMED"),
        ({"burst": 0}, "MALFORMED"), ({"per_hour": -1}, "MALFORMED"), ({"priority": 4}, "MALFORMED"), ({"most_reserved": True}, "MALFORMED"),
        ({"line": ""}, "APPLICATION_LINE"), ({"act": "two\nlines"}, "MALFORMED"), ({"more": 1}, "MALFORMED"),
    ],
)  # fmt: skip
def test_a_registration_that_does_not_fit_changes_nothing(asked: Asked, changes: dict[str, Any], code: str) -> None:
    before = (asked.folder / FILE).read_bytes()
    if changes.get("certificate"):
        changes = {"certificate": asked.certificate(SLAVE, RECEIVER).decode(), "application": SLAVE}
    told = asked.manage("/register", asked.wanted(**changes))
    assert (told["status"] in (400, 404), told["code"]) == (True, code) and told["zh"] and told["en"]
    assert (asked.folder / FILE).read_bytes() == before


def test_ids_of_others_and_ids_twice_are_refused_and_so_is_changing_who_is_not_there(asked: Asked) -> None:
    issue_client(asked.folder, "sae-backup", SAE_URI + "sae-backup", now=datetime.now(UTC))
    taken = asked.wanted(application="sae-backup", certificate=asked.certificate("sae-backup").decode())
    assert asked.manage("/register", taken)["code"] == "APPLICATION_TAKEN"
    known = asked.wanted(application="sae-desk", certificate=asked.certificate("sae-desk").decode())
    assert asked.manage("/register", known)["code"] == "APPLICATION_KNOWN"
    assert asked.manage("/set", asked.wanted())["code"] == "NO_APPLICATION"
    assert asked.manage("/withdraw", {"application": "nobody", "act": "E-1"})["code"] == "NO_APPLICATION"
    assert asked.call("sae-desk", "GET", "/management/v1/applications").status == 401, "an application manages nobody"


def test_the_description_of_these_routes_is_what_they_take_and_give(asked: Asked) -> None:
    described = json.loads(asked.call("node", "GET", "/management/v1/openapi.json").body)
    routes = {(method.upper(), path.removeprefix("/management/v1/")) for path, methods in described["paths"].items() for method in methods}
    assert routes == {(method, path) for method, path, _handler in (*ROUTES, *device_routes.ROUTES)} - {("GET", "openapi.json")}
    schemas = described["components"]["schemas"]
    for name in ("Application", "Applications", "ApplicationWithdrawn", "Device"):
        assert set(schemas[name]["properties"]) == {one.name for one in fields(getattr(views, name))}
    wanted = asked.wanted()
    assert set(schemas["ApplicationRequest"]["properties"]) == set(wanted)
    for name, schema in schemas["ApplicationRequest"]["properties"].items():
        for bound, step in (("minimum", -1), ("maximum", 1)):
            if bound in schema:
                told = asked.manage("/register", {**wanted, name: schema[bound] + step})
                assert (told["status"], told["code"]) == (400, "MALFORMED"), (name, bound)
    assert set(schemas["Error"]["properties"]) == set(told) - {"status"}


# ---------------------------------------------------------------------------------------------- quota


def test_above_the_quota_of_an_hour_it_is_told_when_to_come_again(own: Asked) -> None:
    own.manage("/register", own.wanted(per_hour=60, burst=4))
    own.ends.beat()
    assert own.keys(NEW, 4).status == 200
    refused = own.keys(NEW)
    told = details(refused)
    assert refused.status == 503 and told["code"] == "QUOTA_EXCEEDED" and "配额" in told["zh"]
    assert refused.headers["Retry-After"] == str(told["retry_after_s"]) and 55 <= told["retry_after_s"] <= 60, "60 an hour: one a minute"
    assert own.keys("sae-desk").status == 200, "others are not touched by it"
    assert own.keys(NEW, 5).headers["Retry-After"] == "3600", "more than it ever gets at once"
    before = own.listed()["left"]
    own.reopen()
    assert own.listed()["left"] == before == 0, "starting anew refills nothing"
    own.manage("/set", own.wanted(certificate="", per_hour=3_600_000_000, burst=9))
    own.ends.beat()
    assert own.keys(NEW).status == 200


def test_keys_that_nobody_fetches_are_bounded(asked: Asked) -> None:
    asked.manage("/register", asked.wanted(per_hour=6000, burst=100, most_reserved=3))
    asked.ends.beat()
    given = json.loads(asked.keys(NEW, 2).body)["keys"]
    refused = asked.keys(NEW, 2)
    told = details(refused)
    assert (refused.status, told["code"], told["retry_after_s"]) == (503, "RESERVED_TOO_MANY", 60) and "等对端应用取走" in told["zh"]
    assert asked.listed()["left"] == 98, "a refusal costs no quota"
    ids = {"key_IDs": [{"key_ID": one["key_ID"]} for one in given]}
    assert asked.call(SLAVE, "POST", f"/api/v1/keys/{NEW}/dec_keys", ids, entity=asked.ends.receiver).status == 200
    asked.ends.there_line._beat_once()  # tells that they were fetched
    assert asked.listed()["reserved"] == 0
    assert asked.keys(NEW, 3).status == 200


def test_priority_reaches_what_is_kept_back(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    shutil.copytree(template, folder)
    path = folder / SENDER / "kme.json"
    path.write_bytes(path.read_bytes().replace(b'"kept_back":0', b'"kept_back":98'))
    made = copied(folder, tmp_path / "sites")
    try:
        for name, priority in ((NEW, 3), ("sae-desk", 0)):
            verb = "/register" if name == NEW else "/set"
            wanted = made.wanted(application=name, certificate=made.certificate(name).decode(), priority=priority, burst=50)
            assert made.manage(verb, wanted)["status"] == 200
        made.ends.beat()
        assert [made.keys("sae-desk", number).status for number in (3, 2, 1)] == [503, 200, 503], "of 100 keys of this end, 98 are kept back"
        assert made.keys(NEW, 10).status == 200
    finally:
        made.ends.close()


# ------------------------------------------------------------------------------------- on disk, over restarts


def test_the_list_outlives_a_restart_and_a_withdrawn_one_of_the_configuration_stays_out(own: Asked) -> None:
    assert own.listed("sae-desk")["fingerprint"] == certificates.describe(own.certificate("sae-desk")).fingerprint
    own.manage("/register", own.wanted())
    own.manage("/withdraw", {"application": "sae-desk", "act": "E-2"})
    before = own.manage("")
    own.reopen()
    assert own.manage("") == {**before, "applications": [{**one, "known_there": one["state"] == REGISTERED} for one in before["applications"]]}
    assert own.keys("sae-desk").status == 401 and own.keys(NEW).status == 200 and own.keys("sae-broker").status == 200
    assert "sae-desk" not in json.loads(own.call("node", "GET", "/management/v1/status").body)["saes"]
    again = own.wanted(application="sae-desk", certificate=own.certificate("sae-desk").decode(), line="")
    assert own.manage("/register", again)["state"] == REGISTERED
    assert details(own.keys("sae-desk"))["code"] == "APPLICATION_NOT_TOLD"
    own.ends.beat()
    assert own.keys("sae-desk").status == 200


@pytest.mark.parametrize("harm", ["damaged", "older", "missing", "open"])
def test_with_a_list_in_doubt_nobody_is_admitted_until_it_is_made_anew(own: Asked, harm: str) -> None:
    path = own.folder / FILE
    first = path.read_bytes()
    own.manage("/withdraw", {"application": "sae-desk", "act": "E-3"})
    own.ends.close()
    if harm == "damaged":
        path.write_bytes(path.read_bytes().replace(b"withdrawn", b"registered"))
    elif harm == "older":
        path.write_bytes(first)
    elif harm == "missing":
        path.unlink()
    else:
        path.chmod(0o640)
    own.ends.open()
    own.ends.beat()
    told = own.manage("")
    assert (told["problem"], told["applications"]) == ("damaged" if harm == "open" else harm, [])
    assert [own.keys(name).status for name in ("sae-broker", "sae-desk", NEW)] == [401, 401, 401]
    assert own.events()[-1] == ("application.list-refused", {"cause": told["problem"]})
    again = own.wanted(application="sae-broker", certificate=own.certificate("sae-broker").decode(), line="")
    assert own.manage("/register", again)["status"] == 200
    assert own.manage("")["problem"] == "" and own.events()[-1][1]["anew"] == 1
    assert own.keys("sae-broker").status == 200
    own.reopen()
    assert own.manage("")["problem"] == ""
    assert own.keys("sae-broker").status == 200


def test_a_change_that_only_the_file_knows_is_told_and_one_that_the_store_refuses_is_undone(own: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(work: Any) -> Any:
        raise StorageFailed("磁盘已满", "the disk is full", code="STORAGE_FAILED")

    with monkeypatch.context() as patch:
        patch.setattr(own.entity.store.core, "change", broken)
        assert own.manage("/register", own.wanted())["status"] == 503
        assert own.keys(NEW).status == 401
        assert own.manage("/withdraw", {"application": "sae-desk", "act": "E-4"})["status"] == 503
        assert own.keys("sae-desk").status == 401, "a withdrawal holds from the moment its file is written"
        assert own.manage("/withdraw", {"application": "sae-broker", "act": "E-5"})["status"] == 503
    assert own.manage("/withdraw", {"application": "sae-broker", "act": "E-6"})["withdrawn"], "what no event has told yet is told"
    assert own.events()[-1][1]["application"] == "sae-broker"
    (own.folder / FILE).with_suffix(".new").mkdir()
    told = own.manage("/register", own.wanted())
    assert (told["status"], told["code"]) == (503, "STORAGE_FAILED") and own.keys(NEW).status == 401
    (own.folder / FILE).with_suffix(".new").rmdir()
    own.reopen()
    assert NEW not in [one["application"] for one in own.manage("")["applications"]]
    assert own.listed("sae-desk")["state"] == WITHDRAWN
    assert own.keys("sae-broker").status == 401


applications = st.builds(
    Application,
    application=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True), fingerprint=st.sampled_from(["", "0a" * 32]),
    line=st.sampled_from(["", "metro"]), tenant=st.sampled_from(["", "7", "desk-a"]), per_hour=st.integers(0, 3_600_000_000), burst=st.integers(1, 1_000_000), most_reserved=st.integers(0, 1_000_000),
    priority=st.integers(0, 3), state=st.sampled_from([REGISTERED, WITHDRAWN]), since_ms=st.integers(0, 2**53 - 1),
)  # fmt: skip


@given(st.lists(applications, max_size=4, unique_by=lambda one: one.application), st.integers(1, 2**53 - 1))
def test_a_list_is_read_back_as_it_was_written(found: list[Application], number: int) -> None:
    found.sort(key=lambda one: one.application)
    assert parse_list(format_list(number, found)) == (number, {one.application: one for one in found})


def test_every_change_of_one_byte_of_the_file_is_found() -> None:
    data = format_list(3, [Application("app-a", "0a" * 32, "metro", "", 60, 4, 2, 1, REGISTERED, 17)])
    for place in range(len(data)):
        for other in (data[place] ^ 1, data[place] ^ 0x80):
            with pytest.raises(ValueError):
                parse_list(data[:place] + bytes([other]) + data[place + 1 :])
    two = [replace(parse_list(data)[1]["app-a"], application=name) for name in ("app-b", "app-a")]
    with pytest.raises(ValueError):
        parse_list(format_list(3, two))


# ------------------------------------------------------------------------------------------- the other end


def test_an_application_of_one_line_gets_nothing_of_another(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.manage("/register", asked.wanted())
    asked.ends.beat()
    listed = asked.entity.applications._listed
    monkeypatch.setattr(asked.entity.applications, "_listed", {**listed, NEW: replace(listed[NEW], line="other")})  # as if there were a second line
    for answer in (asked.keys(NEW), asked.call(NEW, "GET", f"/api/v1/keys/{SLAVE}/status")):
        assert answer.status == 400


def test_ids_that_are_somebody_elses_here_are_passed_over_and_the_rest_counts() -> None:
    far = FarApplications(["a", "b"], is_free=lambda sae: sae != "mine")
    assert far.hear({"registered": ["c", "mine", "a"], "withdrawn": ["b"]}) == ["mine"]
    assert far.saes == ("a", "c")
    for wrong in (["c", "c"], ["no name"], [f"x{n}" for n in range(401)]):
        with pytest.raises(ValueError):
            far.hear({"registered": wrong, "withdrawn": []})
    assert far.saes == ("a", "c")
    far.forget()
    assert far.saes == ("a", "b")


def test_a_list_that_the_other_end_tells_wrongly_is_refused_and_it_is_told_anew_after_its_start(asked: Asked) -> None:
    assert asked.ends.ask_receiver("applications", {"registered": ["x", "x"], "withdrawn": []})[1] == {"code": "MALFORMED"}
    asked.manage("/register", asked.wanted())
    asked.ends.beat()
    assert NEW in asked.ends.there_line.far.saes
    asked.ends.receiver.close()
    asked.ends.receiver = Entity(asked.ends.folders[RECEIVER], "")
    asked.ends.there._other = asked.ends.receiver
    asked.ends.there_line._link._caller = asked.ends.back  # type: ignore[assignment]  # the same calls
    asked.ends.back._caller = asked.ends.receiver
    assert NEW not in asked.ends.there_line.far.saes
    asked.ends.beat()
    assert NEW in asked.ends.there_line.far.saes and asked.listed()["known_there"]

"""Applications of a site: who is admitted, with which certificate, within which quota, and what the other end is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kme_pair import LINE, RECEIVER, SENDER, imported_plan
from one_process import OneProcess
from workbench_kme.service import delivery, management
from workbench_kme.service.applications import FILE, REGISTERED, WITHDRAWN, Application, format_list, parse_list
from workbench_kme.service.config import SAE_URI
from workbench_kme.service.entity import Entity
from workbench_kme.service.far import FarApplications
from workbench_kme.service.listening import Answer, Call
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
            "application": NEW, "certificate": self.certificate(NEW).decode(), "line": LINE, "per_hour": 60, "burst": 4, "most_reserved": 0,
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


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(tmp_path / "sites")
    made.ends.bring_file(40)
    yield made
    made.ends.close()


def details(answer: Answer) -> dict[str, Any]:
    return {name: value for one in json.loads(answer.body)["details"] for name, value in one.items()}


# ------------------------------------------------------------------------------------------ admission


def test_an_application_gets_keys_only_while_it_is_registered_and_both_ends_keep_to_it(asked: Asked) -> None:
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
    assert [kind for kind, facts in asked.events() if facts.get("application") == NEW] == ["application.registered", "application.withdrawn"]


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
def test_a_registration_that_does_not_fit_changes_nothing(registering: Asked, changes: dict[str, Any], code: str) -> None:
    before = (registering.folder / FILE).read_bytes()
    if changes.get("certificate"):
        changes = {"certificate": registering.certificate(SLAVE, RECEIVER).decode(), "application": SLAVE}
    told = registering.manage("/register", registering.wanted(**changes))
    assert (told["status"] in (400, 404), told["code"]) == (True, code) and told["zh"] and told["en"]
    assert (registering.folder / FILE).read_bytes() == before


@pytest.fixture(scope="module")
def registering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """For what is refused and changes nothing."""
    made = Asked(tmp_path_factory.mktemp("registering") / "sites")
    yield made
    made.ends.close()


def test_ids_of_others_and_ids_twice_are_refused_and_so_is_changing_who_is_not_there(registering: Asked) -> None:
    issue_client(registering.folder, "sae-backup", SAE_URI + "sae-backup", now=datetime.now(UTC))
    taken = registering.wanted(application="sae-backup", certificate=registering.certificate("sae-backup").decode())
    assert registering.manage("/register", taken)["code"] == "APPLICATION_TAKEN"
    known = registering.wanted(application="sae-desk", certificate=registering.certificate("sae-desk").decode())
    assert registering.manage("/register", known)["code"] == "APPLICATION_KNOWN"
    assert registering.manage("/set", registering.wanted())["code"] == "NO_APPLICATION"
    assert registering.manage("/withdraw", {"application": NEW, "act": "E-1"})["code"] == "NO_APPLICATION"
    assert registering.call("sae-desk", "GET", "/management/v1/applications").status == 401, "an application manages nobody"


# ---------------------------------------------------------------------------------------------- quota


def test_above_the_quota_of_an_hour_it_is_told_when_to_come_again(asked: Asked) -> None:
    asked.manage("/register", asked.wanted(per_hour=60, burst=4))
    asked.ends.beat()
    assert asked.keys(NEW, 4).status == 200
    refused = asked.keys(NEW)
    told = details(refused)
    assert refused.status == 503 and told["code"] == "QUOTA_EXCEEDED" and "配额" in told["zh"]
    assert refused.headers["Retry-After"] == str(told["retry_after_s"]) and 55 <= told["retry_after_s"] <= 60, "60 an hour: one a minute"
    assert asked.keys("sae-desk").status == 200, "others are not touched by it"
    assert asked.keys(NEW, 5).headers["Retry-After"] == "3600", "more than it ever gets at once"
    before = asked.listed()["left"]
    asked.reopen()
    assert asked.listed()["left"] == before == 0, "starting anew refills nothing"
    asked.manage("/set", asked.wanted(certificate="", per_hour=3_600_000_000, burst=9))
    asked.ends.beat()
    assert asked.keys(NEW).status == 200


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


def test_priority_reaches_what_is_kept_back(tmp_path: Path) -> None:
    made = Asked(tmp_path / "sites")
    made.ends.close()
    path = made.folder / "kme.json"
    path.write_bytes(path.read_bytes().replace(b'"kept_back":0', b'"kept_back":18'))
    made.ends.open()
    try:
        made.ends.bring_file(40)
        for name, priority in ((NEW, 3), ("sae-desk", 0)):
            verb = "/register" if name == NEW else "/set"
            wanted = made.wanted(application=name, certificate=made.certificate(name).decode(), priority=priority, burst=50)
            assert made.manage(verb, wanted)["status"] == 200
        made.ends.beat()
        assert made.keys("sae-desk", 3).status == 503
        assert made.keys("sae-desk", 2).status == 200
        assert made.keys("sae-desk").status == 503
        assert made.keys(NEW, 10).status == 200
    finally:
        made.ends.close()


# ------------------------------------------------------------------------------------- on disk, over restarts


def test_the_list_outlives_a_restart_and_a_withdrawn_one_of_the_configuration_stays_out(asked: Asked) -> None:
    assert asked.listed("sae-desk")["fingerprint"] == certificates.describe(asked.certificate("sae-desk")).fingerprint
    asked.manage("/register", asked.wanted())
    asked.manage("/withdraw", {"application": "sae-desk", "act": "E-2"})
    before = asked.manage("")
    asked.reopen()
    assert asked.manage("") == {**before, "applications": [{**one, "known_there": one["state"] == REGISTERED} for one in before["applications"]]}
    assert asked.keys("sae-desk").status == 401 and asked.keys(NEW).status == 200 and asked.keys("sae-broker").status == 200
    assert "sae-desk" not in json.loads(asked.call("node", "GET", "/management/v1/status").body)["saes"]
    again = asked.wanted(application="sae-desk", certificate=asked.certificate("sae-desk").decode(), line="")
    assert asked.manage("/register", again)["state"] == REGISTERED
    assert details(asked.keys("sae-desk"))["code"] == "APPLICATION_NOT_TOLD"
    asked.ends.beat()
    assert asked.keys("sae-desk").status == 200


@pytest.mark.parametrize("harm", ["damaged", "older", "missing", "open"])
def test_with_a_list_in_doubt_nobody_is_admitted_until_it_is_made_anew(asked: Asked, harm: str) -> None:
    path = asked.folder / FILE
    first = path.read_bytes()
    asked.manage("/withdraw", {"application": "sae-desk", "act": "E-3"})
    asked.ends.close()
    if harm == "damaged":
        path.write_bytes(path.read_bytes().replace(b"withdrawn", b"registered"))
    elif harm == "older":
        path.write_bytes(first)
    elif harm == "missing":
        path.unlink()
    else:
        path.chmod(0o640)
    asked.ends.open()
    asked.ends.beat()
    told = asked.manage("")
    assert (told["problem"], told["applications"]) == ("damaged" if harm == "open" else harm, [])
    assert [asked.keys(name).status for name in ("sae-broker", "sae-desk", NEW)] == [401, 401, 401]
    assert asked.events()[-1] == ("application.list-refused", {"cause": told["problem"]})
    own = asked.wanted(application="sae-broker", certificate=asked.certificate("sae-broker").decode(), line="")
    assert asked.manage("/register", own)["status"] == 200
    assert asked.manage("")["problem"] == "" and asked.events()[-1][1]["anew"] == 1
    assert asked.keys("sae-broker").status == 200
    asked.reopen()
    assert asked.manage("")["problem"] == ""
    assert asked.keys("sae-broker").status == 200


def test_a_change_that_only_the_file_knows_is_told_and_one_that_the_store_refuses_is_undone(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(work: Any) -> Any:
        raise StorageFailed("磁盘已满", "the disk is full", code="STORAGE_FAILED")

    with monkeypatch.context() as patch:
        patch.setattr(asked.entity.store.core, "change", broken)
        assert asked.manage("/register", asked.wanted())["status"] == 503
        assert asked.keys(NEW).status == 401
        assert asked.manage("/withdraw", {"application": "sae-desk", "act": "E-4"})["status"] == 503
        assert asked.keys("sae-desk").status == 401, "a withdrawal holds from the moment its file is written"
    asked.reopen()
    assert NEW not in [one["application"] for one in asked.manage("")["applications"]]
    assert asked.listed("sae-desk")["state"] == WITHDRAWN
    assert "application.list-found" in [kind for kind, _facts in asked.events()]


applications = st.builds(
    Application,
    application=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True), fingerprint=st.sampled_from(["", "0a" * 32]),
    line=st.sampled_from(["", "metro"]), per_hour=st.integers(0, 3_600_000_000), burst=st.integers(1, 1_000_000), most_reserved=st.integers(0, 1_000_000),
    priority=st.integers(0, 3), state=st.sampled_from([REGISTERED, WITHDRAWN]), since_ms=st.integers(0, 2**53 - 1),
)  # fmt: skip


@given(st.lists(applications, max_size=4, unique_by=lambda one: one.application), st.integers(1, 2**53 - 1))
def test_a_list_is_read_back_as_it_was_written(found: list[Application], number: int) -> None:
    found.sort(key=lambda one: one.application)
    assert parse_list(format_list(number, found)) == (number, {one.application: one for one in found})


def test_every_change_of_one_byte_of_the_file_is_found() -> None:
    data = format_list(3, [Application("app-a", "0a" * 32, "metro", 60, 4, 2, 1, REGISTERED, 17)])
    for place in range(len(data)):
        for other in (data[place] ^ 1, data[place] ^ 0x80):
            with pytest.raises(ValueError):
                parse_list(data[:place] + bytes([other]) + data[place + 1 :])
    two = [replace(parse_list(data)[1]["app-a"], application=name) for name in ("app-b", "app-a")]
    with pytest.raises(ValueError):
        parse_list(format_list(3, two))


# ------------------------------------------------------------------------------------------- the other end


def test_an_application_of_one_line_gets_nothing_of_another(asked: Asked) -> None:
    asked.manage("/register", asked.wanted())
    asked.ends.beat()
    asked.entity.applications._listed = {  # as if the site had a second line
        **asked.entity.applications._listed, NEW: replace(asked.entity.applications._listed[NEW], line="other"),
    }  # fmt: skip
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
    assert NEW not in asked.ends.there_line.far.saes
    asked.ends.beat()
    assert NEW in asked.ends.there_line.far.saes and asked.listed()["known_there"]

"""Production: two administrators, two files, two people; nobody makes themselves the second one."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from workbench.domain.party import Caller, Role
from workbench.errors import Denied, InvalidRequest, Refused, SignInRequired, StorageFailed
from workbench.gate import action_digest
from workbench.host import Workbench
from workbench.node import first_passwords
from workbench.node.staff import build_staff_app
from workbench.workspace import Workspace, create_workspace, open_node

PASSPHRASE = "a passphrase for one test 5521"
OWN_PASSWORD = "Korrekt-Pferd-7-Batterie"
HOUR_MS = 3_600_000
HOST = "127.20.1.11:8801"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return create_workspace(
        tmp_path_factory.mktemp("made") / "workspace", kind="production", parties=("broker",), passphrase=PASSPHRASE
    )


@pytest.fixture
def node(template: Workspace, tmp_path: Path) -> Iterator[Workbench]:
    import shutil

    shutil.copytree(template.folder, tmp_path / "workspace")
    opened = open_node(Workspace(tmp_path / "workspace", "production", template.project, template.parties), "broker", passphrase=PASSPHRASE)
    yield opened
    opened.close()


def signed_in(node: Workbench, person: str, password: str, audience: str = "command") -> Caller:
    return node.people.caller(node.people.sign_in(person=person, password=password, audience=audience).secret)


def call(node: Workbench, caller: Caller, old: str, operation: str, /, **request: Any) -> Any:
    digest = action_digest(operation, node.gate.admit(operation, request, caller)[2])
    secret = node.people.confirm(caller, password=old, action_digest=digest)
    return node.gate.call(operation, request, caller, confirmation=secret)


def established(node: Workbench, account: str) -> Caller:
    """An administrator who has changed the one-time password."""
    first = first_passwords.read(node.folder, account)
    call(node, signed_in(node, account, first), first, "people.change_password", password=OWN_PASSWORD + account)
    return signed_in(node, account, OWN_PASSWORD + account)


def entries(node: Workbench, kind: str) -> list[dict[str, str]]:
    with node.store.read() as reader:
        rows = node.evidence.search(reader, kind=kind, limit=100)
        return [{**node.evidence.view(reader, row.index), "actor": row.actor} for row in reversed(rows)]


def test_each_first_administrator_has_a_file_of_their_own(node: Workbench) -> None:
    assert not (node.folder / "signins.json").exists()
    texts = {}
    for account in ("admin1", "admin2"):
        path = node.folder / f"first-password-{account}.txt"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        texts[account] = path.read_text("utf-8")
    one, other = (first_passwords.read(node.folder, account) for account in texts)
    assert one and other and one != other
    assert one not in texts["admin2"] and other not in texts["admin1"]


def test_a_one_time_password_opens_nothing_but_its_change_and_leaves_the_file_then(node: Workbench) -> None:
    path = node.folder / "first-password-admin1.txt"
    first = first_passwords.read(node.folder, "admin1")
    for audience in ("command", "page", "lab", "kernel"):
        caller = signed_in(node, "admin1", first, audience)
        for operation in node.gate.registry:
            if operation.name != "people.change_password" and Role.ADMIN in operation.roles:
                with pytest.raises(Denied) as refused:
                    node.gate.authorise(operation, caller)
                assert refused.value.code == "CHANGE_PASSWORD_FIRST", operation.name
    with pytest.raises(Denied, match="CHANGE_PASSWORD_FIRST"):
        node.people.derive(signed_in(node, "admin1", first, "lab"), "kernel")
    with pytest.raises(Refused, match="SAME_PASSWORD"):
        call(node, signed_in(node, "admin1", first), first, "people.change_password", password=first)
    assert first_passwords.read(node.folder, "admin1") == first
    admin = established(node, "admin1")
    assert node.gate.call("people.all", {}, admin)
    assert first not in path.read_text("utf-8") and "removed" in path.read_text("utf-8")
    assert first_passwords.read(node.folder, "admin2"), "the other file is the other person's"
    with pytest.raises(SignInRequired, match="SIGN_IN_FAILED"):
        signed_in(node, "admin1", first)
    assert [one["actor"] for one in entries(node, "people.first_password_changed")] == [admin.person.token]
    # A second change is an ordinary one.
    call(node, admin, OWN_PASSWORD + "admin1", "people.change_password", password=OWN_PASSWORD + "again")
    assert len(entries(node, "people.password_changed")) == 1


def test_a_file_that_a_stop_left_behind_is_emptied_at_the_next_start(node: Workbench) -> None:
    first = first_passwords.read(node.folder, "admin1")
    node.people.change_password(signed_in(node, "admin1", first), OWN_PASSWORD)
    assert first_passwords.read(node.folder, "admin1") == first
    first_passwords.remove_ended(node.folder, node.people.past_first_password(), now_ms=node.now_ms())
    assert not first_passwords.read(node.folder, "admin1") and first_passwords.read(node.folder, "admin2")


def test_a_one_time_password_expires_and_can_be_issued_again_only_while_it_was_never_changed(node: Workbench) -> None:
    first = first_passwords.read(node.folder, "admin1")
    clock = node.people._now_ms
    node.people._now_ms = lambda: clock() + 73 * HOUR_MS
    with pytest.raises(SignInRequired, match="FIRST_PASSWORD_EXPIRED"):
        signed_in(node, "admin1", first)
    assert entries(node, "people.sign_in_refused")[-1]["code"] == "FIRST_PASSWORD_EXPIRED"
    with pytest.raises(SignInRequired, match="SIGN_IN_FAILED"):
        signed_in(node, "admin1", "a wrong one tells nothing")
    node.people.reissue_first_password("admin1", password="another-first-77", first_until_ms=clock() + 100 * HOUR_MS)
    assert signed_in(node, "admin1", "another-first-77").first_password
    node.people._now_ms = clock
    established(node, "admin2")
    with pytest.raises(Refused, match="NOT_A_FIRST_PASSWORD"):
        node.people.reissue_first_password("admin2", password="another-first-78", first_until_ms=clock() + HOUR_MS)
    assert len(entries(node, "people.first_password_issued")) == 1


def test_one_administrator_cannot_make_a_second_person_of_themselves(node: Workbench) -> None:
    """The second person of every act for two must be one whom two established people let in."""
    one, other = established(node, "admin1"), established(node, "admin2")
    call(node, one, OWN_PASSWORD + "admin1", "people.add", person="puppet", display_name="P", roles=["admin"])
    password = first_passwords.read(node.folder, "puppet")
    with pytest.raises(SignInRequired, match="ACCOUNT_WAITS"):
        signed_in(node, "puppet", password)
    listed = node.gate.call("people.all", {}, other)
    assert [(row.person.person, row.added_by) for row in listed.waiting] == [("puppet", "管理员 1")]
    assert "puppet" not in [row.person for row in listed.people]
    with pytest.raises(Denied, match="SELF_APPROVAL"):
        call(node, one, OWN_PASSWORD + "admin1", "people.confirm", person="puppet")
    call(node, other, OWN_PASSWORD + "admin2", "people.confirm", person="puppet")
    confirmed = entries(node, "people.confirmed")
    assert [(row["account"], row["added_by"], row["actor"]) for row in confirmed] == [
        ("puppet", one.person.token, other.person.token)
    ]
    assert signed_in(node, "puppet", password).first_password


def test_the_node_makes_the_one_time_password_and_no_administrator_sees_it(node: Workbench) -> None:
    one = established(node, "admin1")
    request = {"person": "zhao", "display_name": "赵", "roles": ["marketing"]}
    with pytest.raises(InvalidRequest, match="PASSWORD_GIVEN"):
        call(node, one, OWN_PASSWORD + "admin1", "people.add", **request, password="chosen-by-admin1-66")
    added = call(node, one, OWN_PASSWORD + "admin1", "people.add", **request)
    path = node.folder / added.first_password_file
    assert path.name == "first-password-zhao.txt" and stat.S_IMODE(os.stat(path).st_mode) == 0o600
    first = first_passwords.read(node.folder, "zhao")
    assert len(first.replace("-", "")) == 24 and first not in added.model_dump_json()
    with pytest.raises(InvalidRequest, match="ACCOUNT_EXISTS"):
        call(node, one, OWN_PASSWORD + "admin1", "people.add", **request)
    assert first_passwords.read(node.folder, "zhao") == first, "a second try does not take the file of the first"
    call(node, one, OWN_PASSWORD + "admin1", "people.disable", person="zhao")
    assert path.exists() and not first_passwords.read(node.folder, "zhao")


def test_an_account_whose_file_cannot_be_written_says_who_acts(node: Workbench) -> None:
    """The account is there by then: somebody must know that nobody has its password."""
    one = established(node, "admin1")
    (node.folder / "first-password-qian.txt.new").mkdir()
    with pytest.raises(StorageFailed, match="FIRST_PASSWORD_NOT_WRITTEN"):
        call(node, one, OWN_PASSWORD + "admin1", "people.add", person="qian", display_name="钱", roles=["marketing"])
    assert [person.person for person, _ in node.people.waiting()] == ["qian"]
    assert entries(node, "action.refused")[-1]["code"] == "FIRST_PASSWORD_NOT_WRITTEN"


def test_the_last_two_administrators_stay(node: Workbench) -> None:
    """With one left nobody could confirm an account, and one person would be both."""
    one = established(node, "admin1")
    with pytest.raises(Denied, match="LAST_ADMINISTRATORS"):
        call(node, one, OWN_PASSWORD + "admin1", "people.disable", person="admin2")


def test_the_nodes_page_leads_from_the_one_time_password_to_ones_own(node: Workbench) -> None:
    transport = httpx.ASGITransport(app=build_staff_app(node, allowed_hosts={HOST}))

    def post(path: str, **form: str) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
                return await http.post(path, data=form, headers={"Origin": f"http://{HOST}"})

        return asyncio.run(send())

    first = first_passwords.read(node.folder, "admin1")
    page = post("/signin", person="admin1", password=first)
    assert page.status_code == 200 and 'action="/password"' in page.text and "CHANGE_PASSWORD_FIRST" in page.text
    assert "set-cookie" not in page.headers
    new = OWN_PASSWORD + "by page"
    assert "PASSWORDS_DIFFER" in post("/password", person="admin1", password=first, new=new, again="x").text
    assert "SIGN_IN_FAILED" in post("/password", person="admin1", password="wrong", new=new, again=new).text
    assert "WEAK_PASSWORD" in post("/password", person="admin1", password=first, new="short", again="short").text
    assert first_passwords.read(node.folder, "admin1") == first
    assert post("/password", person="admin1", password=first, new=new, again=new).status_code == 200
    assert not first_passwords.read(node.folder, "admin1")
    assert post("/signin", person="admin1", password=new).status_code == 303


def test_operations_issue_an_expired_one_anew_while_the_node_is_stopped(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a node whose first administrators came too late would be closed to everybody for ever."""
    import shutil

    from tests.processes.live import workbench

    shutil.copytree(template.folder, tmp_path / "workspace")
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE, "utf-8")
    secret.chmod(0o600)
    monkeypatch.setenv("WORKBENCH_PASSPHRASE_FILE", str(secret))
    folder = tmp_path / "workspace" / "broker"
    old = first_passwords.read(folder, "admin1")
    done = workbench("first-password", tmp_path / "workspace", "--party", "broker", "--account", "admin1", "--json")
    assert done.status == 0, done
    new = first_passwords.read(folder, "admin1")
    assert new and new != old and new not in done.out + done.err
    assert stat.S_IMODE(os.stat(folder / "first-password-admin1.txt").st_mode) == 0o600
    assert workbench("first-password", tmp_path / "workspace", "--party", "broker", "--account", "nobody", "--json").status == 2
    opened = open_node(Workspace(tmp_path / "workspace", "production", template.project, template.parties), "broker", passphrase=PASSPHRASE)
    try:
        assert signed_in(opened, "admin1", new).first_password
        with pytest.raises(SignInRequired, match="SIGN_IN_FAILED"):
            signed_in(opened, "admin1", old)
    finally:
        opened.close()

"""A site's folder: configuration, secrets, identities, sources, files of keys."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from kme_pair import LINE, RECEIVER, SENDER, imported_plan
from workbench_kme.distill import known_answers
from workbench_kme.service import compiled, delivery
from workbench_kme.service import config as site_config
from workbench_kme.service.client import ReceivedKey, _parse_keys
from workbench_kme.service.config import KME_URI, SAE_URI
from workbench_kme.service.entity import Entity
from workbench_kme.service.listening import Call
from workbench_kme.service.pool import AHEAD_BYTES, PoolKeeper
from workbench_kme.service.sites import LinePlan, Site, make_sites
from workbench_kme.service.tls import identity
from workbench_kme.sources import BlockTask, SourceContext, source_class, source_names
from workbench_kme.sources.device_014 import are_from_a_device
from workbench_kme.sources.imported import Imported, KeyFile, format_key_file, make_key_file, parse_key_file

from workbench.crypto import canonical, certificates
from workbench.errors import KeyUnavailable, Refused, StartRefused

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    folder = tmp_path_factory.mktemp("template") / "sites"
    return make_sites(folder, [imported_plan()], now=datetime.now(UTC), passphrases={SENDER: "open sesame"})


@pytest.fixture
def sites(template: dict[str, Site], tmp_path: Path) -> dict[str, Site]:
    """Fresh copies of the same two folders."""
    copies = {name: replace(site, folder=tmp_path / "sites" / name) for name, site in template.items()}
    for name, site in template.items():
        shutil.copytree(site.folder, copies[name].folder)
    return copies


def test_a_configuration_is_read_back_as_it_was_written(sites: dict[str, Site]) -> None:
    config = site_config.read_config(sites[SENDER].folder)
    assert config.kme == "kme-broker" and config.lines[0].peer.kme == "kme-provider" and config.lines[0].is_sender
    assert site_config.parse_config(site_config.format_config(config)) == config


def test_every_member_of_a_configuration_is_needed_and_no_other_is_taken(sites: dict[str, Site]) -> None:
    data = (sites[SENDER].folder / "kme.json").read_bytes()
    value: Any = canonical.parse_object(data)
    line, peer = value["lines"][0], value["lines"][0]["peer"]
    for where in (value, value["quota"], line, peer):
        for name in list(where):
            kept = where.pop(name)
            if name == "self_test_hours":  # a folder of before has none
                assert site_config.parse_config(canonical.format(value)).self_test_hours == 24
            elif name in ("tenants", "tenant"):
                read = site_config.parse_config(canonical.format(value))
                assert (read.tenants, read.lines[0].tenant) == ({}, "")
            else:
                with pytest.raises(ValueError, match=r"."):
                    site_config.parse_config(canonical.format(value))
            for wrong in ("", -1, None, True, [], {}, "a b", "../x"):
                if wrong == kept or (name, wrong) in (("node_fingerprint", ""), ("saes", []), ("options", {}), ("device", {}), ("lines", []), ("authority", ""), ("authority", "a b"), ("authority", "../x")):
                    continue
                where[name] = wrong
                if name in ("demonstration", "low_water", "per_minute", "kept_back") and wrong in (True, False):
                    continue
                with pytest.raises(ValueError, match=r"."):
                    site_config.parse_config(canonical.format(value))
            where[name] = kept
        where["more"] = 1
        with pytest.raises(ValueError, match=r"."):
            site_config.parse_config(canonical.format(value))
        del where["more"]
    assert canonical.format(value) == data


def test_two_lines_may_share_no_name_and_no_sae(sites: dict[str, Site]) -> None:
    config = site_config.read_config(sites[SENDER].folder)
    line = config.lines[0]
    for twin in (line, replace(line, line="other"), replace(line, line="other", peer=replace(line.peer, kme="x", saes=("sae-broker",)))):
        with pytest.raises(ValueError, match=r"."):
            site_config.format_config(replace(config, lines=(line, twin)))


def test_secrets_under_a_passphrase_open_with_it_only_and_hold_no_secret_in_plain(sites: dict[str, Site]) -> None:
    data = (sites[SENDER].folder / "secrets.json").read_bytes()
    opened = site_config.parse_secrets(data, "open sesame")
    assert b"PRIVATE" not in data and opened.lines[LINE].seed.hex().encode() not in data
    assert "PRIVATE" not in repr(opened) and opened.lines[LINE].seed.hex() not in repr(opened)
    for altered, passphrase in ((data, "open says me"), (data, ""), (data[:-3] + b"00}", "open sesame"), (b"{}", "")):
        with pytest.raises(KeyUnavailable, match="KEY_LOCKED"):
            site_config.parse_secrets(altered, passphrase)


def test_both_ends_of_a_line_are_given_the_same_secrets_and_nobody_else_is(sites: dict[str, Site]) -> None:
    here = site_config.parse_secrets((sites[SENDER].folder / "secrets.json").read_bytes(), "open sesame")
    there = site_config.parse_secrets((sites[RECEIVER].folder / "secrets.json").read_bytes(), "")
    assert here.lines == there.lines and set(here.lines) == {LINE}
    assert here.tls_key != there.tls_key and here.device != there.device


def test_a_folder_or_file_that_others_may_read_stops_the_kme(sites: dict[str, Site]) -> None:
    folder = sites[RECEIVER].folder
    for name in ("secrets.json", "kme.json", "kme.pem"):
        (folder / name).chmod(0o640)
        with pytest.raises(StartRefused, match="KME_EXPOSED"):
            Entity(folder, "")
        (folder / name).chmod(0o600)
    folder.chmod(0o755)
    with pytest.raises(StartRefused, match="KME_EXPOSED"):
        Entity(folder, "")


def test_a_certificate_of_another_kme_stops_the_kme(sites: dict[str, Site]) -> None:
    stolen = (sites[SENDER].folder / "kme.pem").read_bytes()
    (sites[RECEIVER].folder / "kme.pem").write_bytes(stolen)
    with pytest.raises(StartRefused, match="KME_IDENTITY"):
        Entity(sites[RECEIVER].folder, "")


def test_sites_are_not_made_over_others_nor_from_a_plan_that_fits_nothing(sites: dict[str, Site], tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        make_sites(sites[SENDER].folder.parent, [imported_plan()], now=NOW)
    with pytest.raises(ValueError, match="two different sites"):
        make_sites(tmp_path / "x", [imported_plan(receiver=SENDER)], now=NOW)
    with pytest.raises(ValueError, match="SAE ids"):
        make_sites(tmp_path / "y", [imported_plan()], now=NOW, saes={SENDER: ["same"], RECEIVER: ["same"]})


def test_an_identity_is_one_uri_of_a_known_form() -> None:
    authority = certificates.make_authority("x", now=NOW)
    uris = (KME_URI + "a", SAE_URI + "b", "workbench:party:c", "https://d")
    issued = [certificates.issue_certificate(authority, name="n", uri=uri, now=NOW).certificate_pem for uri in uris]
    found = [identity(ssl.PEM_cert_to_DER_cert(pem.decode())) for pem in issued]
    assert [one[:2] for one in found] == [("kme", "a"), ("sae", "b"), ("", ""), ("", "")]
    assert identity(b"no certificate") == ("", "", "")


# ---------------------------------------------------------------------------------------------- sources


def test_a_source_of_another_package_is_found_and_can_replace_none_of_ours() -> None:
    mine = EntryPoint("dice", "test_kme_folder:Dice", "workbench_kme.sources")
    assert source_names([mine]) == ["device-014", "dice", "imported", "simulated"]
    assert source_class("dice", [mine]) is Dice
    with pytest.raises(StartRefused, match="KME_SOURCE"):
        source_names([EntryPoint("simulated", "test_kme_folder:Dice", "workbench_kme.sources")])


def test_a_source_that_is_missing_doubled_or_calls_itself_otherwise_is_refused() -> None:
    for found in ([], [EntryPoint("dice", "test_kme_folder:Dice", "g")] * 2, [EntryPoint("dice", "test_kme_folder:Loaded", "g")]):
        with pytest.raises(StartRefused, match="KME_SOURCE"):
            source_class("dice", found)


class Dice:
    name = "dice"
    provenance = "imported"
    simulates = False


class Loaded:
    name = "dice"
    provenance = "quantum"
    simulates = False


@pytest.mark.parametrize(
    "plan",
    [
        imported_plan(options={"x": 1}),
        imported_plan(demonstration=True),
        imported_plan(source="simulated", options={"preset": "moon"}),
        imported_plan(source="simulated", options={"preset": "metro-10", "pulses": -1}),
        imported_plan(source="device-014", options={"address": "127.0.0.1:1"}),
        imported_plan(source="nowhere"),
    ],
)
def test_a_line_whose_source_is_configured_wrongly_stops_the_kme(plan: LinePlan, tmp_path: Path) -> None:
    made = make_sites(tmp_path / "sites", [plan], now=datetime.now(UTC))
    with pytest.raises(StartRefused):
        Entity(made[SENDER].folder, "")


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ({}, True),
        ({"vendor": {"quantum": False}}, True),
        ({"workbench_provenance": {"origin": "device-014"}}, True),
        ({"workbench_provenance": {"origin": "device-014", "quantum": True}}, True),
        ({"workbench_provenance": {"origin": "device-014", "quantum": False}}, False),
        ({"workbench_provenance": {"origin": "device-014", "quantum": 1}}, False),
        ({"workbench_provenance": {"origin": "simulated", "quantum": True}}, False),
        ({"workbench_provenance": {"origin": "imported"}}, False),
        ({"workbench_provenance": {"origin": "quantum"}}, False),
        ({"workbench_provenance": {"quantum": True}}, False),
        ({"workbench_provenance": "device-014"}, False),
        ({"workbench_provenance": None}, False),
    ],
)
def test_what_a_kme_says_of_its_keys_or_of_their_container_is_heeded(said: dict[str, Any], taken: bool) -> None:
    quiet = ReceivedKey("6960b6a7-35ce-4301-9ac5-b073aa8cb494", bytes(32), {})
    assert are_from_a_device([quiet, replace(quiet, extension=said)]) is taken
    key = {"key_ID": quiet.key_id, "key": "AAAA"}
    (received,) = _parse_keys({"keys": [key], "key_container_extension": said}, 0)
    assert are_from_a_device([received]) is taken


def test_compiled_code_is_kept_where_nobody_else_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, shared = tmp_path / "site", tmp_path / "shared"
    site.mkdir()
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    own = compiled.keep_within(site)
    assert own.parent == site and own.stat().st_mode & 0o777 == 0o700 and os.environ[compiled.VARIABLE] == str(own)
    shared.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(shared)
    for named, mode, used in ((shared, 0o700, shared), (shared, 0o770, own), (shared, 0o705, own), (link, 0o700, own), (tmp_path / "none", 0o700, own)):
        shared.chmod(mode)
        monkeypatch.setenv(compiled.VARIABLE, str(named))
        assert compiled.keep_within(site) == used and os.environ[compiled.VARIABLE] == str(used)


def test_a_file_of_keys_has_one_form_and_every_changed_byte_is_refused() -> None:
    data = make_key_file(LINE, 3)
    file = parse_key_file(data)
    assert (file.line, file.count, len(file.keys)) == (LINE, 3, 96) and format_key_file(file) == data
    assert file.keys.hex() not in repr(file)
    for place in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            parse_key_file(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for cut in (b"", data[:-1], data + b"\0"):
        with pytest.raises(ValueError, match=r"."):
            parse_key_file(cut)
    with pytest.raises(ValueError, match=r"."):
        format_key_file(KeyFile(LINE, bytes(16), b""))


def test_a_file_is_offered_once_and_only_for_its_own_line(tmp_path: Path) -> None:
    inbox, used = tmp_path / "inbox", set[str]()
    inbox.mkdir()

    def use_once(name: str) -> bool:
        return not (name in used or used.add(name))

    source = Imported(SourceContext(LINE, True, {}, tmp_path, b"", used.__contains__, use_once))
    (inbox / "good.wbki").write_bytes(make_key_file(LINE, 1))
    (inbox / "other.wbki").write_bytes(make_key_file("other", 1))
    (inbox / "torn.wbki").write_bytes(make_key_file(LINE, 1)[:-1])
    source.check_file("good.wbki")
    for name, code in (("other.wbki", "KEY_FILE"), ("torn.wbki", "KEY_FILE"), ("none.wbki", "NO_SUCH_FILE"), ("../x.wbki", "NO_SUCH_FILE")):
        with pytest.raises(Refused, match=code):
            source.check_file(name)
    assert source.take(7, inbox / "good.wbki", parse_key_file((inbox / "good.wbki").read_bytes()))
    with pytest.raises(Refused, match="ALREADY_IMPORTED"):
        source.check_file("good.wbki")
    source.keys_stored(7)
    assert not (inbox / "good.wbki").exists()
    assert json.dumps(sorted(used)).count(LINE) == 1


@pytest.mark.parametrize(
    "told",
    [
        b'{"check":"\xc3\xa9","count":1,"file":"FILE","kind":"import-offer","v":1}',
        b'{"check":7,"count":1,"file":"FILE","kind":"import-offer","v":1}',
        b'{"check":"","count":1,"file":"FILE","kind":"import-offer","v":1}',
        b'{"check":"","count":[],"file":{},"kind":"import-offer","v":1}',
        b"no message",
    ],
)
def test_whatever_the_other_end_offers_the_block_ends_and_no_file_is_used(tmp_path: Path, told: bytes) -> None:
    inbox, used = tmp_path / "inbox", set[str]()
    inbox.mkdir()
    (inbox / "one.wbki").write_bytes(data := make_key_file(LINE, 1))
    source = Imported(SourceContext(LINE, False, {}, tmp_path, b"", used.__contains__, lambda name: not used.add(name)))
    agreeing = source.machine(BlockTask(1, 0, bytes(32), ("", 0), None, bytes))  # type: ignore[arg-type]  # no tags here
    message = told.replace(b"FILE", parse_key_file(data).file_id.hex().encode())
    assert agreeing.receive(message) == [b'{"kind":"import-refused","v":1}']
    assert agreeing.result is not None and (agreeing.result.aborted, agreeing.result.key) == ("stopped", b"")
    assert used == set() and (inbox / "one.wbki").read_bytes() == data


# ------------------------------------------------------------------------------------------- in one process


@pytest.fixture
def entity(tmp_path: Path) -> Iterator[Entity]:
    plan = imported_plan(source="simulated", options={"preset": "metro-10"}, demonstration=True)
    made = make_sites(tmp_path / "one", [plan], now=datetime.now(UTC))
    opened = Entity(made[SENDER].folder, "")
    yield opened
    opened.close()


def ask(entity: Entity, path: str) -> tuple[int, Any]:
    """A request of the SAE as the listener hands it over."""
    pinned = certificates.describe((entity.folder / "clients" / "sae-broker.pem").read_bytes()).fingerprint
    call = Call("GET", path, (), "", b"", ("sae", "sae-broker"), pinned)
    answer = delivery.answer(entity, call)
    return answer.status, json.loads(answer.body)


def test_a_line_that_was_never_in_step_delivers_nothing(entity: Entity) -> None:
    status, told = ask(entity, "/api/v1/keys/sae-provider/enc_keys")
    assert (status, told["details"][-1]) == (503, {"code": "PEER_UNREACHABLE"})
    assert ask(entity, "/api/v1/keys/sae-provider/status")[1]["stored_key_count"] == 0


def test_a_wrong_known_answer_disables_the_kme_and_is_an_event(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_answers, "_QUESTIONS", 0)
    assert not entity.self_test()
    status, told = ask(entity, "/api/v1/keys/sae-provider/enc_keys")
    assert (status, told["details"][-1]) == (503, {"code": "DEVICE_DISABLED"})
    event = [one for one in entity.store.events(limit=1000) if one.kind == "device.self-test"][-1]
    assert (event.facts["passed"], event.facts["failed"]) == (0, "distillation")
    assert [one.kind for one in entity.journal.alarms(open_only=True)] == ["self-test"]
    with pytest.raises(KeyUnavailable, match="DEVICE_DISABLED"):
        entity.check_distillation()
    monkeypatch.undo()
    assert entity.self_test() and entity.journal.alarms(open_only=True) == []


def test_the_pool_on_disk_runs_ahead_of_what_was_drawn_and_a_restart_goes_on_from_there(entity: Entity) -> None:
    kept = entity.secrets.lines[LINE].authentication

    def keeper() -> PoolKeeper:
        mark = entity.store.core.keeper
        return PoolKeeper(entity.journal, entity.session, LINE, kept, is_sender=True, mark=mark)

    first = keeper()
    drawn = [first.pool().draw(16) for _ in range(3)]
    first.before_sending()
    assert keeper().pool().draw(16).offset >= max(one.offset for one in drawn) + 16  # a kill loses bytes, it repeats none
    again = keeper()
    for _ in range(AHEAD_BYTES // 16 + 1):
        last = again.pool().draw(16)
    again.before_sending()
    assert keeper().pool().draw(16).offset > last.offset
    record = entity.journal.line(LINE)
    assert record.pool is not None and kept[:64].hex().encode() not in record.pool and kept[:64] not in record.pool
    entity.journal.set_pool(LINE, record.pool_key or b"", record.pool[:-1] + bytes([record.pool[-1] ^ 1]))
    with pytest.raises(KeyUnavailable, match="POOL_UNREADABLE"):
        keeper().pool()

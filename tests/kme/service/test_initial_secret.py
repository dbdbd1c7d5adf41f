"""A new initial secret: drawn at one end, carried to the other, compared, put in; then keys are made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kme_pair import LINE, RECEIVER, SENDER, imported_plan
from one_process import OneProcess
from workbench_kme.service import config, initial

from workbench.errors import KeyUnavailable, Refused


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[OneProcess]:
    plan = imported_plan(source="simulated", options={"preset": "metro-10", "pulses": 20_000_000}, demonstration=True, target_keys=8, low_water=1)
    made = OneProcess(tmp_path / "sites", plan)
    yield made
    made.close()


def test_a_line_whose_pool_is_spent_makes_keys_again_with_a_secret_that_both_ends_put_in(ends: OneProcess, tmp_path: Path) -> None:
    pool = ends.here_line._pool.pool()
    while pool.own_bytes >= 16:
        pool.draw(16)
    ends.here_line._pool.before_sending()
    ends.beat()
    assert ends.sender.store.status(LINE).available == 0
    [alarm] = [one for one in ends.sender.journal.alarms(open_only=True) if one.kind == "authentication-stopped"]
    assert LINE in alarm.zh and LINE in alarm.en
    ends.close()
    secret, carried = initial.draw(), tmp_path / "carried"
    initial.write_file(carried, LINE, secret)
    initial.put(ends.folders[SENDER], LINE, secret, "")
    brought = initial.read_file(carried, LINE)
    initial.require_check(LINE, brought, f" {initial.check_value(LINE, secret).upper()} ")
    initial.put(ends.folders[RECEIVER], LINE, brought, "")
    for folder in ends.folders.values():
        assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600
    ends.open()
    ends.beat()
    # A block of this size has a key mostly, not always; its messages are authenticated in either case.
    assert {one.aborted for one in ends.sender.journal.blocks(LINE, limit=1)} <= {"", "no-key-left"}
    ends.beat()
    assert "authentication-stopped" not in ends.sender.journal.open_kinds(LINE)
    with pytest.raises(Refused) as again:
        initial.put(ends.folders[SENDER], LINE, secret, "")
    assert again.value.code == "SECRET_IN_PLACE"


def test_a_secret_that_was_in_use_before_is_refused_by_the_entity(ends: OneProcess) -> None:
    first = ends.sender.secrets.lines[LINE].authentication
    ends.here_line._pool.pool().draw(16)
    ends.here_line._pool.before_sending()
    for secret in (initial.draw(), first):
        ends.close()
        initial.put(ends.folders[SENDER], LINE, secret, "")
        ends.open()
        if secret is first:
            with pytest.raises(KeyUnavailable, match="POOL_UNREADABLE"):
                ends.here_line._pool.pool()
        else:
            ends.here_line._pool.pool()


def test_what_is_not_the_same_at_both_ends_or_open_to_others_is_not_put_in(ends: OneProcess, tmp_path: Path) -> None:
    secret, path = initial.draw(), tmp_path / "carried"
    initial.write_file(path, LINE, secret)
    assert path.stat().st_mode & 0o777 == 0o600
    assert initial.check_value(LINE, secret) != initial.check_value("other", secret)
    wrong = [("SECRET_FILE", lambda: initial.read_file(path, "other")), ("SECRET_FILE", lambda: initial.read_file(tmp_path / "none", LINE))]
    for told in ("", "0" * 20, initial.check_value(LINE, secret)[:-1], initial.check_value(LINE, initial.draw())):
        wrong.append(("SECRET_CHECK", lambda told=told: initial.require_check(LINE, secret, told)))
    wrong.append(("NO_LINE", lambda: initial.put(ends.folders[SENDER], "line-9", secret, "")))
    for code, act in wrong:
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == code
    path.chmod(0o640)
    with pytest.raises(Refused, match="SECRET_FILE"):
        initial.read_file(path, LINE)
    path.chmod(0o600)
    for data in (b"{}", b'{"kind":"line-initial-secret","line":"' + LINE.encode() + b'","secret":"00","v":1}', path.read_bytes()[:-2]):
        path.write_bytes(data)
        with pytest.raises(Refused, match="SECRET_FILE"):
            initial.read_file(path, LINE)
    assert secret.hex() not in repr(refused.value.as_dict())


def test_secrets_with_a_passphrase_stay_wrapped_and_keep_everything_else(ends: OneProcess) -> None:
    folder = ends.folders[SENDER]
    before = config.parse_secrets((folder / "secrets.json").read_bytes(), "")
    (folder / "secrets.json").write_bytes(config.format_secrets(before, "a passphrase of six words or so"))
    assert initial.is_wrapped(folder)
    secret = initial.draw()
    with pytest.raises(KeyUnavailable):
        initial.put(folder, LINE, secret, "another one")
    initial.put(folder, LINE, secret, "a passphrase of six words or so")
    data = (folder / "secrets.json").read_bytes()
    assert secret.hex().encode() not in data
    after = config.parse_secrets(data, "a passphrase of six words or so")
    assert (after.lines[LINE].authentication, after.lines[LINE].seed) == (secret, before.lines[LINE].seed)
    assert (after.tls_key, after.device) == (before.tls_key, before.device)

"""One-time passwords of new accounts: one file for each person, emptied once the password opens nothing any more.

    DIR/PARTY/first-password-ACCOUNT.txt      0600

The node makes each of them. Whoever adds an account never sees its password: the operator of the machine hands the file to
its person. The first two administrators have one file each, to be handed to two people; whoever reads both before they are
changed is both people.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from workbench.clock import SHANGHAI

HOUR_MS = 3_600_000
PASSWORD_LINE = "password: "


def generate(random: Callable[[int], bytes]) -> str:
    """A password of 120 random bits in six groups of four letters and digits, to be read from paper."""
    text = base64.b32encode(random(15)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def write(folder: Path, *, account: str, password: str, until_ms: int) -> Path:
    """The file for one person; returns where it lies."""
    path = _path(folder, account)
    _replace(
        path,
        f"account: {account}\n{PASSWORD_LINE}{password}\nvalid until: {_shown(until_ms)} (Asia/Shanghai)\n\n"
        "一次性密码：只交给这一个人。首次登录后只能更换密码，换好后节点会清除本文件中的密码。过期后由运维重新签发。\n"
        "A one-time password for this one person. After the first sign-in nothing but a change of it works; the node then\n"
        "removes it from this file. Once it has expired, operations issue another one: workbench first-password.\n"
        f"  workbench password DIR --party {folder.name} --account {account}\n",
    )
    return path


def read(folder: Path, account: str) -> str:
    """The password in the file, "" when it was removed or there is no file."""
    path = _path(folder, account)
    if not path.exists():
        return ""
    lines = path.read_text("utf-8").splitlines()
    return next((line.removeprefix(PASSWORD_LINE) for line in lines if line.startswith(PASSWORD_LINE)), "")


def remove(folder: Path, account: str, *, now_ms: int) -> None:
    """Take a password that opens nothing any more out of its file, which then says so; without a file nothing happens."""
    path = _path(folder, account)
    if read(folder, account):
        _replace(
            path,
            f"account: {account}\n密码已由本人更换或账号已停用，{_shown(now_ms)} 清除。本文件可以删除。\n"
            f"The password was changed by its person, or the account was disabled; removed at {_shown(now_ms)}. "
            "This file can be deleted.\n",
        )


def remove_ended(folder: Path, accounts: Iterable[str], *, now_ms: int) -> None:
    """At a start: what a stop left between the end of a one-time password and the change of its file."""
    for account in accounts:
        remove(folder, account, now_ms=now_ms)


def _path(folder: Path, account: str) -> Path:
    return folder / f"first-password-{account}.txt"


def _shown(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, SHANGHAI):%Y-%m-%d %H:%M}"


def _replace(path: Path, text: str) -> None:
    """The old bytes are written over first: a renamed file alone would leave them in a free block."""
    if path.exists():
        with path.open("r+b") as old:
            old.write(b"\0" * path.stat().st_size)
            old.flush()
            os.fsync(old.fileno())
    staged = path.with_name(path.name + ".new")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    staged.replace(path)

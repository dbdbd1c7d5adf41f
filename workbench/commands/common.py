"""Shared by all commands: results on standard output, everything else on standard error, exit statuses."""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from workbench.client.session import Client, sign_in
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused, WorkbenchError
from workbench.supervisor import running_nodes
from workbench.workspace import Workspace, load_workspace

Options = argparse.Namespace


def print_result(options: Options, value: Mapping[str, Any], lines: list[str]) -> None:
    """One JSON object with --json, readable lines otherwise; only this goes to standard output."""
    if getattr(options, "json", False):
        print(json.dumps(value, ensure_ascii=False, sort_keys=True))
    else:
        print("\n".join(lines))


def print_error(options: Options, error: WorkbenchError) -> None:
    """The error's two sentences to standard error, and as one object to standard output with --json."""
    print(f"{error.zh} [{error.code}]\n{error.en}", file=sys.stderr)
    if getattr(options, "json", False):
        print(json.dumps({"error": error.as_dict()}, ensure_ascii=False, sort_keys=True))


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def workspace_of(options: Options) -> Workspace:
    return load_workspace(Path(options.dir))


def client_for(workspace: Workspace, party: str, role: Role) -> Client:
    """A session at a node that runs.

    In test and demo workspaces as the person of the role; in production with WORKBENCH_ACCOUNT and a password that is
    asked for, never taken from the command line.
    """
    workspace.node_folder(party)
    node = running_nodes(workspace).get(PartyId(party))
    if node is None:
        raise Refused(
            f"{party} 的节点没有运行。先运行 workbench up", f"The node of {party} does not run. Run workbench up first",
            code="NODE_DOWN",
        )  # fmt: skip
    account, password = credentials(workspace, party, role)
    return sign_in(node.staff_url, account, password)


def credentials(workspace: Workspace, party: str, role: Role) -> tuple[str, str]:
    """(account, password) for this role: the demo person's, or asked for at the terminal."""
    if workspace.kind != "production":
        return workspace.sign_in(party, role)
    account = os.environ.get("WORKBENCH_ACCOUNT") or _answer(input, f"{party} {role} account: ")
    return account, asked_secret(f"{account} password: ")


def asked_secret(prompt: str) -> str:
    """What a person types at the terminal without its being shown. Raises Refused NO_TERMINAL where nobody can."""
    import getpass

    return _answer(getpass.getpass, prompt)


def _answer(ask: Callable[[str], str], prompt: str) -> str:
    try:
        return ask(prompt)
    except EOFError:
        raise Refused(
            f"要在终端输入「{prompt.strip(' :')}」，但输入已结束，什么也没有做。请在终端运行这条命令",
            f'"{prompt.strip(" :")}" has to be typed, but the input has ended; nothing was done. Run this command at a terminal',
            code="NO_TERMINAL",
        ) from None


def secret_line(variable: str, prompt: str, *, twice: bool = False) -> str:
    """From the file that an environment variable names (0600), else asked for; never from an argument. twice: asked for again."""
    path = os.environ.get(variable)
    if path:
        if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
            raise Refused("口令文件对他人可读", "The passphrase file is readable by others", code="FOLDER_OPEN")
        return Path(path).read_text("utf-8").strip()
    first = asked_secret(prompt)
    if twice and first != asked_secret("再输一次 / again: "):
        raise Refused("两次输入的口令不同", "The two passphrases differ", code="NO_PASSPHRASE")
    return first


class ProgressLine:
    """One line on standard error that is written over: a bar where there is a terminal, now and then a line elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._last_text = ""
        self._last_at = 0.0

    def __call__(self, done: int, total: int, zh: str, en: str) -> None:
        share = min(1.0, done / total) if total else 0.0
        now = time.monotonic()
        if self._is_terminal:
            filled = int(24 * share)
            percent = f"{share:4.0%}" if total else "    "
            print(f"\r\033[K[{'█' * filled}{'·' * (24 - filled)}] {percent} {zh} / {en}", end="", file=sys.stderr, flush=True)
        elif zh + en != self._last_text and now - self._last_at > 0.5:
            say(f"{zh} / {en}")
            self._last_text, self._last_at = zh + en, now

    def end(self) -> None:
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def exports_folder(workspace: Workspace, party: str) -> Path:
    """Where the command puts files of an institution: 0700, outside any Jupyter folder (decision 22)."""
    folder = workspace.node_folder(party) / "exports"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def require_place(path: Path) -> None:
    """Raise WorkbenchError (FILE_NOT_WRITTEN) when no file can be written there; looks only, writes nothing."""
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise WorkbenchError(
            f"写不了文件「{path.name}」：文件夹不存在或不可写，任务没有开始",
            f"Cannot write {path.name}: the folder is missing or not writable; nothing was started",
            code="FILE_NOT_WRITTEN",
        )


def write_private(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file of mode 0600 in one step; the old file stays when the disk is full. data: or what writes it in pieces."""
    staged = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            if callable(data):
                data(out)
            else:
                out.write(data)
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise WorkbenchError(
            f"写不了文件「{path.name}」：{error.strerror}", f"Cannot write {path.name}: {error.strerror}", code="FILE_NOT_WRITTEN"
        ) from error
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def each(function: Callable[[Options], int]) -> Callable[[Options], int]:
    """Turn expected errors into exit statuses: 2 refused by a rule, 1 failed, 141 nobody reads the output."""

    def run(options: Options) -> int:
        try:
            return function(options)
        except WorkbenchError as error:
            print_error(options, error)
            return error.exit_status
        except BrokenPipeError:  # whoever read the output has enough, as with `| head`; a partner's socket comes as a WorkbenchError
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except OSError as error:
            name = Path(str(error.filename)).name if error.filename else ""
            why = error.strerror or type(error).__name__
            failed = WorkbenchError(
                f"读写文件或连接时出错{f'「{name}」' if name else ''}：{why}", f"A file or connection failed{f' ({name})' if name else ''}: {why}",
                code="SYSTEM_ERROR",
            )  # fmt: skip
            print_error(options, failed)
            return failed.exit_status

    return run

"""Writes the generated parts of docs/ from the program itself; `--check` tells what has drifted and exits 1.

A generated part stands between two comments of a document, `<!-- generated: name -->` and `<!-- end -->`; the rest of the
document is written by hand and stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.error_codes import ErrorCode, find_codes
from workbench import errors
from workbench.cli import build_parser
from workbench.contracts import Setting
from workbench.domain.evidence import EvidenceKind, Visibility
from workbench.domain.party import ROLE_NAMES, Role
from workbench.domain.policy import POLICIES
from workbench.hookspecs import SINGLE_PROVIDER_HOOKS, HookSpecs
from workbench.host import HOST_OPERATIONS
from workbench.intake.reasons import ROW_REASONS
from workbench.loading import PluginSet, load_plugins
from workbench.node.kinds import HOST_KINDS
from workbench.operations import Operation
from workbench.settings import HOST_SETTINGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCES = (ROOT / "workbench", ROOT / "plugins", ROOT / "widgets" / "workbench_widgets")
PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or with --check compare; 1 when a document differs or a part has no place."""
    parser = argparse.ArgumentParser(prog="python -m tools.documents", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a document differs")
    check = parser.parse_args(arguments).check
    plugins = load_plugins()
    parts: dict[str, Callable[[], str]] = {
        "hooks": lambda: hooks_part(plugins),
        "kinds": lambda: kinds_part(all_kinds(plugins)),
        "roles": lambda: roles_part(all_operations(plugins)),
        "settings": lambda: settings_part(all_settings(plugins)),
        "commands": lambda: commands_part(build_parser()),
        "errors": lambda: errors_part(find_codes(SOURCES)),
        "row-reasons": row_reasons_part,
        "decisions": decisions_part,
        "policy": policy_part,
    }
    placed: set[str] = set()
    drifted = []
    for path in sorted(DOCS.rglob("*.md")):
        old = path.read_text("utf-8")
        names = [found["name"] for found in PART.finditer(old)]
        placed.update(names)
        new = PART.sub(lambda found: f"{found[1]}\n{parts[found['name']]().strip()}\n\n{found[3]}", old)
        if new != old:
            drifted.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(new, "utf-8")
    missing = sorted(set(parts) - placed)
    for name in missing:
        print(f"no document has a place for the part {name!r}", file=sys.stderr)
    for name in drifted:
        print(f"{name}: {'differs; run `make documents`' if check else 'written'}", file=sys.stderr)
    return 1 if missing or (check and drifted) else 0


def all_operations(plugins: PluginSet) -> list[Operation]:
    """Operations of host and plugins by name."""
    return sorted([*HOST_OPERATIONS, *plugins.collect_all("workbench_operations")], key=lambda one: one.name)


def all_kinds(plugins: PluginSet) -> list[EvidenceKind]:
    """Kinds of evidence of host and plugins by name."""
    return sorted([*HOST_KINDS, *plugins.collect_all("workbench_evidence_kinds")], key=lambda one: one.name)


def all_settings(plugins: PluginSet) -> list[Setting]:
    """Settings of host and plugins by name."""
    return sorted([*HOST_SETTINGS, *plugins.collect_all("workbench_settings")], key=lambda one: one.name)


def hook_names() -> list[str]:
    """Hooks in the order of the hook page."""
    return [name for name in vars(HookSpecs) if name.startswith("workbench_")]


def hooks_part(plugins: PluginSet) -> str:
    """One row a hook: arguments, what it returns, how many may answer, which plugins of this project do."""
    rows = []
    for name in hook_names():
        function = getattr(HookSpecs, name)
        spelt = function.__annotations__
        arguments = ", ".join(f"{one}: {kind}" for one, kind in spelt.items() if one != "return")
        answers = [one.plugin_name for one in getattr(plugins.manager.hook, name).get_hookimpls()]
        count = "exactly one 恰好一个" if name in SINGLE_PROVIDER_HOOKS else "any number 不限"
        rows.append([f"`{name}({arguments})`", f"`{spelt['return']}`", count, ", ".join(sorted(answers)) or "—", function.__doc__])
    return table(["hook", "returns", "how many", "plugins", "meaning"], rows)


def kinds_part(kinds: Iterable[EvidenceKind]) -> str:
    """A section an area, a table a kind."""
    lines = []
    for area, group in _grouped(kinds, lambda kind: kind.name.partition(".")[0]).items():
        lines.append(f"### {area}\n")
        for kind in group:
            lines.append(f"**`{kind.name}`** {kind.zh.rstrip('。')}。 {_sentence(kind.en)}\n")
            seen = {Visibility.SHARED: "shared 共享", Visibility.COMMITTED: "committed 仅承诺"}
            rows = [[f"`{one.name}`", seen[one.visibility], one.unit or "—", one.zh, one.en] for one in kind.fields]
            lines.append(table(["field", "visibility", "unit", "中文", "English"], rows) + "\n" if rows else "No fields.\n")
    return "\n".join(lines)


def roles_part(operations: Iterable[Operation]) -> str:
    """Operations by roles, then what each operation is and leaves."""
    shown = list(operations)
    used = [role for role in Role if any(role in one.roles for one in shown)]
    unused = [role for role in Role if role not in used]
    head = ["operation", *[f"{role.value}<br>{ROLE_NAMES[role][0]}" for role in used]]
    matrix = [[f"`{one.name}`", *["●" if role in one.roles else "" for role in used]] for one in shown]
    about = [
        [f"`{one.name}`", f"{one.zh} · {one.en}", _claims(one), ", ".join(f"`{kind}`" for kind in one.evidence) or "—"]
        for one in shown
    ]
    later = "、".join(f"`{role.value}` {ROLE_NAMES[role][0]}" for role in unused)
    return "\n\n".join(
        [
            table(head, matrix),
            f"Roles without an operation of this version 本版本尚无操作的岗位：{later or '—'}.",
            table(["operation", "meaning", "how", "evidence it may leave"], about),
        ]
    )


def settings_part(settings: Iterable[Setting]) -> str:
    """One row a setting."""
    rows = [
        [
            f"`{one.name}`", one.kind.__name__, f"`{json.dumps(one.default, ensure_ascii=False)}`",
            "—" if one.production is None else f"`{json.dumps(one.production, ensure_ascii=False)}`", one.unit or "—", one.zh, one.en,
        ]
        for one in settings
    ]
    return table(["setting", "type", "default", "in production", "unit", "中文", "English"], rows)


def commands_part(parser: argparse.ArgumentParser) -> str:
    """A section a command: usage, arguments, options."""
    return "\n".join(_command(parser, parser.prog))


def errors_part(codes: Iterable[ErrorCode]) -> str:
    """A table a class: codes with all their sentences."""
    lines = []
    groups = _grouped(codes, lambda code: code.raised_as)
    for name, group in sorted(groups.items(), key=lambda item: (_acts_next(item[0]), item[0])):
        kind = getattr(errors, name, None)
        title = f"### {name}"
        if kind is not None:
            said = (kind.__doc__ or "").partition("\n")[0]
            title += f"\n\n{said} Exit status {kind.exit_status}, HTTP {kind.http_status}."
        rows = [[f"`{code.code}`", code.zh or "（默认 default）", code.en] for code in group]
        lines.append(title + "\n\n" + table(["code", "中文", "English"], rows) + "\n")
    return "\n".join(lines)


def row_reasons_part() -> str:
    """Codes of the rejects file."""
    return table(["code", "中文", "English"], [[f"`{code}`", zh, en] for code, (zh, en) in sorted(ROW_REASONS.items())])


def decisions_part() -> str:
    """Index of the decision notes."""
    rows = []
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ").partition(" ")
        rows.append([f"[{title[0]}]({path.name})", title[2]])
    return table(["note", "subject"], rows)


def policy_part() -> str:
    """Which co-signatures each kind of entry needs."""
    rows = [[f"`{one.prefix}…`" if one.prefix else "every other 其余", one.signers.value, one.zh, one.en] for one in POLICIES]
    return table(["kinds", "signers", "中文", "English"], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; line breaks and pipes inside cells are made harmless."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(one) for one in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<!--", "&lt;!--")


def _claims(operation: Operation) -> str:
    said = {
        "notebook token suffices 笔记本令牌可用": operation.weak_token,
        "fresh password 须重输密码": operation.fresh_password,
        "reads only 只读": operation.reads_only,
        "keeps only one's own draft or task, no evidence 只动自己的草稿或任务，不留证": operation.own_only,
        "long 长任务": operation.long,
        "takes a file 带文件": operation.takes_file,
        f"machines only, of kind {', '.join(sorted(operation.machines))}, bound to one of these roles 仅限机器凭据": bool(operation.machines),
    }
    return "; ".join(text for text, holds in said.items() if holds) or "—"


def _acts_next(name: str) -> int:
    order = ("WorkbenchError", "Refused", "PeerError", "VerificationError", "KeyUnavailable", "StorageFailed", "StartRefused")
    kind = getattr(errors, name, None)
    parents = [one.__name__ for one in kind.__mro__] if kind else []
    return min((order.index(one) for one in parents if one in order[1:]), default=0 if kind else len(order))


def _command(parser: argparse.ArgumentParser, name: str) -> list[str]:
    verbs = next((one for one in parser._actions if isinstance(one, argparse._SubParsersAction)), None)
    lines = []
    if parser.get_default("handler"):
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        lines += [f"### {name}\n", f"{parser.description}\n", f"```\n{usage}\n```\n"]
        options = [one for one in parser._actions if not isinstance(one, argparse._HelpAction)]
        rows = [[f"`{', '.join(one.option_strings) or one.metavar or one.dest}`", _default(one), one.help or ""] for one in options]
        lines.append(table(["argument", "default", "meaning"], rows) + "\n")
    for verb, below in verbs.choices.items() if verbs else ():
        lines += _command(below, f"{name} {verb}")
    return lines


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required 必填"
    if action.default in (None, False, "", []) or action.default == argparse.SUPPRESS:
        return "—"
    return f"`{action.default}`"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _grouped(items: Iterable[Any], key: Callable[[Any], str]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


if __name__ == "__main__":
    sys.exit(main())

"""Every error code that the sources name, with its sentences, read from the syntax trees.

A call names a code when it passes `code="…"` (also a choice between two, or a constant of its module), or a word in
capitals as an argument, together with a Chinese and an English sentence. Classes name theirs as `default_code`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from workbench import errors

CODE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True, order=True)
class ErrorCode:
    """One place that raises. raised_as: class, or the helper that makes it; zh, en: sentences, values as "…"."""

    code: str
    raised_as: str
    zh: str
    en: str
    module: str


def find_codes(roots: Iterable[Path]) -> list[ErrorCode]:
    """All places below these folders, by code, each (code, class, sentences) once."""
    modules = [(path, ast.parse(path.read_text("utf-8"))) for root in roots for path in sorted(root.rglob("*.py"))]
    made_by = _what_helpers_make(tree for _, tree in modules)
    fixed = _codes_of_helpers(tree for _, tree in modules)
    found: dict[tuple[str, str, str, str], ErrorCode] = {}
    for path, tree in modules:
        for one in _codes_of(tree, made_by, fixed, path.stem):
            found.setdefault((one.code, one.raised_as, one.zh, one.en), one)
    told = {one.code for one in found.values() if one.zh != ELLIPSIS}
    return sorted(one for one in found.values() if one.zh != ELLIPSIS or one.code not in told)


def _codes_of(tree: ast.Module, made_by: dict[str, str], fixed: dict[str, str], module: str) -> Iterator[ErrorCode]:
    constants = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _default_code(node, module)
        if isinstance(node, ast.Call):
            codes = [code for keyword in node.keywords if keyword.arg == "code" for code in _words(keyword.value, constants)]
            codes = codes or [code for one in node.args for code in _words(one, constants)]
            if not codes and isinstance(node.func, ast.Name) and node.func.id in fixed:
                codes = [fixed[node.func.id]]
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            sentences = _two_sentences([*node.args, *(named[word] for word in ("zh", "en") if word in named)])
            if "code" in named and sentences is None and _is_error(node.func):
                sentences = (ELLIPSIS, ELLIPSIS)
            if codes and sentences:
                name = ast.unparse(node.func).rpartition(".")[2]
                name = ast.unparse(node.func).partition(".")[0] if name == "at" else name
                for code in codes:
                    yield ErrorCode(code, made_by.get(name, name), *sentences, module)


def _default_code(node: ast.ClassDef, module: str) -> Iterator[ErrorCode]:
    for one in node.body:
        if isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(one.value, ast.Constant):
            target = one.targets[0] if isinstance(one, ast.Assign) else one.target
            if isinstance(target, ast.Name) and target.id == "default_code":
                said = (ast.get_docstring(node) or "").partition("\n")[0]
                yield ErrorCode(str(one.value.value), node.name, "", said, module)


def _is_error(function: ast.expr) -> bool:
    kind = getattr(errors, function.id, None) if isinstance(function, ast.Name) else None
    return isinstance(kind, type) and issubclass(kind, errors.WorkbenchError)


def _two_sentences(arguments: list[ast.expr]) -> tuple[str, str] | None:
    """The first Chinese text and the argument after it, which is an ellipsis where it is computed."""
    for one, following in pairwise(arguments):
        if CHINESE.search(_sentence(one)):
            return _sentence(one), _sentence(following) or ELLIPSIS
    return None


def _words(node: ast.expr, constants: dict[str, str]) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _words(node.body, constants) + _words(node.orelse, constants)
    if isinstance(node, ast.Name):
        return [constants[node.id]] if node.id in constants else []
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
        return [node.value] if len(node.value) > 2 else []
    return []


def _sentence(node: ast.expr) -> str:
    """The text of a literal, a formatted literal or a sum of both; values as an ellipsis; "" for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_sentence(part) if isinstance(part, ast.Constant) else ELLIPSIS for part in node.values)
    if isinstance(node, ast.IfExp):
        return _sentence(node.body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_sentence(node.left) or ELLIPSIS) + (_sentence(node.right) or ELLIPSIS)
    return ""


def _constants(tree: ast.Module) -> dict[str, str]:
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and CODE.fullmatch(node.value.value)
    }


def _what_helpers_make(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Function name -> class that its annotation says it returns; names defined twice differently are left out."""
    made: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                made.setdefault(node.name, set()).add(ast.unparse(node.returns))
    return {name: next(iter(kinds)) for name, kinds in made.items() if len(kinds) == 1}


def _codes_of_helpers(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Function name -> the one code it gives to whatever two sentences it is called with."""
    fixed = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
                made = node.body[-1].value
                keywords = made.keywords if isinstance(made, ast.Call) and _is_error(made.func) else []
                codes = [code for one in keywords if one.arg == "code" for code in _words(one.value, {})]
                if len(codes) == 1 and {"zh", "en"} <= {one.arg for one in node.args.args}:
                    fixed[node.name] = codes[0]
    return fixed

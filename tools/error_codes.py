"""Every error code that the sources name, with its sentences, read from the syntax trees.

A call names a code when it passes `code="…"` (also a choice between two, or a constant of its module), or a word in
capitals as an argument, together with a Chinese and an English sentence. Classes name theirs as `default_code`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True, slots=True)
class _Place:
    """A call with two sentences, or with a code. codes: those that it names itself; function: as written; is_name: no dot in it."""

    codes: tuple[str, ...]
    function: str
    is_name: bool
    sentences: tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Module:
    """What one source says by itself; defaults: (code, class, its first line), returns: (function, annotation), fixed: (helper, code)."""

    defaults: tuple[tuple[str, str, str], ...]
    places: tuple[_Place, ...]
    returns: tuple[tuple[str, str], ...]
    fixed: tuple[tuple[str, str], ...]


def find_codes(roots: Iterable[Path]) -> list[ErrorCode]:
    """All places below these folders, by code, each (code, class, sentences) once; ~2 s of processor time the first time, then none."""
    modules = [(path.stem, _read(path.read_text("utf-8"))) for root in roots for path in sorted(root.rglob("*.py"))]
    made_by = _what_helpers_make(module for _, module in modules)
    fixed = dict(pair for _, module in modules for pair in module.fixed)
    found: dict[tuple[str, str, str, str], ErrorCode] = {}
    for name, module in modules:
        for one in _codes_of(module, made_by, fixed, name):
            found.setdefault((one.code, one.raised_as, one.zh, one.en), one)
    told = {one.code for one in found.values() if one.zh != ELLIPSIS}
    return sorted(one for one in found.values() if one.zh != ELLIPSIS or one.code not in told)


def _codes_of(module: _Module, made_by: dict[str, str], fixed: dict[str, str], stem: str) -> Iterator[ErrorCode]:
    for code, name, said in module.defaults:
        yield ErrorCode(code, name, "", said, stem)
    for place in module.places:
        codes = place.codes or ((fixed[place.function],) if place.is_name and place.function in fixed else ())
        name = place.function.rpartition(".")[2]
        name = place.function.partition(".")[0] if name == "at" else name
        for code in codes:
            yield ErrorCode(code, made_by.get(name, name), *place.sentences, stem)


@cache
def _read(source: str) -> _Module:
    """One source at a time, its tree dropped at once: all trees together hold the garbage collector up for most of the run."""
    tree = ast.parse(source)
    constants = _constants(tree)
    defaults: list[tuple[str, str, str]] = []
    places: list[_Place] = []
    returns: list[tuple[str, str]] = []
    fixed: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            places.extend(_place(node, constants))
        elif isinstance(node, ast.ClassDef):
            defaults.extend(_default_code(node))
        elif isinstance(node, ast.FunctionDef):
            if node.returns is not None:
                returns.append((node.name, ast.unparse(node.returns)))
            fixed.extend(_code_of_helper(node))
    return _Module(tuple(defaults), tuple(places), tuple(returns), tuple(fixed))


def _place(node: ast.Call, constants: dict[str, str]) -> Iterator[_Place]:
    codes = [code for keyword in node.keywords if keyword.arg == "code" for code in _words(keyword.value, constants)]
    codes = codes or [code for one in node.args for code in _words(one, constants)]
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    sentences = _two_sentences([*node.args, *(named[word] for word in ("zh", "en") if word in named)])
    if "code" in named and sentences is None and _is_error(node.func):
        sentences = (ELLIPSIS, ELLIPSIS)
    if sentences:
        codes = [one for one in codes if one not in sentences]  # a label such as "QBER" stands in capitals too
        yield _Place(tuple(codes), ast.unparse(node.func), isinstance(node.func, ast.Name), sentences)


def _default_code(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for one in node.body:
        if isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(one.value, ast.Constant):
            target = one.targets[0] if isinstance(one, ast.Assign) else one.target
            if isinstance(target, ast.Name) and target.id == "default_code":
                said = (ast.get_docstring(node) or "").partition("\n")[0]
                yield str(one.value.value), node.name, said


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


def _what_helpers_make(modules: Iterable[_Module]) -> dict[str, str]:
    """Function name -> class that its annotation says it returns; names defined twice differently are left out."""
    made: dict[str, set[str]] = {}
    for module in modules:
        for name, returned in module.returns:
            made.setdefault(name, set()).add(returned)
    return {name: next(iter(kinds)) for name, kinds in made.items() if len(kinds) == 1}


def _code_of_helper(node: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """The function's name and the one code that it gives to whatever two sentences it is called with."""
    if isinstance(node.body[-1], ast.Return):
        made = node.body[-1].value
        keywords = made.keywords if isinstance(made, ast.Call) and _is_error(made.func) else []
        codes = [code for one in keywords if one.arg == "code" for code in _words(one.value, {})]
        if len(codes) == 1 and {"zh", "en"} <= {one.arg for one in node.args.args}:
            yield node.name, codes[0]

"""Makes the two one-file verifiers out of their parts: `verify.py` and `verify.html`.

What is assembled depends on the sources alone, so a release has one SM3 for each, which readers can compare.
"""

from __future__ import annotations

import ast
import base64
import functools
import hashlib
import json
from importlib import resources

from workbench_ledger.package.verifier import words

_PACKAGE = "workbench_ledger.package.verifier"
_GUARD = """if sys.version_info < (3, 9):
    sys.stderr.write("Python 3.9 or newer is needed\\n")
    sys.exit(64)"""
_PYTHON_PARTS = ("words", "arithmetic", "lattice", "formats", "result", "lists", "receipts", "consent", "anchors", "decisions", "checks")
_SCRIPTS = ("arithmetic.js", "lattice.js", "formats.js", "anchors.js", "decisions.js", "checks.js", "consent.js", "receipts.js")


@functools.cache
def verify_py() -> bytes:
    """The verifier for Python 3.9 and newer, standard library only."""
    main = _text("main.py")
    tree = ast.parse(main)
    docstring_end = tree.body[0].end_lineno or 0
    head = main.splitlines()[:docstring_end]
    imports: set[str] = set()
    bodies = []
    names: set[str] = set()
    for part in (*_PYTHON_PARTS, "main"):
        found, body = _split(_text(f"{part}.py"))
        imports |= found
        defined = _defined(body)
        assert names.isdisjoint(defined), (part, names & defined)  # in one file the second would silently replace the first
        names |= defined
        bodies.append(body.strip("\n"))
    lines = [*head, "", "from __future__ import annotations", "", *sorted(imports), "", _GUARD, "", ""]
    return ("\n".join(lines) + "\n\n\n".join(bodies) + "\n").encode("utf-8")


@functools.cache
def engine_js() -> str:
    """The script that verifies, without page: it defines `verifyPackage`, `verifyReceipt` and what they need."""
    sentences = json.dumps(
        {"steps": words.STEPS, "problems": words.PROBLEMS, "unchecked": words.UNCHECKED, "verdicts": words.VERDICTS},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    # "</script" inside a string would end the element; JSON may escape the slash.
    return f'"use strict";\nconst WORDS = {sentences.replace("</", chr(60) + chr(92) + "/")};\n' + "\n".join(
        _text(name).rstrip("\n") + "\n" for name in _SCRIPTS
    )


@functools.cache
def verify_html() -> bytes:
    """The verifier as one page that opens from disk and asks no network."""
    style, script = _text("page.css"), engine_js() + _text("page.js")
    page = _text("page.html")
    for mark, text in (
        ("{{STYLE}}", _csp_hash(style)),
        ("{{SCRIPT}}", _csp_hash(script)),
        ("/*STYLE*/", style),
        ("/*SCRIPT*/", script),
    ):
        before, found, after = page.partition(mark)
        assert found and "</script" not in text, mark
        page = before + text + after
    return page.encode("utf-8")


def _csp_hash(text: str) -> str:
    """What a content-security policy names an inline element by: nothing else in the page may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _text(name: str) -> str:
    return resources.files(_PACKAGE).joinpath(name).read_text("utf-8")


def _split(source: str) -> tuple[set[str], str]:
    """Imports of the standard library, and the rest without docstring and imports of other parts."""
    lines = source.splitlines()
    imports: set[str] = set()
    dropped: set[int] = set()
    for number, node in enumerate(ast.parse(source).body):
        is_docstring = not number and isinstance(node, ast.Expr)
        if not is_docstring and not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__")):
            text = ast.unparse(node)
            if _PACKAGE not in text:
                imports.add(text)
        dropped |= set(range(node.lineno - 1, node.end_lineno or node.lineno))
    kept = [line for number, line in enumerate(lines) if number not in dropped and not line.startswith("#!")]
    return imports, "\n".join(kept)


def _defined(body: str) -> set[str]:
    """Names that a part defines at its top level."""
    names = set()
    for node in ast.parse(body).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names - {"__all__"}

"""No adapter to a trading or payment system exists (rows H7, J19): read from imports, dependencies, entry points, hooks, operations."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from workbench.hookspecs import HookSpecs
from workbench.loading import load_plugins

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "workbench", *sorted((ROOT / "plugins").glob("workbench_*")), ROOT / "widgets" / "workbench_widgets")
FOREIGN = re.compile(
    r"(?i)^(alipay|wechatpay|wxpay|unionpay|stripe|paypal|adyen|braintree|easytrader|vnpy|xtquant|xtp|ctp|openctp|futu|tigeropen|ibapi|ib_insync|ccxt"
    r"|quickfix|simplefix|alpaca|gmtrade|rqalpha|backtrader|swiftmt|bankapi)"
)
ACTS = re.compile(r"(?i)(^|[._-])(trade|trading|place_order|buy|sell|redeem|pay|transfer|deposit|withdraw_cash)([._-]|$)")


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import or in a call of import_module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("import_module", "__import__"):
            found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return found


def test_no_module_imports_a_trading_or_payment_library() -> None:
    seen = 0
    for folder in SOURCES:
        for path in folder.rglob("*.py"):
            seen += 1
            text = path.read_text("utf-8")
            if FOREIGN_ANYWHERE.search(text) is None:
                continue  # reading every tree would take seconds
            strange = {one for one in imports(path) if FOREIGN.match(one.split(".")[0])}
            assert not strange, f"{path.relative_to(ROOT)}: {sorted(strange)}"
    assert seen > 300


FOREIGN_ANYWHERE = re.compile(FOREIGN.pattern.replace("^(", r"\b("))


def test_no_dependency_is_a_trading_or_payment_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pinned = [one for one in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if one and not one.startswith("#")]
    assert len(named) > 20 and len(pinned) > 50
    assert not [one for one in (*named, *pinned) if FOREIGN.match(one)]


def test_no_operation_hook_or_entry_point_acts_on_money_or_securities() -> None:
    plugins = load_plugins()
    operations = {one.name for _, some in plugins.collect("workbench_operations") for one in some}
    assert "inference.scenarios" in operations
    hooks = {name for name in vars(HookSpecs) if name.startswith("workbench_")}
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    for name in (*operations, *hooks, *(one for group in entries.values() for one in group)):
        assert not ACTS.search(name), name


def test_the_expressions_find_what_they_look_for(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text("import easytrader\nfrom ccxt.base import x\nimport_module('stripe')\n", "utf-8")
    assert {one for one in imports(adapter) if FOREIGN.match(one)} == {"easytrader", "ccxt.base", "stripe"}
    assert FOREIGN_ANYWHERE.search(adapter.read_text("utf-8"))
    assert ACTS.search("inference.place_order") and ACTS.search("fund.redeem") and not ACTS.search("inference.scenarios")


def test_the_rules_are_pure_of_network_files_clocks_and_chance() -> None:
    """What decides takes time, chance and texts as arguments; only what reads a node's tables does more."""
    folder = ROOT / "plugins" / "workbench_inference" / "policy"
    shells = {"tables.py", "customers.py", "admission.py", "replies.py", "feedback.py"}
    effects = {"socket", "ssl", "http", "urllib", "httpx", "sqlite3", "time", "secrets", "random", "os", "subprocess", "pathlib", "threading", "logging"}
    looked = 0
    for path in folder.rglob("*.py"):
        if path.name in shells:
            continue
        looked += 1
        strange = {one.split(".")[0] for one in imports(path)} & effects
        assert not strange, f"{path.name}: {sorted(strange)}"
    assert looked > 10

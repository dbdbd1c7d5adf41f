"""`%%ask SCENARIO [--model NAME] [--class C3]`: the cell is the question, the answer stands below it.

Loaded with each kernel of the JupyterLab; the client is loaded when somebody asks.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from workbench.errors import InvalidRequest


def parse(line: str) -> argparse.Namespace:
    """The words after `%%ask`. Raises InvalidRequest."""
    parser = argparse.ArgumentParser(prog="%%ask", add_help=False, exit_on_error=False)
    parser.add_argument("scenario")
    parser.add_argument("--model", default="")
    parser.add_argument("--class", dest="client_class", default="")
    try:
        return parser.parse_args(shlex.split(line))
    except (argparse.ArgumentError, SystemExit, ValueError) as error:
        raise InvalidRequest(
            "写法：%%ask 场景 [--model 镜像名] [--class C3]，下一行起为问题", "write %%ask SCENARIO [--model NAME] [--class C3], the question from the next line on"
        ) from error


def ask(line: str, cell: str) -> Any:
    """The cell magic: an `Answer`, which shows itself."""
    words = parse(line)
    from workbench.client.connect import connect

    return connect().ask(cell.strip(), scenario=words.scenario, model=words.model, client_class=words.client_class)


def load_ipython_extension(shell: Any) -> None:  # Any: IPython has no types here
    """Make `%%ask` known in this kernel."""
    shell.register_magic_function(ask, magic_kind="cell", magic_name="ask")


__all__ = ["ask", "load_ipython_extension", "parse"]

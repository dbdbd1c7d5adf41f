"""Between JupyterLab and the pages: sign-in, proxy, status for the sidebar, the prebuilt lab extension.

The Lab server vouches for nobody: it carries tickets that the node issued for one person (decision 17).
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from workbench.jupyter.extension import WorkbenchLab

    return [{"module": "workbench.jupyter", "app": WorkbenchLab}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextensions/evidence-workbench", "dest": "evidence-workbench"}]

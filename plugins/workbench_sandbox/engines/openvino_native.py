"""Imports openvino-genai the way a sandbox needs it; engines/generator.py and whoever surveys what is bound name this module.

openvino-telemetry, which openvino imports where it is installed, asks for a home folder and would call out: here it is not there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it raises ImportError
if find_spec("openvino_genai") is not None:
    for _name in ("openvino", "openvino_tokenizers", "openvino_genai"):
        import_module(_name)

"""What was measured on: processor, features, kernel, versions, load."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from workbench_psi import curve

PACKAGES = ("numpy", "numba", "polars", "pyarrow", "cryptography", "gmssl-pyx", "httpx", "uvicorn", "evidence-workbench")
FEATURES = ("fma", "avx2", "avx512f", "avx512ifma")


def facts() -> dict[str, Any]:
    """Facts of this machine, without its name."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    flags = set(_line(info, "flags").split())
    return {
        "processor": _line(info, "model name"),
        "cores": os.cpu_count(),
        "features": {name: name in flags for name in FEATURES},
        "vectors": _vectors(flags),
        "curve": curve.backend_name(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load": load(),
    }


def load() -> list[float]:
    """Load averages of 1, 5 and 15 minutes."""
    return [round(one, 1) for one in os.getloadavg()]


def _vectors(flags: set[str]) -> str:
    """The widest vectors the batched arithmetic can use here."""
    return "AVX-512" if "avx512f" in flags else "AVX2" if {"avx2", "fma"} <= flags else "none"


def _line(text: str, name: str) -> str:
    found = [line.partition(":")[2].strip() for line in text.splitlines() if line.partition(":")[0].strip() == name]
    return found[0] if found else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"

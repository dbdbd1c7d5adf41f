"""The extractive engine: values and sentences of the documents, each cited; abstains where they do not say."""

from __future__ import annotations

from workbench_sandbox.engines.extractive.engine import Extractive

__all__ = ["Extractive"]

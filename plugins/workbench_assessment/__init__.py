"""Impact assessments, processing records and breach notices (PIPL 55 to 57). Document: docs/assessment.md."""

from __future__ import annotations

WORKBENCH_API = 1

"""What people fill in on the page of models, operation by operation; docs/sandbox-policy.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from workbench.app.parts.acting import Act, Field

SCENARIOS: Final = ("advice", "research", "banking", "marketing", "risk", "together", "running")
DOCUMENT_KINDS: Final = ("fund", "news", "quote", "prompt", "question")
ROLES: Final = ("adviser", "marketing", "compliance", "operator", "auditor")
_REASON: Final = Field("reason")
_SCENARIO: Final = Field("scenario", "choice", SCENARIOS)
_TEXTS: Final = ("text_zh", "text_en", "disclaimer_zh", "disclaimer_en", "client_disclaimer_zh", "client_disclaimer_en")


def _day_or_none(values: dict[str, Any]) -> dict[str, Any]:
    """What was left empty is left out."""
    return {name: value for name, value in values.items() if value not in ("", None) or name == "audience"}


def _until(values: dict[str, Any]) -> dict[str, Any]:
    """A usage ends with its last day in Asia/Shanghai."""
    return {**{name: value for name, value in values.items() if name != "until_day"}, "until": f"{values.get('until_day', '')}T23:59:59+08:00"}


IMPORT = Act(
    "inference.documents_import",
    (Field("kind", "choice", DOCUMENT_KINDS), Field("source"), Field("data_class", "choice", ("internal", "public")), Field("is_synthetic", "tick"), Field("file", "file")),
    about=True,
)  # fmt: skip
INDEX = Act("inference.index", (Field("words_only", "tick"), Field("synthetic_only", "tick")))
REMOVE = Act("inference.documents_remove", (Field("source"), _REASON), about=True)
GRANT = Act(
    "inference.usage_grant",
    (Field("kind", "choice", DOCUMENT_KINDS), _SCENARIO, Field("roles", "choices", ROLES), Field("source"), Field("most", "number", label="most_uses"), Field("until_day", "day"), _REASON),
    password=True, shape=_until, about=True,
)  # fmt: skip
REVOKE = Act("inference.usage_revoke", (_REASON,), password=True)

PROPOSE = Act("inference.template_propose", (*(Field(one, "long") for one in _TEXTS), _REASON), about=True)
PUBLISH = Act("inference.template_publish", password=True)
PROMOTE = Act("inference.template_promote", password=True)
PROPOSE_RULES = Act("inference.rules_propose", (Field("text", "long", label="rules_text"), _REASON), about=True)
PUBLISH_RULES = Act("inference.rules_publish", password=True)

ACCESS = Act(
    "inference.access_change",
    (Field("role", "choice", ROLES), _SCENARIO, Field("model", default="*"), Field("allowed", "tick", default=True), _REASON), password=True, about=True,
)  # fmt: skip
COHORT = Act(
    "inference.cohort_change",
    (Field("action", "choice", ("invite", "remove")), Field("phone", "secret"), Field("list_id", "choice"), Field("audience"), Field("until_day", "day"), _REASON),
    password=True, shape=_day_or_none, about=True,
)  # fmt: skip
QUOTA = Act(
    "inference.quota_change", (Field("role", "choice", ("", *ROLES)), Field("person"), Field("most", "number", label="most_asks")), password=True,
    shape=lambda values: {**values, "role": values.get("role") or None}, about=True,
)  # fmt: skip

SIGN = Act(
    "inference.model_sign",
    (
        Field("engine", "choice"), Field("program", "choice"), Field("name", label="image_name"), Field("version", default="1.0", label="image_version"), Field("words_only", "tick", label="image_words_only"),
        Field("licence"), Field("source", label="image_source"),
    ),
    password=True, about=True,
)  # fmt: skip
SIGN_ALONE = replace(SIGN, fields=tuple(one for one in SIGN.fields if one.name != "program"))
"""The same where no server is defined that could be started inside."""

STAGE_PROPOSE = Act("inference.stage_propose", (Field("from_day", "day"), Field("to_day", "day"), Field("filing"), _REASON), about=True, shape=_day_or_none)
STAGE_DECIDE = Act("inference.stage_decide", (_REASON,), password=True, about=True)
STAGE_CLOSE = Act("inference.stage_close", (Field("to", "choice", label="stage_to"), _REASON), about=True)

DOCUMENT_ACTS: Final = (IMPORT, INDEX, REMOVE)
EVERY: Final = (*DOCUMENT_ACTS, GRANT, REVOKE, PROPOSE, PUBLISH, PROMOTE, PROPOSE_RULES, PUBLISH_RULES, ACCESS, COHORT, QUOTA, SIGN, STAGE_PROPOSE, STAGE_DECIDE, STAGE_CLOSE)
TEXTS: Final = _TEXTS

__all__ = [
    "ACCESS", "COHORT", "DOCUMENT_ACTS", "DOCUMENT_KINDS", "EVERY", "GRANT", "IMPORT", "INDEX", "PROMOTE", "PROPOSE", "PROPOSE_RULES", "PUBLISH", "PUBLISH_RULES", "QUOTA", "REMOVE", "REVOKE",
    "ROLES", "SCENARIOS", "SIGN", "SIGN_ALONE", "STAGE_CLOSE", "STAGE_DECIDE", "STAGE_PROPOSE", "TEXTS",
]  # fmt: skip

"""What people fill in on this page, operation by operation; the codes are those of docs/assessment.md."""

from __future__ import annotations

from typing import Any

from workbench.app.parts.acting import Act, Field

RISKS = ("", "low", "medium", "high")
CONCLUSIONS = ("", "proceed", "conditions", "stop")
_REASON = Field("reason")
_LETTER = tuple(Field(f"{item}_{lang}", "long") for item in ("cause", "harm", "done", "advice") for lang in ("zh", "en"))

DRAFT = Act("assessment.draft", (Field("purpose", "choice"), Field("recipient", "choice"), Field("job")))
SAVE = Act(
    "assessment.save",
    (
        Field("risk", "choice", RISKS), Field("conclusion", "choice", CONCLUSIONS), Field("valid_days", "number", default=365),
        Field("necessity", "long"), Field("impact", "long"), Field("measures", "long"), Field("residual", "long"), Field("conditions", "long"),
    ),
)  # fmt: skip
CASE_ACTS = (
    SAVE, Act("assessment.submit"), Act("assessment.approve", password=True), Act("assessment.give_back", (_REASON,)),
    Act("assessment.revoke", (_REASON,), password=True), Act("assessment.export"),
)  # fmt: skip
RECORDS = Act("assessment.export_records", (Field("from_day", "day"), Field("to_day", "day"), Field("format", "choice", ("csv", "json"))))


def _scope(values: dict[str, Any]) -> dict[str, Any]:
    """A day or none; lists and jobs as they were given."""
    return {**values, "from_day": values.get("from_day") or None, "to_day": values.get("to_day") or None}


OPEN = Act(
    "breach.open",
    (
        Field("kind", "choice", ("drill", "incident")), Field("from_day", "day"), Field("to_day", "day"), Field("jobs", "words"),
        Field("lists", "choices"), Field("what", "long"),
    ),
    shape=_scope,
)  # fmt: skip
BREACH_ACTS = (
    Act("breach.affected"), Act("breach.table", password=True),
    Act("breach.letters", (_REASON, Field("contact_zh"), Field("contact_en"), *_LETTER, Field("tell_persons", "tick", default=True))),
    Act("breach.close", (Field("report", "long"), Field("plan", "long")), password=True),
)  # fmt: skip
ALL_ACTS = (DRAFT, *CASE_ACTS, RECORDS, OPEN, *BREACH_ACTS)


def case_steps(state: str, *, complete: bool, mine: bool) -> list[str]:
    """Which acts fit an assessment in a state; mine: this person submitted it, so another one approves."""
    steps = {
        "DRAFT": ["assessment.save", *(["assessment.submit"] if complete else [])],
        "SUBMITTED": ["assessment.give_back", *([] if mine else ["assessment.approve"])],
        "APPROVED": ["assessment.revoke"],
    }
    return [*steps.get(state, []), "assessment.export"]


def breach_steps(info: Any) -> list[str]:  # Any: the reply's record
    """What can be done with a breach or a drill now."""
    if info["state"] != "OPEN":
        return ["breach.affected"]
    return [one.operation for one in BREACH_ACTS]


__all__ = ["ALL_ACTS", "BREACH_ACTS", "CASE_ACTS", "DRAFT", "OPEN", "RECORDS", "SAVE", "breach_steps", "case_steps"]

"""Operations: what can be done here, and who may do it.

An operation has a name, a request and a reply type, the roles that may call it, and the evidence it leaves. HTTP routes,
OpenAPI, the Python client, the command line and the role table in docs/operations.md all derive from the same registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import NotFound

LARGEST_NUMBER = 2**53 - 1
"""Of any whole number in a request: what canonical JSON and a browser hold exactly, and less than the database takes."""


class Request(BaseModel):
    """Base of every request: unknown fields are refused, strings are taken as they are, whole numbers fit everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=20_000)

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, int) and abs(one) > LARGEST_NUMBER:
                    raise ValueError(f"{name}: between -(2^53 - 1) and 2^53 - 1")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:  # Any: pydantic's own core schema
        described = handler(core)
        for one in handler.resolve_ref_schema(described).get("properties", {}).values():
            for number in (one, one.get("items", {})):
                if number.get("type") == "integer" and "exclusiveMaximum" not in number:
                    number.setdefault("maximum", LARGEST_NUMBER)
                    if "exclusiveMinimum" not in number:
                        number.setdefault("minimum", -LARGEST_NUMBER)
        return described


class Reply(BaseModel):
    """Base of every reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoInput(Request):
    """For operations without parameters."""


@dataclass(frozen=True, slots=True)
class View:
    """What one look at something is recorded as (evidence kind "evidence.viewed").

    selection: SM3 of what was asked for, hex, with tokens in place of identifiers of people. count: entries, jobs or rows
    shown. subject: name of the customer's key that seals the entry, "" for the log's own. is_recorded: whoever looks; without
    it only what the regulator looks at is.
    """

    selection: str
    count: int
    subject: str = ""
    is_recorded: bool = False


ALL_WORKSPACES = frozenset({"demo", "test", "production"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One action of the node.

    name: dotted, area first, e.g. "intersection.propose". roles: who may call it; empty means nobody.
    run: takes the context and the validated request and returns the reply; it writes its evidence in the transaction of
    its change. weak_token: may a notebook's token call it (reads, proposes, runs)? fresh_password: needs a confirmation
    bound to the digest of the request (decision 18). reads_only: changes nothing and leaves no entry when it succeeds; a
    refusal always does. own_only: changes nothing but a draft or a task that its caller alone has, so that its success leaves
    no entry either. long: runs as a job with progress and cancel. evidence: kinds it may write, for the documents. view: what a look is
    recorded as, for operations that only read; without it the digest of the request and the number of things shown.
    workspaces: the kinds of workspace in which it exists at all; in others no gate knows its name. only_with: likewise a setting
    and the values of it with which the operation exists; ("", ()) for always. machines: kinds of machine that may call it, and then
    no person may; empty for what is people's.
    """

    name: str
    zh: str
    en: str
    request: type[Request]
    reply: type[BaseModel]
    roles: frozenset[Role]
    run: Callable[[OperationContext, Any], BaseModel]
    weak_token: bool = False
    fresh_password: bool = False
    reads_only: bool = False
    own_only: bool = False
    long: bool = False
    takes_file: bool = False
    evidence: tuple[str, ...] = ()
    view: Callable[[OperationContext, Any, Any], View] | None = None
    workspaces: frozenset[str] = ALL_WORKSPACES
    only_with: tuple[str, tuple[str, ...]] = ("", ())
    machines: frozenset[str] = frozenset()

    def exists(self, *, workspace: str, setting: Callable[[str], Any]) -> bool:
        """Whether a node of this kind of workspace, with these settings, has it."""
        name, values = self.only_with
        return workspace in self.workspaces and (not name or setting(name) in values)

    @property
    def leaves_entry(self) -> bool:
        """Whether its success must be in the log."""
        return not self.reads_only and not self.own_only


class Registry:
    """All operations of one node by name; a name can be registered once."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._by_name: dict[str, Operation] = {}
        for operation in operations:
            self.add(operation)

    def add(self, operation: Operation) -> None:
        if operation.name in self._by_name:
            raise ValueError(f"operation {operation.name} is registered twice")
        self._by_name[operation.name] = operation

    def __iter__(self) -> Iterator[Operation]:
        return iter(sorted(self._by_name.values(), key=lambda operation: operation.name))

    def named(self, name: str) -> Operation:
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(
                "没有这个操作。请核对名称", "There is no such operation. Check the name", code="UNKNOWN_OPERATION"
            ) from None

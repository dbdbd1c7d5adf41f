"""Long operations: run in a thread, with progress and cancel, for the person who started them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from workbench.contracts import OperationContext
from workbench.domain.party import Caller, Role
from workbench.errors import NotFound, WorkbenchError
from workbench.operations import Operation, Reply, Request

if TYPE_CHECKING:
    from workbench.host import Workbench

KEEP_FINISHED = 200


@dataclass(slots=True)
class Task:
    """One long operation. state: "running", "done", "failed" or "cancelled"."""

    task: str
    operation: str
    person: str
    state: str = "running"
    done: int = 0
    total: int = 0
    zh: str = ""
    en: str = ""
    reply: BaseModel | None = None
    error: WorkbenchError | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


class Tasks:
    """Long operations of one node; they live in memory, what they change is recorded like everything else."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._tasks: dict[str, Task] = {}
        self._workers = ThreadPoolExecutor(4, thread_name_prefix="task")
        self._lock = threading.Lock()

    def start(self, name: str, raw: Mapping[str, Any], caller: Caller | None, *, confirmation: str = "") -> Task:
        """Begin an operation; the gate's refusals of person, form and confirmation are raised here, at once."""
        operation, trusted, request = self._host.gate.admit(name, raw, caller)
        self._host.gate.confirm(operation, trusted, request, confirmation)
        task = Task(task="T-" + secrets.token_hex(6), operation=name, person=trusted.person.person)
        with self._lock:
            finished = [one for one in self._tasks.values() if one.state != "running"]
            for old in finished[:-KEEP_FINISHED]:
                self._tasks.pop(old.task, None)
            self._tasks[task.task] = task
        self._workers.submit(self._run, task, dict(raw), trusted)
        return task

    def of(self, caller: Caller, task: str) -> Task:
        """A task of this person; NotFound otherwise."""
        found = self._tasks.get(task)
        if found is None or found.person != caller.person.person:
            raise NotFound("没有这个任务", "There is no such task")
        return found

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel.set()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _run(self, task: Task, raw: dict[str, Any], caller: Caller) -> None:
        def progress(done: int, total: int, zh: str, en: str) -> None:
            task.done, task.total, task.zh, task.en = done, total, zh, en

        context = OperationContext(
            host=self._host, caller=caller, progress=progress, cancelled=task.cancel.is_set
        )
        try:
            task.reply = self._host.gate.call(task.operation, raw, caller, context=context, is_confirmed=True)
            task.state = "done"
        except WorkbenchError as error:
            task.error = error
            task.state = "cancelled" if error.code == "CANCELLED" else "failed"
        except Exception as fault:  # a fault must end the task, not hang it
            self._host.log_fault(fault)
            task.error = WorkbenchError("程序内部错误，已停止", "An internal fault stopped it", code="INTERNAL")
            task.state = "failed"


class TaskRequest(Request):
    task: str


class TaskReply(Reply):
    """reply: of the operation once done; error: code, zh, en, details and HTTP status once failed."""

    task: str
    operation: str
    state: str
    done: int
    total: int
    zh: str
    en: str
    reply: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


def task_reply(task: Task) -> TaskReply:
    return TaskReply(
        task=task.task,
        operation=task.operation,
        state=task.state,
        done=task.done,
        total=task.total,
        zh=task.zh,
        en=task.en,
        reply=task.reply.model_dump(mode="json") if task.reply is not None else None,
        error={**task.error.as_dict(), "status": task.error.http_status} if task.error else None,
    )


def _get(ctx: OperationContext, request: TaskRequest) -> TaskReply:
    return task_reply(ctx.host.tasks.of(ctx.caller, request.task))


def _cancel(ctx: OperationContext, request: TaskRequest) -> TaskReply:
    task = ctx.host.tasks.of(ctx.caller, request.task)
    task.cancel.set()
    return task_reply(task)


TASK_OPERATIONS = (
    Operation(
        name="tasks.get",
        zh="查看任务进度",
        en="read the progress of a task",
        request=TaskRequest,
        reply=TaskReply,
        roles=frozenset(Role),
        run=_get,
        weak_token=True,
        reads_only=True,
    ),
    Operation(
        name="tasks.cancel",
        zh="取消任务",
        en="cancel a task",
        request=TaskRequest,
        reply=TaskReply,
        roles=frozenset(Role),
        run=_cancel,
        weak_token=True,
        own_only=True,
    ),
)

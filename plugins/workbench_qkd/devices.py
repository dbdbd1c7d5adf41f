"""The key devices 密码设备 of this site's entity: looked at, one added while it runs, one taken away. Document: docs/quantum-channel.md section 17."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_kme.service import views
from workbench_qkd.service import service_of

READERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
OPERATORS: Final = frozenset({Role.OPERATOR})
ADDED: Final = "qkd.device_added"
DRAINED: Final = "qkd.device_drained"


class DeviceName(Request):
    """name: of a device of this site."""

    name: str = Field(pattern="^[a-z][a-z0-9-]{1,30}$")
    reason: str = Field(min_length=5, max_length=1000)


class DeviceRequest(DeviceName):
    """backend: `soft`, a process of its own; `pkcs11`: the token of this name, by the library and PIN of the first device."""

    backend: Literal["soft", "pkcs11"] = "soft"


class DeviceInfo(Reply):
    """state: serving, draining, out (its self-test or its process failed: its values are kept and refused), missing (its file is not here).

    values: that lie under its key-encryption key (kek) now; sealed: ever. failed: wrong known answers, or why it does not open.
    """

    name: str
    kind: str
    kek: str
    state: str
    own_process: bool
    values: int
    sealed: int
    failed: list[str]


class DevicesReply(Reply):
    devices: list[DeviceInfo]


class DrainedReply(Reply):
    """moved: values that the other devices wrap now."""

    name: str
    moved: int


def _info(one: views.Device) -> DeviceInfo:
    return DeviceInfo(**{name: getattr(one, name) for name in DeviceInfo.model_fields})


def _devices(ctx: OperationContext, request: NoInput) -> DevicesReply:
    return DevicesReply(devices=[_info(one) for one in service_of(ctx.host).client().devices()])


def _add(ctx: OperationContext, request: DeviceRequest) -> DeviceInfo:
    """The entity first: where the entry fails after it, the entity's own event (`device.added`) is evidence all the same."""
    host = ctx.host
    made = service_of(host).client().add_device(request.name, backend=request.backend)
    values: dict[str, Any] = {"device": made.name, "backend": made.kind, "kek": made.kek, "reason": request.reason}
    host.store.write(lambda tx: host.evidence.append(tx, ADDED, values, actor=ctx.caller.person.token))
    return _info(made)


def _drain(ctx: OperationContext, request: DeviceName) -> DrainedReply:
    host = ctx.host
    moved = service_of(host).client().drain_device(request.name)
    values = {"device": request.name, "values": str(moved), "reason": request.reason}
    host.store.write(lambda tx: host.evidence.append(tx, DRAINED, values, actor=ctx.caller.person.token))
    return DrainedReply(name=request.name, moved=moved)


OPERATIONS: Final = (
    Operation(
        name="qkd.devices", zh="查看密钥设备", en="look at the key devices", request=NoInput, reply=DevicesReply, roles=READERS, run=_devices,
        reads_only=True, weak_token=True,
    ),
    Operation(
        name="qkd.add_device", zh="在线加入密钥设备", en="add a key device while the entity runs", request=DeviceRequest, reply=DeviceInfo,
        roles=OPERATORS, run=_add, fresh_password=True, evidence=(ADDED,),
    ),
    Operation(
        name="qkd.drain_device", zh="有序撤出密钥设备", en="take a key device away in good order", request=DeviceName, reply=DrainedReply,
        roles=OPERATORS, run=_drain, fresh_password=True, evidence=(DRAINED,),
    ),
)  # fmt: skip

__all__ = ["ADDED", "DRAINED", "OPERATIONS", "DeviceInfo", "DeviceName", "DeviceRequest", "DevicesReply", "DrainedReply"]

"""The devices of a site: opened from its folder, another one added while the entity runs, one taken away again.

Document: docs/protocols/key-delivery.md section 3.4. The first device is the one of `kme.json` (`device.json`); every other has its file
in `devices/`. No path, PIN or passphrase comes from a request: all devices are under the site's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from workbench.crypto import canonical
from workbench.errors import NotFound, Refused, SelfTestFailed, StartRefused, VerificationError, WorkbenchError
from workbench_kme.devices import Device, create_soft, open_soft
from workbench_kme.devices.group import HOME, DeviceGroup, InProcess, Member, Worker
from workbench_kme.keys import KeyStore, rewrapping
from workbench_kme.service import views
from workbench_kme.service.config import SiteConfig, SiteSecrets, read_private

FOLDER: Final = "devices"
BACKENDS: Final = ("soft", "pkcs11")
MOST_DEVICES: Final = 8
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")


class Devices:
    """Opens them; `group` is what the key store works with. Raises what opening the first device raises."""

    def __init__(self, folder: Path, config: SiteConfig, secrets: SiteSecrets) -> None:
        self._folder, self._config = folder, config
        self._secret = str(secrets.device.get("passphrase", ""))
        self._changing = threading.Lock()
        self.group = DeviceGroup(self._open_first())
        self.absent: dict[str, str] = {}
        """Devices whose file is here and does not open, with the code of the refusal."""
        try:
            self.open_others()
        except BaseException:
            self.group.close()
            raise

    def open_others(self) -> None:
        """Open what lies in the folder and is not open: one that cannot be opened is out of service alone.

        Nothing while a device is being added or taken away.
        """
        if not self._changing.acquire(blocking=False):
            return
        try:
            paths = sorted((self._folder / FOLDER).glob("*.json"))
            self.absent = {name: code for name, code in self.absent.items() if any(path.stem == name for path in paths)}
            for path in paths:
                name = path.stem
                if name in self.group.members or not _NAME.fullmatch(name):
                    continue
                try:
                    self.group.add(name, self._open(path))
                    self.absent.pop(name, None)
                except WorkbenchError as error:
                    self.absent[name] = error.code
        finally:
            self._changing.release()

    def add(self, name: str, backend: str) -> Member:
        """Another device, with a key-encryption key of its own, from now on. backend: `pkcs11`: the token of this name.

        Raises Refused DEVICE_NAME, DEVICE_KNOWN, DEVICES_FULL, NO_TOKEN_MODULE; SelfTestFailed; KeyUnavailable. Cost: a second.
        """
        with self._changing:
            path = self._folder / FOLDER / f"{name}.json"
            if not _NAME.fullmatch(name) or name == HOME or backend not in BACKENDS:
                raise Refused(
                    "设备名须为小写字母开头的 2 至 31 个字母、数字或 -，类型为 soft 或 pkcs11",
                    "the name of a device has 2 to 31 lower-case letters, digits and -, its kind is soft or pkcs11", code="DEVICE_NAME",
                )  # fmt: skip
            if name in self.group.members or path.exists():
                raise Refused(f"设备 {name} 已存在：请另取名称", f"there is a device {name}: choose another name", code="DEVICE_KNOWN")
            if len(self.group.members) >= MOST_DEVICES:
                raise Refused(f"最多 {MOST_DEVICES} 台设备", f"a site has {MOST_DEVICES} devices at most", code="DEVICES_FULL")
            path.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                member = self._open(path, backend=backend)
                if not member.is_fit:
                    member.close()
                    failed = ", ".join(member.report.failed)
                    raise SelfTestFailed(
                        f"设备 {name} 自检未通过（{failed}），没有加入：密钥管理人员查明原因",
                        f"device {name} failed its self-test ({failed}) and was not added: key staff find out why", code="DEVICE_DISABLED",
                    )  # fmt: skip
                for folder in (path.parent, self._folder):  # values must never outlive the file of their device
                    _sync(folder)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            self.group.add(name, member)
            return member

    def drain(self, name: str, store: KeyStore) -> int:
        """Bring what a device wrapped to the others, while keys are given out, then take it away; how many values.

        Raises NotFound NO_SUCH_DEVICE; Refused DEVICE_FIRST, DEVICE_LAST; KeyUnavailable DEVICE_OUT: what it has is left as it is.
        """
        with self._changing:
            group = self.group
            member = group.members.get(name)
            if member is None:
                raise NotFound(f"本站没有设备 {name}", f"this site has no device {name}", code="NO_SUCH_DEVICE")
            if name == HOME:
                raise Refused(
                    "第一台设备不能在线撤出：它保管线路的认证密钥池", "the first device cannot be taken away: it keeps the lines' authentication pools",
                    code="DEVICE_FIRST",
                )  # fmt: skip
            if not any(group.state(one) == "serving" for one in group.members if one != name):
                raise Refused("没有其他可用设备，不能撤出", "no other device serves: this one cannot be taken away", code="DEVICE_LAST")
            taken: list[Member] = []
            group.drain(name, on=True)
            try:
                moved = rewrapping.drain(store.core, member.kek_id, leave=lambda: taken.append(group.take(name)))
            except BaseException:
                if taken:
                    group.add(name, member)
                group.drain(name, on=False)
                raise
            member.close()
            _erase(self._folder / FOLDER / f"{name}.json")
            return moved

    def views(self, store: KeyStore) -> list[views.Device]:
        """Every device, and every key-encryption key whose device is missing though values may lie under it."""
        group = self.group
        with store.core.database.read() as reader:
            sealed = rewrapping.sealed_by(reader)
            values = {kek: rewrapping.values_of(reader, kek) for kek in sealed}
        found = [
            views.Device(
                name=name, kind=one.kind, kek=one.kek_id.hex(), state=group.state(name), own_process=one.own_process, values=values.get(one.kek_id, 0),
                sealed=sealed.get(one.kek_id, 0), failed=list(one.report.failed),
            )
            for name, one in group.members.items()
        ]  # fmt: skip
        here = group.kek_ids
        files = {self._kek_of(name): (name, code) for name, code in self.absent.items()}
        for kek in sorted(set(sealed) | set(files) - {b""}):
            if kek not in here:
                name, code = files.get(kek, ("", ""))
                found.append(views.Device(name, "", kek.hex(), "missing", False, values.get(kek, 0), sealed.get(kek, 0), [code] if code else []))
        return found

    # ---- inside

    def _kek_of(self, name: str) -> bytes:
        """What the file of a device that does not open says of its key-encryption key; b"" where it says nothing."""
        try:
            return bytes.fromhex(str(self._file(name)["kek"]))
        except (WorkbenchError, KeyError, ValueError):
            return b""

    def _file(self, name: str) -> Mapping[str, Any]:
        return canonical.parse_object(read_private(self._folder / FOLDER, f"{name}.json"))

    def _open(self, path: Path, *, backend: str = "") -> Member:
        """backend: of a new device; "" for the one in the file."""
        try:
            kind = backend or self._file(path.stem).get("backend")
        except VerificationError as error:
            raise _wrong(path.stem) from error
        if kind == "soft":
            return Worker(path, self._secret, is_new=bool(backend))
        module = self._config.device.get("module")
        if kind != "pkcs11" or module is None:
            raise Refused(
                "第一台设备不是 PKCS#11 令牌，本站没有登记令牌的动态库：运维在 kme.json 配置",
                "the first device is no PKCS#11 token, so this site names no library for tokens: operators configure one in kme.json",
                code="NO_TOKEN_MODULE",
            )
        from workbench_kme.devices.pkcs11 import create_token, open_token

        act = create_token if backend else open_token
        return InProcess(act(path, self._secret, module=Path(str(module)), token=path.stem))

    def _open_first(self) -> Device:
        path, wanted = self._folder / "device.json", self._config.device
        if wanted == {"backend": "soft"}:
            return open_soft(path, self._secret) if path.exists() else create_soft(path, self._secret)
        if set(wanted) == {"backend", "module", "token"} and wanted["backend"] == "pkcs11":
            from workbench_kme.devices.pkcs11 import create_token, open_token

            module, token = Path(str(wanted["module"])), str(wanted["token"])
            act = open_token if path.exists() else create_token
            return act(path, self._secret, module=module, token=token)
        raise _wrong(self._config.site)


def _wrong(site: str) -> StartRefused:
    return StartRefused(
        f"站点 {site} 的密码设备配置有误：请运维人员改正 kme.json",
        f"the device of site {site} is configured wrongly: operators correct kme.json",
        code="KME_CONFIG",
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _erase(path: Path) -> None:
    """Overwrite and delete: what lay under it, in old copies too, opens no more."""
    with contextlib.suppress(OSError):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        _sync(path.parent)

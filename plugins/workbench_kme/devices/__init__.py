"""What wraps the values of keys at rest: devices 密码设备 behind one interface named after SDF (GM/T 0018, from memory).

Document: docs/protocols/key-delivery.md section 3. Two back-ends: `soft` in this process, `pkcs11` in a token (SoftHSM2).
Promises: no call gives out a key of the device; a device that failed a known answer refuses everything until it passes.
`pkcs11`, `selftest` and `group` are imported by name: the first needs a library of the machine, the second is run by every
device, the third puts several devices side by side (section 3.4).
"""

from __future__ import annotations

from workbench_kme.devices.access import DeviceAccess
from workbench_kme.devices.device import Device, KekBackend, KeyHandle, Session
from workbench_kme.devices.soft import create_soft, open_soft
from workbench_kme.devices.wrapping import Suite

__all__ = ["Device", "DeviceAccess", "KekBackend", "KeyHandle", "Session", "Suite", "create_soft", "open_soft"]

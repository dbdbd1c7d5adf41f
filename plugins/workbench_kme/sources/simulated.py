"""The source `simulated`: a modelled line, post-processed as a real one. Provenance `simulated`, never called quantum.

Numpy and numba are loaded with the first block, not with the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from workbench.crypto import kdf
from workbench_kme.sources.contract import BlockMachine, BlockTask, SourceContext

if TYPE_CHECKING:
    from workbench_kme.physics import Link

DEFAULT_PULSES = {
    "gys-2004": 1_000_000_000,
    "metro-10": 100_000_000,
    "metro-50": 600_000_000,
    "fibre-100": 6_000_000_000,
}
"""About 600,000 sifted bits and a second of one core: shorter blocks pay more for what is not known of them."""
MAX_PULSES = 1 << 40
_SEED_BYTES = 32


class Simulated:
    """Options: `preset`, a name of `physics.PRESETS`, and optionally `pulses` of a block."""

    name: ClassVar[str] = "simulated"
    provenance: ClassVar[str] = "simulated"
    simulates: ClassVar[bool] = True

    def __init__(self, context: SourceContext) -> None:
        preset, pulses = context.options.get("preset"), context.options.get("pulses", 0)
        if set(context.options) - {"preset", "pulses"} or preset not in DEFAULT_PULSES:
            raise ValueError("a simulated line has the option preset, the name of a line, and perhaps pulses")
        if type(pulses) is not int or not 0 <= pulses <= MAX_PULSES or len(context.seed) != _SEED_BYTES:
            raise ValueError("a simulated line has a whole number of pulses and a seed of 32 bytes")
        self._context, self._preset = context, str(preset)
        self._pulses = pulses or DEFAULT_PULSES[self._preset]

    @property
    def preset(self) -> str:
        """Name of the modelled line."""
        return self._preset

    @property
    def clock_hz(self) -> float:
        """Pulses a second."""
        return self._link().clock_hz

    def pulses(self) -> int:
        """Pulses of a block."""
        return self._pulses

    def machine(self, task: BlockTask) -> BlockMachine:
        """Draw the block's world from seed, number and both nonces, and keep this end's view of it."""
        from workbench_kme.distill import DistillParameters, ReceiverEnd, SenderEnd
        from workbench_kme.physics import Eavesdropper, simulate
        from workbench_kme.physics.estimate import SecurityParameters

        kind, ppm = task.eavesdropper
        eavesdropper = Eavesdropper(ppm / 1e6, kind) if ppm else None  # type: ignore[arg-type]  # checks it
        seed = kdf.derive(self._context.seed, "kme/simulated-block", context=task.nonces, length=_SEED_BYTES)
        sender, receiver = simulate(self._link(), task.pulses, seed, task.block, eavesdropper)
        parameters = DistillParameters(SecurityParameters.of(self._link()))
        if self._context.is_sender:
            return SenderEnd(sender, task.pool, parameters, task.random)
        return ReceiverEnd(receiver, task.pool, parameters, task.random)

    def keys_stored(self, block: int) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing is held."""

    def _link(self) -> Link:
        from workbench_kme.physics import PRESETS

        return PRESETS[self._preset]

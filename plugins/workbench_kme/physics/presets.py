"""Lines that can be chosen by name, each value with where it comes from. Document: docs/protocols/qkd.md section 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from workbench_kme.physics.link import Link

GYS_2004: Final = Link(
    name="gys-2004",
    length_km=20.0,
    loss_db_km=0.21,
    receiver_efficiency=0.045,
    dark_probability=1.7e-6,
    misalignment=0.033,
    afterpulse=0.0,
    clock_hz=2e6,
    intensities=(0.48, 0.05, 0.0),
    probabilities=(0.2, 0.55, 0.25),
    key_basis_probability=0.5,
    source=(
        "Gobby, Yuan, Shields, Appl. Phys. Lett. 84, 3762 (2004), as quoted by Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005);"
        " probabilities and the length of 20 km are ours"
    ),
)

_FIBRE: Final = Link(
    name="fibre-100",
    length_km=100.0,
    loss_db_km=0.2,
    receiver_efficiency=0.1,
    dark_probability=1.2e-6,  # 6e-7 for each of two detectors
    misalignment=5e-3,
    afterpulse=4e-2,
    clock_hz=1e9,
    intensities=(0.48, 0.2, 2e-4),
    probabilities=(0.12, 0.55, 0.33),
    key_basis_probability=0.75,
    source=(
        "fibre and receiver: Lim et al., PRA 89, 022307 (2014), section IV; intensities and probabilities: ours, so that"
        " blocks of 10^5 sifted bits already leave a key; clock of 1 GHz: a round figure of ours"
    ),
)

PRESETS: Final[Mapping[str, Link]] = MappingProxyType(
    {
        "gys-2004": GYS_2004,
        "metro-10": replace(_FIBRE, name="metro-10", length_km=10.0),
        "metro-50": replace(_FIBRE, name="metro-50", length_km=50.0),
        "fibre-100": _FIBRE,
    }
)

"""How many secret bits a block of counts is worth: bounds for finite keys after Lim et al. (2014).

Document: docs/protocols/qkd.md section 4. Source: C. C. W. Lim, M. Curty, N. Walenta, F. Xu, H. Zbinden,
"Concise security bounds for practical decoy-state quantum key distribution", PRA 89, 022307 (2014), equations (1) to (5);
conventions where the paper leaves one open stand in the document and in decision 0055.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench_kme.physics.link import KEY_BASIS, TEST_BASIS, Intensities, Link
from workbench_kme.physics.views import Counts

Three = Sequence[float]
"""Three numbers for signal, decoy, vacuum: whole where they were counted, real where they are expectations."""


@dataclass(frozen=True, slots=True)
class SecurityParameters:
    """What the sender's source does and how small the probability of failure must be; nothing about the fibre.

    intensities, probabilities: mu, nu, vacuum and how often each is sent: the sender's own settings, public.
    epsilon_secret: the key differs from an ideal one by at most this (trace distance); epsilon_correct: both ends end
    with different keys and do not notice.
    """

    intensities: Intensities
    probabilities: Intensities
    epsilon_secret: float = 1e-10
    epsilon_correct: float = 1e-15

    def __post_init__(self) -> None:
        if not (0 < self.epsilon_secret < 1 and 0 < self.epsilon_correct < 1):
            raise ValueError("a probability of failure lies between 0 and 1")

    @classmethod
    def of(cls, link: Link, *, epsilon_secret: float = 1e-10, epsilon_correct: float = 1e-15) -> SecurityParameters:
        """The settings of a link's sender."""
        return cls(link.intensities, link.probabilities, epsilon_secret, epsilon_correct)

    @property
    def epsilon(self) -> float:
        """What a user of the key adds to the failures of everything else: secrecy and correctness together."""
        return self.epsilon_secret + self.epsilon_correct


@dataclass(frozen=True, slots=True)
class KeyEstimate:
    """Bounds of one block and what they leave.

    length: secret bits, a whole number >= 0. balance: the same before rounding down and cutting at 0: how far off a block
    without key is. vacuum, single: lower bounds s_X,0 and s_X,1 on bits of the sifted key that came from pulses with no
    and with one photon. phase_error: upper bound phi_X on the phase error rate of those single photons, at most 1/2.
    single_test, single_test_errors: s_Z,1 (lower) and v_Z,1 (upper) of the test basis, from which phi_X follows.
    leak_bits: what error correction disclosed. overhead_bits: 6 log2(21/eps_sec) + log2(2/eps_cor).
    """

    length: int
    balance: float
    vacuum: float
    single: float
    phase_error: float
    single_test: float
    single_test_errors: float
    leak_bits: float
    overhead_bits: float

    @property
    def secret_before_correction(self) -> float:
        """s_X,0 + s_X,1 (1 - h(phi_X)): bits unknown to the eavesdropper before error correction."""
        return self.vacuum + self.single * (1 - entropy(self.phase_error))


def secret_length(counts: Counts, parameters: SecurityParameters, leak_bits: float) -> KeyEstimate:
    """How many bits privacy amplification may leave of the sifted key of a block.

    counts: of a whole block, test basis with errors. leak_bits: bits that error correction has disclosed about the
    key, the verification hash NOT included: its price is the term with epsilon_correct.
    """
    return estimate_key(
        counts.detected[KEY_BASIS], counts.detected[TEST_BASIS], counts.errors[TEST_BASIS], parameters, leak_bits
    )


def estimate_key(
    key: Three, test: Three, test_errors: Three, parameters: SecurityParameters, leak_bits: float
) -> KeyEstimate:
    """`secret_length` for numbers that need not be whole: expected counts of a line that is only planned."""
    vacuum, single = _vacuum_and_single(key, parameters)
    _, single_test = _vacuum_and_single(test, parameters)
    wrong = _single_errors(test_errors, parameters)
    phase_error = 0.5
    if single >= 1 and single_test >= 1:
        rate = wrong / single_test
        if rate < 0.5:
            above = rate + deviation(parameters.epsilon_secret, rate, single_test, single)
            phase_error = min(0.5, max(above, unseen_rate(parameters.epsilon_secret, single_test, single)))
    overhead = 6 * math.log2(21 / parameters.epsilon_secret) + math.log2(2 / parameters.epsilon_correct)
    balance = vacuum + single * (1 - entropy(phase_error)) - leak_bits - overhead
    return KeyEstimate(
        length=max(0, math.floor(balance)),
        balance=balance,
        vacuum=vacuum,
        single=single,
        phase_error=phase_error,
        single_test=single_test,
        single_test_errors=wrong,
        leak_bits=leak_bits,
        overhead_bits=overhead,
    )


def entropy(x: float) -> float:
    """Binary entropy in bits; 0 at and beyond the ends."""
    return 0.0 if x <= 0 or x >= 1 else -x * math.log2(x) - (1 - x) * math.log2(1 - x)


def deviation(epsilon: float, rate: float, tested: float, other: float) -> float:
    """gamma(eps, b, c, d) of equation (5): how far the untested rate may lie above the tested one."""
    if rate <= 0:
        return 0.0
    spread = (tested + other) * (1 - rate) * rate / (tested * other * math.log(2))
    rare = (tested + other) / (tested * other * (1 - rate) * rate) * (21 / epsilon) ** 2
    return math.sqrt(spread * math.log2(rare)) if rare > 1 else 0.0


def unseen_rate(epsilon: float, tested: float, other: float) -> float:
    """The error rate of the untested bits that no error at all among the tested ones would still leave possible.

    Of K errors among all, each lies in the untested part with a chance of at most other/(tested + other): none is tested
    with probability eps/21 or more only while K <= ln(21/eps) / ln(1 + tested/other). `deviation` is an approximation
    that returns less than this for a handful of errors, and nothing for none; the bound never goes below it.
    """
    return math.log(21 / epsilon) / (other * math.log1p(tested / other))


def _fluctuation(total: float, epsilon: float) -> float:
    """Hoeffding: what an expected count may differ from the observed one, the same for every intensity."""
    return math.sqrt(total / 2 * math.log(21 / epsilon))


def _bounds(counted: Three, parameters: SecurityParameters) -> tuple[list[float], list[float]]:
    """n^- and n^+ by intensity, e^k / p_k times the expected count's bounds.

    The bounds of an expected count are cut at 0 and at the total, which it cannot pass: decision 0055.
    """
    total = math.fsum(counted)
    spread = _fluctuation(total, parameters.epsilon_secret)
    weight = [math.exp(k) / p for k, p in zip(parameters.intensities, parameters.probabilities, strict=True)]
    low = [w * max(0.0, n - spread) for w, n in zip(weight, counted, strict=True)]
    high = [w * min(total, n + spread) for w, n in zip(weight, counted, strict=True)]
    return low, high


def _share(parameters: SecurityParameters, photons: int) -> float:
    """tau_n for n = 0 or 1: a pulse has n photons."""
    pairs = zip(parameters.intensities, parameters.probabilities, strict=True)
    return math.fsum(p * math.exp(-k) * (k if photons else 1.0) for k, p in pairs)


def _vacuum_and_single(counted: Three, parameters: SecurityParameters) -> tuple[float, float]:
    """s_0 and s_1, equations (2) and (3), never below 0."""
    mu, nu, vacuum = parameters.intensities
    low, high = _bounds(counted, parameters)
    none = max(0.0, _share(parameters, 0) * (nu * low[2] - vacuum * high[1]) / (nu - vacuum))
    many = (nu * nu - vacuum * vacuum) / (mu * mu) * (high[0] - none / _share(parameters, 0))
    one = _share(parameters, 1) * mu * (low[1] - high[2] - many) / (mu * (nu - vacuum) - nu * nu + vacuum * vacuum)
    return none, max(0.0, one)


def _single_errors(wrong: Three, parameters: SecurityParameters) -> float:
    """v_1, equation (4), never below 0."""
    low, high = _bounds(wrong, parameters)
    _, nu, vacuum = parameters.intensities
    return max(0.0, _share(parameters, 1) * (high[1] - low[2]) / (nu - vacuum))

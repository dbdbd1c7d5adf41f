"""Two kinds of value that the formulas of `workbench_psi.curve_lanes` can run on besides LLVM vectors.

`ExactLane`: one point, every IEEE rounding as the standard says, words modulo 2^64. What the machine code must equal
bit for bit.

`ProvedLane`: all points at once. A value carries an interval that contains it, a power of two that divides it, and,
where wanted, a polynomial over the integers modulo p that equals it. An operation is accepted only if, for *every*
value in the intervals, a double operation is exact or rounds in the one way the formulas count on, bits are
reinterpreted within one power of two, and words that are shifted right fit 64 bits. Else it raises `ProofFailed`.

`Proof` runs the loops of `curve_kernels` themselves (their Python source) over `ProvedLane`.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from workbench_psi import curve_kernels, curve_lanes

P = curve_lanes.FIELD_PRIME
WORD = 2**64
Number = int | Fraction


# One point, exactly ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExactLane:
    """A double (`float`) or a word (`int` in [0, 2^64)) of one point."""

    value: float | int

    def _other(self, other: ExactLane | float) -> float | int:
        number = other.value if isinstance(other, ExactLane) else other
        return float(number) if isinstance(self.value, float) else int(number)

    def _word(self, number: int) -> ExactLane:
        return ExactLane(number % WORD)

    def __add__(self, other: ExactLane | float) -> ExactLane:
        total = self.value + self._other(other)
        return ExactLane(total) if isinstance(self.value, float) else self._word(int(total))

    def __sub__(self, other: ExactLane | float) -> ExactLane:
        difference = self.value - self._other(other)
        return ExactLane(difference) if isinstance(self.value, float) else self._word(int(difference))

    def __rsub__(self, other: float) -> ExactLane:
        assert isinstance(self.value, float)
        return ExactLane(float(other) - self.value)

    def __and__(self, other: ExactLane | int) -> ExactLane:
        return self._word(self._integer() & int(self._other(other)))

    def __or__(self, other: ExactLane) -> ExactLane:
        return self._word(self._integer() | int(self._other(other)))

    def __lshift__(self, places: int) -> ExactLane:
        return self._word(self._integer() << places)

    def __rshift__(self, places: int) -> ExactLane:
        return self._word(self._integer() >> places)

    def fma(self, factor: ExactLane | float, addend: ExactLane | float) -> ExactLane:
        exact = Fraction(self.value) * Fraction(self._other(factor)) + Fraction(self._other(addend))
        return ExactLane(float(exact))  # the quotient of two ints is rounded once, ties to even

    def as_words(self) -> ExactLane:
        return ExactLane(curve_lanes.bits_of(self.value)) if isinstance(self.value, float) else self

    def as_doubles(self) -> ExactLane:
        if isinstance(self.value, float):
            return self
        return ExactLane(float(struct.unpack(">d", self.value.to_bytes(8, "big"))[0]))

    def blend(self, other: ExactLane, mask: ExactLane) -> ExactLane:
        mine, theirs = self.as_words()._integer(), other.as_words()._integer()
        chosen = ExactLane(mine ^ ((mine ^ theirs) & mask._integer()))
        return chosen.as_doubles() if isinstance(self.value, float) else chosen

    def double(self, number: float) -> ExactLane:
        return ExactLane(float(number))

    def word(self, number: int) -> ExactLane:
        return self._word(number)

    def _integer(self) -> int:
        assert isinstance(self.value, int)
        return self.value


# Polynomials modulo p: a dictionary from a sorted tuple of symbols to a coefficient -----------------------------------

Polynomial = dict[tuple[int, ...], int]


def constant(number: Number) -> Polynomial:
    value = number.numerator * pow(number.denominator, -1, P) % P
    return {(): value} if value else {}


def symbol(name: int) -> Polynomial:
    return {(name,): 1}


def plus(left: Polynomial, right: Polynomial, factor: Number = 1) -> Polynomial:
    weight = factor.numerator * pow(factor.denominator, -1, P) % P
    result = dict(left)
    for monomial, coefficient in right.items():
        total = (result.get(monomial, 0) + coefficient * weight) % P
        if total:
            result[monomial] = total
        else:
            result.pop(monomial, None)
    return result


def times(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for (a, x), (b, y) in itertools.product(left.items(), right.items()):
        monomial = tuple(sorted(a + b))
        result[monomial] = (result.get(monomial, 0) + x * y) % P
    return {monomial: coefficient for monomial, coefficient in result.items() if coefficient}


def element_value(limbs: Sequence[ProvedLane]) -> Polynomial:
    """What five limbs stand for."""
    total: Polynomial = {}
    for k, limb in enumerate(limbs):
        assert limb.polynomial is not None
        total = plus(total, limb.polynomial, 1 << 51 * k)
    return total


# All points at once ---------------------------------------------------------------------------------------------------


class ProofFailed(AssertionError):
    """For some values in the intervals the operation would not do what the formula counts on."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """value = offset + sign * R, where R is a multiple of `unit` nearest to the expression named by `source`."""

    source: tuple[object, ...]
    sign: int
    offset: Number
    unit: Fraction


_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ProvedLane:
    """A set of doubles or of words; words are integers that stand for themselves modulo 2^64.

    grain: every value is a multiple of 2^grain. name: equal names mean the same value, not only the same set.
    """

    is_double: bool
    low: Number
    high: Number
    grain: int = 0
    polynomial: Polynomial | None = None
    rounding: Rounding | None = None
    name: int = field(default_factory=lambda: next(_names))

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise AssertionError("an empty interval: the domain itself is wrong")

    # Helpers

    def _lift(self, other: ProvedLane | float) -> ProvedLane:
        if isinstance(other, ProvedLane):
            if other.is_double != self.is_double:
                raise ProofFailed("doubles and words in one operation")
            return other
        return self.double(other) if self.is_double else self.word(int(other))

    def _opaque(self, low: Number, high: Number) -> ProvedLane:
        """A word of which only the range is known."""
        tracked = self.polynomial is not None
        name = next(_names)
        return ProvedLane(False, low, high, 0, symbol(name) if tracked else None, None, name)

    @property
    def magnitude(self) -> Fraction:
        """The largest absolute value."""
        return max(abs(Fraction(self.low)), abs(Fraction(self.high)))

    @property
    def is_single(self) -> bool:
        return self.low == self.high

    # Ring operations

    def __add__(self, other: ProvedLane | float) -> ProvedLane:
        right = self._lift(other)
        return self._sum(right, 1)

    def __sub__(self, other: ProvedLane | float) -> ProvedLane:
        right = self._lift(other)
        return self._sum(right, -1)

    def __rsub__(self, other: float) -> ProvedLane:
        return self._lift(other)._sum(self, -1)

    def _sum(self, right: ProvedLane, sign: int) -> ProvedLane:
        edges = (sign * right.low, sign * right.high)
        low, high = self.low + min(edges), self.high + max(edges)
        polynomial = None
        if self.polynomial is not None and right.polynomial is not None:
            polynomial = plus(self.polynomial, right.polynomial, sign)
        if not self.is_double:
            return ProvedLane(False, low, high, 0, polynomial)
        grain = min(self.grain, right.grain)
        rounded = right.rounding
        if sign < 0 and rounded and rounded.source == ("value", self.name) and rounded.sign > 0 and not rounded.offset:
            low, high = max(low, -rounded.unit / 2), min(high, rounded.unit / 2)  # x - (x rounded)
        if _is_exact(low, high, grain):
            return ProvedLane(True, low, high, grain, polynomial, _shifted(self, right, sign))
        if not right.is_single:
            raise ProofFailed("a sum of two unknown doubles is rounded")
        return _rounded(("value", self.name), low, high, sign * right.low, polynomial is not None)

    def fma(self, factor: ProvedLane | float, addend: ProvedLane | float) -> ProvedLane:
        if not self.is_double:
            raise ProofFailed("a product of words")
        other, third = self._lift(factor), self._lift(addend)
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        low, high = min(corners) + third.low, max(corners) + third.high
        grain = min(self.grain + other.grain, third.grain)
        source = ("product", self.name, other.low if other.is_single else other.name)
        polynomial = None
        if self.polynomial is not None and other.polynomial is not None and third.polynomial is not None:
            polynomial = plus(times(self.polynomial, other.polynomial), third.polynomial)
        rounded = third.rounding
        if rounded and rounded.source == source and rounded.sign < 0:  # x * y - (x * y rounded) + offset
            low, high = max(low, rounded.offset - rounded.unit / 2), min(high, rounded.offset + rounded.unit / 2)
        if _is_exact(low, high, grain):
            return ProvedLane(True, low, high, grain, polynomial)
        if not third.is_single:
            raise ProofFailed("a product with an unknown addend is rounded")
        return _rounded(source, low, high, third.low, polynomial is not None)

    def __lshift__(self, places: int) -> ProvedLane:
        self._require_word()
        polynomial = None if self.polynomial is None else plus({}, self.polynomial, 1 << places)
        return ProvedLane(False, self.low << places, self.high << places, 0, polynomial)  # type: ignore[operator]  # words are ints

    # Operations on the bits of words

    def __rshift__(self, places: int) -> ProvedLane:
        self._require_word()
        if self.low >= 0 and self.high < WORD:
            return self._quotient(places)
        if places == 63 and -WORD // 2 <= self.low <= self.high < WORD // 2:
            return self._opaque(int(self.high < 0), int(self.low < 0))  # the sign alone is asked for
        raise ProofFailed(f"a word shifted right does not fit 64 bits: [{self.low}, {self.high}]")

    def _quotient(self, places: int) -> ProvedLane:
        low, high = self.low >> places, self.high >> places  # type: ignore[operator]  # ints
        if low == high or self.polynomial is None:
            return ProvedLane(False, low, high, 0, None if self.polynomial is None else constant(low))
        return ProvedLane(False, low, high, 0, symbol(_quotient_symbol(self.name, places)))

    def __and__(self, other: ProvedLane | int) -> ProvedLane:
        self._require_word()
        if isinstance(other, ProvedLane):
            other._require_mask()
            if not 0 <= self.low <= self.high < WORD:
                raise ProofFailed("a masked word is not within [0, 2^64)")
            if other.is_single:
                return self if other.low else self.word(0)
            return self._opaque(0, self.high)
        places = (other + 1).bit_length() - 1
        if other != (1 << places) - 1:
            raise ProofFailed("only masks of low bits are understood")
        quotients = (self.low >> places, self.high >> places)  # type: ignore[operator]  # ints
        if quotients[0] == quotients[1]:  # no bit above the mask changes within the interval
            return self - (quotients[0] << places)
        polynomial = None
        if self.polynomial is not None:
            quotient = symbol(_quotient_symbol(self.name, places))
            polynomial = plus(self.polynomial, quotient, -(1 << places))
        return ProvedLane(False, 0, other, 0, polynomial)

    def __or__(self, other: ProvedLane) -> ProvedLane:
        self._require_word()
        other._require_word()
        if self.is_single and other.is_single:
            return self.word((self.low | other.low) % WORD)  # type: ignore[operator]  # ints
        tops = [lane.high if lane.low >= 0 and lane.high < WORD else WORD - 1 for lane in (self, other)]
        return self._opaque(0, (1 << max(int(top) for top in tops).bit_length()) - 1)

    # Reinterpretation and choice

    def as_words(self) -> ProvedLane:
        if not self.is_double:
            return self
        bottom, unit = _binade(self.low, self.high)
        start = curve_lanes.bits_of(float(bottom))
        polynomial = None
        if self.polynomial is not None:
            polynomial = plus(constant(start - bottom / unit), self.polynomial, 1 / unit)
        low, high = start + (self.low - bottom) / unit, start + (self.high - bottom) / unit
        return ProvedLane(False, int(low), int(high), 0, polynomial)

    def as_doubles(self) -> ProvedLane:
        if self.is_double:
            return self
        if not 0 < self.low <= self.high < 0x7FF << 52:
            raise ProofFailed("bits that are not those of positive doubles")
        exponent = int(self.low) >> 52
        if exponent != int(self.high) >> 52:
            raise ProofFailed("words read as doubles of different powers of two")
        bottom, unit = Fraction(2) ** (exponent - 1023), Fraction(2) ** (exponent - 1075)
        start = exponent << 52
        polynomial = None
        if self.polynomial is not None:
            polynomial = plus(constant(bottom - start * unit), self.polynomial, unit)
        low, high = bottom + (self.low - start) * unit, bottom + (self.high - start) * unit
        return ProvedLane(True, low, high, exponent - 1075, polynomial)

    def blend(self, other: ProvedLane, mask: ProvedLane) -> ProvedLane:
        mask._require_mask()
        right = self._lift(other)
        if mask.is_single:
            return right if mask.low else self
        tracked = self.polynomial is not None
        name = next(_names)
        return ProvedLane(
            self.is_double,
            min(self.low, right.low),
            max(self.high, right.high),
            min(self.grain, right.grain),
            symbol(name) if tracked else None,
            None,
            name,
        )

    def double(self, number: float) -> ProvedLane:
        exact = Fraction(number)
        grain = _grain_of(exact)
        return ProvedLane(True, exact, exact, grain, constant(exact) if self.polynomial is not None else None)

    def word(self, number: int) -> ProvedLane:
        return ProvedLane(False, number, number, 0, constant(number) if self.polynomial is not None else None)

    def _require_word(self) -> None:
        if self.is_double:
            raise ProofFailed("an operation on bits of a double")

    def _require_mask(self) -> None:
        self._require_word()
        if not -1 <= self.low <= self.high <= 0:
            raise ProofFailed("a mask that is not all zeros or all ones")


_quotients: dict[tuple[int, int], int] = {}


def _quotient_symbol(name: int, places: int) -> int:
    """The symbol of floor(value / 2^places): the same for `>>` and for `&`, which is why limbs and carries add up."""
    return _quotients.setdefault((name, places), next(_names))


def _grain_of(number: Fraction) -> int:
    if not number:
        return 10**6  # zero is a multiple of everything
    twos = (number.numerator & -number.numerator).bit_length() - 1
    return twos - (number.denominator.bit_length() - 1)


def _is_exact(low: Number, high: Number, grain: int) -> bool:
    """Every multiple of 2^grain in the interval is a double."""
    largest = max(abs(Fraction(low)), abs(Fraction(high)))
    return largest == 0 or bool(largest <= Fraction(2) ** (53 + grain))


def _binade(low: Number, high: Number) -> tuple[Fraction, Fraction]:
    """The power of two at the bottom of the interval and the distance of doubles above it."""
    if low <= 0:
        raise ProofFailed(f"[{float(low)}, {float(high)}] is not positive: no single power of two")
    exponent = math.frexp(float(low))[1] - 1
    bottom = Fraction(2) ** exponent
    bottom = bottom / 2 if bottom > low else bottom  # the conversion to float may have rounded up
    if high >= 2 * bottom:
        raise ProofFailed(f"[{float(low)}, {float(high)}] crosses a power of two")
    return bottom, bottom / 2**52


def _rounded(source: tuple[object, ...], low: Number, high: Number, offset: Number, tracked: bool) -> ProvedLane:
    """expression + offset, where the result lies within one power of two and is rounded to its unit."""
    bottom, unit = _binade(low, high)
    if Fraction(offset) % unit:
        raise ProofFailed("the constant added is not a multiple of the unit")
    low, high = bottom + math.floor((low - bottom) / unit) * unit, bottom + math.ceil((high - bottom) / unit) * unit
    if high >= 2 * bottom:
        raise ProofFailed("rounding reaches the next power of two")
    name = next(_names)
    polynomial = plus(symbol(name), constant(offset)) if tracked else None
    return ProvedLane(True, low, high, _grain_of(unit), polynomial, Rounding(source, 1, offset, unit))


def _shifted(left: ProvedLane, right: ProvedLane, sign: int) -> Rounding | None:
    """What is known of left + sign * right if one of them is a rounding and the other a constant."""
    if left.rounding and right.is_single:
        return replace(left.rounding, offset=left.rounding.offset + sign * right.low)
    if right.rounding and left.is_single:
        kept = right.rounding
        return replace(kept, sign=sign * kept.sign, offset=left.low + sign * kept.offset)
    return None


# What formulas may be given -------------------------------------------------------------------------------------------

TIGHT = 2**50 + 2**15
COLUMN = 2**61 - 1


def tight(bound: int = TIGHT, *, tracked: bool = False) -> list[ProvedLane]:
    """Five doubles holding any integers up to the bound."""
    return [_unknown(True, -bound, bound, tracked) for _ in range(5)]


def column(bound: int = COLUMN, *, tracked: bool = False) -> list[ProvedLane]:
    """Five words holding any integers up to the bound."""
    return [_unknown(False, -bound, bound, tracked) for _ in range(5)]


def words(*, tracked: bool = False) -> list[ProvedLane]:
    """Five words with any bits."""
    return [_unknown(False, 0, WORD - 1, tracked) for _ in range(5)]


def mask(*values: int) -> list[ProvedLane]:
    """A mask that is one of the given values, 0 and -1."""
    return [ProvedLane(False, min(values), max(values))] * 5


def _unknown(is_double: bool, low: int, high: int, tracked: bool) -> ProvedLane:
    name = next(_names)
    return ProvedLane(is_double, low, high, 0, symbol(name) if tracked else None, None, name)


# The loops themselves -------------------------------------------------------------------------------------------------

Row = ProvedLane | None
Element = tuple[Row, ...]
UNWRITTEN: Element = (None,) * 5
Bounds = tuple[tuple[bool, Number, Number, int], ...]


class _Slots:
    """The workspace: rows of five by slot number; None where nothing was written."""

    def __init__(self) -> None:
        self.elements: dict[int, Element] = {}


@dataclass
class Proof:
    """Runs `multiply_rows` and `map_rows` with formulas over intervals in place of machine instructions.

    formulas: the module they are taken from: `curve_lanes`, or a damaged copy of it.
    seen: for every formula, the hull of everything it was given and of everything it returned.
    """

    formulas: ModuleType = curve_lanes
    calls: int = 0
    seen: dict[str, tuple[list[ProvedLane], list[ProvedLane]]] = field(default_factory=dict)
    _interned: dict[Bounds, Element] = field(default_factory=dict)
    _results: dict[tuple[object, ...], list[Element]] = field(default_factory=dict)

    def multiply_rows(self, count: int) -> None:
        self._loops()["multiply_rows"](np.zeros((count, 4)), np.zeros((count, 4)), np.zeros(255, np.uint64), _Slots())

    def map_rows(self, count: int) -> None:
        self._loops()["map_rows"](np.zeros((count, 4)), np.zeros((count, 4)), _Slots())

    def _loops(self) -> dict[str, Any]:
        """The module's own functions, with their globals replaced: Python source instead of compiled code."""
        names: dict[str, Any] = dict(vars(curve_kernels))
        by_instruction = {id(operation.instruction): operation for operation in curve_kernels.OPERATIONS}
        for name, value in vars(curve_kernels).items():
            if id(value) in by_instruction:
                names[name] = self._instruction(by_instruction[id(value)])
            elif hasattr(value, "py_func"):
                source = value.py_func
                names[name] = FunctionType(source.__code__, names, name, source.__defaults__, source.__closure__)
        names["load_group"] = self._load_group
        names["store_group"] = self._store_group
        return names

    def _instruction(self, operation: curve_kernels.Operation) -> Callable[[_Slots, tuple[Any, ...]], None]:
        formula = getattr(self.formulas, operation.formula.__name__)

        def run(work: _Slots, arguments: tuple[Any, ...]) -> None:
            self.calls += 1
            given = [work.elements.get(int(slot), UNWRITTEN) for slot in arguments[1 : operation.inputs + 1]]
            key = (formula.__name__, *map(id, given))
            if key not in self._results:
                self._results[key] = self._evaluate(formula, operation, given)
            for k, element in enumerate(self._results[key]):
                work.elements[int(arguments[0]) + k] = element

        return run

    def _evaluate(self, formula: Any, operation: curve_kernels.Operation, given: list[Element]) -> list[Element]:
        inputs: list[list[Any]] = [list(element) for element in given]
        if operation.masked:
            inputs.append(mask(0, -1)[:1])
        rows = formula(*inputs)
        for row in rows:
            if not row.is_double and not -WORD // 2 <= row.low <= row.high < WORD:
                raise ProofFailed(f"{formula.__name__} stores a word that does not fit 64 bits")
        entry = self.seen.setdefault(formula.__name__, ([], []))
        _widen(entry[0], [row for element in inputs for row in element])
        _widen(entry[1], rows)
        padded = list(rows) + [None] * (-len(rows) % 5)
        return [self._intern(tuple(padded[k : k + 5])) for k in range(0, len(padded), 5)]

    def _intern(self, element: Element) -> Element:
        """One object for equal bounds, so that loops are evaluated once per state and not once per turn.

        Names and roundings are dropped: what one formula stores, the next one knows by its bounds alone.
        """
        bounds = tuple(
            (True, 0, 0, -(10**9)) if row is None else (row.is_double, row.low, row.high, row.grain) for row in element
        )
        if bounds not in self._interned:
            self._interned[bounds] = tuple(
                None if row is None else ProvedLane(row.is_double, row.low, row.high, row.grain) for row in element
            )
        return self._interned[bounds]

    def _load_group(self, _points: object, _first: int, work: _Slots, slot: int) -> None:
        work.elements[int(slot)] = self._intern((*words()[:4], None))

    def _store_group(self, _out: object, _first: int, work: _Slots, slot: int) -> None:
        for row in work.elements[int(slot)][:4]:
            if row is None or row.is_double or not 0 <= row.low <= row.high < WORD:
                raise ProofFailed("what is stored is not four words")


def _widen(hull: list[ProvedLane], rows: Sequence[Row]) -> None:
    """Row by row, the hull of what was seen before and what is seen now."""
    for k, row in enumerate(rows):
        lane = row or ProvedLane(False, 0, 0)
        if k == len(hull):
            hull.append(lane)
        else:
            hull[k] = replace(hull[k], low=min(hull[k].low, lane.low), high=max(hull[k].high, lane.high))

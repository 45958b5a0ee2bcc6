"""Gates and max-pools of 2×2 windows in LLVM's vector types, a vector of channels of one window at a time.

A compiled loop over the channels of a window is too short: checking whether its arrays overlap takes longer than its
sums.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from backends.numba.tiles import INT, Vectors


class _Window(Vectors):
    """The four sites of a window: numbers `pixel` and rows `line` entries apart; one byte for each gate."""

    def __init__(self, builder: Any, like: Any, pixel: Any, line: Any) -> None:
        super().__init__(builder, like)
        self.offsets = [INT(0), pixel, line, builder.add(line, pixel)]
        self.zero = ir.Constant(self.vector, None)
        self.bytes_of_gates = ir.VectorType(ir.IntType(8), self.lanes)

    def sites(self, address: Any) -> list[Any]:
        return [self.load(self.shifted(address, offset), 0) for offset in self.offsets]

    def gate(self, address: Any, offset: Any) -> Any:
        """Whether the gates at an address are on, lane by lane."""
        at = self.pointer(self.builder.add(address, offset), self.bytes_of_gates)
        return self.builder.icmp_signed("!=", self.builder.load(at, align=1), ir.Constant(self.bytes_of_gates, None))

    def set_gate(self, value: Any, address: Any, offset: Any) -> None:
        at = self.pointer(self.builder.add(address, offset), self.bytes_of_gates)
        self.builder.store(self.builder.zext(value, self.bytes_of_gates), at, align=1)

    def larger(self, a: Any, b: Any) -> Any:
        """a where a > b, else b."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)


@intrinsic
def gate_window(context, like, z, pixel, line, x, on):  # type: ignore[no-untyped-def]
    """x = the largest of the window's z and 0; the first site that has it, if it is above 0, is the one that is on."""
    signature = types.void(like, *[types.intp] * 5)

    def generate(context, b, signature, values):  # type: ignore[no-untyped-def]
        _, z, pixel, line, x, on = values
        t = _Window(b, signature.args[0], pixel, line)
        sites, best = t.sites(z), t.zero
        for site in sites:
            best = t.larger(site, best)
        t.store(best, x, 0)
        left = b.fcmp_ordered(">", best, t.zero)  # windows whose site is still to be found
        for site, offset in zip(sites[:-1], t.offsets, strict=False):
            hit = b.and_(b.fcmp_ordered("==", site, best), left)
            t.set_gate(hit, on, offset)
            left = b.and_(left, b.not_(hit))
        t.set_gate(left, on, t.offsets[-1])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def apply_window(context, like, on, z, pixel, line, x):  # type: ignore[no-untyped-def]
    """x = Σ D z over the window."""
    signature = types.void(like, *[types.intp] * 5)

    def generate(context, b, signature, values):  # type: ignore[no-untyped-def]
        _, on, z, pixel, line, x = values
        t = _Window(b, signature.args[0], pixel, line)
        total = None
        for site, offset in zip(t.sites(z), t.offsets, strict=True):
            term = b.select(t.gate(on, offset), site, t.zero)
            total = term if total is None else b.fadd(total, term)
        t.store(total, x, 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def spread_pair(context, like, on, d, pixel, z):  # type: ignore[no-untyped-def]
    """z = D d at two neighbours of one window."""
    signature = types.void(like, *[types.intp] * 4)

    def generate(context, b, signature, values):  # type: ignore[no-untyped-def]
        _, on, d, pixel, z = values
        t = _Window(b, signature.args[0], pixel, INT(0))
        signal = t.load(d, 0)
        for offset in t.offsets[:2]:
            t.store(b.select(t.gate(on, offset), signal, t.zero), t.shifted(z, offset), 0)
        return context.get_dummy_value()

    return signature, generate

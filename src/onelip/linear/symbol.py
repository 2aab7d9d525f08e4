"""Convolutions in frequency space: a matrix per frequency, whose norms bound the operator's.

A convolution with zero padding, seen as y[o] = Σₜ Wₜ x[s·o + shiftₜ] between two boxes with zeros outside,
is a compression of the same sum on a torus that is large enough, and there it is a matrix Ŵ(ω) per frequency
(Sedghi, Gupta, Long, "The Singular Values of Convolutional Layers", ICLR 2019). Stride s: the s phases of
each input axis become channels (polyphase form) and the stride becomes 1. A transposed convolution is the
adjoint of a convolution. Groups are independent maps: the norm is the maximum over them.

Note: rounding of the Gram symbol. With B = Σ|Pₐ| over the cells a, every sum below is one of products whose
absolute values add up to at most BBᵀ, entry by entry: the autocorrelation has inner products of at most
k = columns·cells terms, and G(ω) sums D of its coefficients times a cosine or a sine, which err by at most
PHASE_ERROR. So |computed G − G| ≤ 2·(growth(k) + growth(D + 2) + PHASE_ERROR)·BBᵀ, the 2 for √2 (real and
imaginary part) and for second orders, and ‖computed G − G‖₂ ≤ that factor times ‖B‖_F².
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from onelip.linear.cholesky import growth
from onelip.linear.maps import Convolution

# cos and sin of 2πk/N: k/N exact to one rounding, three more on an angle below 2π for each of at most three
# axes, and a library that errs by at most four units: below 100u in all.
PHASE_ERROR = 2.0**-46


@dataclass(frozen=True)
class Stencil:
    """y[o] = Σₜ Wₜ x[stride·o + shiftₜ], o in the box out_space, x zero outside the box in_space.

    weight: [groups, out, in, taps], float64. shifts: [taps, axes].
    """

    weight: Float[Tensor, "groups out in taps"]
    shifts: Int[Tensor, "taps axes"]
    stride: tuple[int, ...]
    in_space: tuple[int, ...]
    out_space: tuple[int, ...]

    @property
    def cells(self) -> Int[Tensor, "taps axes"]:
        """Shifts in units of the stride, rounded down: what is left of them once phases are channels."""
        return self.shifts.div(torch.tensor(self.stride), rounding_mode="floor")

    @property
    def in_cells(self) -> tuple[int, ...]:
        return tuple(math.ceil(n / s) for n, s in zip(self.in_space, self.stride, strict=True))

    @property
    def torus(self) -> tuple[int, ...]:
        """The smallest torus of cells on which no output inside the box wraps around to the input box."""
        lowest, highest = self.cells.amin(0).tolist(), self.cells.amax(0).tolist()
        sides = zip(self.in_cells, self.out_space, lowest, highest, strict=True)
        return tuple(max(q, q - low, m, m + high) for q, m, low, high in sides)


def stencil(map: Convolution) -> Stencil:
    """The map as a stencil: a transposed one as its adjoint, other paddings than zeros as already applied.

    Taps that only ever meet padding zeros are dropped.
    """
    zeros = map.transposed or map.padding_mode == "zeros"
    before = [a if zeros else 0 for a, _ in map.padding]
    steps = itertools.product(*(range(k) for k in map.kernel))
    shifts = torch.tensor(
        [[d * t - a for d, t, a in zip(map.dilation, step, before, strict=True)] for step in steps]
    )
    near, far = map.out_shape[1:], map.space
    in_space, out_space = (near, far) if map.transposed else (map.padded_space if not zeros else far, near)
    used = torch.ones(len(shifts), dtype=torch.bool)
    for axis, (s, n, m) in enumerate(zip(map.stride, in_space, out_space, strict=True)):
        read = shifts[:, axis, None] + s * torch.arange(m)
        used &= ((read >= 0) & (read < n)).any(1)
    weight = map.weight.reshape(map.groups, -1, map.weight.shape[1], len(shifts))
    return Stencil(weight[..., used.to(weight.device)], shifts[used], map.stride, in_space, out_space)


@dataclass(frozen=True)
class Symbol:
    """ω ↦ Ŵ(ω) = Σₐ Pₐ exp(iω·a), a stencil in polyphase form: columns are input channels times phases."""

    P: Float[Tensor, "groups rows columns cells"]
    cells: Int[Tensor, "cells axes"]

    def at(
        self, frequency: Int[Tensor, "axes"], torus: tuple[int, ...]
    ) -> Complex[Tensor, "groups rows columns"]:
        """Ŵ(2π·frequency/torus), within 2·(PHASE_ERROR + growth(cells + 1))·size in the Frobenius norm."""
        angle = angles(frequency.unsqueeze(0), self.cells, torus)[0].to(self.P.device)
        return torch.complex(self.P @ angle.cos(), self.P @ angle.sin())

    @property
    def size(self) -> float:
        """‖Σₐ|Pₐ|‖_F, at least ‖Ŵ(ω)‖_F at every ω; the largest over groups."""
        B = self.P.abs().sum(-1)
        return float(B.square().sum((1, 2)).max().sqrt()) * (1 + growth(B[0].numel() + len(self.cells) + 10))

    def gram(self) -> GramSymbol:
        """Ŵ(ω)Ŵ(ω)*, or Ŵ(ω)*Ŵ(ω) up to conjugation where that is smaller."""
        X = self.P if self.P.shape[1] <= self.P.shape[2] else self.P.transpose(1, 2)
        displacements, C = _autocorrelation(X, self.cells)
        waves = C.new_zeros(2, *C.shape, 2)
        torch.add(C, C.mT, out=waves[0, ..., 0])
        torch.sub(C, C.mT, out=waves[1, ..., 1])
        waves[0, 0] /= 2  # zero is its own opposite
        size = self.size**2
        factor = growth(X.shape[2] * len(self.cells)) + growth(len(displacements) + 2) + PHASE_ERROR
        return GramSymbol(displacements, waves.flatten(0, 1), size, 2 * factor * size)


@dataclass(frozen=True)
class GramSymbol:
    """ω ↦ G(ω), Gram matrices of a symbol: a trigonometric polynomial with coefficients C_d = Σ P_{b+d}P_bᵀ.

    To sum it costs less than a matrix product for each frequency. As C_{−d} = C_dᵀ, only one d of each pair
    is kept. waves: what cos(ω·d), then what sin(ω·d) adds to each entry's real and imaginary part.
    size: at least ‖G(ω)‖_F. error: at least ‖computed G − G‖₂.
    """

    displacements: Int[Tensor, "D axes"]
    waves: Float[Tensor, "2*D groups r r 2"]
    size: float
    error: float

    @property
    def order(self) -> int:
        return self.waves.shape[2]

    @property
    def entries(self) -> int:
        """Of the matrices at one frequency, all groups together."""
        return self.waves[0, ..., 0].numel()

    def at(
        self, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...]
    ) -> Complex[Tensor, "F groups r r"]:
        """G(2π·frequency/torus)."""
        angle = angles(frequencies, self.displacements, torus).to(self.waves.device)
        parts = torch.cat([angle.cos(), angle.sin()], 1) @ self.waves.flatten(1)
        return torch.view_as_complex(parts.reshape(-1, *self.waves.shape[1:]))


def symbol(stencil: Stencil) -> Symbol:
    """Taps sorted by cell and phase: each is one block of one Pₐ.

    Cells of a phase are counted from its lowest: that turns a column by a phase factor at each frequency,
    which changes no singular value and no left singular vector, and leaves fewer cells.
    """
    phases, phase = stencil.shifts.remainder(torch.tensor(stencil.stride)).unique(dim=0, return_inverse=True)
    lowest = torch.stack([stencil.cells[phase == p].amin(0) for p in range(len(phases))])
    cells, cell = (stencil.cells - lowest[phase]).unique(dim=0, return_inverse=True)
    groups, rows, columns, _ = stencil.weight.shape
    P = stencil.weight.new_zeros(groups, rows, columns, len(phases), len(cells))
    P[:, :, :, phase, cell] = stencil.weight
    return Symbol(P.flatten(2, 3), cells)


def angles(
    frequencies: Int[Tensor, "F axes"], cells: Int[Tensor, "cells axes"], torus: tuple[int, ...]
) -> Float[Tensor, "F cells"]:
    """ω·a in [0, 2π·axes), from exact integers modulo the torus."""
    turns = (frequencies.unsqueeze(1) * cells.unsqueeze(0)).remainder(torch.tensor(torus))
    return (2 * math.pi * (turns.double() / torch.tensor(torus))).sum(-1)


def _autocorrelation(
    X: Float[Tensor, "groups r c cells"], cells: Int[Tensor, "cells axes"]
) -> tuple[Int[Tensor, "D axes"], Float[Tensor, "D groups r r"]]:
    """One displacement d of each pair ±d, zero first, and C_d = Σ X_a X_bᵀ over the cells with a − b = d."""
    pairs: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    places = cells.tolist()
    for a, b in itertools.product(range(len(places)), repeat=2):
        d = tuple(p - q for p, q in zip(places[a], places[b], strict=True))
        if d >= (0,) * len(d):
            pairs.setdefault(d, []).append((a, b))
    X = X.movedim(-1, 0).contiguous()
    C = X.new_zeros(len(pairs), *X.shape[1:3], X.shape[2])
    for total, pair in zip(C, pairs.values(), strict=True):
        for a, b in pair:
            total.baddbmm_(X[a], X[b].mT)
    return torch.tensor(list(pairs)), C


def half_spectrum(torus: tuple[int, ...]) -> tuple[Int[Tensor, "F axes"], Int[Tensor, "*torus"]]:
    """One frequency of each pair ±ω (a real kernel's symbols there are conjugate), and, for each frequency
    of the torus, the row of its representative.

    >>> half_spectrum((4,))
    (tensor([[0], [1], [2]]), tensor([0, 1, 2, 1]))
    """
    grid = torch.cartesian_prod(*(torch.arange(n) for n in torus)).reshape(-1, len(torus))
    index = torch.arange(len(grid)).reshape(torus)
    axes = tuple(range(len(torus)))
    mirrored = index.flip(axes).roll((1,) * len(torus), axes)
    chosen, row = torch.minimum(index, mirrored).unique(return_inverse=True)
    return grid[chosen], row


def fading_wave(
    frequency: Int[Tensor, "axes"], torus: tuple[int, ...], box: tuple[int, ...]
) -> Complex[Tensor, "*box"]:
    """exp(iω·o) over a box of the torus, times half a sine along each axis that the box cuts short: it fades
    towards the rim as singular vectors do."""
    wave = torch.ones((), dtype=torch.complex64)
    for turn, n, m in zip(frequency.tolist(), torus, box, strict=True):
        o = torch.arange(m, dtype=torch.float32)
        fade = torch.sin(math.pi * (o + 1) / (m + 1)) if m < n else torch.ones_like(o)
        wave = wave.unsqueeze(-1) * torch.polar(fade, 2 * math.pi * turn / n * o)
    return wave


def near_singular(
    stencil: Stencil, frequency: Int[Tensor, "axes"], torus: tuple[int, ...]
) -> Float[Tensor, "2 channels *out_space"]:
    """Real and imaginary part of u ⊗ fading wave, u the leading left singular vector of Ŵ(ω): their span is a
    start for the search from below, and no more than that."""
    A = symbol(stencil).at(frequency, torus).to(torch.complex64)
    eigenvalues, eigenvectors = torch.linalg.eigh(A @ A.mH)
    group = int(eigenvalues[:, -1].argmax())
    u = torch.zeros_like(A[..., 0])
    u[group] = eigenvectors[group, :, -1]
    wave = torch.tensordot(u.flatten(), fading_wave(frequency, torus, stencil.out_space).to(u), 0)
    return torch.stack([wave.real, wave.imag])


def symbol_lower_bound(symbol: Symbol, frequency: Int[Tensor, "axes"], torus: tuple[int, ...]) -> float:
    """A number ≤ ‖Ŵ(ω)‖₂, which large images approach: ‖Ŵv‖/‖v‖ for the leading v, less all rounding."""
    A = symbol.at(frequency, torus)
    v = torch.linalg.svd(A, full_matrices=False).Vh[:, 0].conj()
    images = torch.linalg.vector_norm(torch.einsum("gij,gj->gi", A, v), dim=1)
    ratio = float((images / torch.linalg.vector_norm(v, dim=1).clamp_min(0.5)).max())
    error = 2 * (PHASE_ERROR + growth(len(symbol.cells) + 1)) + 8 * growth(A[0].numel() + 4)
    return max(0.0, ratio * (1 - 2.0**-40) - error * symbol.size)

"""Convolutions in frequency space: a matrix per frequency, whose norms bound the operator's.

A convolution with zero padding, seen as y[o] = Σₜ Wₜ x[s·o + shiftₜ] between two boxes with zeros outside,
is a compression of the same sum on a torus that is large enough, and there it is a matrix Ŵ(ω) per frequency
(Sedghi, Gupta, Long, "The Singular Values of Convolutional Layers", ICLR 2019). Stride s: the s phases of
each input axis become channels (polyphase form) and the stride becomes 1. A transposed convolution is the
adjoint of a convolution. Groups are independent maps: the norm is the maximum over them.
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
    def phases(self) -> Int[Tensor, "taps axes"]:
        return self.shifts.remainder(torch.tensor(self.stride))

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


def symbols(
    stencil: Stencil, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...]
) -> Complex[Tensor, "groups F out columns"]:
    """Ŵ(ω) at ω = 2π·frequency/torus, one column block a phase of the stride; error: symbol_error."""
    W = stencil.weight
    groups, rows, _, _ = W.shape
    turns = (frequencies.unsqueeze(0) * stencil.cells.unsqueeze(1)).remainder(torch.tensor(torus))
    angle = (2 * math.pi * (turns.double() / torch.tensor(torus))).sum(-1).to(W.device)
    cos, sin = angle.cos(), angle.sin()
    blocks = []
    for phase in stencil.phases.unique(dim=0):
        taps = (stencil.phases == phase).all(1).to(W.device)
        real, imaginary = W[..., taps] @ cos[taps], W[..., taps] @ sin[taps]
        blocks.append(torch.complex(real, imaginary).permute(0, 3, 1, 2))
    return torch.cat(blocks, -1).reshape(groups, len(frequencies), rows, -1)


def symbol_size(stencil: Stencil) -> float:
    """‖Σₜ|Wₜ|‖_F, at least the Frobenius norm of Ŵ at every frequency; the largest over groups."""
    mass = stencil.weight.abs().sum(-1)
    return float(mass.square().sum((1, 2)).max().sqrt()) * (1 + growth(mass[0].numel() + 10))


def symbol_error(stencil: Stencil) -> float:
    """Bound on ‖computed Ŵ(ω) − Ŵ(ω)‖_F: the phases' error and that of a sum over the taps."""
    return (PHASE_ERROR + 2 * growth(len(stencil.shifts))) * symbol_size(stencil)


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


def plane_wave(
    stencil: Stencil, frequency: Int[Tensor, "axes"], torus: tuple[int, ...], window: bool = True
) -> Float[Tensor, "channels *out_space"]:
    """Re(exp(iω·o) u) over the box of outputs, u the leading left singular vector of Ŵ(ω).

    A near-singular vector of the map, the nearer if half a sine along each axis lets it fade at the rim.
    """
    A = symbols(stencil, frequency.unsqueeze(0), torus)[:, 0]
    U, S, _ = torch.linalg.svd(A, full_matrices=False)
    u = torch.zeros_like(A[..., 0])
    group = S[:, 0].argmax()
    u[group] = U[group, :, 0]
    wave = u.flatten()
    for turn, n, m in zip(frequency.tolist(), torus, stencil.out_space, strict=True):
        o = torch.arange(m, dtype=torch.float64, device=wave.device)
        fade = torch.sin(math.pi * (o + 1) / (m + 1)) if window else torch.ones_like(o)
        wave = wave.unsqueeze(-1) * torch.polar(fade, 2 * math.pi * turn / n * o)
    return wave.real


def symbol_lower_bound(stencil: Stencil, frequency: Int[Tensor, "axes"], torus: tuple[int, ...]) -> float:
    """A number ≤ ‖Ŵ(ω)‖₂, which large images approach: ‖Ŵv‖/‖v‖ for the leading v, less all rounding."""
    A = symbols(stencil, frequency.unsqueeze(0), torus)[:, 0]
    v = torch.linalg.svd(A, full_matrices=False).Vh[:, 0].conj()
    images = torch.linalg.vector_norm(torch.einsum("gij,gj->gi", A, v), dim=1)
    ratio = float((images / torch.linalg.vector_norm(v, dim=1).clamp_min(0.5)).max())
    slack = symbol_error(stencil) + 8 * growth(A[0].numel() + 4) * symbol_size(stencil)
    return max(0.0, ratio * (1 - 2.0**-40) - slack)

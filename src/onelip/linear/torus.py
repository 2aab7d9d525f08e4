"""Upper bounds on the norm of a convolution from its symbols on a torus.

Circular bound: zero padding is a compression of a circular convolution, so its norm is at most
max_ω‖Ŵ(ω)‖. Envelope bound: with f(ω) ≥ ‖Ŵ(ω)‖² and x supported in a box of the torus, Parseval gives
‖Ax‖² ≤ mean_ω f(ω)‖x̂(ω)‖² = ⟨x, (T ⊗ I) x⟩, where T is the circulant operator of f cut down to the box, one
scalar a pair of pixels. Hence ‖A‖² ≤ λ_max(T) ≤ max f: what the box takes away from a plane wave is
credited, only the turning of singular vectors with ω is not. T is as large as the image, not the channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from onelip.linear.cholesky import (
    OUTWARD,
    growth,
    leading_eigenvalues,
    proved_squares,
    proves,
    square_bound,
)
from onelip.linear.lower import most_stretched
from onelip.linear.maps import Dense
from onelip.linear.power import lanczos
from onelip.linear.symbol import PHASE_ERROR, Stencil, Symbol, fading_wave, half_spectrum, symbol

ENVELOPE_STEPS = 12
# Most frequencies lie below this share of the peak. One factorisation at that level costs less than their
# eigenvalues, and the envelope some hundredths of a percent.
BULK = 0.95
# Beyond this many pixels the envelope costs more than the ~1/size² that it could still take off.
ENVELOPE_PIXELS = 1024
# On a larger torus the supremum over all frequencies costs less than its grid, and is hardly larger.
LARGE_TORUS = 8192
# Entries of Gram matrices that are held at a time.
PORTION = 2**24
# The search for the supremum over all frequencies ends with the width that it has at this many cells, or at
# fewer where a portion holds fewer.
EVERY_SIZE_CELLS = 2**16


class FrequencyBound(NamedTuple):
    """A proved upper bound, and where on which torus the symbol was largest: a start for a lower bound."""

    upper: float
    peak: Int[Tensor, "axes"]
    torus: tuple[int, ...]


def squared_norms(
    symbol: Symbol, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...], rtol: float, bulk: float = 0.0
) -> Float[Tensor, "F"]:
    """Proved f(ω) ≥ ‖Ŵ(ω)‖², the largest over groups, within about rtol, or at `bulk` of the peak where it is
    less; in portions of bounded size.
    """
    portion = max(1, PORTION // symbol.gram_size)
    return torch.cat([_squared_norms(symbol, part, torus, rtol, bulk) for part in frequencies.split(portion)])


def _squared_norms(
    symbol: Symbol, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...], rtol: float, bulk: float
) -> Float[Tensor, "F"]:
    G, error = symbol.grams(frequencies, torus)
    F, groups, n, _ = G.shape
    G = G.reshape(F * groups, n, n)
    t = proved_squares(G, leading_eigenvalues(G), rtol) if bulk == 0 else _bulk_squares(G, rtol, bulk)
    return square_bound(t, n, error).reshape(F, groups).amax(1)


def _bulk_squares(G: Complex[Tensor, "batch n n"], rtol: float, bulk: float) -> Float[Tensor, "batch"]:
    """Proved t with t·I − G ≥ 0: first one common level for all, then one by one what lies above it."""
    level = bulk * leading_eigenvalues(G[::4]).max()
    t = level.repeat(len(G))
    above = (~proves(G, t)).nonzero().squeeze(1)
    if len(above):
        t[above] = proved_squares(G[above], leading_eigenvalues(G[above]), rtol)
    return t


def circular_bound(stencil: Stencil, torus: tuple[int, ...], rtol: float) -> FrequencyBound:
    """Proved max_ω‖Ŵ(ω)‖ over the frequencies of a torus."""
    if math.prod(torus) > LARGE_TORUS:
        return every_size_bound(stencil, rtol)
    frequencies, _ = half_spectrum(torus)
    square, peak = squared_norms(symbol(stencil), frequencies, torus, rtol, BULK).cpu().max(0)
    return FrequencyBound(math.sqrt(square) * OUTWARD, frequencies[peak], torus)


def every_size_bound(stencil: Stencil, rtol: float) -> FrequencyBound:
    """Proved sup_ω‖Ŵ(ω)‖ over all ω: at least the norm at every size, with zeros or on any torus.

    Note: modulus of continuity. Let the supremum S be attained at ω* in a cell of the frequency cube with
    centre g and half-widths hᵢ, with unit u, v: p(ω) = u*Ŵ(ω)v has |p| ≤ S everywhere and |p(ω*)| = S. Along
    the straight line from ω* to g, of direction d, q = |p|² − S²/2 is a real function of exponential type
    Σ Lᵢ|dᵢ| with Lᵢ = highest − lowest cell of axis i; |q| ≤ S²/2 is attained at ω*. By Duffin & Schaeffer
    ("Some inequalities concerning functions of exponential type", 1937) it falls no faster than a cosine of
    that type: |p(g)| ≥ S·cos(½ Σ Lᵢhᵢ) while the angle is below π/2. So S ≤ the maximum over any cells that
    cover the cube of ‖Ŵ(g)‖/cos(½ Σ Lᵢhᵢ), and a cell whose own quotient is small holds no S. (A product of
    cosines, axis by axis, is no bound for a single cell: q need not peak at ω* along the second axis once the
    first has moved.) Pfister & Bresler, "Bounding Multivariate Trigonometric Polynomials", IEEE Trans. Signal
    Processing 2019, bound the same maximum on a uniform grid; here only cells that can hold it are halved.
    """
    form = symbol(stencil)
    most_cells = min(EVERY_SIZE_CELLS, PORTION // form.gram_size)
    span = (form.cells.amax(0) - form.cells.amin(0)).tolist()
    counts = tuple(4 * L if L else 1 for L in span)
    cells = torch.cartesian_prod(*(torch.arange(n) for n in counts)).reshape(-1, len(counts))
    cells = cells[_not_mirrored(cells, counts)]
    bound, best, peak, peak_torus = 0.0, -1.0, cells[0], counts
    while len(cells):
        centre, torus = 2 * cells + 1, tuple(2 * n for n in counts)
        angle = sum(math.pi * L / (2 * n) for L, n in zip(span, counts, strict=True))
        loss = math.cos(angle) * (1 - 2.0**-48)
        norm = squared_norms(form, centre, torus, rtol / 4).sqrt().cpu() * OUTWARD
        if norm.max() > best:
            best, peak, peak_torus = float(norm.max()), centre[norm.argmax()], torus
        halve = norm / loss > best * (1 + rtol / 2)
        if 2 ** len(counts) * int(halve.sum()) > most_cells:
            halve[:] = False
        bound = max([bound, *(norm / loss)[~halve].tolist()])
        cells, counts = _halved(cells[halve], counts, span)
    return FrequencyBound(bound * OUTWARD, peak, peak_torus)


def _not_mirrored(cells: Int[Tensor, "F axes"], counts: tuple[int, ...]) -> Bool[Tensor, "F"]:
    """One cell of each pair ±: a real kernel has conjugate symbols there."""
    place = torch.tensor([math.prod(counts[axis + 1 :]) for axis in range(len(counts))])
    return (cells * place).sum(1) <= ((torch.tensor(counts) - 1 - cells) * place).sum(1)


def _halved(
    cells: Int[Tensor, "F axes"], counts: tuple[int, ...], span: list[int]
) -> tuple[Int[Tensor, "_ axes"], tuple[int, ...]]:
    """Each cell in two along every axis on which the symbol varies at all."""
    parts = [2 if L else 1 for L in span]
    offsets = torch.cartesian_prod(*(torch.arange(part) for part in parts)).reshape(-1, len(parts))
    children = (cells * torch.tensor(parts)).unsqueeze(1) + offsets.unsqueeze(0)
    return children.flatten(0, 1), tuple(n * part for n, part in zip(counts, parts, strict=True))


def zero_padded_bound(stencil: Stencil, rtol: float) -> FrequencyBound:
    """Proved bound on the norm of the stencil between its boxes: circular, and the envelope where cheap."""
    torus = stencil.torus
    if math.prod(torus) > LARGE_TORUS:
        return every_size_bound(stencil, rtol)
    frequencies, row = half_spectrum(torus)
    half = squared_norms(symbol(stencil), frequencies, torus, rtol, BULK)
    square, peak = half.max(0)
    box = min(stencil.in_cells, stencil.out_space, key=math.prod)
    if math.prod(box) <= ENVELOPE_PIXELS:
        f = half[row.to(half.device)].reshape(torus)
        square = torch.minimum(square, envelope_square(f, box, rtol))
    return FrequencyBound(math.sqrt(square) * OUTWARD, frequencies[peak.cpu()], torus)


def envelope_square(f: Float[Tensor, "*torus"], box: tuple[int, ...], rtol: float) -> Float[Tensor, ""]:
    """Proved bound on λ_max of the circulant operator of f ≥ 0 (f(ω) = f(−ω)) cut down to a box."""
    kernel, error = _inverse_transform(f)
    T = kernel
    for axis, n in enumerate(box):
        apart = (torch.arange(n)[:, None] - torch.arange(n)[None, :]).remainder(f.shape[axis]).to(f.device)
        T = T.index_select(2 * axis, apart.flatten()).unflatten(2 * axis, (n, n))
    pixels = math.prod(box)
    T = T.permute(*range(0, T.ndim, 2), *range(1, T.ndim, 2)).reshape(1, pixels, pixels)
    peak = torch.stack(torch.unravel_index(f.argmax().cpu(), f.shape))
    single, wave = Dense(T[0].float()), fading_wave(peak, tuple(f.shape), box).flatten().to(T.device)
    start = most_stretched(single, torch.stack([wave.real, wave.imag]))
    estimate = lanczos(single, start, ENVELOPE_STEPS).sigma
    t = proved_squares(T, estimate.double().reshape(1), rtol / 4)
    # An error in each entry of a row of T.
    return square_bound(t, pixels, 2 * pixels * error)[0]


def _inverse_transform(f: Float[Tensor, "*torus"]) -> tuple[Float[Tensor, "*torus"], float]:
    """mean_ω f(ω) exp(iω·d) for each displacement d, axis by axis, with a bound on each entry's error."""
    kernel, error = f.to(torch.complex128), 0.0
    for n in f.shape:
        turns = (torch.arange(n)[:, None] * torch.arange(n)[None, :]).remainder(n)
        angle = (2 * math.pi * (turns.double() / n)).to(f.device)
        wave = torch.polar(torch.full_like(angle, 1 / n), angle)
        kernel = kernel.movedim(0, -1) @ wave  # after the last axis all are back in place
        error += 2 * (PHASE_ERROR + growth(n + 2))
    return kernel.real, error * float(f.max())

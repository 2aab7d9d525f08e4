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
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onelip.linear.cholesky import (
    OUTWARD,
    SINGLE_U,
    U,
    growth,
    leading_eigenvalues,
    proved_squares,
    proves,
    square_bound,
)
from onelip.linear.symbol import PHASE_ERROR, GramSymbol, Stencil, half_spectrum, symbol

# Between these shares of the peak lies a level that most frequencies are below. One factorisation there costs
# less than a search for each one's own, and the envelope some hundredths of a percent; single precision may
# add no more to the level than would bring it to the peak.
LOWEST_LEVEL, HIGHEST_LEVEL, SINGLE_LOSS = 0.96, 0.98, 0.02
# Beyond this many pixels the envelope costs more than the ~1/size² that it could still take off.
ENVELOPE_PIXELS = 1024
# On a larger torus the supremum over all frequencies costs less than its grid, and is hardly larger.
LARGE_TORUS = 8192
# Entries of Gram matrices that are held at a time, and that a processor's cache holds.
PORTION, CACHED = 2**24, 2**17
# Frequencies, at least, and steps of Lanczos: enough for a level to within some percent.
SAMPLE, LEVEL_STEPS = 16, 12
# The search for the supremum over all frequencies ends with the width that it has at this many cells, or at
# fewer where a portion holds fewer.
EVERY_SIZE_CELLS = 2**16


class FrequencyBound(NamedTuple):
    """A proved upper bound, and where on which torus the symbol was largest: a start for a lower bound."""

    upper: float
    peak: Int[Tensor, "axes"]
    torus: tuple[int, ...]


def squared_norms(
    gram: GramSymbol, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...], rtol: float
) -> Float[Tensor, "F"]:
    """Proved f(ω) ≥ ‖Ŵ(ω)‖², the largest over groups, within about rtol; in portions of bounded size."""
    portion = max(1, PORTION // gram.entries)
    return torch.cat([_squared_norms(gram, part, torus, rtol) for part in frequencies.split(portion)])


def _squared_norms(
    gram: GramSymbol, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...], rtol: float
) -> Float[Tensor, "F"]:
    G = gram.at(frequencies, torus).flatten(0, 1)
    t = leading_eigenvalues(G) * (1 + rtol)
    refused = (~proves(G, t)).nonzero().squeeze(1)
    if len(refused):
        t[refused] = proved_squares(G[refused], torch.linalg.eigvalsh(G[refused])[:, -1], rtol)
    return square_bound(t, gram.order, gram.error).reshape(len(frequencies), -1).amax(1)


def peak_squared_norms(
    gram: GramSymbol, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...], rtol: float
) -> Float[Tensor, "F"]:
    """Proved f(ω) ≥ ‖Ŵ(ω)‖², sharp near its peak only: what one factorisation finds below a common level is
    given that level. In single precision, as long as that adds little."""
    level = _level(gram, frequencies, torus)
    n, u, precision = gram.order, U, torch.complex128
    if gram.size >= 1 and n * growth(n + 5, SINGLE_U) < SINGLE_LOSS:
        u, precision = SINGLE_U, torch.complex64
    below = []
    for part in frequencies.split(max(1, CACHED // gram.entries)):
        G = gram.at(part, torus).flatten(0, 1)
        t = G.real.new_full((len(G),), level)
        below.append(proves(G.to(precision), t).reshape(len(part), -1).all(1))
    bound = square_bound(level, n, gram.error + 4 * u * gram.size, u)
    f = gram.waves.new_full((len(frequencies),), bound)
    above = (~torch.cat(below)).nonzero().squeeze(1).cpu()
    if len(above):
        f[above] = squared_norms(gram, frequencies[above], torus, rtol)
    return f


def _level(gram: GramSymbol, frequencies: Int[Tensor, "F axes"], torus: tuple[int, ...]) -> float:
    """Roughly what three quarters of the squared norms lie below, but neither low nor at the peak."""
    count = min(max(SAMPLE, len(frequencies) // 4), 1 + PORTION // gram.entries)
    shuffled = torch.randperm(len(frequencies), generator=torch.Generator().manual_seed(0))
    G = gram.at(frequencies[shuffled[:count]], torus)
    sample = leading_eigenvalues(G.flatten(0, 1), LEVEL_STEPS).reshape(len(G), -1).amax(1)
    peak, most = float(sample.max()), float(sample.quantile(0.75))
    return min(max(most, LOWEST_LEVEL * peak), HIGHEST_LEVEL * peak)


def circular_bound(
    stencil: Stencil, torus: tuple[int, ...], rtol: float, box: tuple[int, ...] | None = None
) -> FrequencyBound:
    """Proved max_ω‖Ŵ(ω)‖ over the frequencies of a torus, or the envelope bound for a box of it where that is
    cheap and smaller."""
    if math.prod(torus) > LARGE_TORUS:
        return every_size_bound(stencil, rtol)
    frequencies, row = half_spectrum(torus)
    half = peak_squared_norms(symbol(stencil).gram(), frequencies, torus, rtol)
    square, peak = half.max(0)
    if box is not None and math.prod(box) <= ENVELOPE_PIXELS:
        f = half[row.to(half.device)].reshape(torus)
        square = torch.minimum(square, envelope_square(f, box, rtol))
    return FrequencyBound(math.sqrt(square) * OUTWARD, frequencies[peak.cpu()], torus)


def zero_padded_bound(stencil: Stencil, rtol: float) -> FrequencyBound:
    """Proved bound on the norm of the stencil between its boxes."""
    box = min(stencil.in_cells, stencil.out_space, key=math.prod)
    return circular_bound(stencil, stencil.torus, rtol, box)


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
    gram = form.gram()
    most_cells = min(EVERY_SIZE_CELLS, PORTION // gram.entries)
    span = (form.cells.amax(0) - form.cells.amin(0)).tolist()
    counts = tuple(4 * L if L else 1 for L in span)
    cells = torch.cartesian_prod(*(torch.arange(n) for n in counts)).reshape(-1, len(counts))
    cells = cells[_not_mirrored(cells, counts)]
    bound, best, peak, peak_torus = 0.0, -1.0, cells[0], counts
    while len(cells):
        centre, torus = 2 * cells + 1, tuple(2 * n for n in counts)
        angle = sum(math.pi * L / (2 * n) for L, n in zip(span, counts, strict=True))
        loss = math.cos(angle) * (1 - 2.0**-48)
        norm = squared_norms(gram, centre, torus, rtol / 4).sqrt().cpu() * OUTWARD
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


def envelope_square(f: Float[Tensor, "*torus"], box: tuple[int, ...], rtol: float) -> Float[Tensor, ""]:
    """Proved bound on λ_max of the circulant operator of f ≥ 0 (f(ω) = f(−ω)) cut down to a box."""
    kernel, error = _inverse_transform(f)
    T = kernel
    for axis, n in enumerate(box):
        apart = (torch.arange(n)[:, None] - torch.arange(n)[None, :]).remainder(f.shape[axis]).to(f.device)
        T = T.index_select(2 * axis, apart.flatten()).unflatten(2 * axis, (n, n))
    pixels = math.prod(box)
    T = T.permute(*range(0, T.ndim, 2), *range(1, T.ndim, 2)).reshape(pixels, pixels)
    halves = _reflected(T)
    peak = leading_eigenvalues(halves).max()
    t = proved_squares(halves, peak.repeat(2), rtol / 4).max()
    # An error in each entry of a row of T; two entries of T and three roundings make one of a half.
    return square_bound(t, pixels, 2 * pixels * (error + growth(5) * float(f.max())))


def _reflected(T: Float[Tensor, "n n"]) -> Float[Tensor, "2 m m"]:
    """Two matrices that together have the eigenvalues of T, and zero: T commutes with the reflection J of the
    box in its centre, so that even and odd vectors, given by their first halves, stay apart."""
    n = len(T)
    m = (n + 1) // 2
    ahead, across = T[:m, :m], T[:m, n - m :].flip(1)
    halves = torch.stack([ahead + across, ahead - across])
    if n % 2:  # the centre is its own mirror image, of length 1 instead of √2
        halves[:, -1] *= math.sqrt(0.5)
        halves[:, :, -1] *= math.sqrt(0.5)
    return halves


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

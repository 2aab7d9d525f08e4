"""The pieces that a proof is made of, each against a dense oracle, and proofs that must not succeed."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onelip.linear.assembled import block_gram
from onelip.linear.cholesky import (
    SINGLE_U,
    dense_gram,
    growth,
    leading_eigenvalues,
    proved_squares,
    proves,
    square_bound,
)
from onelip.linear.layers import linear_map
from onelip.linear.lower import attained
from onelip.linear.power import start_vector
from onelip.linear.symbol import half_spectrum, stencil, symbol, symbol_lower_bound
from onelip.linear.torus import (
    _reflected,
    circular_bound,
    every_size_bound,
    peak_squared_norms,
    zero_padded_bound,
)

LAYERS = [
    (nn.Conv1d(2, 3, 4, padding=2), (2, 9)),
    (nn.Conv1d(3, 2, 3, stride=2, padding=4, dilation=3), (3, 8)),
    (nn.Conv2d(4, 6, (2, 3), stride=(2, 1), padding=1, groups=2), (4, 5, 4)),
    (nn.Conv2d(1, 2, 5, padding=1), (1, 3, 4)),
    (nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 3, 4)),
    (nn.Conv3d(1, 2, 2, stride=2, padding=1), (1, 3, 2, 4)),
]
PADDED = [
    (nn.Conv1d(2, 3, 4, padding=3, padding_mode="reflect"), (2, 7)),
    (nn.Conv2d(2, 4, 3, stride=2, padding=2, groups=2, padding_mode="replicate"), (2, 4, 5)),
    (nn.Conv2d(2, 2, 3, dilation=2, padding=2, padding_mode="circular"), (2, 4, 5)),
]


def random_map(layer, shape):
    generator = torch.Generator().manual_seed(1)
    return linear_map(layer, shape, torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_bounds_from_symbols_follow_each_other(layer, shape):
    map = random_map(layer, shape)
    parts = stencil(map)
    sigma = float(torch.linalg.matrix_norm(map.dense(), 2))
    zero_padded = zero_padded_bound(parts, 1e-6).upper
    circular = circular_bound(parts, parts.torus, 1e-6).upper
    every_size = every_size_bound(parts, 1e-3)
    assert sigma <= zero_padded <= circular * (1 + 1e-6)
    assert circular <= every_size.upper * (1 + 1e-6)
    lower = symbol_lower_bound(symbol(parts), every_size.peak, every_size.torus)
    # In three dimensions the number of frequency cells ends the search first.
    assert lower <= every_size.upper <= lower * (1 + (1e-3 if len(shape) < 4 else 2e-2))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_the_symbol_on_the_torus_is_the_operator_on_the_torus(layer, shape):
    parts = stencil(random_map(layer, shape))
    groups, rows, columns, _ = parts.weight.shape
    torus = parts.torus
    sites = list(itertools.product(*(range(n) for n in torus)))
    fine = torch.Size([n * s for n, s in zip(torus, parts.stride, strict=True)])
    A = torch.zeros(groups, len(sites), rows, *fine, columns, dtype=torch.float64)
    for o, site in enumerate(sites):
        for t, shift in enumerate(parts.shifts.tolist()):
            at = tuple((s * x + d) % n for s, x, d, n in zip(parts.stride, site, shift, fine, strict=True))
            A[(slice(None), o, slice(None), *at)] += parts.weight[..., t]
    expected = torch.linalg.matrix_norm(A.reshape(groups, len(sites) * rows, -1), 2).max()
    bound = circular_bound(parts, torus, 1e-6).upper
    assert expected <= bound <= expected * (1 + 1e-6)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_gram_symbols_are_products_of_symbols(layer, shape):
    parts = stencil(random_map(layer, shape))
    form, (frequencies, _) = symbol(parts), half_spectrum(parts.torus)
    gram = form.gram()
    for frequency, G in zip(frequencies, gram.at(frequencies, parts.torus), strict=True):
        singular = torch.linalg.svdvals(form.at(frequency, parts.torus))
        eigenvalues = torch.linalg.eigvalsh(G).flip(-1).clamp_min(0).sqrt()
        torch.testing.assert_close(eigenvalues, singular, rtol=1e-6, atol=1e-6)
        assert (torch.linalg.matrix_norm(G) <= gram.size).all()
    assert 0 < gram.error < 1e-10


@pytest.mark.parametrize(("layer", "shape"), [*LAYERS, *PADDED], ids=str)
def test_block_cholesky_succeeds_just_above_the_norm_and_fails_just_below(layer, shape):
    map = random_map(layer, shape)
    square = float(torch.linalg.matrix_norm(map.dense(), 2)) ** 2
    gram = block_gram(map)
    assert gram.proves(square * (1 + 1e-9))
    assert not gram.proves(square * (1 - 1e-9))
    assert gram.error < 1e-9 * square


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.floats(1e-3, 1.0))
@settings(max_examples=60, deadline=None)
def test_cholesky_proves_nothing_below_the_norm(m, n, seed, fraction):
    A = torch.randn(m, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    gram, square = dense_gram(A), float(torch.linalg.matrix_norm(A, 2)) ** 2
    assert not gram.proves(square * fraction * (1 - 1e-12))
    assert gram.proves(square * (1 + 1e-9))
    t = proved_squares(gram.G.unsqueeze(0), torch.tensor([square * fraction], dtype=torch.float64), 1e-3)
    assert proves(gram.G.unsqueeze(0), t).all()
    assert square_bound(t, gram.order, gram.error) >= square


@pytest.mark.parametrize("n", [3, 40, 120])
def test_what_single_precision_lets_pass_stays_within_its_bound(n):
    passed_below = 0
    for seed in range(20):
        A = torch.randn(n, n, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed)) / n**0.5
        G = A @ A.mH
        square, size = float(torch.linalg.eigvalsh(G)[-1]), float(torch.linalg.matrix_norm(G))
        single = G.to(torch.complex64).expand(24, n, n)
        t = square * (1 - torch.logspace(-9, -3, 24, dtype=torch.float64))
        succeeded = t[proves(single, t)].tolist()
        assert all(square <= square_bound(below, n, 4 * SINGLE_U * size, SINGLE_U) for below in succeeded)
        assert proves(single[:1], torch.tensor([square * (1 + 1e-4)])).all()
        passed_below += len(succeeded)
    assert passed_below > 0  # rounding does let some pass, so that the bound was put to the test


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_a_common_level_bounds_what_lies_below_it_and_leaves_the_peak_sharp(layer, shape):
    parts = stencil(random_map(layer, shape))
    gram, (frequencies, _) = symbol(parts).gram(), half_spectrum(parts.torus)
    truth = torch.linalg.eigvalsh(gram.at(frequencies, parts.torus))[..., -1].amax(1)
    f = peak_squared_norms(gram, frequencies, parts.torus, 1e-5)
    assert (truth * (1 - 1e-12) <= f).all()
    assert f.max() <= truth.max() * (1 + 2e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_halves_of_a_reflected_matrix_have_its_eigenvalues(n):
    T = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    T = T + T.T
    T = T + T.flip(0, 1)
    found = torch.linalg.eigvalsh(_reflected(T)).flatten().sort().values
    expected = torch.cat([torch.linalg.eigvalsh(T), torch.zeros(n % 2, dtype=T.dtype)]).sort().values
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("n", "rank"), [(1, 1), (3, 0), (3, 1), (3, 2), (64, 1), (64, 2), (64, 64)])
def test_estimates_of_leading_eigenvalues_are_good_to_single_precision(n, rank, dtype):
    A = torch.randn(200, n, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    G = (A @ A.mT).to(dtype)
    if G.is_complex():  # an imaginary part so small that its square is no float32, where all else may cancel
        G += 1e-24j * (A.flip(1) @ A.mT - A @ A.flip(1).mT)
    truth = torch.linalg.eigvalsh(G)[:, -1]
    torch.testing.assert_close(leading_eigenvalues(G, steps=32), truth, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-10, 1e-20, 1e-30, 1e-40, 0.0])
def test_estimates_for_matrices_of_rounding_are_finite_and_no_larger(scale):
    A = torch.randn(300, 4, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    for G in (scale * (A + A.mH), -scale * torch.eye(4).expand_as(A).to(A), scale * torch.ones_like(A)):
        largest = torch.linalg.eigvalsh(G)[:, -1].clamp_min(0)
        assert (leading_eigenvalues(G) <= largest * (1 + 1e-5) + 1e-6 * scale + 1e-15).all()


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_an_attained_value_is_below_the_norm(seed):
    layer, shape = LAYERS[seed % len(LAYERS)]
    map = random_map(layer, shape)
    A = map.dense()
    v = torch.linalg.svd(A).Vh[0].reshape(map.in_shape) + 1e-9 * start_vector(map, seed)
    sigma = float(torch.linalg.matrix_norm(A, 2))
    assert sigma * (1 - 1e-9) <= attained(map, v) <= sigma * (1 + 32 * max(A.shape) * 2.0**-53)


def test_growth_dominates_the_sharp_constants():
    for k in (1, 10, 10**6):
        gamma = 3 * k * 2.0**-53 / (1 - 3 * k * 2.0**-53)
        assert gamma <= growth(k)

"""Lower bounds: never above the dense SVD, and Lanczos never below power iteration of the same length."""

import pytest
import torch

from onelip.linear.maps import Dense
from onelip.linear.power import lanczos, power_iteration, start_vector

MATRICES = {
    "random": torch.randn(40, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    "wide": torch.randn(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
    "rank one": torch.outer(torch.arange(1.0, 8), torch.arange(1.0, 5)).double(),
    "identity": torch.eye(6, dtype=torch.float64),
    "scalar": torch.tensor([[-3.0]], dtype=torch.float64),
}  # fmt: skip
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("name", MATRICES)
def test_lanczos_is_exact_once_the_krylov_space_is_exhausted(name, scale, dtype):
    map = Dense(scale * MATRICES[name].to(dtype))
    truth = torch.linalg.matrix_norm(map.weight, 2)
    triple = lanczos(map, start_vector(map), steps=35)
    torch.testing.assert_close(triple.sigma, truth, rtol=ROUNDING[dtype], atol=0.0)
    torch.testing.assert_close(triple.v.norm(), torch.ones((), dtype=dtype), rtol=ROUNDING[dtype], atol=0.0)
    attained = triple.u @ map.apply(triple.v.unsqueeze(0)).squeeze(0)
    torch.testing.assert_close(attained, triple.sigma, rtol=ROUNDING[dtype], atol=0.0)


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 8, 16])
def test_lanczos_lies_between_power_iteration_and_the_norm(steps):
    map = Dense(MATRICES["random"])
    v = start_vector(map)
    truth = torch.linalg.matrix_norm(map.weight, 2)
    sigma = lanczos(map, v, steps).sigma
    assert power_iteration(map, v, steps).sigma * (1 - 1e-12) <= sigma <= truth * (1 + 1e-12)


def test_a_converged_start_stays_converged():
    map = Dense(MATRICES["random"].float())
    triple = lanczos(map, start_vector(map), steps=30)
    for steps in (0, 1, 16):
        torch.testing.assert_close(lanczos(map, triple.v, steps).sigma, triple.sigma, rtol=1e-6, atol=0.0)


def test_zero_gives_zero_and_nan_stays_nan():
    zero = lanczos(Dense(torch.zeros(3, 2)), torch.ones(2), steps=3)
    assert zero.sigma == 0
    assert torch.isfinite(zero.v).all()
    assert lanczos(Dense(torch.full((3, 2), torch.nan)), torch.ones(2), steps=3).sigma.isnan()

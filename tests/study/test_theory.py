"""The theory's experiments in small: against closed forms, against theory, and as a user runs them."""

import dataclasses
import io
import json
import math
import multiprocessing
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from PIL import Image
from rich.console import Console

from onelip.certificate.certify import certify
from onelip.errors import ArgumentError, NonFiniteError
from onelip.linear.maps import Dense
from onelip.study.progress import LineProgress
from onelip.study.theory import disjoint, duality, power, product
from onelip.study.theory.critics import Fit, build_by_recipe, plain_float64
from onelip.study.theory.figures import write_figure
from onelip.study.theory.results import read_theory
from onelip.study.theory.run import (
    EXPERIMENTS,
    Experiment,
    ExperimentOutcome,
    _ended,
    _work,
    experiments,
    run_theory,
)

FIT = Fit(steps=25, batch=32, lr=5e-3)
SMALL = {
    "disjoint": disjoint.DisjointConfig(
        distances=(1.0,),
        points=64,
        images=32,
        generator_width=2,
        hidden=(16, 16),
        fit=dataclasses.replace(FIT, steps=120, decay=False),
        seeds=(0,),
    ),
    "duality": duality.DualityConfig(
        recipes=("spectral + ReLU", "orthogonal + MaxMin"),
        samples=48,
        drawn_points=12,
        hidden=(16, 16),
        fit=FIT,
        seeds=(0,),
    ),
    "product": product.ProductConfig(
        depths=(1, 2),
        families=("ReLU, random", "orthogonal + MaxMin, trained"),
        side=4,
        images=64,
        fit=FIT,
        seeds=(0,),
    ),
    "power": power.PowerConfig(
        size=32,
        ratios=(0.5,),
        starts=3,
        iterations=40,
        width=2,
        images=32,
        steps=12,
        batch=8,
        lrs=(1e-3,),
        warm_iterations=(1, 3),
        measured_every=4,
    ),
}


@pytest.fixture(scope="module")
def results():
    """Each small experiment once, in this process, and how often it ticked."""
    found = {}
    for name, config in SMALL.items():
        ticks = []
        found[name] = EXPERIMENTS[name].measure(config, "data/mnist", lambda ticks=ticks: ticks.append(0))
        assert len(ticks) == config.units, name
    return found


def lines(configs):
    return LineProgress({name: c.units for name, c in configs.items()}, Console(file=io.StringIO()))


def test_disjoint_laws_have_the_divergences_of_theory(results):
    together, *apart = results["disjoint"]["plane"]
    assert (together["js"], together["kl"], together["w1_exact"]) == (0, 0, 0)
    for law in apart:
        assert law["js"] == math.log(2)
        assert law["kl"] == "infinite"
        assert law["w1_exact"] == law["w1_closed_form"] == law["distance"]
        assert law["optimal_gradient"] == pytest.approx(1, abs=1e-12)
    (mnist,) = results["disjoint"]["mnist"]
    assert mnist["js"] == pytest.approx(math.log(2), rel=1e-14)
    assert mnist["kl"] == "infinite"
    assert mnist["nearest"] > 0


@pytest.mark.parametrize("law", ["plane", "mnist"])
def test_minimax_vanishes_and_wasserstein_does_not(results, law):
    final = {
        (r["loss"], r["distance"]): r["mean"]
        for r in results["disjoint"]["final_gradient"]
        if r["law"] == law
    }
    for (loss, _), gradient in final.items():
        if loss == "minimax":
            assert gradient < 1e-2
        elif loss == "wasserstein":
            assert 0.9 < gradient < 1.001
    for run in results["disjoint"]["runs"]:
        if run["loss"] == "wasserstein":
            assert run["certificate"] < 1.001
            assert max(run["curve"]["gradient"]) <= run["certificate"] * (1 + 1e-3)  # four digits are stored
        else:
            assert run["js_lower_bound"] > 0.9 * math.log(2)


def test_the_translation_gradient_is_a_finite_difference():
    laws = disjoint.segments(1.0, 32, seed=0)
    critic = plain_float64(build_by_recipe("unconstrained", [2, 8, 1], seed=0))
    laws = disjoint.Laws(*(part.double() for part in laws))
    for loss in disjoint.LOSSES:
        function = disjoint.LOSS_FUNCTIONS[loss].generator
        moved = [function(critic(laws.fake + t * torch.tensor([1.0, 0.0]))) for t in (-1e-5, 1e-5)]
        # The real segment lies in the direction −x, and the generator descends.
        slope = float((moved[1] - moved[0]).detach()) / 2e-5
        assert disjoint.generator_gradient(critic, laws, loss)["towards_real"] == pytest.approx(
            slope, rel=1e-6
        )


def test_critics_bound_w1_from_below_and_the_exact_solver_closes_the_gap(results):
    for pair in results["duality"]["pairs"].values():
        assert abs(pair["relative_gap"]) < 1e-11
        assert pair["lipschitz_residual"] < 1e-12
        for critic in pair["critics"]:
            assert 0 < critic["lower_bound"] <= pair["primal"]
            assert critic["witness"] <= critic["certificate"] < 1.01
            share = critic["lower_bound"] / pair["primal"]
            assert critic["shortfall_percent"] == pytest.approx(100 * (1 - share))


def test_witness_certificate_product_stand_in_this_order(results):
    assert len(results["product"]["networks"]) == SMALL["product"].units
    for network in results["product"]["networks"]:
        assert 0 < network["witness"] <= network["certificate"] <= network["product"]


def test_a_linear_network_leaves_nothing_to_lose():
    proved = certify(plain_float64(build_by_recipe("unconstrained", [5, 1], seed=0)), (5,))
    assert proved.lower == pytest.approx(product.product_of_norms(proved), rel=1e-3)


def test_errors_from_a_random_start_follow_the_formula():
    """σ_k² = Σ σᵢ^(4k+2) cᵢ² / Σ σᵢ^(4k) cᵢ² for a start c in the basis of the singular vectors."""
    values = torch.tensor([1.0, 0.8, 0.5, 0.1], dtype=torch.float64)
    map = Dense(torch.diag(values))
    c = power.start_vector(map, seed=4).square()
    found = power._errors(map, 1.0, seed=4, iterations=6)
    k = torch.arange(7, dtype=torch.float64)[:, None]
    sigma = ((values ** (4 * k + 2) * c).sum(1) / (values ** (4 * k) * c).sum(1)).sqrt()
    torch.testing.assert_close(found, 1 - sigma, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_the_top_two_agree_with_the_svd(shape):
    W = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, S, Vh = torch.linalg.svd(W)
    found = power.top_two(Dense(W))
    assert (found.sigma, found.second) == (pytest.approx(float(S[0])), pytest.approx(float(S[1])))
    assert abs(float(found.v @ Vh[0])) == pytest.approx(float(found.v.norm()))


def test_iterations_never_hurt_and_counts_match_the_errors(results):
    for case in results["power"]["random_start"].values():
        assert all(
            a >= b - 1e-3 for a, b in zip(case["error_median"], case["error_median"][1:], strict=False)
        )
        for count, curve in (("median", "error_median"), ("most", "error_high")):
            k = case["to_one_percent"][count]
            for done, error in zip(case["iterations"], case[curve], strict=True):
                assert (error <= power.PRECISION) == (k is not None and done >= k)
    for case in results["power"]["warm_start"].values():
        enough = [int(k) for k, worst in case["worst"].items() if worst <= power.PRECISION]
        assert case["within_one_percent"] == min(enough, default=None)


def test_a_warm_start_stays_blind_to_what_it_does_not_hold(results):
    """diag(1, 3/2) seen from the first axis: σ = 1 for ever, an error of a third."""
    for error in results["power"]["warm_start"]["another σ overtakes: matrix"]["worst"].values():
        assert error == pytest.approx(1 / 3)


def test_results_are_kept_and_a_failure_stops_nothing_else(results, tmp_path, monkeypatch):
    """One process: `product` finds no digits, while `power` is there already with this configuration."""
    with monkeypatch.context() as patch:
        patch.setitem(EXPERIMENTS, "power", Experiment(SMALL["power"], lambda *given: results["power"]))
        result = _work(("power", SMALL["power"]), tell=print, data_dir=None)
    outcome = _ended("power", result, SMALL["power"], tmp_path)
    assert outcome == ExperimentOutcome("power", "measured")
    stored = read_theory(tmp_path)["power"]
    assert stored["config"]["size"] == 32
    assert stored["provenance"]["versions"]["torch"] == torch.__version__
    before = (tmp_path / "theory.json").read_bytes()
    configs = {"power": SMALL["power"], "product": SMALL["product"]}
    kept, failed = run_theory(configs, tmp_path, lines(configs), data_dir=str(tmp_path))
    assert kept == ExperimentOutcome("power", "kept")
    assert (failed.name, failed.how) == ("product", "failed")
    assert "is missing" in str(failed.error)
    assert (tmp_path / "theory.json").read_bytes() == before
    assert {path.name for path in (tmp_path / "theory").iterdir()} == {"power.png", "power.svg"}


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_result_that_is_not_finite_is_a_failure_of_its_experiment(monkeypatch, number):
    experiment = EXPERIMENTS["power"]._replace(measure=lambda *arguments: {"curve": [1.0, number]})
    monkeypatch.setitem(EXPERIMENTS, "power", experiment)
    with pytest.raises(NonFiniteError, match="power has numbers that are not finite"):
        _work(("power", SMALL["power"]), lambda step: None, data_dir=None)


def test_an_interruption_ends_the_workers_and_loses_nothing_finished(tmp_path):
    class Interrupted(LineProgress):
        def update(self, name, step):
            raise KeyboardInterrupt

    configs = {"disjoint": SMALL["disjoint"]}
    progress = Interrupted({"disjoint": 1}, Console(file=io.StringIO()))
    with pytest.raises(KeyboardInterrupt):
        run_theory(configs, tmp_path, progress, data_dir="data/mnist")
    assert multiprocessing.active_children() == []
    assert read_theory(tmp_path) == {}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_result_is_json_and_every_figure_opens(results, tmp_path, name):
    result = json.loads(json.dumps(results[name], allow_nan=False))
    write_figure(name, result, tmp_path)
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert picture.width > 800
    drawn = (tmp_path / f"{name}.svg").read_bytes()
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    write_figure(name, result, tmp_path)
    assert (tmp_path / f"{name}.svg").read_bytes() == drawn


def test_unknown_names_and_counts_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="did you mean power"):
        experiments(only=["powr"])
    with pytest.raises(ArgumentError, match="workers must be positive"):
        run_theory({}, tmp_path, lines({}), workers=0)

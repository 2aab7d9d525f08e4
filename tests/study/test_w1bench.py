"""The W₁ benchmark: settings, critics that keep their constraint, scores with known answers, and resuming."""

import dataclasses
import json
import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from onelip.certificate.certify import certify
from onelip.constraint.activation import FullSort
from onelip.errors import ArgumentError, DataError, NonFiniteError
from onelip.study.w1bench.critics import Distance, Fold, as_scored, matrices, untrained
from onelip.study.w1bench.measuring import SELECTION, farthest_apart, measure, measured
from onelip.study.w1bench.measuring import trained as trained_from
from onelip.study.w1bench.published import _table, published
from onelip.study.w1bench.records import add_record, by_pair, find, read_records
from onelip.study.w1bench.run import W1Bench, plan, run
from onelip.study.w1bench.scoring import as_config
from onelip.study.w1bench.settings import CRITICS, PRESETS, cell_of, typical_norm
from onelip.study.w1bench.stiefel import CONVERGED, newton_schulz, tangential
from onelip.study.w1bench.table import row
from onelip.study.w1bench.training import _groups, draw, rate, train
from onelip.transport import evaluate_potential, funnel_pair
from tests.study import made

KEYS = [
    "dim",
    "funnels",
    "critic",
    "cos",
    "l2",
    "w1",
    "w1_true",
    "deviation",
    "certified",
    "steps",
    "seconds",
]
BOUNDED = [name for name, design in CRITICS.items() if design.method in ("constrained", "stiefel")]
WORK = partial(measure, stored=None, w1_samples=2000)
SMALL = {"steps": 4, "batch": 16, "width": 8}


@pytest.fixture
def options(tmp_path):
    return W1Bench(
        dim=(3,),
        funnels=(2,),
        w1_samples=2000,
        json=tmp_path / "deep" / "w1.json",
        steps=3,
        batch=16,
        width=8,
    )


def trained(critic, dim=3, **changes):
    cell = cell_of(critic, dim, 2, 0, **(SMALL | changes))
    torch.manual_seed(0)
    network = untrained(cell)
    pair = funnel_pair(dim, 2, 0)
    train(network, pair, cell, torch.Generator().manual_seed(0), tick=lambda step: None)
    return network, pair, cell


@pytest.mark.parametrize("critic", CRITICS)
def test_every_critic_trains_and_is_scored(critic):
    network, pair, cell = trained(critic)
    plain = as_scored(network, cell)
    assert all(p.dtype == torch.float64 for p in plain.parameters())
    assert not any("onelip.constraint.spectral" in type(m).__module__ for m in plain.modules())
    points = pair.sample(torch.Generator().manual_seed(1), 50).x
    # Baking divides each of three layers by a bound at most 0.1 % above its norm; features are about 4 long.
    scores = network.eval()(points.to(torch.float64 if cell.double else torch.float32))
    torch.testing.assert_close(scores.double(), plain(points), atol=0.015, rtol=0)
    score = evaluate_potential(plain, pair, size=64)
    assert math.isfinite(score.cos.value)
    assert abs(score.cos.value) <= 1


@pytest.mark.parametrize("critic", BOUNDED)
def test_constrained_critics_are_certified_after_training(critic):
    network, _, cell = trained(critic, lr=1e-2)
    certificate = certify(as_scored(network, cell), (3,), starts=1)
    slack = 0.05 if "reshaped" in critic else 0 if critic == "best" else 1e-9
    assert certificate.lower <= certificate.upper <= 1 + slack


@pytest.mark.parametrize("seed", range(8))
def test_the_best_critic_is_certified_at_one_and_not_above(seed):
    cell = cell_of("best", 16, 4, seed)
    torch.manual_seed(seed)
    certificate = certify(as_scored(untrained(cell), cell), (16,), starts=1)
    assert 1 - 1e-4 < certificate.upper <= 1


@pytest.mark.parametrize("critic", ["clip-relu", "gp-relu", "lp-maxmin"])
def test_what_no_constraint_holds_is_certified_as_it_is(critic):
    network, _, cell = trained(critic)
    with torch.no_grad():
        for W in matrices(network):
            W.mul_(10)
    assert certify(as_scored(network, cell), (3,), starts=1).upper > 1


def test_clipping_bounds_every_parameter():
    network, _, cell = trained("clip-maxmin", lr=1.0)
    assert max(p.abs().max().item() for p in network.parameters()) <= cell.clip * (1 + 1e-6)


def test_the_best_critic_stays_on_the_manifold_at_a_large_learning_rate():
    network, _, _ = trained("best", dim=5, steps=200, lr=2e-2, width=12)
    for W in matrices(network):
        gram = (W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T).detach()
        torch.testing.assert_close(gram, torch.eye(len(gram)).to(gram), atol=1e-3, rtol=0)


def test_the_best_critic_learns_a_small_pair():
    network, pair, cell = trained("best", dim=8, steps=300, batch=256, width=32)
    score = evaluate_potential(as_scored(network, cell), pair, size=2048)
    assert score.cos.value > 0.97
    assert score.l2.value < 0.06
    assert score.deviation.value < 3 * score.deviation.standard_error


def test_the_best_critic_starts_as_the_distance_from_the_origin():
    cell = cell_of("best", 16, 4, 0)
    x = torch.randn(10, 16)
    torch.testing.assert_close(untrained(cell)(x), -x.norm(dim=1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("dim", "funnels"), [(2, 4), (16, 64), (64, 64), (64, 4), (128, 256)])
def test_what_freezing_costs_the_best_critic_is_one_factor(dim, funnels):
    cell = cell_of("best", dim, funnels, 0)
    critic = untrained(cell).double()
    with torch.no_grad():
        for layer in critic:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(newton_schulz(layer.weight, 8))
                layer.bias.add_(1.0)
        x = torch.randn(50, dim, dtype=torch.float64)
        factors = as_scored(critic, cell)(x) / critic(x)
    assert 1 - 1e-4 < factors.mean() <= 1
    assert float(factors.std()) < 1e-12


def test_a_deep_critic_starts_with_folds_that_halve_the_samples():
    cell = cell_of("best", 2, 64, 0)
    critic = untrained(cell)
    z = 5 * torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)) - 2.5
    for layer in critic[:-1]:
        z = layer(z).detach()
        if isinstance(layer, nn.Linear):
            positive = (z > 0).double().mean(0)
            assert positive.shape == (cell.width,)
            assert (positive - 0.5).abs().max() < 0.06  # the medians of 2,048 points, on 4,000 others
    torch.testing.assert_close(critic[-1].c.detach(), z.mean(0), atol=0.01, rtol=0)


def test_biases_and_the_centre_move_at_their_own_rate():
    cell = cell_of("best", 32, 4, 0, batch=16, width=64)
    critic = untrained(cell)
    train(
        critic,
        funnel_pair(32, 4, 0),
        dataclasses.replace(cell, steps=1),
        torch.Generator(),
        tick=lambda step: None,
    )
    assert cell.bias_lr == pytest.approx(cell.lr * (32 * 2.5**2 / 3) ** 0.5)
    moved = torch.cat([critic[0].bias, critic[-1].c]).detach().abs()  # Adam begins with its rate
    torch.testing.assert_close(moved, torch.full_like(moved, cell.bias_lr * rate(cell, 0)), rtol=1e-3, atol=0)


def test_the_best_critic_sorts_in_many_dimensions():
    sizes = [(dim, n) for dim in (2, 16, 32, 64, 128) for n in (4, 64, 256)]
    sorts = {size for size in sizes if cell_of("best", *size, 0).activation == "fullsort"}
    assert sorts == {(dim, n) for dim in (64, 128) for n in (4, 64, 256)}
    network, _, cell = trained("best", activation="fullsort", lr=1e-2)
    assert any(isinstance(layer, FullSort) for layer in network)
    certificate = certify(as_scored(network, cell), (3,), starts=1)
    assert certificate.lower <= certificate.upper <= 1 + 1e-9


def test_the_sorting_critic_starts_as_the_distance_to_the_nearest_of_points_on_its_rows():
    cell = cell_of("best", 64, 4, 0)
    critic = untrained(cell)
    x = torch.randn(10, 64)
    z, out = critic[0](x), typical_norm(64)
    squares = z.square().sum(1) - 2 * out * z.amax(1) + out**2
    torch.testing.assert_close(critic(x), -squares.sqrt(), atol=1e-4, rtol=1e-4)


def test_what_comes_after_a_sort_moves_far_more_slowly():
    cell = cell_of("best", 64, 4, 0, batch=16)
    critic = untrained(cell)
    rates = {id(p): group["lr"] for group in _groups(critic, cell) for p in group["params"]}
    first, second = matrices(critic)
    assert rates[id(second)] == pytest.approx(rates[id(first)] / 50)
    assert rates.keys() == {id(p) for p in critic.parameters()}


def test_the_sorting_critic_finds_the_rows_of_its_centres():
    """From c = 0 it would be at −‖x‖, cos 0.6, for thousands of steps."""
    network, pair, cell = trained("best", dim=40, steps=300, batch=256, width=80)
    assert evaluate_potential(as_scored(network, cell), pair, size=2048).cos.value > 0.9


def test_maxmin_is_the_fold_of_half_of_rotated_channels():
    a, b = torch.randn(20, 6).double().chunk(2, dim=1)
    folded = Fold()((a - b) / 2**0.5)
    torch.testing.assert_close((a + b + 2**0.5 * folded) / 2, torch.maximum(a, b))
    torch.testing.assert_close((a + b - 2**0.5 * folded) / 2, torch.minimum(a, b))


def test_a_distance_contains_the_linear_readout():
    z, w, t = torch.randn(20, 6).double(), torch.randn(6).double(), 1e6
    readout = Distance(6).double()
    readout.c.data = -t * w / w.norm()
    torch.testing.assert_close(readout(z) + t, -z @ w / w.norm(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (1, 4)])
def test_stiefel_against_the_singular_value_decomposition(shape):
    generator = torch.Generator().manual_seed(0)
    U, _, Vh = torch.linalg.svd(torch.randn(shape, generator=generator).double(), full_matrices=False)
    W = U @ Vh
    G = torch.randn(shape, generator=generator).double()
    T = tangential(W, G)
    short = min(shape)
    gram = (W @ T.T if shape[0] == short else W.T @ T).numpy()
    assert abs(gram + gram.T).max() < 1e-12  # tangent: the Gram matrix does not change to first order
    torch.testing.assert_close(tangential(W, T), T)  # and T is its own tangential part
    moved = W + 0.1 * T
    left, _, right = torch.linalg.svd(moved, full_matrices=False)
    torch.testing.assert_close(newton_schulz(moved, CONVERGED), left @ right, atol=1e-12, rtol=0)


def test_batches_of_the_two_laws_are_independent():
    pair = funnel_pair(2, 4, seed=0)
    x, y = draw(pair, torch.Generator().manual_seed(0), 4000)
    assert x.dtype == y.dtype == pair.centers.dtype
    coupled = pair.sample(torch.Generator().manual_seed(0), 4000)

    def correlation(a, b):
        return torch.corrcoef(torch.stack([a, b]))[0, 1].item()

    assert correlation(coupled.x[:, 0], coupled.y[:, 0]) > 0.5
    assert abs(correlation(x[:, 0], y[:, 0])) < 5 / math.sqrt(4000)


def test_the_rate_is_published_or_falls_to_zero():
    flat, falling = cell_of("gp-relu", 2, 4, 0), cell_of("best", 16, 4, 0)
    assert {rate(flat, step) for step in (0, 100, flat.steps)} == {1.0}
    rates = [rate(falling, step) for step in range(falling.steps + 1)]
    assert 0 < rates[0] < 0.05
    assert max(rates) > 0.9
    assert rates[-1] < 1e-9


def test_the_rate_falls_by_as_many_steps_a_decade_in_the_plane():
    cell = dataclasses.replace(cell_of("best", 2, 4, 0), steps=1000)
    assert cell.schedule == "geometric"
    assert cell.double
    assert rate(cell, 0) == 1 / 50
    assert rate(cell, 100) == rate(cell, 300) == 1
    decades = [math.log10(rate(cell, step)) for step in range(300, 1001, 100)]
    assert decades == pytest.approx([-8 * i / 7 for i in range(8)])


def test_divergence_stops_with_where_it_happened():
    with pytest.raises(NonFiniteError, match=r"gp-relu seed 0: the loss is .* at step 20; lower --lr"):
        trained("gp-relu", lr=1e30, steps=40)


@pytest.mark.parametrize(("dim", "funnels"), [(2, 4), (16, 4), (16, 64), (64, 4)])
def test_what_is_derived_from_a_setting_follows_its_change(dim, funnels):
    cell = cell_of("best", dim, funnels, 0)
    wider = cell_of("best", dim, funnels, 0, width=4 * cell.width)
    assert (wider.lr, wider.bias_lr) == (pytest.approx(cell.lr / 2), pytest.approx(cell.bias_lr / 2))
    for width in (None, 8):
        faster = cell_of("best", dim, funnels, 0, lr=1.0, width=width)
        assert (faster.lr, faster.bias_lr) == (1.0, typical_norm(dim))
    assert cell_of("best", dim, funnels, 0, lr=1.0, bias_lr=0.5).bias_lr == 0.5


@pytest.mark.parametrize(
    ("critic", "steps", "message"),
    [
        ("gp-relu", 1, "l2 of the trained critic is not finite"),
        ("spectral-relu", 2, "weights hold NaN or infinity after step 2"),
        ("best", 1, "weights are too large to be made orthogonal"),
    ],
)
def test_divergence_in_the_last_step_is_found_too(critic, steps, message):
    cell = cell_of(critic, 3, 2, 0, lr=1e30, **(SMALL | {"steps": steps}))
    with pytest.raises(NonFiniteError, match=f"{critic} seed 0: {message}; lower --lr"):
        measure(cell, lambda step: None, stored=None, w1_samples=100)


def test_published_settings():
    cell = cell_of("sorting-network", dim=128, funnels=4, seed=0)
    assert (cell.width, cell.depth, cell.steps, cell.batch, cell.lr) == (256, 2, 25_000, 1024, 2e-4)
    assert cell_of("clip-relu", 2, 4, 0).width == 128
    assert set(PRESETS["published"]) | set(PRESETS["best"]) <= set(CRITICS)
    assert all(
        cell_of("best", dim, n, 0).all_steps <= 25_000 for dim in (2, 16, 64, 128) for n in (4, 16, 64, 256)
    )


def test_published_values_of_every_size():
    sizes = {(dim, n) for dim in (2, 4, 8, 16, 32, 64, 128) for n in (4, 16, 64, 256)}
    assert set(_table()) == sizes
    for size in sizes:
        best, network = published(*size), published(*size, solver="sorting-network")
        assert best is not None
        assert network is not None
        assert best.cos >= network.cos - 0.006  # the networks' values are rounded to two digits
        assert best.l2 <= network.l2 + 0.006
    assert published(3, 4) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critic": ("none",)}, "critic must be one of clip-relu"),
        ({"dim": (0,)}, "dim must be positive, got 0"),
        ({"dim": (2,), "funnels": (0,)}, "funnels must be positive, got 0"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"lr": -1.0}, "lr must be positive"),
        (
            {"width": 7, "critic": ("gp-maxmin",)},
            "width must be even, for MaxMin sorts pairs, got 7: pass 8",
        ),
        ({"seeds": "x"}, "seeds must be numbers and ranges"),
        ({"w1_samples": 1}, "w1_samples must be at least 2"),
        ({"workers": 0}, "workers must be positive, got 0"),
    ],
)
def test_bad_options_are_one_line(options, change, message):
    with pytest.raises(ArgumentError, match=message) as error:
        run(dataclasses.replace(options, **change))
    assert "\n" not in str(error.value)
    assert not options.json.exists()


def test_the_command_writes_the_contract_resumes_and_fills_gaps(options, capsys):
    assert run(options) == 0
    assert "1 runs, 1 of them new" in capsys.readouterr().out
    first = json.loads(options.json.read_text())
    (record,) = first
    assert list(record)[: len(KEYS) + 1] == [*KEYS[:9], "witnessed", *KEYS[9:]]
    assert record["standard_errors"].keys() == {"cos", "l2", "w1", "w1_true", "deviation"}
    assert record["seconds"] > 0
    assert record["provenance"]["machine"]["cores"] > 0
    assert record["deviation"] == pytest.approx(record["w1"] / record["w1_true"] - 1)

    assert run(dataclasses.replace(options, seeds="0-1")) == 0
    output = capsys.readouterr().out
    assert "2 runs, 1 of them new" in output
    assert json.loads(options.json.read_text())[0] == record  # not trained again
    assert run(options) == 0
    assert "1 runs, 0 of them new" in capsys.readouterr().out


def test_an_interrupt_keeps_what_is_finished(options, monkeypatch):
    calls = []

    def interrupted(cell, tick, **options):
        calls.append(cell.seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(cell, tick, **options)

    monkeypatch.setattr("onelip.study.w1bench.measuring.measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(dataclasses.replace(options, seeds="0-2"))
    assert [record["config"]["seed"] for record in read_records(options.json)] == [0]


def test_another_setting_is_another_run(options):
    run(options)
    records = read_records(options.json)
    assert find(records, plan(options)[0], options.w1_samples) == records[0]
    assert find(records, plan(options)[0], options.w1_samples + 1) is None
    assert find(records, plan(dataclasses.replace(options, steps=4))[0], options.w1_samples) is None


def test_equal_cells_give_equal_numbers(options):
    run(options)
    again = dataclasses.replace(options, json=options.json.with_name("again.json"))
    run(again)
    a, b = (read_records(path)[0] for path in (options.json, again.json))
    assert [a[key] for key in KEYS[3:10]] == [b[key] for key in KEYS[3:10]]


def test_a_stored_pair_gives_the_size_and_is_told_apart_by_its_numbers(options, tmp_path, capsys):
    pair = funnel_pair(3, 2, seed=5)
    for scale in (1, 2):
        torch.save({"net.centers": pair.centers * scale, "net.bias": pair.bias}, tmp_path / f"{scale}.pt")
    stored = dataclasses.replace(options, dim=(), funnels=(), pair=tmp_path / "1.pt")
    (cell,) = plan(stored)
    assert (cell.dim, cell.funnels) == (3, 2)
    assert cell.pair != plan(dataclasses.replace(stored, pair=tmp_path / "2.pt"))[0].pair
    assert run(stored) == 0
    with pytest.raises(ArgumentError, match="dim must be that of the stored pair, 3"):
        plan(dataclasses.replace(stored, dim=(4,)))
    with pytest.raises(DataError, match="is missing"):
        run(dataclasses.replace(stored, pair=tmp_path / "none.pt"))


@pytest.mark.parametrize("content", ["{", "{}", '[{"dim": 2}]', "[3]"])
def test_a_file_of_another_kind_is_left_alone(options, content):
    options.json.parent.mkdir()
    options.json.write_text(content)
    with pytest.raises(DataError, match="give another --json"):
        run(options)
    assert options.json.read_text() == content


@pytest.mark.parametrize(
    "damage",
    [
        {"config": None},
        {"config": {}},
        {"config": {"seed": "0"}},
        {"samples": {}},
        {"samples": 2000},
        {"dim": "3"},
        {"critic": None},
        {"cos": None},
        {"cos": math.nan},
        {"standard_errors": {"cos": 0.1}},
    ],
    ids=str,
)
def test_a_damaged_record_is_found_before_anything_is_trained(options, damage):
    stored = json.loads((Path(__file__).parents[2] / "results" / "w1bench.json").read_text())
    options.json.parent.mkdir()
    options.json.write_text(json.dumps(stored))
    assert len(read_records(options.json)) == len(stored)
    content = json.dumps([*stored, stored[0] | damage])
    options.json.write_text(content)
    with pytest.raises(DataError, match="holds no benchmark records: move it away or give another --json"):
        run(options)
    assert options.json.read_text() == content


@pytest.mark.parametrize(
    "twice", [{"dim": (3, 3)}, {"funnels": (2, 2)}, {"critic": ("best", "best")}], ids=str
)
def test_what_is_asked_for_twice_is_run_once(options, twice):
    assert len(plan(dataclasses.replace(options, **twice))) == 1


def test_the_table_shows_errors_and_published_values(options):
    run(dataclasses.replace(options, dim=(2,), funnels=(4,)))
    (record,) = read_records(options.json)
    cells = row(record)
    assert cells[5] == "0.859"
    assert cells[7] == "0.069"
    assert "±" in cells[4]
    assert row(record | {"dim": 3})[5] == "–"


@pytest.mark.parametrize(
    ("certified", "shown"),
    [
        (1.0, "1"),
        (1 + 1e-12, "1.000001"),
        (0.9999999939, "1"),
        (0.99851544, "0.9985155"),
        (1234567.1, "1234568"),
    ],
)
def test_the_table_shows_no_bound_below_the_proved_one(certified, shown):
    assert row(made.BENCHMARK[0] | {"certified": certified})[-2] == shown


def test_measure_reports_its_steps(options):
    steps = []
    cell = cell_of("best", 2, 4, 0, steps=45, batch=16, width=8)
    measure(cell, steps.append, stored=None, w1_samples=100)
    assert steps == [20, 40, 45]


@pytest.mark.parametrize("lr", [None, 1e30], ids=["it ends", "it diverges"])
def test_training_has_one_thread_and_the_caller_its_own_number(monkeypatch, lr):
    seen, before = [], torch.get_num_threads()

    def recorded(*arguments):
        seen.append(torch.get_num_threads())
        return trained_from(*arguments)

    monkeypatch.setattr("onelip.study.w1bench.measuring.trained", recorded)
    torch.set_num_threads(3)
    try:
        with nullcontext() if lr is None else pytest.raises(NonFiniteError):
            WORK(cell_of("gp-relu", 3, 2, 0, lr=lr, **(SMALL | {"steps": 40})), lambda step: None)
        assert (seen, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(before)


def test_of_several_starts_the_one_that_tells_the_laws_apart_best_is_kept():
    cell = cell_of("best", 16, 4, 0, steps=20, batch=16)
    assert cell.starts == 3
    pair, steps = funnel_pair(16, 4, 0), []
    generator = torch.Generator().manual_seed(0)
    critics = [trained_from(cell, start, pair, generator, steps.append) for start in range(3)]
    assert steps == [20, 40, 60]
    x, y = draw(pair.to(dtype=torch.float32), torch.Generator().manual_seed(1), SELECTION)
    with torch.no_grad():
        apart = [(critic(x).mean() - critic(y).mean()).item() for critic in critics]
    assert len(set(apart)) == 3
    kept = farthest_apart(critics, pair, cell, torch.Generator().manual_seed(1))
    assert kept is critics[apart.index(max(apart))]


def test_workers_give_the_same_numbers(options, capsys):
    in_processes = dataclasses.replace(options, json=options.json.with_name("2.json"), workers=2)
    assert run(dataclasses.replace(options, seeds="0-2")) == 0
    assert run(dataclasses.replace(in_processes, seeds="0-2")) == 0
    assert "3 runs, 3 of them new" in capsys.readouterr().out
    one, two = read_records(options.json), read_records(in_processes.json)
    assert [r["config"] for r in one] == [r["config"] for r in two]
    for name in ("cos", "l2", "w1", "deviation", "certified"):
        assert [r[name] for r in two] == pytest.approx([r[name] for r in one], rel=1e-4)


def test_what_has_begun_ends_before_the_error_of_a_worker_is_raised(options):
    diverging = cell_of("gp-relu", 3, 2, 0, lr=1e30, steps=40, batch=16, width=8)
    good = cell_of("best", 3, 2, 1, steps=3, batch=16, width=8)
    results = measured([diverging, good], WORK, 2, lambda name, step: None)
    assert next(results)[0] == good
    with pytest.raises(NonFiniteError, match="lower --lr"):
        next(results)


def test_add_record_replaces_the_same_run_and_keeps_order(options):
    run(options)
    (record,) = read_records(options.json)
    add_record(options.json, record | {"config": record["config"] | {"seed": -1}})
    add_record(options.json, record | {"seconds": 1.5})
    records = read_records(options.json)
    assert [r["config"]["seed"] for r in records] == [-1, 0]
    assert [r["seconds"] for r in records] == [record["seconds"], 1.5]


def test_a_score_on_other_samples_stands_beside_the_one_that_is_there(options):
    for samples in (2000, 1000):
        run(dataclasses.replace(options, w1_samples=samples))
    records = read_records(options.json)
    assert {record["samples"]["w1"] for record in records} == {1000, 2000}


def test_weights_of_a_frozen_critic_are_its_own():
    network, _, cell = trained("best")
    plain = as_scored(network, cell)
    with torch.no_grad():
        matrices(plain)[0].zero_()
    assert isinstance(network[0], nn.Linear)
    assert network[0].weight.abs().max() > 0


def test_only_runs_with_the_settings_of_the_table_are_compared():
    def record(critic, **changes):
        config = as_config(cell_of(critic, 2, 4, 0, **changes))
        return {"dim": 2, "funnels": 4, "critic": critic, "config": config, "samples": {"w1": 2000}}

    best, rival = record("best"), record("sorting-network")
    others = [record("best", steps=1), record("sorting-network", pair="digest")]
    fewer = best | {"samples": {"w1": 1000}}
    assert by_pair([best, fewer, rival, *others]) == {(2, 4, 0): {"best": best, "sorting-network": rival}}

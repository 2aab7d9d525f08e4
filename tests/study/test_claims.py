"""The claims: their statistics in closed form, and verdicts on stores that were made for each answer."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from onelip import cli, options
from onelip.errors import ArgumentError, CheckpointError, DataError
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunResult
from onelip.study.claims import statistics
from onelip.study.claims.cost import SIZES
from onelip.study.claims.evidence import Evidence, digest, read_evidence, required_runs
from onelip.study.claims.measures import (
    at_seconds,
    at_step,
    clocks,
    deviation,
    failures,
    growth,
    late_rise,
    machine,
    seconds,
    setbacks,
    trend,
)
from onelip.study.claims.run import block, run_claims
from onelip.study.claims.statistics import SeedEstimate, difference, mean, number, proportion, ratio
from onelip.study.claims.table import CLAIMS
from onelip.study.claims.verdict import MINIMUM_SEEDS, combine, decide
from onelip.study.presets import expand
from onelip.study.runs import Curve, StoredRun
from onelip.study.store import WINDOWS, write_record
from onelip.study.theory.disjoint import DisjointConfig

BY_KEY = {claim.key: claim for claim in CLAIMS}
RESULTS = Path(__file__).parents[2] / "results"
STEPS = np.linspace(150, 1500, 10)
ENDS = np.linspace(50, 1500, WINDOWS)
MACHINE = {"machine": {"processor": "one", "accelerator": None}}
PLAYERS = ("generator", "critic")


# --- synthetic evidence


def made(name, config, **changed):
    """A run whose numbers are neutral but for `changed`; seeds differ by a percent or so.

    Scalars: frechet, rises (of Fréchet distance), recall, histogram, seconds, memory, share, growth, late,
    rough, upper, lower, estimate, gap, boundary, product, status, machine.
    """
    v = {"frechet": 5.0, "rises": False, "recall": 0.5, "histogram": 0.1, "seconds": 0.1, "memory": 500.0}
    v |= {"share": 0.0, "growth": 1.0, "late": 1.0, "rough": 0.1, "upper": 1.0, "lower": 0.9, "estimate": 5.0}
    v |= {"gap": 0.1, "boundary": 0.5, "product": 1.0, "status": "finished", "machine": MACHINE} | changed
    wobble = 1 + 0.005 * config.seed
    frechet = v["frechet"] * wobble
    falling = frechet * np.linspace(3, 1, 10)
    if v["rises"]:
        falling = frechet * np.array([1, 3, 1, 3, 1, 3, 1, 3, 1, 1.0])
    norms = np.geomspace(1, v["growth"], WINDOWS)
    norms[20] = max(norms[20], v["late"])
    total = v["seconds"] * config.steps * wobble
    curves = {
        "evaluation/frechet_distance": Curve(STEPS, falling),
        "evaluation/recall": Curve(STEPS, np.full(10, v["recall"])),
        "training_cpu_seconds": Curve(ENDS, total * ENDS / 1500),
        "certificate/upper": Curve(STEPS, np.full(10, v["upper"])),
        "certificate/lower": Curve(STEPS, np.full(10, v["lower"])),
        "certificate/at_boundary": Curve(STEPS, np.full(10, v["boundary"])),
    }
    scale = v["rough"] * wobble
    for player in PLAYERS:
        curves[f"{player}_loss"] = Curve(ENDS, np.zeros(WINDOWS), np.full(WINDOWS, scale))
        curves[f"{player}_gradient_norm"] = Curve(ENDS, norms, np.full(WINDOWS, scale))
    last = {"final/frechet_distance": frechet, "final/histogram_distance": v["histogram"]}
    last |= {"scores/train/mean": v["gap"] * wobble, "scores/test/mean": 0.0}
    last |= {"certificate/upper": v["upper"], "certificate/lower": v["lower"]}
    last |= {"final/transport/estimate": v["estimate"] * wobble, "final/transport/exact": 10.0}
    spread = {"median": 1.0, "share_above_10_medians": v["share"]}
    summary = {
        "method": config.method,
        "seed": config.seed,
        "status": v["status"],
        "step": config.steps,
        "final": {},
        "layers": {},
        "last": last,
        "spread": {f"{player}_gradient_norm": spread for player in PLAYERS},
        "cpu_seconds_per_generator_step": v["seconds"] * wobble,
        "training_cpu_seconds": total,
        "peak_memory_mib": v["memory"],
        "norm_product": v["product"],
        "starts": [v["machine"]],
    }
    return StoredRun(name, config, RunResult(v["status"], config.steps, ""), curves, summary, ())


def evidence_for(key, changes=None, theory=None):
    """All runs that a claim needs; changes: {run, setting, *method or *: {scalar: value}}, the later wins."""
    runs = {}
    needed = required_runs(BY_KEY[key].needs)
    for name, config in needed.items():
        changed = {}
        for pattern, values in (changes or {}).items():
            if pattern in (name.rpartition("-")[0], f"*{config.method}", name, "*"):
                changed |= values
        runs[name] = made(name, config, **changed)
    return Evidence(runs, theory or {}, Path("results"))


def power(reshaped=0.001, convolution=0.001):
    worst = {k: {str(i): v for i in (1, 2, 3)} for k, v in (("r", reshaped), ("c", convolution))}
    cases = {
        "MNIST critic, Adam 0.001: reshaped kernel 1": {"worst": worst["r"]},
        "MNIST critic, Adam 0.001: convolution 1": {"worst": worst["c"]},
        "another σ overtakes: matrix": {"worst": {"1": 1.0, "2": 1.0, "3": 1.0}},
    }
    return {"power": {"result": {"warm_start": cases}}}


LOSSES = ("minimax", "non-saturating", "wasserstein")


def disjoint(minimax=1e-6, saturating=1e-6, wasserstein=0.9, seeds=5):
    runs = []
    for seed in range(seeds):
        for law, distance in (("plane", 0.5), ("plane", 1.0), ("mnist", None)):
            for loss, left in (
                ("minimax", minimax),
                ("non-saturating", saturating),
                ("wasserstein", wasserstein),
            ):
                first = 1.0 if loss == "wasserstein" else 0.2
                curve = {"gradient": [first, first * left * (1 + 0.001 * seed)]}
                runs.append({"law": law, "distance": distance, "loss": loss, "seed": seed, "curve": curve})
    plane = [{"distance": d, "optimal_gradient": 1.0} for d in (0.5, 1.0)]
    result = {"runs": runs, "plane": plane, "mnist": [{"optimal_gradient": 1.0}] * seeds}
    config = dataclasses.replace(DisjointConfig(), seeds=tuple(range(seeds)))
    return {"disjoint": {"config": dataclasses.asdict(config), "result": result}}


def product(witness=0.9, deep=0.9, certificate=1.0):
    """Witnesses at depths 1 and 8, and the certificate at depth 8, of networks whose product is 1."""
    networks = [
        {
            "family": "ReLU",
            "depth": depth,
            "seed": s,
            "witness": w + 0.001 * s,
            "certificate": c,
            "product": 1.0,
        }
        for s in range(5)
        for depth, w, c in ((1, witness, 1.0), (8, deep, certificate))
    ]
    return {"product": {"result": {"networks": networks}}}


HALF, SAME, MORE = {"seconds": 0.05}, {"seconds": 0.1}, {"seconds": 0.2}
WORSE = {"frechet": 20.0}
DIVERGED = {"status": "diverged"}
SPLIT = {"clip-0": {"frechet": 1.0}, "gp-0": {"frechet": 9.0}}
CASES = [
    # C1: everywhere, nowhere, at some sizes; dearer in memory alone
    ("C1", "supported", {"*sn": HALF}, {}, ""),
    ("C1", "refuted", {"*sn": MORE}, {}, ""),
    ("C1", "refuted", {"*sn": HALF | {"memory": 600.0}}, {}, ""),
    (
        "C1",
        "depends",
        {"*sn": HALF, "cost-ring-w4-b64-sn": HALF | {"memory": 600.0}},
        {},
        "does not: cost-ring-w4-b64 (memory)",
    ),
    ("C1", "depends", {"*sn": HALF, "cost-ring-w4-b64-sn": MORE}, {}, "does not: cost-ring-w4-b64"),
    ("C1", "undecided", {"*sn": SAME}, {}, "not settled: main"),
    ("C1", "undecided", {"*sn": HALF, "cost-ring-w4-b64-sn": SAME}, {}, "settled: cost-ring-w4-b64"),
    # C2
    ("C2", "supported", {"none": {"growth": 1e4}}, {}, ""),
    ("C2", "refuted", {"*sn": {"growth": 1e4, "share": 0.02}}, {}, ""),
    (
        "C2",
        "depends",
        {"none": {"growth": 1e4}, "D-sn": {"share": 0.02}},
        {},
        "does not: no steps above 10 medians over",
    ),
    ("C2", "depends", {"sn": {"late": 11.0}}, {}, "does not: no later rise above 10 medians by default"),
    ("C2", "refuted", {"sn-2": {"status": "diverged"}, "F-sn": {"status": "diverged"}}, {}, ""),
    ("C2", "undecided", {}, {}, "nothing to avoid"),
    # C4
    ("C4", "supported", {}, {}, "sn: proved at most 1.01; sn-operator: proved at most 1.01"),
    ("C4", "depends", {"sn": {"upper": 9.0, "lower": 2.0}}, {}, "sn: witnessed above 1"),
    (
        "C4",
        "undecided",
        {"sn": {"upper": 9.0, "lower": 2.0}, "sn-operator": {"upper": 1.1}},
        {},
        "sn: witnessed above 1.01; sn-operator: neither proved nor broken",
    ),
    (
        "C4",
        "refuted",
        {"*sn": {"upper": 9.0, "lower": 2.0}, "*sn-operator": {"upper": 2.0, "lower": 1.1}},
        {},
        "",
    ),
    (
        "C4",
        "undecided",
        {"*sn": {"upper": 9.0}, "*sn-operator": {"upper": 9.0}},
        {},
        "neither proved nor broken",
    ),
    # C5
    ("C5", "supported", {"*clip": {"estimate": 0.5, "frechet": 20.0}}, {}, ""),
    ("C5", "refuted", {"*clip": {"estimate": 9.0, "frechet": 1.0}}, {}, ""),
    (
        "C5",
        "depends",
        {"*clip": {"estimate": 9.0, "frechet": 20.0}},
        {},
        "reaches less of W₁ than gp's (proved)",
    ),
    (
        "C5",
        "depends",
        {"*clip": {"estimate": 0.5, "frechet": 20.0}, "clip-clip0.1": {"frechet": 2.0}},
        {},
        "best of four c",
    ),
    ("C5", "undecided", {"*clip": {"estimate": 0.5}}, {}, "not settled: samples"),
    # C6
    ("C6", "supported", {"gp": {"rough": 1.0, "gap": 1.0}}, {}, ""),
    ("C6", "refuted", {"gp": {"rough": 0.01, "gap": 0.01}}, {}, ""),
    ("C6", "depends", {"gp": {"rough": 1.0, "gap": 0.01}}, {}, "does not: train-test gap"),
    ("C6", "depends", {"gp": {"rough": 1.0, "gap": 1.0, "upper": 100.0}}, {}, "(witnessed)"),
    ("C6", "undecided", {}, {}, "not settled"),
    # C7
    ("C7", "supported", {"clip": {"rough": 1.0, "rises": True}, "gp": {"rough": 1.0, "rises": True}}, {}, ""),
    ("C7", "refuted", {"sn": {"rough": 1.0, "rises": True, "histogram": 0.9}}, {}, ""),
    (
        "C7",
        "depends",
        {"clip": {"rough": 1.0}, "gp": {"rough": 1.0}, "sn": {"rises": True}},
        {},
        "no seed fails",
    ),
    (
        "C7",
        "undecided",
        {"clip": {"rises": True}, "gp": {"rises": True}, "sn-3": {"status": "diverged"}},
        {},
        "does not: no seed fails",
    ),
    ("C7", "undecided", {"clip": {"rises": True}, "gp": {"rises": True}}, {}, "not settled"),
    ("C7", "depends", {}, {}, "does not: fewer setbacks than clip, fewer setbacks than gp"),
    ("C7", "depends", {"gp-3": {"status": "diverged"}}, {}, "not settled: generator loss"),
    # C9
    ("C9", "supported", None, disjoint(), ""),
    ("C9", "refuted", None, disjoint(10.0, 10.0, 0.1), ""),
    ("C9", "depends", None, disjoint(saturating=10.0), "does not: non-saturating vanishes on segments"),
    ("C9", "undecided", None, disjoint(seeds=3), "3 seeds stand behind"),
    ("C9", "undecided", None, {}, "onelip theory --only disjoint --out results"),
    # C10
    ("C10", "supported", {}, product(), ""),
    ("C10", "refuted", {}, product(witness=1.1), "exceeds"),
    ("C10", "refuted", {"gp": {"product": 0.5}}, product(), "exceeds"),
    (
        "C10",
        "depends",
        {"none": {"product": 9.0}},
        product(deep=0.1, certificate=0.2),
        "loose: ReLU depth 8, trained critic of none",
    ),
    ("C10", "undecided", {}, product(deep=0.1), "loose: none; neither shown: ReLU depth 8"),
    ("C10", "undecided", {}, {}, "lacks product"),
    # C11
    ("C11", "supported", {"*": WORSE, "sn-hinge": {"frechet": 5.0}}, {}, "sn-hinge has the best"),
    ("C11", "refuted", {"*": WORSE, "r1r2": {"frechet": 5.0}}, {}, "r1r2 better than"),
    (
        "C11",
        "depends",
        {"*": WORSE, "sn": {"frechet": 5.0, "recall": 0.2}},
        {},
        "its recall is below that of",
    ),
    (
        "C11",
        "undecided",
        {"*": WORSE, "sn": {"frechet": 5.0}, "r1r2": {"frechet": 5.0}},
        {},
        "do not tell r1r2 from sn",
    ),
    (
        "C11",
        "undecided",
        {"*": WORSE, "sn": {"frechet": 5.0}}
        | {f"sn-{seed}": {"frechet": 5.0, "recall": recall} for seed, recall in ((0, 0.9), (1, 0.1))},
        {},
        "do not tell whether its recall is below that of",
    ),
    # at equal time a slow method has had less of its training
    (
        "C11",
        "refuted",
        {"*": WORSE, "sn": {"frechet": 4.0, "seconds": 1.0}, "gp": {"frechet": 5.0}},
        {},
        "gp better",
    ),
    ("C3", "supported", {}, {}, ""),
    ("C3", "refuted", {"A-sn": WORSE, "sn-target4": WORSE, "sn-power-iterations10": WORSE}, {}, ""),
    ("C3", "depends", {"sn-target4": WORSE}, {}, "holds: A to F, iterations of sn; does not: target of sn"),
    ("C3", "depends", {"sn-target4": DIVERGED}, {}, "does not: target of sn"),
    (
        "C3",
        "depends",
        dict.fromkeys(("A-sn", "sn-target4", "sn-power-iterations10"), WORSE)
        | {"B-gp": {"frechet": 90.0}, "B-clip": {"frechet": 1.0}},
        {},
        "less than gp over A to F",
    ),
    (
        "C3",
        "refuted",
        {f"{letter}-sn": DIVERGED for letter in "BCDEF"}
        | {"sn-target4": DIVERGED, "sn-power-iterations10": WORSE, "B-gp": {"frechet": 90.0}},
        {},
        "",
    ),
    ("C3", "undecided", {"A-sn-0": WORSE, "A-sn-1": WORSE}, {}, "not settled: A to F"),
    ("C8", "supported", {}, power(), ""),
    (
        "C8",
        "refuted",
        {"*": WORSE} | {f"{m}-power-iterations10": {"frechet": 5.0} for m in ("sn", "sn-operator")},
        power(0.1, 0.1),
        "",
    ),
    ("C8", "depends", {}, power(convolution=0.1), "does not: σ of convolutions"),
    ("C8", "depends", {"sn": WORSE}, power(), "does not: quality of sn with 1"),
    (
        "C8",
        "depends",
        {f"sn{iterations}": DIVERGED for iterations in ("", "-power-iterations2", "-power-iterations3")},
        power(),
        "does not: quality of sn with 1, quality of sn with 2, quality of sn with 3",
    ),
    ("C8", "undecided", {"sn-0": {"frechet": 9.0}}, power(), "not settled: quality of sn with 1"),
]


@pytest.mark.parametrize(("key", "word", "changes", "theory", "said"), CASES)
def test_each_verdict_comes_from_a_store_made_for_it(key, word, changes, theory, said):
    verdict = decide(BY_KEY[key], evidence_for(key, changes, theory))
    assert (verdict.verdict, said in verdict.reason) == (word, True), verdict
    assert verdict.missing == () or word == "undecided"


UNSTABLE = {"rough": 1.0, "rises": True}
# What supports each, and a part that pairs with gp decide.
SUPPORTED = {
    "C5": ({"*clip": {"estimate": 0.5, "frechet": 20.0}}, "reaches less of W₁ than gp's (proved)"),
    "C6": ({"gp": {"rough": 1.0, "gap": 1.0}}, "gradient varies more than sn's (witnessed)"),
    "C7": ({"clip": UNSTABLE, "gp": UNSTABLE}, "fewer setbacks than gp"),
}


@pytest.mark.parametrize("diverged", [("gp-0",), ("gp-0", "gp-1", "gp-2")], ids=len)
@pytest.mark.parametrize("key", SUPPORTED)
def test_pairs_that_survive_do_not_speak_for_those_that_diverged(key, diverged):
    changes, part = SUPPORTED[key]
    assert decide(BY_KEY[key], evidence_for(key, changes)).verdict == "supported"
    changes = changes | dict.fromkeys(diverged, DIVERGED)
    reason = decide(BY_KEY[key], evidence_for(key, changes)).reason
    assert part in reason.partition("not settled: ")[2].partition(";")[0], reason


def test_the_best_c_is_the_best_of_the_seeds_that_every_c_has():
    changes = {"*clip": WORSE, "clip": {"frechet": 5.0}, "clip-clip0.1": {"frechet": 10.0}}
    late = {"clip-3": {"frechet": 90.0}, "clip-4": {"frechet": 90.0}}
    numbers = decide(BY_KEY["C5"], evidence_for("C5", changes | late)).numbers
    assert "Fréchet distance, best clip (clip) over gp" in numbers


@pytest.mark.parametrize(
    ("key", "changes", "theory", "known"),
    [
        ("C2", {"sn": {"share": 0.02}}, {}, "by default sn shows steps above 10 medians on 5 of 5 seeds"),
        (
            "C2",
            {"sn-1": {"late": 11.0}},
            {},
            "by default sn shows later rise above 10 medians on 1 of 5 seeds",
        ),
        ("C2", {"none": {"growth": 1e4}}, {}, ""),
        ("C8", {}, power(convolution=0.1), "after 3 iterations σ of convolutions is not within 1%"),
        ("C8", {}, power(), ""),
        ("C8", {}, {}, ""),
    ],
)
def test_parts_that_are_decided_are_said_while_runs_are_missing(key, changes, theory, known):
    whole = evidence_for(key, changes, theory)
    kept = {name: run for name, run in whole.runs.items() if run.setting in ("sn", "none")}
    claim = BY_KEY[key]
    verdict = decide(claim, dataclasses.replace(whole, runs=kept))
    assert (verdict.verdict, verdict.known) == ("undecided", known)
    assert ("known already" in block(claim, verdict, Path("out"))) == bool(known)


def test_every_claim_has_a_case_for_each_verdict():
    words = {(key, word) for key, word, *_ in CASES}
    assert words == {(key, w) for key in BY_KEY for w in ("supported", "refuted", "depends", "undecided")}


# --- statistics


def test_the_interval_covers_the_mean_of_normal_data_nine_times_in_ten():
    draws = np.random.default_rng(1).normal(size=(200, MINIMUM_SEEDS))
    found = [mean(dict(enumerate(map(float, row)))) for row in draws]
    assert 0.88 <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.97


def test_the_level_gives_normal_data_the_width_of_student():
    # z at the level, times the bootstrap's √((n−1)/n), is t.
    from scipy.stats import norm, t

    z = norm.ppf((1 + statistics.expanded_level(5)) / 2)
    assert z * math.sqrt(4 / 5) == pytest.approx(t.ppf(0.975, 4))


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_below_five_seeds_the_interval_is_student_s(seeds):
    from scipy.stats import ttest_1samp

    values = [1.0, 2.5, 0.5, 4.0][:seeds]
    found = mean(dict(enumerate(values)))
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.low < min(values) < max(values) < found.high


def test_a_share_of_seeds_has_the_exact_interval():
    share = proportion({0: 1.0, 1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0})
    assert (share.value, share.seeds) == (0.2, 5)
    assert (share.low, share.high) == pytest.approx((0.00505, 0.7164), abs=1e-4)


def test_pairs_are_of_one_seed_and_what_is_not_finite_is_no_seed():
    a, b = {0: 2.0, 1: 8.0, 2: 3.0}, {0: 1.0, 1: 2.0, 3: 5.0}
    assert ratio(a, b).value == pytest.approx(math.sqrt(8))
    assert (difference(a, b).value, difference(a, b).seeds) == (3.5, 2)
    assert mean({0: 1.0, 1: math.nan, 2: math.inf}) == SeedEstimate(1.0, 1.0, 1.0, 1)
    assert ratio({0: 1.0}, {0: 0.0}).seeds == 0


def test_a_constant_shift_between_paired_runs_has_an_interval_of_no_width():
    noise = {seed: float(x) for seed, x in enumerate(np.random.default_rng(0).normal(size=5))}
    found = difference({seed: x + 2 for seed, x in noise.items()}, noise)
    assert (found.low, found.high) == pytest.approx((2, 2))


@pytest.mark.parametrize(
    ("states", "word"),
    [("hh", "supported"), ("ff", "refuted"), ("hf", "depends"),
     ("hfo", "depends"), ("ho", "undecided"), ("fo", "undecided")],
)  # fmt: skip
def test_parts_combine_into_one_word(states, word):
    names = {"h": "holds", "f": "fails", "o": "open"}
    assert combine({str(i): names[s] for i, s in enumerate(states)})[0] == word


# --- measures


def a_run(**curves):
    name, config = next(iter(required_runs(BY_KEY["C4"].needs).items()))
    run = made(name, config)
    return dataclasses.replace(run, curves=run.curves | curves)


def test_a_loss_is_divided_by_the_constant_of_its_step():
    steps = np.arange(1.0, 5.0)
    loss = Curve(steps, np.array([9.0, 2.0, 6.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    run = a_run(generator_loss=loss, **{"certificate/upper": Curve(steps[1:], np.array([1.0, 2.0, 4.0]))})
    # From the first certificate on: values 2, 3, 1 and deviations 2, 1.5, 1.
    expected = math.sqrt(np.var([2, 3, 1]) + np.mean([4, 2.25, 1]))
    assert deviation("generator_loss", "upper")(run) == pytest.approx(expected)
    within = math.sqrt(np.mean([4, 2.25, 1]))
    assert deviation("generator_loss", "upper", local=True)(run) == pytest.approx(within)


def test_falls_and_setbacks_of_a_metric():
    run = a_run(m=Curve(np.arange(4.0), np.array([8.0, 4.0, 6.0, 1.0])))
    assert trend("m")(run) == pytest.approx(-0.8)
    assert setbacks("m")(run) == pytest.approx(math.log(1.5))


def test_a_metric_at_a_time_lies_between_its_neighbours():
    clock = Curve(np.array([10.0, 20.0]), np.array([1.0, 3.0]))
    run = a_run(m=Curve(np.array([10.0, 20.0]), np.array([8.0, 4.0])), training_cpu_seconds=clock)
    assert [at_seconds("m", t)(run) for t in (1.0, 2.0, 3.0)] == [8.0, 6.0, 4.0]
    assert all(math.isnan(at_seconds("m", t)(run)) for t in (0.5, 3.1))


def test_a_metric_at_a_step_lies_between_its_neighbours():
    run = a_run(m=Curve(np.array([10.0, 20.0]), np.array([8.0, 4.0])))
    assert [at_step("m", step)(run) for step in (10.0, 15.0, 20.0)] == [8.0, 6.0, 4.0]
    assert math.isnan(at_step("m", 9.0)(run))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gp-3": {"seconds": 0.5}},
        {name: {"seconds": 2 * t} for name, t in (("gp-4", 0.2), ("sn-4", 0.1), ("clip-4", 0.1))},
        {"clip-2": {"status": "diverged"}},
    ],
    ids=["equal", "load on one run", "a slower machine for one seed", "diverged"],
)
def test_the_clock_of_a_setting_is_what_most_seeds_say(changes):
    evidence = evidence_for("C7", {"gp": {"seconds": 0.2}} | changes)
    clock = clocks(evidence, ("gp", "sn", "clip"))
    assert clock["gp"] / clock["sn"] == pytest.approx(2, rel=0.01)
    assert clock["clip"] == pytest.approx(clock["sn"], rel=0.01)


def test_growth_and_late_rises_are_of_the_player_with_more():
    norms = np.ones(WINDOWS)
    norms[1], norms[15], norms[-3:] = 100, 7, 3
    run = a_run(critic_gradient_norm=Curve(ENDS, norms))
    assert late_rise(run) == 7
    assert growth(a_run(critic_gradient_norm=Curve(ENDS, np.r_[np.ones(WINDOWS - 3), 3 * np.ones(3)]))) == 3
    from_nothing = Curve(ENDS, np.r_[np.zeros(3), np.ones(WINDOWS - 3)])
    assert growth(a_run(generator_gradient_norm=from_nothing)) == math.inf
    assert growth(a_run(generator_gradient_norm=Curve(ENDS, np.zeros(WINDOWS)))) == 1  # the critic's


@pytest.mark.parametrize(
    "bad", [{"status": "diverged"}, {"frechet": 11.0}, {"histogram": 0.6}], ids=lambda bad: next(iter(bad))
)
def test_seeds_that_fail_are_counted(bad):
    evidence = evidence_for("C4", {"sn-1": bad})
    assert failures(evidence, "sn") == {0: 0, 1: 1, 2: 0, 3: 0, 4: 0}
    assert not any(failures(evidence, "gp").values())


ANOTHER = {"machine": {"machine": {"processor": "another", "accelerator": None}}}


@pytest.mark.parametrize("key", ["C1", "C11"])
def test_seconds_of_two_machines_are_not_compared(key):
    verdict = decide(BY_KEY[key], evidence_for(key, {"gp-3": ANOTHER}))
    assert verdict.verdict == "undecided"
    assert "seed 3 was trained on another, no accelerator and one, no accelerator" in verdict.reason


def test_sizes_may_be_of_two_machines_where_each_is_of_one():
    """Seconds are compared within a size."""
    elsewhere = {f"{SIZES[0]}{method}": ANOTHER for method in ("gp", "sn", "sn-operator")}
    cheaper = {"*sn": HALF}
    assert decide(BY_KEY["C1"], evidence_for("C1", cheaper | elsewhere)).verdict == "supported"
    mixed = decide(BY_KEY["C1"], evidence_for("C1", cheaper | {f"{SIZES[0]}gp-2": ANOTHER}))
    assert mixed.verdict == "undecided"
    assert mixed.reason.startswith(f"{SIZES[0].removesuffix('-')}: seed 2 was trained on another")


@pytest.mark.parametrize(
    ("device", "accelerator", "clock", "where"),
    [
        ("cpu", None, "processor", "one, no accelerator"),
        ("cpu", "H200", "processor", "one, no accelerator"),
        ("auto", None, "processor", "one, no accelerator"),
        ("cuda", "H200", "wall", "one, H200"),
    ],
)
def test_seconds_are_those_of_what_trained(device, accelerator, clock, where):
    there = {"machine": {"processor": "one", "accelerator": accelerator}}
    run = made("sn-0", TrainConfig(device=device), machine=there, seconds=0.1)
    run.summary["seconds_per_generator_step"] = 0.2
    assert seconds(run) == {"processor": 0.1, "wall": 0.2}[clock]
    assert machine(run) == {where}


# --- files and print


@pytest.fixture
def results(tmp_path):
    """A folder with the runs of C7 and the theory of C9."""
    changes = {"clip": {"rough": 1.0, "rises": True}, "gp": {"rough": 1.0, "rises": True}}
    for run in evidence_for("C7", changes).runs.values():
        write_record(tmp_path / "study", run)
    (tmp_path / "theory.json").write_text(json.dumps(disjoint(saturating=10.0)))
    return tmp_path


def test_verdicts_are_read_from_files_and_name_what_is_deleted(results):
    text = run_claims(results, results / "claims.json")
    claims = json.loads((results / "claims.json").read_text())
    assert claims["claims"]["C7"]["verdict"] == "supported"
    assert claims["claims"]["C9"]["verdict"] == "depends"
    assert text.count("criterion: ") == len(CLAIMS) == 11
    (results / "study" / "runs" / "gp-3.json").unlink()
    text = run_claims(results, results / "claims.json")
    after = json.loads((results / "claims.json").read_text())
    command = f"1 of 15 runs are missing, gp-3: onelip study paper --groups main --store {results / 'study'}"
    assert after["claims"]["C7"]["reason"] == command
    assert after["claims"]["C7"]["missing"] == ["gp-3"]
    assert after["claims"]["C9"] == claims["claims"]["C9"]
    assert after["inputs"]["files"] == claims["inputs"]["files"] - 1
    assert after["inputs"]["sha256"] != claims["inputs"]["sha256"]
    (results / "theory.json").unlink()
    text = " ".join(run_claims(results, results / "claims.json").split())
    assert "lacks disjoint: onelip theory --only disjoint" in text


def test_what_is_damaged_or_of_another_preset_is_refused(results):
    path = results / "study" / "runs" / "gp-3.json"
    record = json.loads(path.read_text())
    record["config"]["width"] = 5
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"another run gp-3: width \(there 5, preset 8\)"):
        read_evidence(results)
    path.unlink()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no experiments"),
        ('{"disjoint": 5}', "holds no experiments"),
        ('{"disjoint": {"config": {}}}', "holds no experiments"),
        ('{"disjoint": {"config": {}, "result": []}}', "holds no experiments"),
    ],
)
def test_a_damaged_theory_is_refused_with_the_way_out(results, content, said):
    (results / "theory.json").write_text(content)
    with pytest.raises(DataError, match=f"{said}.*onelip theory --out .* writes it anew"):
        read_evidence(results)


@pytest.mark.parametrize("changed", [{"points": 8}, {"nothing": 1}], ids=str)
def test_an_experiment_of_another_configuration_is_missing(results, changed):
    theory = disjoint()["disjoint"]
    other = {"disjoint": theory | {"config": theory["config"] | changed}}
    (results / "theory.json").write_text(json.dumps(other))
    verdict = decide(BY_KEY["C9"], read_evidence(results))
    assert (verdict.verdict, verdict.missing) == ("undecided", ("theory: disjoint",))
    assert "lacks disjoint: onelip theory --only disjoint" in verdict.reason


def test_seeds_that_the_preset_does_not_have_are_said_and_not_counted(results):
    path = results / "study" / "runs" / "sn-0.json"
    before = run_claims(results, results / "claims.json")
    record = json.loads(path.read_text())
    record["config"] |= {"seed": 9, "width": 64}
    record["summary"]["seed"] = 9
    path.with_name("sn-9.json").write_text(json.dumps(record | {"name": "sn-9"}))
    after = run_claims(results, results / "claims.json")
    assert after == before + "\n\nnot of the preset, and no part of this: sn-9"


def test_every_number_that_is_printed_is_one_of_the_verdict(results):
    """Of reason and number lines; criterion and sources are words."""
    evidence = read_evidence(results)
    for key in ("C7", "C9"):
        verdict = decide(BY_KEY[key], evidence)
        lines = block(BY_KEY[key], verdict, Path("out")).partition("    criterion:")[0].splitlines()
        printed = [line.split(": ")[-1] for line in lines if "seeds" in line and "]" in line]
        known = {number(value) for value in (verdict.effect, *verdict.numbers.values())}
        assert len(printed) >= 5
        assert set(printed) <= known
        assert not re.search(r"\d", verdict.reason)


def test_other_records_give_other_numbers(results):
    before = decide(BY_KEY["C7"], read_evidence(results)).numbers
    for path in (results / "study" / "runs").glob("sn-*.json"):
        record = json.loads(path.read_text())
        for name in ("certificate/upper", "certificate/lower"):
            record["curves"][name]["values"] = [2 * v for v in record["curves"][name]["values"]]
        path.write_text(json.dumps(record))
    after = decide(BY_KEY["C7"], read_evidence(results)).numbers
    scaled = [name for name in before if name.startswith("local deviation") and before[name] != after[name]]
    assert len(scaled) == 8
    for name in scaled:
        assert after[name].value == pytest.approx(before[name].value / 2)


def test_the_command_prints_all_verdicts(results, capsys):
    out = results / "out.json"
    assert cli.study(options.Study(preset="claims", results=results, json=out)) == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"^{key}  [A-Z]+  ", printed, re.MULTILINE) for key in BY_KEY)
    assert json.loads(out.read_text())["provenance"]["commit"]
    with pytest.raises(ArgumentError, match="results must be a folder"):
        cli.study(options.Study(preset="claims", results=results / "nowhere"))


# --- the table


def test_claims_need_what_the_preset_has_and_all_sizes_of_the_cost_runs():
    paper = expand("paper")
    for claim in CLAIMS:
        assert required_runs(claim.needs).keys() <= paper.keys()
        assert claim.needs.groups or claim.needs.experiments
    assert len(SIZES) == 10


def test_the_committed_verdicts_stand_on_the_committed_results(monkeypatch):
    monkeypatch.chdir(RESULTS.parent)
    committed = json.loads(Path("results/claims.json").read_text())
    assert committed["inputs"] == digest(Path("results"))
    evidence = read_evidence(Path("results"))  # named as in the commands that reasons hold
    for key, claim in BY_KEY.items():
        now, there = decide(claim, evidence), committed["claims"][key]
        told = (there["verdict"], there["reason"], tuple(there["missing"]))
        assert (now.verdict, now.reason, now.missing) == told, key

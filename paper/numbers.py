r"""Every number that paper and poster may quote: key, text and source, read from results/ and nothing else.

Keys are paths in lower case:

METRIC/SETTING/{mean,low,high,seeds,range}  mean, least and largest over the finished seeds; METRIC of METRICS
seeds/SETTING                               "5 seeds"
group/NAME/{runs,stored,seeds,state}        a group of the preset; `state` is a sentence
study/…  disjoint/…  duality/…  product/…  power/…  norms/…  soundness/…  w1/DIM/FUNNELS/…
claims/C/{claim,verdict,evidence,sentence,headline}  C of c1 to c11; claims/{count,list}/VERDICT

Written as build/numbers.tex, a line each: \onelipvalue{KEY}{TEXT}% SOURCE. \val{KEY} of onelip.sty prints it.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
from torch import nn

from documents.measured import read_claims
from onelip.gan.networks import build_critic
from onelip.provenance import shown
from onelip.rounding import Bound
from onelip.study.claims.evidence import Evidence, Measure, group_runs, is_finished
from onelip.study.claims.measures import explosive_share, growth, largest, last, late_rise, seconds
from onelip.study.claims.statistics import PerSeed, ratio
from onelip.study.presets import CONSTRAINTS, PRESETS, expand
from onelip.study.runs import StoredRun
from paper.experiments import of_norms, of_published_arithmetic, of_soundness, of_theory, of_w1
from paper.sentences import claim_words, each, groups_state, ranking, seeds_of
from paper.text import number
from paper.values import Table, Value

STUDY = "results/study/runs"
Weighted = (nn.Conv2d, nn.Linear)


def final(name: str) -> Measure:
    """Mean over the last tenth of a run."""
    return lambda run: run.summary["final"].get(name, math.nan)


def summary(name: str) -> Measure:
    """A number of a run's summary; NaN where a run has none."""
    return lambda run: float(math.nan if run.summary.get(name) is None else run.summary[name])


def norm_ratio(run: StoredRun) -> float:
    """Operator norm over reshaped norm, the largest of the run's layers: a lower bound of it."""
    layers = run.summary["layers"]
    names = [name.removesuffix("/reshaped") for name in layers if name.endswith("/reshaped")]
    return max(layers[f"{name}/operator/lower"] / layers[f"{name}/reshaped"] for name in names)


METRICS: dict[str, Measure] = {
    "frechet": last("final/frechet_distance"),
    "precision": last("final/precision"),
    "recall": last("final/recall"),
    "classes": last("final/histogram_distance"),
    "modes": last("final/modes"),
    "share": last("final/share"),
    "kl": last("final/kl"),
    "w1-estimate": last("final/transport/estimate"),
    "w1-exact": last("final/transport/exact"),
    "witnessed": last("certificate/lower"),
    "proved": last("certificate/upper"),
    "witnessed-largest": largest("lower"),
    "proved-largest": largest("upper"),
    "product": summary("norm_product"),
    "norm-ratio": norm_ratio,
    "seconds": seconds,
    "memory": summary("peak_memory_mib"),
    "generator-loss": final("generator_loss"),
    "critic-loss": final("critic_loss"),
    "gradient": final("input_gradient/interpolated/mean"),
    "explosive-share": explosive_share,
    "late-rise": late_rise,
    "growth": growth,
}

BOUNDS: dict[str, Bound] = {
    "witnessed": "lower",
    "witnessed-largest": "lower",
    "proved": "upper",
    "proved-largest": "upper",
    "product": "upper",
    "norm-ratio": "lower",
}


def finite(evidence: Evidence, setting: str, metric: str) -> PerSeed:
    """A metric of the finished seeds of a setting that have it."""
    found = evidence.of(setting, METRICS[metric])
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def mean_and_range(values: list[float], bound: Bound = "") -> str:
    """Mean, and least and largest where there is more than one seed.

    >>> mean_and_range([1.0, 2.0]), mean_and_range([1.0]), mean_and_range([1.001], "upper")
    ('1.50 (1.00--2.00)', '1.00', '1.01')
    """
    mean, low, high = (number(float(f(values)), bound=bound) for f in (np.mean, min, max))
    to = "--" if min(values) >= 0 else " to "
    return mean if len(values) == 1 else f"{mean} ({low}{to}{high})"


def of_runs(evidence: Evidence) -> Table:
    """Every metric of every setting that has a finished run."""
    table: Table = {}
    for setting in dict.fromkeys(run.setting for run in evidence.runs.values()):
        for metric in METRICS:
            bound = BOUNDS.get(metric, "")
            values = list(finite(evidence, setting, metric).values())
            if values:
                texts = {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
                found = {stat: number(value, bound=bound) for stat, value in texts.items()}
                found |= {"seeds": str(len(values)), "range": mean_and_range(values, bound)}
                source = f"{STUDY}/{setting}-*.json"
                table |= {f"{metric}/{setting}/{k}".lower(): Value(v, source) for k, v in found.items()}
        finished = sum(map(is_finished, evidence.all_of(setting)))
        words = f"{finished} seed{'' if finished == 1 else 's'}"
        table[f"seeds/{setting}".lower()] = Value(words, f"{STUDY}/{setting}-*.json")
    return table


def of_ratios(evidence: Evidence) -> Table:
    """ratio/METRIC/A/B: geometric mean over the seeds that both have, of the methods of the main group."""
    table: Table = {}
    for metric in ("frechet", "seconds", "memory"):
        for a, b in itertools.permutations(CONSTRAINTS, 2):
            found = ratio(finite(evidence, a, metric), finite(evidence, b, metric))
            if found.seeds:
                source = f"{STUDY}/{{{a},{b}}}-*.json"
                table[f"ratio/{metric}/{a}/{b}"] = Value(number(found.value), source)
    return table


def of_groups(evidence: Evidence) -> Table:
    """How much of each group is stored, in numbers and as a sentence."""
    table: Table = {}
    for group in PRESETS["paper"].groups:
        stored, required = counts(evidence, group)
        texts = {"runs": str(required), "stored": str(stored), "seeds": seeds_of(evidence, group)}
        texts["state"] = groups_state({group: (stored, required)})
        table |= {f"group/{group}/{k}": Value(v, STUDY) for k, v in texts.items()}
    words = {"ranking": ranking(evidence), "cost": costs(evidence), "constants": constants(evidence)}
    return table | {f"group/main/{key}": Value(text, STUDY) for key, text in words.items()}


def costs(evidence: Evidence) -> str:
    """Seconds a generator step of each method in units of the gradient penalty's."""
    found = {
        method: ratio(finite(evidence, method, "seconds"), finite(evidence, "gp", "seconds"))
        for method in CONSTRAINTS
        if method != "gp"
    }
    return each({method: number(estimate.value) for method, estimate in found.items() if estimate.seeds})


def constants(evidence: Evidence) -> str:
    """The largest constant of each method over its certificates, witnessed to proved, means over seeds."""
    words = {}
    for method in CONSTRAINTS:
        ends = {m: finite(evidence, method, m) for m in ("witnessed-largest", "proved-largest")}
        if all(ends.values()):
            low, high = (number(float(np.mean(list(e.values()))), bound=BOUNDS[m]) for m, e in ends.items())
            words[method] = f"{low} to {high}"
    return each(words)


def counts(evidence: Evidence, group: str) -> tuple[int, int]:
    """Runs of a group: stored, required."""
    required = group_runs(group)
    return sum(name in evidence.runs for name in required), len(required)


def of_study(evidence: Evidence) -> Table:
    """Runs, hours, commits, seeds and machines of the whole store; the common settings."""
    runs = list(evidence.runs.values())
    starts = [start for run in runs for start in run.summary["starts"]]
    commits = sorted({shown(start["commit"]) for start in starts})
    machine = {(m["processor"], m["cores"], m["memory_gib"]) for m in (start["machine"] for start in starts)}
    texts = {
        "runs": str(len(runs)),
        "required": str(len(expand("paper"))),
        "hours": number(sum(run.summary["seconds"] for run in runs) / 3600),
        "commits": ", ".join(rf"\texttt{{{commit}}}" for commit in commits),
        "machines": "; ".join(f"{p}, {c} cores, {m} GiB" for p, c, m in sorted(machine)),
        "seeds": ", ".join(str(seed) for seed in sorted({run.config.seed for run in runs})),
        "torch": ", ".join(sorted({start["versions"]["torch"] for start in starts})),
    }
    config = evidence.runs["sn-0"].config
    for name in ("steps", "critic_steps", "batch", "width", "latent", "power_iterations", "certify_every"):
        texts[name.replace("_", "-")] = str(getattr(config, name))
    texts["clip"] = f"{config.clip:g}"
    texts["penalty"] = f"{config.penalty:g}"
    return {f"study/{name}": Value(text, STUDY) for name, text in texts.items()}


def layer_factors(evidence: Evidence) -> dict[str, int]:
    """By layer of the digit critic, in order, the largest operator norm of a kernel of reshaped norm one.

    ⌈k/s⌉ of a convolution (prop:reshaped of the paper), 1 of a dense layer.
    """
    critic = build_critic(evidence.runs["sn-0"].config.width, (1, 28, 28))
    layers = {name: layer for name, layer in critic.named_modules() if isinstance(layer, Weighted)}
    return {
        name: math.ceil(layer.kernel_size[0] / layer.stride[0]) if isinstance(layer, nn.Conv2d) else 1
        for name, layer in layers.items()
    }


def of_layers(evidence: Evidence) -> Table:
    factors = layer_factors(evidence)
    return {"factors/product": Value(str(math.prod(factors.values())), f"{STUDY}/sn-0.json: config")}


def of_claims(results: Path) -> Table:
    words = claim_words(read_claims(results))
    return {f"claims/{key}": Value(text, "results/claims.json") for key, text in words.items()}


def collect(evidence: Evidence) -> Table:
    """All keys, in order. Raises KeyError or FileNotFoundError where results/ lacks what is always there."""
    results = evidence.results
    return {
        **of_runs(evidence),
        **of_ratios(evidence),
        **of_layers(evidence),
        **of_groups(evidence),
        **of_study(evidence),
        **of_theory(evidence.theory),
        **of_norms(results),
        **of_soundness(results),
        **of_w1(results),
        **of_published_arithmetic(results),
        **of_claims(results),
    }


def as_tex(table: Table) -> str:
    """The lines of numbers.tex."""
    return "".join(
        rf"\onelipvalue{{{key}}}{{{value.text}}}% {value.source}" + "\n" for key, value in table.items()
    )

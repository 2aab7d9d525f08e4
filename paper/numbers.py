r"""Every number that paper and poster may quote: key, text and source, read from results/ and nothing else.

Keys are paths in lower case:

METRIC/SETTING/{mean,low,high,seeds,range}  mean, least and largest over the finished seeds; METRIC of METRICS
seeds/SETTING                               "5 seeds"
group/NAME/{runs,stored,seeds,state}        a group of the preset; `state` is a sentence
study/…  disjoint/…  duality/…  product/…  power/…  norms/…  soundness/…  w1/DIM/FUNNELS/…
claims/C/{claim,verdict,evidence,sentence}  C of c1 to c11; claims/{count,list}/VERDICT

Written as build/numbers.tex, a line each: \onelipvalue{KEY}{TEXT}% SOURCE. \val{KEY} of onelip.sty prints it.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from onelip.gan.networks import build_critic
from onelip.study.claims.evidence import Evidence, Measure, Needs, is_finished, read_evidence, required_runs
from onelip.study.claims.measures import explosive_share, growth, largest, last, late_rise, seconds
from onelip.study.claims.statistics import PerSeed, ratio
from onelip.study.presets import CONSTRAINTS, PRESETS
from onelip.study.store import StoredRun
from onelip.study.w1bench.published import published
from paper.sentences import claim_words, each, groups_state, ranking, seeds_of
from paper.text import number, percent, slug

STUDY = "results/study/runs"
Weighted = (nn.Conv2d, nn.Linear)


class Value(NamedTuple):
    """What \\val prints, and the file or files that it was read from."""

    text: str
    source: str


Table = dict[str, Value]


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


def finite(evidence: Evidence, setting: str, metric: str) -> PerSeed:
    """A metric of the finished seeds of a setting that have it."""
    found = evidence.of(setting, METRICS[metric])
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def mean_and_range(values: list[float]) -> str:
    """Mean, and least and largest where there is more than one seed.

    >>> mean_and_range([1.0, 2.0]), mean_and_range([1.0])
    ('1.50 (1.00--2.00)', '1.00')
    """
    mean = number(float(np.mean(values)))
    to = "--" if min(values) >= 0 else " to "
    return mean if len(values) == 1 else f"{mean} ({number(min(values))}{to}{number(max(values))})"


def of_runs(evidence: Evidence) -> Table:
    """Every metric of every setting that has a finished run."""
    table: Table = {}
    for setting in dict.fromkeys(run.setting for run in evidence.runs.values()):
        for metric in METRICS:
            values = list(finite(evidence, setting, metric).values())
            if values:
                texts = {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
                found = {stat: number(value) for stat, value in texts.items()}
                found |= {"seeds": str(len(values)), "range": mean_and_range(values)}
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
        ends = [finite(evidence, method, f"{bound}-largest") for bound in ("witnessed", "proved")]
        if all(ends):
            low, high = (number(float(np.mean(list(end.values())))) for end in ends)
            words[method] = f"{low} to {high}"
    return each(words)


def counts(evidence: Evidence, group: str) -> tuple[int, int]:
    """Runs of a group: stored, required."""
    required = required_runs(Needs({group: ()}))
    return sum(name in evidence.runs for name in required), len(required)


def of_study(evidence: Evidence) -> Table:
    """Runs, hours, commits, seeds and machines of the whole store; the common settings."""
    runs = list(evidence.runs.values())
    starts = [start for run in runs for start in run.summary["starts"]]
    commits = sorted({start["commit"][:7] for start in starts})
    machine = {(m["processor"], m["cores"], m["memory_gib"]) for m in (start["machine"] for start in starts)}
    texts = {
        "runs": str(len(runs)),
        "required": str(
            len({name for g in PRESETS["paper"].groups for name in required_runs(Needs({g: ()}))})
        ),
        "hours": number(sum(run.summary["seconds"] for run in runs) / 3600),
        "commits": ", ".join(rf"\texttt{{{commit}}}" for commit in commits),
        "machines": "; ".join(f"{p}, {c} cores, {m} GiB" for p, c, m in sorted(machine)),
        "seeds": ", ".join(str(seed) for seed in sorted({run.config.seed for run in runs})),
        "torch": ", ".join(sorted({start["versions"]["torch"] for start in starts})),
    }
    config = evidence.runs["sn-0"].config
    for name in ("steps", "critic_steps", "batch", "width", "latent", "power_iterations"):
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


def of_disjoint(entry: dict[str, Any]) -> dict[str, str]:
    config, result = entry["config"], entry["result"]
    digits = result["mnist"]
    texts = {
        "js": number(result["plane"][-1]["js"]),
        "points": str(config["points"]),
        "images": str(config["images"]),
        "steps": str(config["fit"]["steps"]),
        "seeds": str(len(config["seeds"])),
        "least-distance": f"{min(config['distances']):g}",
        "largest-distance": f"{max(config['distances']):g}",
        "digits/js": number(float(np.mean([law["js"] for law in digits]))),
        "digits/w1": number(float(np.mean([law["w1_exact"] for law in digits]))),
        "digits/nearest": number(min(law["nearest"] for law in digits)),
        "digits/optimal": number(float(np.mean([law["optimal_gradient"] for law in digits]))),
    }
    for row in result["final_gradient"]:
        place = f"{row['distance']:g}" if row["law"] == "plane" else "digits"
        texts |= {f"{row['loss']}/{place}/{end}": number(row[end]) for end in ("mean", "low", "high")}
    return texts


def of_duality(entry: dict[str, Any]) -> dict[str, str]:
    texts = {}
    pairs = entry["result"]["pairs"].values()
    texts["gap"] = number(max(abs(pair["relative_gap"]) for pair in pairs))
    texts["samples"] = str(entry["config"]["samples"])
    for name, pair in entry["result"]["pairs"].items():
        texts[f"{slug(name)}/w1"] = number(pair["primal"])
        for recipe, short in pair["shortfall_percent"].items():
            texts[f"{slug(name)}/{slug(recipe)}"] = number(short["mean"]) + r"\,\%"
    for recipe in entry["config"]["recipes"]:
        shorts = [pair["shortfall_percent"][recipe]["mean"] for pair in pairs]
        texts |= {f"{slug(recipe)}/least": number(min(shorts)), f"{slug(recipe)}/most": number(max(shorts))}
    return texts


def of_product(entry: dict[str, Any]) -> dict[str, str]:
    texts = {"networks": str(len(entry["result"]["networks"]))}
    for row in entry["result"]["summary"]:
        key = f"{slug(row['family'])}/{row['depth']}"
        for name in ("witness", "certificate", "product", "product_over_witness"):
            texts[f"{key}/{name.replace('_', '-')}"] = number(row[name]["mean"])
    return texts


def of_power(entry: dict[str, Any]) -> dict[str, str]:
    result, config = entry["result"], entry["config"]
    texts = {"starts": str(config["starts"]), "steps": str(config["steps"])}
    for name, case in result["random_start"].items():
        key = f"start/{slug(name)}"
        texts[f"{key}/ratio"] = number(case["second_over_first"])
        for which in ("median", "most"):
            needed = case["to_one_percent"][which]
            limit = case["iterations"][-1]
            texts[f"{key}/{which}"] = f"more than {limit}" if needed is None else str(needed)
    medians = [case["to_one_percent"]["median"] or math.inf for case in result["random_start"].values()]
    texts["start/cases"] = str(len(medians))
    texts["start/within-three"] = str(sum(needed <= 3 for needed in medians))
    for name, case in result["warm_start"].items():
        for iterations, worst in case["worst"].items():
            texts[f"warm/{slug(name)}/{iterations}"] = percent(worst, 2)
    texts["warm/cases"] = str(len(result["warm_start"]))
    for iterations in config["warm_iterations"]:
        worst = [case["worst"][str(iterations)] for case in result["warm_start"].values()]
        texts[f"warm/within/{iterations}"] = str(sum(value < 0.01 for value in worst))
    return texts


def of_theory(theory: dict[str, Any]) -> Table:
    readers = {"disjoint": of_disjoint, "duality": of_duality, "product": of_product, "power": of_power}
    table = {
        f"{name}/{key}": Value(text, f"results/theory.json: {name}")
        for name, read in readers.items()
        for key, text in read(theory[name]).items()
    }
    hours = sum(entry["cpu_seconds"] for entry in theory.values()) / 60
    commits = ", ".join(sorted({entry["provenance"]["commit"][:7] for entry in theory.values()}))
    table["theory/minutes"] = Value(number(hours), "results/theory.json")
    table["theory/commits"] = Value(rf"\texttt{{{commits}}}", "results/theory.json")
    return table


def of_norms(results: Path) -> Table:
    """Time and width of our interval beside FFT+SVD."""
    cases = json.loads((results / "norms.json").read_text())["cases"].values()
    ours = [next(m for m in case["methods"] if m["method"] == "onelip") for case in cases]
    ratios = sorted(m["ratios"]["FFT+SVD float64"][1] for m in ours)
    texts = {
        "cases": str(len(ours)),
        "time/least": percent(ratios[0], 2),
        "time/most": percent(ratios[-1], 2),
        "width": percent(max(m["upper"] / m["lower"] - 1 for m in ours), 2),
    }
    return {f"norms/{key}": Value(text, "results/norms.json") for key, text in texts.items()}


def of_soundness(results: Path) -> Table:
    parts = json.loads((results / "soundness.json").read_text())
    return {
        f"soundness/{part}/{key}": Value(number(parts[part][key]), f"results/soundness.json: {part}")
        for part in ("layers", "networks")
        for key in ("count", "violations")
    }


def of_w1(results: Path) -> Table:
    """The benchmark, a size a row: means over seeds, beside the best published of that size."""
    texts: dict[str, str] = {}
    better = dict.fromkeys(("cos", "l2"), 0)
    sizes = w1_sizes(results)
    for (dim, funnels), records in sizes.items():
        best = published(dim, funnels)
        means = {key: float(np.mean([r[key] for r in records])) for key in ("cos", "l2", "deviation")}
        key = f"{dim}/{funnels}"
        texts |= {f"{key}/cos": f"{means['cos']:.3f}", f"{key}/l2": f"{means['l2']:.3f}"}
        texts |= {f"{key}/deviation": rf"\num{{{100 * means['deviation']:.1f}}}\,\%"}
        texts[f"{key}/seeds"] = str(len(records))
        if best is not None:
            texts |= {f"{key}/best/cos": f"{best.cos:.3f}", f"{key}/best/l2": f"{best.l2:.3f}"}
            better["cos"] += means["cos"] > best.cos
            better["l2"] += means["l2"] < best.l2
    texts["excess"] = number(max(r["certified"] for records in sizes.values() for r in records) - 1, 1)
    texts |= {"sizes": str(len(sizes)), "better/cos": str(better["cos"]), "better/l2": str(better["l2"])}
    return {f"w1/{key}": Value(text, "results/w1bench.json") for key, text in texts.items()}


def w1_sizes(results: Path) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Records of our best critic by (dimension, funnels), in order."""
    records = json.loads((results / "w1bench.json").read_text())
    sizes: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda r: (r["dim"], r["funnels"], r["config"]["seed"])):
        if record["critic"] == "best":
            sizes.setdefault((record["dim"], record["funnels"]), []).append(record)
    return sizes


def of_claims(results: Path) -> Table:
    claims = json.loads((results / "claims.json").read_text())["claims"]
    return {f"claims/{key}": Value(text, "results/claims.json") for key, text in claim_words(claims).items()}


def collect(results: Path) -> Table:
    """All keys, in order. Raises KeyError or FileNotFoundError where results/ lacks what is always there."""
    evidence = read_evidence(results)
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
        **of_claims(results),
    }


def as_tex(table: Table) -> str:
    """The lines of numbers.tex."""
    return "".join(
        rf"\onelipvalue{{{key}}}{{{value.text}}}% {value.source}" + "\n" for key, value in table.items()
    )

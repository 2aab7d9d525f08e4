"""Numbers of the experiments without a GAN: theory, norms, soundness and the benchmark of W1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from documents.measured import exact_potential, norms, read, w1_pairs, w1_standings
from onelip.provenance import shown
from onelip.study.w1bench.published import published
from onelip.study.w1bench.standing import by_size
from paper.text import number, percent, slug
from paper.values import Table, Value


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
    minutes = sum(entry["cpu_seconds"] for entry in theory.values()) / 60
    table["theory/minutes"] = Value(number(minutes), "results/theory.json")
    table["theory/commits"] = Value(
        _commits(entry["provenance"]["commit"] for entry in theory.values()), "results/theory.json"
    )
    return table


def _commits(found: Iterable[str]) -> str:
    return ", ".join(rf"\texttt{{{commit}}}" for commit in sorted(set(map(shown, found))))


def of_norms(results: Path) -> Table:
    """Time and width of our interval beside FFT+SVD of half of the frequencies, which is all it needs."""
    found = norms(results)
    least, most = found.times["FFT+SVD float64, half"]
    texts = {
        "cases": str(found.cases),
        "commit": _commits([found.commit]),
        "time/least": percent(least, 2),
        "time/most": percent(most, 2),
        "width": percent(found.width, 2, "upper"),
    }
    return {f"norms/{key}": Value(text, "results/norms.json") for key, text in texts.items()}


def of_soundness(results: Path) -> Table:
    parts = read("soundness.json", results)
    table = {
        f"soundness/{part}/{key}": Value(number(parts[part][key]), f"results/soundness.json: {part}")
        for part in ("layers", "networks")
        for key in ("count", "violations")
    }
    layers = parts["layers"]
    nonzero = layers["count"] - layers["cases_per_method"]["zero map"]
    table["soundness/layers/nonzero"] = Value(number(nonzero), "results/soundness.json: layers")
    commits = _commits(part["provenance"]["commit"] for part in parts.values())
    return table | {"soundness/commits": Value(commits, "results/soundness.json")}


def of_w1(results: Path) -> Table:
    """The benchmark, a size a row: means over seeds, beside the best published of that size."""
    texts: dict[str, str] = {}
    pairs = w1_pairs(results)
    sizes = by_size(pairs, "best")
    for (dim, funnels), records in sizes.items():
        best = published(dim, funnels)
        means = {key: float(np.mean([r[key] for r in records])) for key in ("cos", "l2", "deviation")}
        key = f"{dim}/{funnels}"
        texts |= {f"{key}/cos": f"{means['cos']:.3f}", f"{key}/l2": f"{means['l2']:.3f}"}
        texts |= {f"{key}/deviation": rf"\num{{{100 * means['deviation']:.1f}}}\,\%"}
        texts[f"{key}/seeds"] = str(len(records))
        if best is not None:
            texts |= {f"{key}/best/cos": f"{best.cos:.3f}", f"{key}/best/l2": f"{best.l2:.3f}"}
    for name, found in w1_standings(pairs).items():
        texts |= {f"{name}/{key}": str(n) for key, n in found._asdict().items()}
    seeds = sorted({len(records) for records in sizes.values()})
    texts["seeds"] = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seeds"
    largest = max(r["certified"] for records in sizes.values() for r in records)
    texts["certified"] = number(largest, bound="upper")
    shown = [record for critics in pairs.values() for record in critics.values()]
    texts["commits"] = str(len({record["provenance"]["commit"] for record in shown}))
    texts["hours"] = number(sum(r["seconds"] for r in shown) / 3600)
    return {f"w1/{key}": Value(text, "results/w1bench.json") for key, text in texts.items()}


def of_published_arithmetic(results: Path) -> Table:
    """What the published evaluation gives f* itself: w1/exact/DIM/{cos,l2,zero}, least to most."""
    texts = {}
    for (dim,), found in exact_potential("dim", results=results).items():
        for key, (least, most) in found.items():
            show = percent if key == "zero" else number
            texts[f"w1/exact/{dim}/{key}"] = f"{show(least)} to {show(most)}"
    return {key: Value(text, "results/published_arithmetic.json") for key, text in texts.items()}

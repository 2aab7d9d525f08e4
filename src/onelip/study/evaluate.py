"""`onelip evaluate`: how close a finished run's generator comes to the data, beside what real data reach."""

from __future__ import annotations

import time
from typing import Any

from rich import box
from rich.table import Table
from torch import nn

from onelip.errors import ArgumentError
from onelip.gan.config import require_seed
from onelip.gan.players import available_device
from onelip.gan.run import RunFolder
from onelip.gan.sampling import generate, require_room
from onelip.gan.weights import finished_generator
from onelip.metrics.images import Extractor
from onelip.named import named
from onelip.provenance import provenance
from onelip.study.yardstick import yardstick

# What a reader sees of each metric, and which way is better.
ROWS = {
    "frechet_distance": "Fréchet distance ↓",
    "kernel_distance": "kernel distance ↓",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "density": "density ↑",
    "coverage": "coverage ↑",
    "classifier_score": "classifier score ↑",
    "histogram_distance": "class histogram distance ↓",
    "modes": "modes ↑",
    "share": "share within 3σ ↑",
    "kl": "KL(modes ‖ uniform) ↓",
}


def evaluate_run(
    run: RunFolder,
    samples: int | None = None,
    features: str | None = None,
    device: str = "auto",
    seed: int = 0,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Every metric that fits the run's data set, of its generator and of real samples, as plain data.

    features: "package.module:name" of an extractor in place of the digit classifier. Raises CheckpointError
    for a run that is not finished, ArgumentError for samples, an extractor or data that cannot be used.
    """
    config = run.config()
    if samples is not None and samples < 1:
        raise ArgumentError("samples", "positive", samples, "leave it out")
    require_seed(seed)
    generator = finished_generator(run)
    place = str(available_device(device))
    extractor = None if features is None else import_extractor(features, place)
    metrics = yardstick(config.data, data_dir or config.data_dir, extractor, place)
    _require_shape(tuple(metrics.real(1).shape[1:]), run.sample_shape())
    count = metrics.samples if samples is None else samples
    require_room("samples", count, config.latent, run.sample_shape())
    bias = metrics.bias(count)
    began = time.perf_counter()
    drawn = generate(generator.to(place), config.latent, count, seed)
    result = {"generated": metrics.measure(drawn), "real": bias, "seconds": time.perf_counter() - began}
    facts = {"data": config.data, "step": config.steps, "samples": count, "seed": seed, **metrics.facts}
    return facts | result | {"provenance": provenance()}


def _require_shape(found: tuple[int, ...], trained: tuple[int, ...]) -> None:
    """An extractor that pools sees no difference between pictures of two sizes, where the metrics would."""
    if found != trained:
        requirement = f"the folder of pictures {list(trained)} as the run was trained on"
        raise ArgumentError("data_dir", requirement, f"one of pictures {list(found)}", "name that folder")


def import_extractor(name: str, device: str) -> Extractor:
    """What "package.module:name" names, found from the current folder too: a function or a module."""
    found = named("features", name)
    if not callable(found):
        remedy = "name a function or a torch module"
        raise ArgumentError("features", "callable", type(found).__name__, remedy)
    if isinstance(found, nn.Module):
        found = found.eval().to(device)
    return Extractor(name, found, device=device)


def table(result: dict[str, Any]) -> Table:
    """The generator's numbers beside those of as many real samples."""
    samples = f"{result['samples']:,}"
    page = Table("", f"generated, {samples}", f"real, {samples}", box=box.SIMPLE, pad_edge=False)
    for name, label in ROWS.items():
        if name in result["generated"]:
            page.add_row(label, *(_cell(result[side], name) for side in ("generated", "real")))
    page.caption, page.caption_justify = caption(result), "left"
    return page


def caption(result: dict[str, Any]) -> str:
    """What the numbers stand on, in words."""
    generated = result["generated"]
    if "protocol" in generated:
        return f"Protocol: {generated['protocol']}. Real: {result['real_set']}."
    text = (
        f"Real: {result['real_set']}. One, of {result['reference_samples']:,} images, is the reference of "
        f"both columns, the other gives the bias. Features: {result['features']}."
    )
    if result["samples"] <= result["dimensions"]:
        text += (
            f" No more samples than the {result['dimensions']} features: the Fréchet distance is mostly bias."
        )
    return text


def _cell(metrics: dict[str, Any], name: str) -> str:
    if name == "modes":
        return f"{metrics['modes']} of {metrics['of']}"
    error = metrics.get(f"{name}_standard_error")
    return f"{metrics[name]:.4g}" + ("" if error is None else f" ± {error:.2g}")

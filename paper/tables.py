"""Tables from results/, as TeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from documents.measured import w1_pairs
from onelip.gan.config import TrainConfig
from onelip.gan.networks import build_critic
from onelip.rounding import Bound
from onelip.study.claims.evidence import Evidence
from onelip.study.presets import METHODS, PRESETS, expand
from onelip.study.w1bench.published import published
from onelip.study.w1bench.standing import by_size
from paper.numbers import BOUNDS, finite, layer_factors, mean_and_range
from paper.text import code, number, percent
from paper.values import Table

Cell = Callable[[Evidence, str], str]
NONE = "--"
VERDICT_COLORS = {"supported": "holds", "refuted": "fails", "depends": "depends", "undecided": "open"}


def tabular(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]], width: bool = False) -> str:
    """A booktabs table; `width`: as wide as the line, with X columns."""
    begin, end = (r"\begin{tabularx}{\linewidth}", "tabularx") if width else (r"\begin{tabular}", "tabular")
    lines = [f"{begin}{{{columns}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", rf"\end{{{end}}}", ""])


def metric(name: str) -> Cell:
    """Mean and range of a metric over the finished seeds of a setting."""

    def cell(evidence: Evidence, setting: str) -> str:
        values = list(finite(evidence, setting, name).values())
        return mean_and_range(values, BOUNDS.get(name, "")) if values else NONE

    return cell


def configured(name: str) -> Cell:
    """What a setting's runs were told."""
    return lambda evidence, setting: str(getattr(evidence.all_of(setting)[0].config, name))


def seeds(evidence: Evidence, setting: str) -> str:
    """Finished seeds, and the diverged ones where there are any."""
    runs = evidence.all_of(setting)
    finished = sum(run.summary["status"] == "finished" for run in runs)
    diverged = len(runs) - finished
    return str(finished) + (f" ({diverged} diverged)" if diverged else "")


def by_setting(evidence: Evidence, settings: Sequence[str], columns: dict[str, Cell]) -> str:
    """A row a setting that has a run, with the number of seeds first."""
    shown = [setting for setting in settings if evidence.all_of(setting)]
    rows = [[code(s), seeds(evidence, s), *(cell(evidence, s) for cell in columns.values())] for s in shown]
    return tabular("lr" + "r" * len(columns), ["setting", "seeds", *columns], rows)


QUALITY = {
    r"Fréchet distance $\downarrow$": metric("frechet"),
    r"precision $\uparrow$": metric("precision"),
    r"recall $\uparrow$": metric("recall"),
    "s per step": metric("seconds"),
    "peak MiB": metric("memory"),
}
CRITIC = {
    r"mean $\|\nabla_x f\|$": metric("gradient"),
    r"$\|f\|_{\mathrm{Lip}}\geq$": metric("witnessed"),
    r"$\|f\|_{\mathrm{Lip}}\leq$": metric("proved"),
    r"$\prod_l\|A_l\|_2\leq$": metric("product"),
}


def layers(evidence: Evidence) -> str:
    """Reshaped against operator norm of each layer of the critics that sn trained."""
    config = evidence.runs["sn-0"].config
    modules = dict(build_critic(config.width, (1, 28, 28)).named_modules())
    rows = []
    for name, factor in layer_factors(evidence).items():
        found = {
            part: list(
                evidence.of(
                    "sn", lambda run, key=f"layers/{name}/{part}": run.summary["layers"][key]
                ).values()
            )
            for part in ("reshaped", "operator/lower", "operator/upper")
        }
        bounds: tuple[Bound, ...] = ("", "lower", "upper")
        cells = [mean_and_range(values, b) for values, b in zip(found.values(), bounds, strict=True)]
        rows.append([described(modules[name]), *cells, str(factor)])
    head = ["layer", r"$\|W_\flat\|_2$", r"$\|A\|_2\geq$", r"$\|A\|_2\leq$", r"$\lceil k/s\rceil$"]
    return tabular("lrrrr", head, rows)


def described(layer: nn.Module) -> str:
    """A layer's sizes.

    >>> described(nn.Conv2d(1, 8, 4, 2))
    '$1\\\\to8$, $4\\\\times4$, stride $2$'
    """
    if isinstance(layer, nn.Conv2d):
        k, s = layer.kernel_size[0], layer.stride[0]
        return rf"${layer.in_channels}\to{layer.out_channels}$, ${k}\times{k}$, stride ${s}$"
    assert isinstance(layer, nn.Linear)
    return rf"${layer.in_features}\to{layer.out_features}$, dense"


def setup() -> str:
    """How each method is held and optimised, from the preset's resolved configurations."""
    held = {
        "none": lambda c: "nothing",
        "clip": lambda c: rf"every parameter in $[-{c.clip:g}, {c.clip:g}]$",
        "gp": lambda c: rf"${c.penalty:g}\,(\|\nabla_x f\|-1)^2$ between samples",
        "sn": lambda c: f"reshaped norm of each kernel, {estimated(c)}",
        "sn-operator": lambda c: f"norm of each operator, {estimated(c)}",
        "orthogonal": lambda c: "orthogonal layers, MaxMin",
        "r1r2": lambda c: rf"$\tfrac{{{c.gamma:g}}}{{2}}\|\nabla_x f\|^2$ on both, relativistic loss",
    }
    runs = expand("paper", groups="main,baseline", seeds="0")
    rows = []
    for method in METHODS:
        c = runs[f"{method}-0"]
        betas = f"({c.beta1:g}, {c.beta2:g})" if c.optimizer == "adam" else f"({c.beta2:g})"
        optimizer = {"adam": "Adam", "rmsprop": "RMSProp"}[str(c.optimizer)]
        rows.append([code(method), held[method](c), f"{optimizer} {betas}", rf"\num{{{c.critic_lr:g}}}"])
    return tabular("llll", ["method", "the critic is held by", "optimizer", "learning rate"], rows)


def estimated(config: TrainConfig) -> str:
    """How the norm is kept up to date while the critic trains."""
    if config.tolerance is not None:
        return f"aimed at {percent(config.tolerance, 1)}"
    return f"power iterations: {config.power_iterations}"


def common() -> str:
    """What the runs of the main group share."""
    c = expand("paper", groups="main", seeds="0")["sn-0"]
    rows = [
        ("generator steps", str(c.steps)),
        ("critic steps before each", str(c.critic_steps)),
        ("batch, of real and of generated samples", str(c.batch)),
        ("channels of the critic's first layer", str(c.width)),
        ("dimensions of the Gaussian input", str(c.latent)),
        ("steps between evaluations, certificates", f"{c.evaluate_every}, {c.certify_every}"),
    ]
    return tabular("lr", [f"group {code('main')}", ""], rows)


def groups() -> str:
    """The groups of the preset: settings, seeds and runs."""
    rows = []
    for name, group in PRESETS["paper"].groups.items():
        runs = len(group.settings) * len(group.seeds)
        rows.append([code(name), str(len(group.settings)), str(len(group.seeds)), str(runs)])
    return tabular("lrrr", ["group", "settings", "seeds", "runs"], rows)


def w1(results: Path) -> str:
    """Our critic beside the best published value of each size per metric; the sizes in two columns."""
    rows = []
    for (dim, funnels), records in by_size(w1_pairs(results), "best").items():
        best = published(dim, funnels)
        row = [str(dim), str(funnels)]
        for key, theirs in (("cos", best and best.cos), ("l2", best and best.l2)):
            row += [f"{mean_of(records, key):.3f}", NONE if theirs is None else f"{theirs:.3f}"]
        row.append(rf"\num{{{100 * mean_of(records, 'deviation'):.1f}}}")
        row.append(number(mean_of(records, "seconds")))
        rows.append(row)
    head = ["$D$", "$N$", r"$\cos\uparrow$", "publ.", r"$L^2\downarrow$", "publ.", r"error, \%", "s"]
    half = (len(rows) + 1) // 2
    left, right = rows[:half], rows[half:] + [[""] * len(head)] * (2 * half - len(rows))
    columns = "r" * len(head)
    beside = [[*a, *b] for a, b in zip(left, right, strict=True)]
    return tabular(columns + r"@{\hskip 2.5em}" + columns, [*head, *head], beside)


def mean_of(records: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(record[key] for record in records) / len(records)


def claims(table: Table) -> str:
    """Every claim with its verdict and one line of evidence."""
    rows = []
    for i in range(1, int(table["claims/count/all"].text) + 1):
        said = {part: table[f"claims/c{i}/{part}"].text for part in ("claim", "verdict", "evidence")}
        verdict = rf"\textcolor{{{VERDICT_COLORS[said['verdict']]}}}{{{said['verdict']}}}"
        rows.append([f"C{i}", said["claim"], verdict, said["evidence"]])
    left = r">{\raggedright\arraybackslash}"
    columns = rf"l{left}X l {left}p{{0.52\linewidth}}"
    return tabular(columns, ["", "claim", "verdict", "evidence"], rows, width=True)


def losses(evidence: Evidence) -> str:
    """Quality under other losses and schedules."""
    groups = (PRESETS["paper"].groups[group].settings for group in ("losses", "baseline"))
    schedule: dict[str, Cell] = {"steps": configured("steps"), "critic": configured("critic_steps")}
    return by_setting(evidence, [setting for group in groups for setting in group], schedule | QUALITY)


def modes(evidence: Evidence) -> str:
    """A row a method that has a run, the mixtures side by side."""
    columns = {
        ("ring", "ring: modes"): "modes",
        ("ring", r"in $3\sigma$"): "share",
        ("grid", "grid: modes"): "modes",
        ("grid", r"in $3\sigma$"): "share",
        ("stacked-mnist", "stacked: modes"): "modes",
        ("stacked-mnist", "KL"): "kl",
    }
    rows = [
        [code(method), *(metric(name)(evidence, f"{data}-{method}") for (data, _), name in columns.items())]
        for method in METHODS
    ]
    shown = [row for row in rows if set(row[1:]) != {NONE}]
    return tabular("lrrrrrr", ["method", *(title for _, title in columns)], shown)


def render(evidence: Evidence, table: Table) -> dict[str, str]:
    """All tables by the path of their file in the build folder."""
    texts = {
        "layers": layers(evidence),
        "setup": setup(),
        "common": common(),
        "groups": groups(),
        "quality": by_setting(evidence, list(METHODS), QUALITY),
        "critic": by_setting(evidence, list(METHODS), CRITIC),
        "w1": w1(evidence.results),
        "claims": claims(table),
    }
    return {f"tables/{name}.tex": text for name, text in texts.items()}

"""Tables from results/, as TeX: a tabular alone (tables/), or a float with what is said of it (groups/).

A group without a finished run has no float: its file says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from onelip.study.claims.evidence import Evidence, read_evidence
from onelip.study.presets import CONSTRAINTS, METHODS, MIYATO, PRESETS, expand
from onelip.study.w1bench.published import published
from paper.numbers import Table, finite, mean_and_range, w1_sizes
from paper.text import code, number

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
        return mean_and_range(values) if values else NONE

    return cell


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
    r"class histogram $\downarrow$": metric("classes"),
}
CRITIC = {
    r"mean $\|\nabla_x f\|$": metric("gradient"),
    r"$\|f\|_{\mathrm{Lip}}\geq$": metric("witnessed"),
    r"$\|f\|_{\mathrm{Lip}}\leq$": metric("proved"),
    r"$\prod_l\|A_l\|_2\leq$": metric("product"),
}
COST = {"s per step": metric("seconds"), "peak MiB": metric("memory")}
FRECHET = {r"Fréchet distance $\downarrow$": metric("frechet")}
SWEEP = FRECHET | {r"recall $\uparrow$": metric("recall"), "s per step": metric("seconds")}
PLANE = {"modes": metric("modes"), r"share within $3\sigma$": metric("share")}
STACKED = {"modes": metric("modes"), r"KL from uniform, nats $\downarrow$": metric("kl")}


def setup() -> str:
    """How each method is held and optimised, from the preset's resolved configurations."""
    held = {
        "none": lambda c: "nothing",
        "clip": lambda c: rf"every parameter in $[-{c.clip:g}, {c.clip:g}]$",
        "gp": lambda c: rf"${c.penalty:g}\,(\|\nabla_x f\|-1)^2$ between samples",
        "sn": lambda c: f"reshaped norm of each kernel, power iterations: {c.power_iterations}",
        "sn-operator": lambda c: f"norm of each operator, power iterations: {c.power_iterations}",
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


def common() -> str:
    """What all runs of the digits share."""
    c = expand("paper", groups="main", seeds="0")["sn-0"]
    rows = [
        ("generator steps", str(c.steps)),
        ("critic steps before each", str(c.critic_steps)),
        ("batch, of real and of generated samples", str(c.batch)),
        ("channels of the critic's first layer", str(c.width)),
        ("dimensions of the Gaussian input", str(c.latent)),
        ("steps between evaluations, certificates", f"{c.evaluate_every}, {c.certify_every}"),
    ]
    return tabular("lr", ["common to all", ""], rows)


def groups() -> str:
    """The groups of the preset: settings, seeds and runs."""
    rows = []
    for name, group in PRESETS["paper"].groups.items():
        runs = len(group.settings) * len(group.seeds)
        rows.append([code(name), str(len(group.settings)), str(len(group.seeds)), str(runs)])
    return tabular("lrrr", ["group", "settings", "seeds", "runs"], rows)


def w1(results: Path) -> str:
    """Our critic beside the best published value of each size, per metric."""
    rows = []
    for (dim, funnels), records in w1_sizes(results).items():
        cos, l2, error = ([record[key] for record in records] for key in ("cos", "l2", "deviation"))
        best = published(dim, funnels)
        row = [str(dim), str(funnels), str(len(records))]
        for values, theirs in ((cos, best and best.cos), (l2, best and best.l2)):
            row += [f"{sum(values) / len(values):.3f}", NONE if theirs is None else f"{theirs:.3f}"]
        row.append(rf"\num{{{100 * sum(error) / len(error):.1f}}}")
        row.append(number(sum(record["seconds"] for record in records) / len(records)))
        rows.append(row)
    head = ["$D$", "$N$", "seeds", r"$\cos\uparrow$", "published", r"$L^2\downarrow$", "published"]
    return tabular("rrrrrrrrr", [*head, r"$\widehat W_1/W_1-1$, \%", "s"], rows)


def claims(table: Table) -> str:
    """Every claim with its verdict and one line of evidence."""
    rows = []
    for i in range(1, int(table["claims/count/all"].text) + 1):
        said = {part: table[f"claims/c{i}/{part}"].text for part in ("claim", "verdict", "evidence")}
        verdict = rf"\textcolor{{{VERDICT_COLORS[said['verdict']]}}}{{{said['verdict']}}}"
        rows.append([f"C{i}", said["claim"], verdict, said["evidence"]])
    left = r">{\raggedright\arraybackslash}"
    columns = rf"l{left}X l {left}X"
    return tabular(columns, ["", "claim", "verdict", "evidence"], rows, width=True)


def miyato() -> str:
    """Settings A to F."""
    rows = [
        [letter, rf"\num{{{s['critic_lr']:g}}}", f"{s['beta1']:g}", f"{s['beta2']:g}", str(s["critic_steps"])]
        for letter, s in MIYATO.items()
    ]
    return tabular("lrrrr", ["", "learning rate", r"$\beta_1$", r"$\beta_2$", "critic steps"], rows)


# What is shown of a group, under which words.
GROUP_TABLES: dict[str, tuple[str, dict[str, Cell]]] = {
    "losses": ("Spectral normalization under other losses than the Wasserstein one", QUALITY),
    "baseline": ("The relativistic loss with R1 and R2, and single critic steps", QUALITY),
    "settings": ("Optimizer settings A to F", FRECHET),
    "settings-operator": ("Optimizer settings A to F, the operator norm held", FRECHET),
    "clip": ("The bound of weight clipping", SWEEP),
    "penalty": ("The weight of the gradient penalty", SWEEP),
    "target": ("The norm at which each layer is held", SWEEP),
    "iterations": ("Power iterations a critic step", SWEEP),
    "ring": ("Mode coverage, ring of Gaussians", PLANE),
    "grid": ("Mode coverage, grid of Gaussians", PLANE),
    "stacked": ("Mode coverage, stacked digits", STACKED),
    "cost": ("Cost by width, batch and method", COST),
}


def group_float(evidence: Evidence, table: Table, group: str) -> str:
    """What is there of a group: a sentence on its runs, and a table where any has finished."""
    state = table[f"group/{group}/state"].text
    title, columns = GROUP_TABLES[group]
    settings = list(PRESETS["paper"].groups[group].settings)
    own = [s for s in settings if s not in CONSTRAINTS]
    if not any(evidence.all_of(setting) for setting in own):
        return state + "%\n"
    body = by_setting(evidence, settings, columns)
    caption = rf"{title}: means over the finished seeds, ranges in parentheses."
    label = f"tab:{group}"
    lines = [r"\begin{table}[tbp]", r"\centering\small", rf"\caption{{{caption}}}\label{{{label}}}"]
    return "\n".join([rf"{state} \Cref{{{label}}} has the numbers.", *lines, body + r"\end{table}", ""])


def render(results: Path, table: Table) -> dict[str, str]:
    """All tables by the path of their file in the build folder."""
    evidence = read_evidence(results)
    plain = {
        "setup": setup(),
        "common": common(),
        "groups": groups(),
        "miyato": miyato(),
        "quality": by_setting(evidence, list(CONSTRAINTS), QUALITY),
        "critic": by_setting(evidence, list(CONSTRAINTS), CRITIC),
        "expense": by_setting(evidence, list(CONSTRAINTS), COST),
        "w1": w1(results),
        "claims": claims(table),
    }
    floats = {f"groups/{name}.tex": group_float(evidence, table, name) for name in GROUP_TABLES}
    return {f"tables/{name}.tex": text for name, text in plain.items()} | floats

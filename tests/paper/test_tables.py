"""Tables and sentences on evidence that is made smaller or larger than what is stored."""

import dataclasses
import json
import re

import pytest

from onelip.gan.run import RunResult
from onelip.study.claims.evidence import Evidence
from onelip.study.presets import CONSTRAINTS, PRESETS
from onelip.study.store import read_records
from paper.build import ROOT
from paper.numbers import METRICS, constants, costs, finite, layer_factors, of_groups, of_runs
from paper.parts import PARTS, floats
from paper.sentences import claim_words, coverage, ranking, shortened, spreads
from paper.tables import QUALITY, by_setting, claims, modes

RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def stored():
    return read_records(RESULTS / "study")


def evidence_of(*runs):
    return Evidence({run.name: run for run in runs}, {}, RESULTS)


def renamed(run, setting, seed=0, **last):
    """A run under another name, with some of its final numbers changed."""
    summary = run.summary | {"last": run.summary["last"] | last}
    config = dataclasses.replace(run.config, seed=seed)
    return dataclasses.replace(run, name=f"{setting}-{seed}", config=config, summary=summary)


def seeds(run, setting, distances):
    key = "final/frechet_distance"
    return [renamed(run, setting, seed, **{key: value}) for seed, value in enumerate(distances)]


@pytest.mark.parametrize("part", list(PARTS))
def test_a_part_without_runs_says_what_is_missing_and_no_number_of_it(part, stored):
    main = [run for run in stored.values() if run.setting in ("clip", "gp", "sn")]
    text = floats(evidence_of(*main), part, {PARTS[part].figure})
    assert r"\begin{" not in text
    assert "onelip study paper" in text


@pytest.mark.parametrize(
    ("part", "setting"),
    [("cost", "cost-mnist-w4-b64-gp"), ("settings", "A-sn"), ("modes", "ring-gp"), ("losses", "sn-hinge")],
)
def test_a_part_with_a_run_is_a_float_that_is_referred_to(part, setting, stored):
    run = renamed(stored["gp-0"], setting, **{"final/modes": 7.0, "final/share": 0.5})
    text = floats(evidence_of(stored["sn-0"], run), part, {PARTS[part].figure})
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels
    assert rf"See \cref{{{','.join(labels)}}}." in text
    assert text.count(r"\begin{figure}") + text.count(r"\begin{table}") == len(labels)


@pytest.mark.parametrize("part", [name for name, part in PARTS.items() if part.table is None])
def test_a_part_with_runs_too_few_for_its_figure_refers_to_nothing(part, stored):
    setting = next(s for s in PRESETS["paper"].groups[PARTS[part].groups[0]].settings if s not in CONSTRAINTS)
    text = floats(evidence_of(renamed(stored["gp-0"], setting)), part, set())
    assert "ref{" not in text
    assert "onelip study paper" in text


def test_means_ranges_and_diverged_runs(stored):
    diverged = renamed(stored["gp-0"], "gp", 2)
    diverged = dataclasses.replace(
        diverged, result=RunResult("diverged", 7), summary=diverged.summary | {"status": "diverged"}
    )
    text = by_setting(evidence_of(*seeds(stored["gp-0"], "gp", [8.0, 9.0]), diverged), ["gp", "sn"], QUALITY)
    (row,) = (line for line in text.splitlines() if "texttt" in line)
    assert row.startswith(r"\texttt{gp} & 2 (1 diverged) & 8.50 (8.00--9.00) &")


def test_the_ranking_is_by_the_mean(stored):
    run = stored["sn-0"]
    one = evidence_of(*seeds(run, "sn", [3.0]), *seeds(run, "gp", [2.0]))
    two = evidence_of(*seeds(run, "sn", [3.0, 1.0]), *seeds(run, "gp", [2.5, 2.5]))
    assert re.findall(r"texttt\{(\w+)\} \(", ranking(one)) == ["gp", "sn"]
    assert re.findall(r"texttt\{(\w+)\} \(", ranking(two)) == ["sn", "gp"]
    assert ("orders nothing" in ranking(one), "orders nothing" in ranking(two)) == (True, False)


def test_spreads_are_within_each_seed_and_say_whose_distance_is_lowest(stored):
    run, letters = stored["sn-0"], "ABCDEF"
    distances = {
        "sn": [(6.0, 12.0), *[(8.0, 16.0)] * 4, (12.0, 24.0)],  # twice the best within each seed
        "gp": [(2.0, 9.0), *[(9.0, 9.0)] * 5],
    }
    runs = [
        made
        for method, table in distances.items()
        for letter, values in zip(letters, table, strict=True)
        for made in seeds(run, f"{letter}-{method}", values)
    ]
    said = spreads(evidence_of(*runs))
    assert r"\texttt{gp}: 2.12; \texttt{sn}: 2.00." in said  # √(9/2 · 1)
    assert r"\texttt{gp} under A, B, C, D, E and F." in said
    assert spreads(evidence_of(run)) == ""
    assert spreads(evidence_of(*seeds(run, "A-sn", [3.0]))) == ""


def test_coverage_names_the_methods_with_the_most_modes_and_the_largest_share(stored):
    def made(setting, seed, **last):
        changed = {f"final/{key}": value for key, value in last.items()}
        return renamed(stored["sn-0"], setting, seed, **changed)

    runs = [
        *(made("ring-sn", seed, modes=8.0, share=share) for seed, share in enumerate((0.02, 0.04))),
        *(made("ring-gp", seed, modes=modes, share=0.01) for seed, modes in enumerate((8.0, 7.0))),
        made("ring-r1r2", 0, modes=8.0, share=0.001),
        made("stacked-mnist-gp", 0, modes=700.0, kl=0.5),
    ]
    said = coverage(evidence_of(*runs))
    assert r"of the ring by \texttt{sn} and \texttt{r1r2} (8.00 of 8)" in said
    assert r"of stacked digits by \texttt{gp} (700 of 1000)" in said
    assert r"At most 3.00\,\% on the ring of a method's samples" in said
    assert "grid" not in said
    assert coverage(evidence_of(stored["sn-0"])) == ""
    assert coverage(evidence_of(runs[-1])).endswith("(700 of 1000).")


def test_costs_and_constants_name_the_methods_that_ran(stored):
    evidence = evidence_of(stored["sn-0"], stored["gp-0"])
    assert costs(evidence).startswith(r"\texttt{sn}: 0.")
    assert re.findall(r"texttt\{(.*?)\}", constants(evidence)) == ["gp", "sn"]


def test_modes_have_a_row_a_method_that_has_a_run_and_dashes_where_nothing_ran(stored):
    ring = renamed(stored["sn-0"], "ring-sn", **{"final/modes": 8.0, "final/share": 0.25})
    rows = {line.split(" & ")[0]: line for line in modes(evidence_of(ring)).splitlines() if "texttt" in line}
    assert rows[r"\texttt{sn}"] == r"\texttt{sn} & 8.00 & 0.250 & -- & -- & -- & -- \\"
    assert list(rows) == [r"\texttt{sn}"]


def test_groups_count_what_is_stored(stored):
    table = of_groups(evidence_of(stored["clip-0"], stored["gp-0"], stored["sn-0"]))
    assert table["group/main/stored"].text == "3"
    assert table["group/main/seeds"].text == "1 seed"
    assert table["group/ring/seeds"].text == "no seeds"


def test_every_metric_of_a_finished_run_is_a_finite_number(stored):
    evidence = evidence_of(stored["sn-0"])
    planar = {"modes", "share", "kl"}
    assert [m for m in METRICS if not finite(evidence, "sn", m) and m not in planar] == []
    assert of_runs(evidence)["seeds/sn"].text == "1 seed"


def test_the_factors_bound_the_norms_that_training_reached(stored):
    run = stored["sn-0"]
    for name, factor in layer_factors(evidence_of(run)).items():
        norms = run.summary["layers"]
        reshaped, operator = norms[f"layers/{name}/reshaped"], norms[f"layers/{name}/operator/lower"]
        assert reshaped * (1 - 2e-3) <= operator <= factor * reshaped


def claim(verdict, reason="", effect=None):
    return {
        "claim": "50 % & more",
        "criterion": "σ_1 < 1",
        "verdict": verdict,
        "reason": reason,
        "effect": effect,
        "effect_name": "A over B",
        "known": "",
        "missing": re.findall(r"gp-\S+(?=:)", reason),
    }


def test_the_table_of_claims_escapes_and_shortens():
    estimate = {"value": 2.0, "low": 1.5, "high": 2.5, "seeds": 5}
    found = {
        "C1": claim("supported", effect=estimate),
        "C2": claim("undecided", "3 of 9 runs are missing, gp-{1,2}: onelip study paper"),
        "C3": claim("depends", "holds: " + "word " * 200 + "; does not: on digits", estimate),
    }
    words = claim_words(found)
    assert words["c1/claim"] == r"50 \% \& more"
    assert words["c1/evidence"] == "A over B: 2.00 [1.50, 2.50], 5 seeds"
    assert words["c2/evidence"] == "3 of 9 runs are missing"
    assert words["c3/evidence"].endswith("…; does not: on digits")
    assert len(words["c3/evidence"]) < 300
    assert [words[f"c{i}/headline"] for i in (1, 2)] == ["A over B: 2.00", "3 of 9 runs are missing"]
    assert words["outcome"].startswith("Supported: C1. Dependent on a condition: C3. Undecided")
    table = claims({f"claims/{key}": type("V", (), {"text": text}) for key, text in words.items()})
    assert [line[:2] for line in table.splitlines() if line.startswith("C")] == ["C1", "C2", "C3"]


def test_reasons_of_the_stored_claims_lose_commands_alone():
    stored = json.loads((RESULTS / "claims.json").read_text())["claims"].values()
    for said in stored:
        assert "onelip study" not in shortened(said["reason"])
        assert said["missing"] or shortened(said["reason"]) == said["reason"]

"""Our mode coverage beside the published one, on runs made up for it."""

import math

import pytest

from onelip.gan.run import RunResult
from onelip.study.coverage import SECOND, markdown, ours, published
from onelip.study.presets import expand
from onelip.study.runs import StoredRun


def runs(groups, last):
    """The groups' runs, each with what `last` says of its configuration; None for one that diverged."""
    made = []
    for name, config in expand("paper", groups=groups).items():
        found = last(config)
        result = RunResult("diverged" if found is None else "finished", config.steps)
        made.append(StoredRun(name, config, result, {}, {"last": found or {}}, ()))
    return made


@pytest.mark.parametrize("data", SECOND)
def test_published_rows_are_within_the_protocol_s_range(data):
    of = {"ring": 8, "grid": 25, "stacked-mnist": 1000}[data]
    for row in published(data):
        assert 0 < row.modes <= of
        assert 0 <= row.second <= (math.log(1000) if data == "stacked-mnist" else 1)


def test_a_row_is_the_mean_over_seeds_and_counts_what_diverged():
    found = ours(
        runs("ring", lambda c: None if c.method == "clip" and c.seed < 2 else
             {"final/modes": 8.0 if c.method == "gp" else c.seed, "final/share": 0.5}),
        "ring",
    )  # fmt: skip
    rows = {row.method: row for row in found}
    assert (rows["gp"].modes, rows["gp"].second, rows["gp"].source) == (8.0, 0.5, "here, 5 seeds")
    assert rows["sn"].modes == 2.0
    assert (rows["clip"].modes, rows["clip"].source) == ((2 + 3 + 4) / 5, "here, 5 seeds, 2 diverged")


def test_the_table_shows_runs_that_there_are_and_no_others():
    assert "here" not in markdown([])
    made = markdown(runs("stacked", lambda c: {"final/modes": 990.0, "final/kl": 0.123}))
    assert made.count("here, 3 seeds") == len({c.method for c in expand("paper", groups="stacked").values()})
    assert "| gp | 990 | 0.123 | here, 3 seeds |" in made

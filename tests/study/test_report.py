"""The page of a study without a browser: what it draws, what it says without a script, what it refuses."""

import base64
import dataclasses
import io
import json
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

from onelip import cli
from onelip.errors import ArgumentError, CheckpointError, DataError
from onelip.gan.run import RunResult
from onelip.study.figures import LAYER_COLORS, METHOD_COLORS
from onelip.study.report import numbers
from onelip.study.report.numbers import PICTURES, groups_of, looks, norm_products, page_data
from onelip.study.report.page import embedded, report_html, write_report
from onelip.study.report.read import read_claims, read_study, read_w1bench
from onelip.study.runs import Curve, read_run
from onelip.study.store import read_records, strip_rows, thinned, write_record
from tests.study import made


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made.write_study(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def runs(study):
    return read_study(study)


@pytest.fixture(scope="module")
def data(runs):
    return page_data(runs)


# --- what is drawn


def curve(data, name, metric):
    run = next(run for run in data["runs"] if run["name"] == name)
    grid, values, deviations = run["curves"][metric]
    return data["steps"][grid], values, deviations


def test_short_curves_are_drawn_as_recorded_with_their_clocks(data):
    steps, values, deviations = curve(data, "clip-1", "generator_loss")
    recorded = [made.record(made.config("clip", 1), step)["generator_loss"] for step in steps]
    assert list(steps) == list(range(1, made.STEPS + 1))
    np.testing.assert_allclose(values, recorded, rtol=1e-4)
    assert deviations is None
    assert curve(data, "sn-0", "training_cpu_seconds")[1][-1] == pytest.approx(0.1 * made.STEPS)
    assert curve(data, "sn-0", "training_seconds")[1][-1] == pytest.approx(0.2 * made.STEPS)


def test_a_large_study_is_thinned_to_means_with_deviations(runs, monkeypatch):
    monkeypatch.setattr(numbers, "VALUES", 100)
    steps, values, deviations = curve(page_data(runs), "sn-0", "generator_loss")
    assert len(steps) == len(values) == len(deviations) == numbers.WINDOWS
    assert steps[-1] == made.STEPS


def test_bounds_are_rounded_outward_and_multiplied(data):
    _, lower, _ = curve(data, "sn-0", "layers/0/operator/lower")
    _, upper, _ = curve(data, "sn-0", "layers/0/operator/upper")
    assert (lower[0], upper[0]) == (1.91, 2.0101)  # of 1.910001 and 2.010001
    assert curve(data, "sn-0", "product/upper")[1][0] >= 2.010001**2


def test_no_norms_no_product():
    assert norm_products({"generator_loss": Curve(np.ones(1), np.ones(1))}) is None


def test_pictures_are_few_even_and_end_with_the_last(data):
    shots = data["samples"]["clip"]["shots"]
    steps = [step for step, _ in shots]
    assert data["samples"]["clip"]["run"] == "clip-0"
    assert len(steps) == PICTURES
    assert steps[0] == 0
    assert steps[-1] == made.STEPS
    picture = Image.open(io.BytesIO(base64.b64decode(shots[1][1].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(made.picture(steps[1])))


def test_pictures_of_many_runs_are_fewer(runs, monkeypatch):
    monkeypatch.setattr(numbers, "PICTURE_BYTES", 30_000)
    (count,) = {len(found["shots"]) for found in page_data(runs)["samples"].values()}
    assert 1 <= count < PICTURES


@pytest.mark.parametrize(("last", "result"), [(made.STEPS, made.FINISHED), (18, RunResult("diverged", 19))])
def test_a_stored_strip_comes_apart_into_its_rows(tmp_path, last, result):
    made.write_run(tmp_path / "sn-0", made.config(), last, result)
    write_record(tmp_path / "store", read_run(tmp_path / "sn-0"))
    rows = strip_rows(read_records(tmp_path / "store")["sn-0"])
    assert len(rows) == 6
    assert rows[-1][0] == last
    for step, row in rows:
        first = np.asarray(made.picture(step))[: made.SIDE]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row))), first)


def test_thinning_what_is_thin_changes_nothing(study):
    stored = read_records(study / "store")["sn-0"].curves
    again = thinned(stored)
    assert again.keys() == stored.keys()
    assert all(again[name] is stored[name] for name in stored)


def named(runs, *settings):
    """Runs of these settings, each of the method that its name holds."""
    methods = {s: next(m for m in s.split("-")[::-1] if m in METHOD_COLORS) for s in settings}
    return [dataclasses.replace(runs[0], name=f"{s}-0", config=made.config(methods[s])) for s in settings]


GROUPS = [
    (("clip", "gp", "sn"), {"main": ["clip", "gp", "sn"]}),
    (("sn", "sn-hinge"), {"main": ["sn"], "losses": ["sn", "sn-hinge"]}),
    (("mine-sn", "clip"), {"main": ["clip"], "other": ["mine-sn"]}),
]


@pytest.mark.parametrize(("settings", "groups"), GROUPS, ids=["quick", "two groups", "one of no group"])
def test_settings_stand_in_the_groups_that_compare_them(runs, settings, groups):
    assert groups_of(named(runs, *settings)) == groups


def test_methods_keep_their_colours_and_settings_of_one_method_share_none(runs):
    many = looks(["A-clip", "A-sn", "B-clip"], named(runs, "A-clip", "A-sn", "B-clip"))
    assert [look["color"] for look in many] == [METHOD_COLORS[m] for m in ("clip", "sn", "clip")]
    assert [look["dash"] for look in many] == ["solid", "solid", "dash"]
    one = looks(["sn", "sn-hinge"], named(runs, "sn", "sn-hinge"))
    assert [look["color"] for look in one] == list(LAYER_COLORS[:2])


# --- the page without a script


@pytest.fixture(scope="module")
def markup(runs):
    page = report_html("A <study>", runs, made.CLAIMS, made.BENCHMARK)
    return page, page.partition("<script>")[0] + page.rpartition("</script>")[2]


def test_the_page_is_whole_and_says_so_to_the_browser(markup):
    page, still = markup
    assert "default-src 'none'" in still
    assert not re.search(r'(src|href)="(?!#)', still)
    assert page.count("</script>") == 3  # Plotly, data, page.js: no text ends one of them
    assert "<title>A &lt;study&gt;</title>" in still


def test_tables_verdicts_and_configurations_need_no_script(markup):
    _, still = markup
    assert '<th scope="row">clip-0</th><td>finished at 40</td>' in still
    assert "3 runs of 2 settings on mnist: 3 finished." in still
    assert "0.5 [0.4, 0.6], 5 seeds" in still
    assert "Fewer seconds &lt;/script&gt; than sn." in still
    assert "2 missing</summary><p>sn-1, sn-2</p>" in still
    assert "<td>0.987 ± 0.001</td>" in still
    assert '<th scope="row">sn-0</th><td>sn</td><td>0</td>' in still
    assert '<th scope="row">latent</th><td>64</td>' in still


def test_parts_without_content_are_left_out(runs):
    page = report_html("study", runs, {}, [])
    for name in ("claims", "w1"):
        assert f'id="{name}"' not in page
        assert f'href="#{name}"' not in page


def test_a_folder_whose_name_is_no_text_has_a_page(runs, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    elsewhere = dataclasses.replace(runs[0].config, data_dir=name)
    write_report(name, [dataclasses.replace(runs[0], config=elsewhere)], tmp_path / "page.html", tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>caf?</title>" in page
    assert '<th scope="row">data_dir</th><td>caf?</td>' in page


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "é\u2028"])
def test_no_text_leaves_the_block_of_data(text):
    block = embedded({"name": text})
    assert "<" not in block
    assert json.loads(block) == {"name": text}


# --- the command


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["onelip", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_command_takes_a_study_and_a_store_with_what_lies_beside(study, tmp_path, monkeypatch, capsys):
    assert command(monkeypatch, study) == 0
    assert "3 runs: open" in capsys.readouterr().out
    first = (study / "report.html").read_text()
    assert 'id="claims"' not in first
    (study / "claims.json").write_text(json.dumps({"claims": made.CLAIMS}))
    (tmp_path / "w1.json").write_text(json.dumps(made.BENCHMARK))
    out = tmp_path / "page.html"
    assert command(monkeypatch, study / "store", "--out", out, "--w1bench", tmp_path / "w1.json") == 0
    (study / "claims.json").unlink()
    assert 'id="claims"' in out.read_text()
    assert 'id="w1"' in out.read_text()


def unfinished(folder):
    made.write_run(folder / "runs" / "sn-0", made.config(), last=5, result=None)


def empty(folder):
    folder.mkdir()


REFUSED = [
    ("nowhere", lambda folder: None, ArgumentError, "study must be a folder"),
    ("empty", empty, CheckpointError, "holds no run"),
    ("unfinished", unfinished, CheckpointError, "of 1 runs in"),
]


@pytest.mark.parametrize(("prepare", "error", "said"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_folder_without_a_finished_run_is_refused_in_one_line(
    tmp_path, prepare, error, said, monkeypatch, capsys
):
    prepare(tmp_path / "study")
    with pytest.raises(error, match=said):
        read_study(tmp_path / "study")
    assert command(monkeypatch, tmp_path / "study") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "study" / "report.html").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"claims": {"C1": {}}}', "no JSON", '{"claims": 3}'])
@pytest.mark.parametrize("read", [read_claims, read_w1bench], ids=["claims", "w1bench"])
def test_a_file_of_another_kind_is_refused(tmp_path, read, content):
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(DataError, match=r"file\.json"):
        read(tmp_path / "file.json")


def test_a_named_file_that_is_missing_is_one_line(study, tmp_path, monkeypatch, capsys):
    for option in ("--claims", "--w1bench"):
        assert command(monkeypatch, study, option, tmp_path / "none.json") == 2
        error = capsys.readouterr().err
        assert "none.json" in error
        assert error.count("\n") == 1

"""The page in headless Chromium: what the controls draw, and that it is quiet, readable and operable."""

import json
import os
import shutil
from importlib import resources

import pytest
from playwright.sync_api import expect, sync_playwright

from onelip.study.report.page import report_html
from onelip.study.report.read import read_study
from tests.study import made

pytestmark = pytest.mark.browser
PATIENCE = 180_000  # milliseconds: cores may be busy with other things


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        missing = pytest.fail if "chromium" in os.environ.get("ONELIP_REQUIRE", "") else pytest.skip
        missing("Chromium is not installed: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def browser():
    path = chromium()
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path)
        yield started
        started.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = read_study(made.write_study(folder))
    page = report_html("A study", runs, made.CLAIMS, made.BENCHMARK)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="session")
def opened(browser, address):
    """The page, and everything that it said or asked for."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light", offline=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    heard = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(address)
    assert heard.pop(0) == address
    yield page, heard
    context.close()


@pytest.fixture
def page(opened):
    yield opened[0]
    assert opened[1] == []


DRAWN = """() => JSON.stringify([...document.querySelectorAll("#explorer figure")].map((figure) => [
    figure.closest("section").id, figure.textContent, figure.querySelector("img")?.src ?? "",
    (figure.querySelector(".plot")?.data ?? []).map(({ x, y }) => [x, y]),
    figure.querySelector(".plot")?.layout.yaxis.type ?? ""]))"""


def drawn(page, section="curves"):
    """What the figures of a section show: [section, text, picture, traces, type of the axis] of each."""
    return [figure for figure in json.loads(page.evaluate(DRAWN)) if figure[0] == section]


def put(page, control, value):
    """Bring a control to a value; the value that it had."""
    element = page.locator(control)
    if isinstance(value, bool):
        before = element.is_checked()
        element.set_checked(value)
        return before
    before = element.input_value()
    if element.evaluate("e => e.tagName") == "SELECT":
        element.select_option(value)
    else:
        element.fill(value)
    return before


CONTROLS = [
    ("#settings [value=clip]", False, "curves samples certificate"),
    ("#seeds [value='1']", False, "curves certificate"),
    ("#axis", "training_cpu_seconds", "curves layers certificate"),
    ("#metric", "critic_loss", "curves"),
    ("#layout", "shared", "curves"),
    ("#spread", "mean", "curves"),
    ("#scale", "log", "curves"),
    ("#smoothing", "40", "curves"),
    ("#shot", "0", "samples"),
    ("#run", "clip-1", "layers"),
    ("#at", "0", "layers"),
]


@pytest.mark.parametrize(("control", "value", "sections"), CONTROLS, ids=[c[0].split()[0] for c in CONTROLS])
def test_a_control_changes_what_is_drawn_and_back(page, control, value, sections):
    shown = {section: drawn(page, section) for section in sections.split()}
    before = put(page, control, value)
    changed = {section: drawn(page, section) for section in shown}
    put(page, control, before)
    for section, figures in shown.items():
        assert changed[section] != figures, section
        assert drawn(page, section) == figures, section


def test_unsmoothed_curves_are_what_was_recorded(page):
    before = put(page, "#smoothing", "0")
    (_, caption, _, traces, axis), _ = drawn(page)
    put(page, "#smoothing", before)
    recorded = [
        [made.record(made.config("clip", seed), step)["generator_loss"] for step in range(1, made.STEPS + 1)]
        for seed in (0, 1)
    ]
    assert [trace[1] for trace in traces[-2:]] == [pytest.approx(values, rel=1e-4) for values in recorded]
    assert traces[-1][0] == list(range(1, made.STEPS + 1))
    assert caption.startswith("weight clippinglast ")
    assert axis == "linear"


def test_seconds_are_those_of_training(page):
    before = put(page, "#axis", "training_cpu_seconds")
    x = drawn(page)[0][3][-1][0]
    put(page, "#axis", before)
    assert x == pytest.approx([0.1 * step for step in range(1, made.STEPS + 1)], rel=1e-4)


def test_scales_that_cannot_be_compared_are_said_to_be_so(page):
    note = page.locator("#scales")
    assert "every panel has its own axis" in note.text_content()
    assert len(drawn(page)) == 2
    put(page, "#layout", "shared")
    assert "not the heights" in note.text_content()
    assert len(drawn(page)) == 1
    put(page, "#metric", "evaluation/frechet_distance")
    assert note.text_content() == ""
    put(page, "#metric", "generator_loss")
    assert page.locator("#layout").input_value() == "panels"


def test_the_layers_table_is_that_of_the_chosen_step(page):
    run, at = put(page, "#run", "clip-0"), put(page, "#at", "0")
    rows = [row.locator("th, td").all_text_contents() for row in page.locator("#layer-table tbody tr").all()]
    put(page, "#run", run), put(page, "#at", at)
    assert rows[0] == ["0", "0.01", "1.91", "2.0101", "201.1"]
    assert rows[2] == ["product", "1.00e-4", "", "4.0402", "40410"]  # of 2.010001², not 2.0101²


def test_a_setting_without_runs_has_no_layers(page):
    page.locator("#none").click()
    assert page.locator("#layer-table tbody tr").count() == 0
    page.locator("#every").click()
    assert page.locator("#layer-table tbody tr").count() == 3


SIZES = (0, 1, 1.0001**3, 201.01, 9.9991, 9.9999, 99991, 1.0004e5, 0.00099991, 1.2341e-7, 3.00001e20)


@pytest.mark.parametrize("value", SIZES)
def test_a_short_bound_is_a_bound(page, value):
    script = resources.files("onelip.study.report").joinpath("charts.js").read_text(encoding="utf-8")
    short_above = f"value => {{ {script} return shortAbove(value); }}"
    shown = float(page.evaluate(short_above, value))
    assert value <= shown <= 1.01 * value
    assert float(page.evaluate(short_above, shown)) == shown


def test_bounds_under_the_pointer_are_those_of_the_data(page):
    at = """() => {
        const plot = document.querySelector("#layer-panels .plot");
        Plotly.Fx.hover(plot, [{ curveNumber: 3, pointNumber: 0 }]);
        return plot.querySelector(".hovertext").textContent;
    }"""
    assert page.evaluate(at) == "‖A‖₂ ≤10: 2.0101"


def test_certificates_end_with_their_last_values(page):
    row = page.locator("#certificate-table tbody tr").first.locator("th, td").all_text_contents()
    assert row[:3] == ["clip-0", "1", "4.5"]
    assert float(row[3]) == pytest.approx(2.040001**2, rel=1e-4)


def test_all_and_none_of_the_methods(page):
    page.locator("#none").click()
    assert drawn(page) == []
    assert "No run that is shown has this." in page.locator("#curve-panels").text_content()
    page.locator("#every").click()
    assert len(drawn(page)) == 2


def test_evidence_unfolds_by_keyboard(page):
    claim = page.locator("details.claim").first
    claim.locator("summary").focus()
    page.keyboard.press("Enter")
    assert claim.locator("dd").first.is_visible()
    page.keyboard.press("Enter")
    assert not claim.locator("dd").first.is_visible()


def test_sliders_and_switches_work_by_keyboard(page):
    figures = drawn(page, "samples")
    page.locator("#shot").focus()
    page.keyboard.press("ArrowLeft")
    assert drawn(page, "samples") != figures
    page.keyboard.press("End")
    assert drawn(page, "samples") == figures


def test_the_theme_follows_the_system_and_the_switch(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    def ink():
        return page.evaluate("document.querySelector('.plot').layout.font.color")

    def wait_until_ink(comparison, color):
        # The browser tells of the system's change at its next frame.
        plot = "document.querySelector('.plot').layout.font.color"
        page.wait_for_function(f"color => {plot} {comparison} color", arg=color)

    light = paper(), ink()
    page.emulate_media(color_scheme="dark")
    wait_until_ink("!==", light[1])
    dark = paper(), ink()
    assert all(a != b for a, b in zip(light, dark, strict=True))
    page.get_by_role("button", name="Light colours").click()
    assert (paper(), ink()) == light
    page.get_by_role("button", name="Dark colours").click()
    assert (paper(), ink()) == dark
    page.evaluate("delete document.documentElement.dataset.theme")
    page.emulate_media(color_scheme="light")
    wait_until_ink("===", light[1])
    assert (paper(), ink()) == light


def test_every_control_has_a_name_and_every_picture_an_alternative(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button")]
        .filter((e) => !(e.labels?.length && e.labels[0].textContent.trim()) && !e.textContent.trim())
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    pictures = page.locator("img, [role=img]")
    described = pictures.evaluate_all("found => found.map((e) => e.alt || e.ariaLabel || '')")
    assert len(described) == 2 + 2 + 2 + 2  # a panel a method or layer in each of the four parts
    assert all(len(text) > 20 for text in described), described


def test_a_phone_scrolls_in_one_direction_only(page):
    before = page.locator("#curve-panels svg").first.get_attribute("width")
    page.set_viewport_size({"width": 390, "height": 844})
    for details in page.locator("details").all():
        details.evaluate("e => { e.open = true; }")
    expect(page.locator("#curve-panels svg").first).not_to_have_attribute("width", before, timeout=PATIENCE)
    wide = page.evaluate("document.documentElement.scrollWidth")
    for details in page.locator("details:not(#bar)").all():
        details.evaluate("e => { e.open = false; }")
    page.set_viewport_size({"width": 1200, "height": 900})
    assert wide == 390


def test_without_a_script_the_numbers_are_there(browser, address):
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#numbers td").first.is_visible()
    assert "drawn by" in page.locator("noscript").text_content()
    assert not page.locator("#curves").is_visible()
    assert not page.locator("#theme").is_visible()
    context.close()

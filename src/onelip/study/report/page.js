// Draws what the controls say, from the JSON block `data`:
//   groups   {group: [{name, title, color, dash}]}: settings that are compared
//   metrics  [{key, title, ownScale, log}]
//   runs     [{name, setting, seed, layers, curves: {metric: [index into steps, values, deviations or null]}}]
//   steps    [[step, ...], ...]
//   samples  {setting: {run, shots: [[step, data URI], ...]}}
// The controls are the only state: every function reads them anew.

const data = JSON.parse(by("data").textContent);
const SHOWN_AT_FIRST = 8; // of a group's settings

// --- what is chosen

const group = () => data.groups[by("group").value];
const metric = () => data.metrics.find(({ key }) => key === by("metric").value);
const checked = (id) => [...by(id).querySelectorAll("input:checked")].map((input) => input.value);

function shownSettings() {
  const names = checked("settings");
  return group().filter(({ name }) => names.includes(name));
}

function shownRuns(setting, needed) {
  const seeds = checked("seeds");
  return data.runs.filter((run) =>
    run.setting === setting.name && seeds.includes(String(run.seed)) && needed in run.curves);
}

/** Steps, values, deviations of a metric, and x: the steps or the seconds that training took up to them. */
function curveOf(run, key) {
  const [grid, values, deviations] = run.curves[key];
  const steps = data.steps[grid];
  const clock = run.curves[by("axis").value];
  const x = clock ? steps.map((step) => interpolate(data.steps[clock[0]], clock[1], step)) : steps;
  return { steps, x, values, deviations };
}

const last = (run, key) => run.curves[key]?.[1].at(-1);

/** Panels share the horizontal axis that is chosen. */
function showPanels(id, panels) {
  const xTitle = by("axis").selectedOptions[0].textContent;
  show(by(id), panels.map((panel) => ({ xTitle, ...panel })));
}

// --- curves

function drawCurves() {
  const { key, title, ownScale } = metric();
  const shared = by("layout").value === "shared";
  const common = { log: by("scale").value === "log", yTitle: title };
  const panels = [];
  for (const setting of shownSettings()) {
    const runs = shownRuns(setting, key);
    if (!runs.length) continue;
    const said = `last ${runs.map((run) => short(last(run, key))).join(", ")}`;
    panels.push({ ...common, ...setting, key: setting.name, said, traces: tracesOf(setting, runs, key) });
  }
  const one = {
    ...common, key: "shared", title, said: "", legend: true,
    alt: panels.map((panel) => `${panel.title}, ${panel.said}`).join("; "),
    traces: panels.flatMap(({ traces }) => traces),
  };
  const scales = "Critics with different Lipschitz constants have different scales of this";
  const advice = shared ? "on one axis compare the shapes, not the heights" : "every panel has its own axis";
  by("scales").textContent = ownScale ? `${scales}: ${advice}.` : "";
  by("smoothing").nextElementSibling.textContent = `${by("smoothing").value} %`;
  by("curve-panels").classList.toggle("one", shared);
  showPanels("curve-panels", shared && panels.length ? [one] : panels);
}

function tracesOf(setting, runs, key) {
  const curves = runs.map((run) => curveOf(run, key));
  const smoothed = curves.map(({ values }) => smooth(values, by("smoothing").value / 100));
  if (by("spread").value === "mean" && runs.length > 1) {
    // Up to the end of the shortest run, at its steps: others may have been measured at other ones.
    const { steps } = curves.reduce((a, b) => (b.steps.at(-1) < a.steps.at(-1) ? b : a));
    const at = (curve, ys) => steps.map((step) => (step < curve.steps[0] ? ys[0] : interpolate(curve.steps, ys, step)));
    const x = columns(curves.map((curve) => at(curve, curve.x))).map(mean);
    const values = columns(curves.map((curve, i) => at(curve, smoothed[i])));
    const [low, high] = [Math.min, Math.max].map((end) => values.map((seeds) => end(...seeds)));
    const middle = line(x, values.map(mean), setting, `${setting.title}, mean`, { showlegend: true });
    return [...band(x, low, high, setting.color, 0.22), middle];
  }
  return [
    ...curves.flatMap((curve) => recorded(curve, setting)),
    ...curves.map(({ x }, i) => line(x, smoothed[i], setting, runs[i].name, { showlegend: i === 0 })),
  ];
}

/** What was recorded of one run, faint: its curve, or a deviation about the means of windows. */
function recorded({ x, values, deviations }, setting) {
  if (!deviations) return [line(x, values, setting, "as recorded", { opacity: 0.35, mode: "lines" })];
  // A logarithmic axis has no place for what is not positive: there the area ends at the smallest mean.
  const log = by("scale").value === "log";
  const floor = log ? Math.min(...values.filter((value) => value > 0)) : -Infinity;
  const low = values.map((value, i) => Math.max(value - deviations[i], floor));
  return band(x, low, values.map((value, i) => value + deviations[i]), setting.color, 0.13);
}

// --- samples

function drawSamples() {
  const slider = by("shot");
  const share = slider.value / slider.max;
  slider.nextElementSibling.textContent = `${Math.round(100 * share)} %`;
  const shown = shownSettings().filter(({ name }) => name in data.samples);
  by("sample-panels").replaceChildren(...shown.map((setting) => {
    const { run, shots } = data.samples[setting.name];
    const [step, src] = shots[Math.round(share * (shots.length - 1))];
    const image = make("img", { src, alt: `Samples of ${setting.title} (${run}) after step ${step}` });
    const caption = captionOf({ ...setting, said: `${run}, after step ${step}` });
    return make("figure", {}, image, make("figcaption", {}, ...caption));
  }));
}

// --- norms of layers

function drawLayers() {
  const run = data.runs.find(({ name }) => name === by("run").value);
  const curves = run ? run.layers.map((layer) => normsOf(run, layer)) : [];
  const slider = by("at");
  const steps = curves[0]?.reshaped.steps ?? [0];
  slider.max = steps.length - 1;
  const at = Number(slider.value);
  slider.nextElementSibling.textContent = `step ${steps[at]}`;
  showPanels("layer-panels", curves.map((norms) => layerPanel(norms, at, colorOf(run))));
  const heads = ["layer", "reshaped norm", "‖A‖₂ ≥", "‖A‖₂ ≤", "‖A‖₂ ≤, over the reshaped norm"];
  tabulate(by("layer-table"), heads, run ? layerRows(curves, curveOf(run, "product/upper"), at) : []);
}

const colorOf = (run) => group().find(({ name }) => name === run.setting).color;

function normsOf(run, layer) {
  const [reshaped, lower, upper] = ["reshaped", "operator/lower", "operator/upper"]
    .map((norm) => curveOf(run, `layers/${layer}/${norm}`));
  return { layer, reshaped, lower, upper };
}

function layerPanel({ layer, reshaped, lower, upper }, at, color) {
  const drawn = ({ x, values }, label, stroke) => line(x, values, {}, label, { line: stroke });
  return {
    key: layer, title: `layer ${layer}`, yTitle: "norm", zero: true, mark: reshaped.x[at],
    said: `${lower.values[at]} ≤ ‖A‖₂ ≤ ${upper.values[at]}, reshaped ${reshaped.values[at]}`,
    traces: [
      ...band(lower.x, lower.values, upper.values, color, 0.3),
      drawn(lower, "‖A‖₂ ≥", { color, width: 1 }),
      drawn(upper, "‖A‖₂ ≤", { color, width: 2 }),
      drawn(reshaped, "reshaped", { color: "#808080", width: 2, dash: "dash" }),
    ],
  };
}

/** The product of the upper bounds comes from the data, rounded up once: the bounds of the rows are already. */
function layerRows(curves, product, at) {
  const ratio = (upper, reshaped) => (reshaped ? shortAbove(upper / reshaped) : "–");
  const rows = curves.map(({ layer, ...norms }) => {
    const values = [norms.reshaped, norms.lower, norms.upper].map((norm) => norm.values[at]);
    const [reshaped, , upper] = values;
    return [layer, ...values, ratio(upper, reshaped)];
  });
  const reshaped = rows.reduce((found, row) => found * row[1], 1);
  const upper = product.values[at];
  return [...rows, ["product", short(reshaped), "", upper, ratio(upper, reshaped)]];
}

// --- certificates

function drawCertificate() {
  const panels = [];
  for (const setting of shownSettings()) {
    const runs = shownRuns(setting, "product/upper");
    if (!runs.length) continue;
    const traces = runs.flatMap((run) => certificateTraces(run, setting));
    const yTitle = "constant of the critic";
    panels.push({ ...setting, key: setting.name, runs, said: certified(runs), yTitle, log: true, traces });
  }
  showPanels("certificate-panels", panels);
  const heads = ["run", "‖f‖ ≥, witnessed", "‖f‖ ≤, proved", "product of the layers' ‖A‖₂ ≤"];
  const keys = ["certificate/lower", "certificate/upper", "product/upper"];
  const rows = panels.flatMap(({ runs }) => runs)
    .map((run) => [run.name, ...keys.map((key) => last(run, key) ?? "–")]);
  tabulate(by("certificate-table"), heads, rows);
}

/** The interval that holds the constants of all of these runs after their last steps. */
function certified(runs) {
  const found = runs.filter((run) => "certificate/upper" in run.curves);
  if (!found.length) return "not certified while it trained";
  const lower = Math.min(...found.map((run) => last(run, "certificate/lower")));
  const upper = Math.max(...found.map((run) => last(run, "certificate/upper")));
  return `${lower} ≤ ‖f‖ ≤ ${upper}${found.length > 1 ? `, all ${found.length} seeds` : ""}`;
}

function certificateTraces(run, { color }) {
  const dashes = { "certificate/lower": "dash", "certificate/upper": "solid", "product/upper": "dot" };
  const found = Object.entries(dashes).filter(([key]) => key in run.curves).map(([key, dash]) => {
    const { x, values } = curveOf(run, key);
    return line(x, values, {}, `${run.name}, ${key}`, { line: { color, dash, width: 2 } });
  });
  const [lower, upper] = found;
  return "certificate/upper" in run.curves ? [...band(lower.x, lower.y, upper.y, color, 0.12), ...found] : found;
}

// --- controls

function chooseGroup() {
  const settings = group();
  const names = settings.map(({ name }) => name);
  const runs = data.runs.filter(({ setting }) => names.includes(setting));
  const seeds = [...new Set(runs.map(({ seed }) => seed))].sort((a, b) => a - b);
  chips(by("settings"), settings.map(({ name, title, color }, i) =>
    ({ value: name, text: title, color, checked: i < SHOWN_AT_FIRST })));
  chips(by("seeds"), seeds.map((seed) => ({ value: String(seed), text: String(seed), checked: true })));
  fill(by("metric"), data.metrics.filter(({ key }) => runs.some((run) => key in run.curves))
    .map(({ key, title }) => [key, title]));
  const counts = names.filter((name) => name in data.samples).map((name) => data.samples[name].shots.length);
  toEnd(by("shot"), Math.max(1, ...counts.map((count) => count - 1)));
  chooseMetric();
  chooseRuns();
}

function toEnd(slider, max) {
  slider.max = max;
  slider.value = max;
}

/** What has another scale for each method gets a panel each, unless the reader says otherwise. */
function chooseMetric() {
  by("layout").value = metric().ownScale ? "panels" : "shared";
  by("scale").value = metric().log ? "log" : "linear";
}

/** The runs whose layers can be looked at; at their last step. */
function chooseRuns() {
  const options = shownSettings().flatMap((setting) =>
    shownRuns(setting, "product/upper").map((run) => [run.name, `${setting.title}, seed ${run.seed}`]));
  fill(by("run"), options);
  toEnd(by("at"), 1e6); // cut to the run's steps when it is drawn
}

const all = [drawCurves, drawSamples, drawLayers, drawCertificate];
const drawAll = () => all.forEach((draw) => draw());
const after = {
  group: [chooseGroup, drawAll],
  settings: [chooseRuns, drawAll],
  seeds: [chooseRuns, drawAll],
  axis: [drawAll],
  metric: [chooseMetric, drawCurves],
  layout: [drawCurves],
  spread: [drawCurves],
  scale: [drawCurves],
  smoothing: [drawCurves],
  shot: [drawSamples],
  run: [drawLayers],
  at: [drawLayers],
};
for (const [id, actions] of Object.entries(after)) {
  by(id).addEventListener("input", () => actions.forEach((act) => act()));
}
for (const [id, on] of [["every", true], ["none", false]]) {
  by(id).addEventListener("click", () => {
    for (const input of by("settings").querySelectorAll("input")) input.checked = on;
    by("settings").dispatchEvent(new Event("input"));
  });
}

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function otherTheme() {
  const theme = document.documentElement.dataset.theme ?? (systemIsDark.matches ? "dark" : "light");
  return theme === "dark" ? "light" : "dark";
}

function showTheme() {
  by("theme").textContent = otherTheme() === "dark" ? "Dark colours" : "Light colours";
  drawAll();
}

by("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = otherTheme();
  showTheme();
});
systemIsDark.addEventListener("change", showTheme);

// A part that is jumped to stands below the bar, which sticks.
const bar = by("bar");
new ResizeObserver(() => by("explorer").style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);
bar.open = !matchMedia("(max-width: 40rem)").matches;

by("theme").hidden = by("explorer").hidden = false;
by("group-box").hidden = Object.keys(data.groups).length < 2;
by("smoothing").value = 100 * data.smoothing;
fill(by("group"), Object.keys(data.groups).map((name) => [name, name]));
chooseGroup();
showTheme();

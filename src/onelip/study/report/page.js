// Draws what the controls say, from the JSON block `data`:
//   groups   {group: [{name, title, color, dash}]}: settings that are compared
//   metrics  [{key, title, ownScale, log}]
//   runs     [{name, setting, seed, layers, curves: {metric: [index into steps, values, deviations or null]}}]
//   steps    [[step, ...], ...]
//   samples  {setting: {run, shots: [[step, data URI], ...]}}
// The controls are the only state: every function reads them anew.
"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const SHOWN_AT_FIRST = 8; // of a group's settings
  const panelsOf = new Map(); // host element -> Map of panel key -> figure

  // --- elements

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function fill(select, options) {
    const before = select.value;
    select.replaceChildren(...options.map(([value, text]) => make("option", { value, textContent: text })));
    if (options.some(([value]) => value === before)) select.value = before;
  }

  function chips(host, items) {
    host.replaceChildren(...items.map(({ value, text, color, checked }) => {
      const input = make("input", { type: "checkbox", value, checked });
      if (color) input.style.setProperty("--swatch", color);
      return make("label", {}, input, text);
    }));
  }

  function tabulate(table, heads, rows) {
    const cell = (tag, scope) => (text) => make(tag, { textContent: text, ...(scope && { scope }) });
    table.replaceChildren(
      make("thead", {}, make("tr", {}, ...heads.map(cell("th", "col")))),
      make("tbody", {}, ...rows.map(([first, ...rest]) =>
        make("tr", {}, cell("th", "row")(first), ...rest.map(cell("td"))))),
    );
  }

  const checked = (host) => [...host.querySelectorAll("input:checked")].map((input) => input.value);

  // --- what is chosen

  const group = () => data.groups[by("group").value];
  const metric = () => data.metrics.find(({ key }) => key === by("metric").value);

  function shownSettings() {
    const names = checked(by("settings"));
    return group().filter(({ name }) => names.includes(name));
  }

  function shownRuns(setting, needed) {
    const seeds = checked(by("seeds"));
    return data.runs.filter((run) =>
      run.setting === setting.name && seeds.includes(String(run.seed)) && needed in run.curves);
  }

  // --- curves

  /** Steps, values, deviations of a metric, and x: the steps or the seconds that training took up to them. */
  function curveOf(run, key) {
    const [grid, values, deviations] = run.curves[key];
    const steps = data.steps[grid];
    const clock = run.curves[by("axis").value];
    const x = clock ? steps.map((step) => interpolate(data.steps[clock[0]], clock[1], step)) : steps;
    return { steps, x, values, deviations };
  }

  const last = (run, key) => run.curves[key]?.[1].at(-1);

  /** Linear between the points and from the origin to the first one. */
  function interpolate(xs, ys, x) {
    const after = xs.findIndex((known) => known >= x);
    if (after < 0) return ys.at(-1);
    const [x0, y0] = after ? [xs[after - 1], ys[after - 1]] : [0, 0];
    return y0 + ((ys[after] - y0) * (x - x0)) / (xs[after] - x0);
  }

  /** Centred running mean over a share of the points; at the ends over those that there are. */
  function smooth(values, share) {
    const half = Math.floor(Math.floor(share * values.length) / 2);
    return values.map((_, i) => mean(values.slice(Math.max(0, i - half), i + half + 1)));
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  const columns = (rows) =>
    rows[0].slice(0, Math.min(...rows.map((row) => row.length))).map((_, i) => rows.map((row) => row[i]));

  const short = (value) => {
    const size = Math.abs(value);
    return size && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  };

  function faded(color, alpha) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  }

  // --- traces

  const line = (x, y, setting, label, more = {}) => ({
    x, y, mode: x.length > 20 ? "lines" : "lines+markers", marker: { size: 4 }, name: setting.title, showlegend: false,
    line: { color: setting.color, width: 2, dash: setting.dash },
    hovertemplate: `${label}<br>%{x:.4~g}: %{y:.4~g}<extra></extra>`, ...more,
  });

  /** The area between two curves: a line that is not seen, and one that is filled down to it. */
  function band(x, low, high, color, alpha) {
    const edge = { x, mode: "lines", line: { width: 0, color }, hoverinfo: "skip", showlegend: false };
    return [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: faded(color, alpha) }];
  }

  /** What was recorded of one run, faint: its curve, or a deviation about the means of windows. */
  function recorded({ x, values, deviations }, setting, log) {
    if (!deviations) return [line(x, values, setting, "as recorded", { opacity: 0.25, mode: "lines" })];
    // A logarithmic axis has no place for what is not positive: there the area ends at the smallest mean.
    const floor = log ? Math.min(...values.filter((value) => value > 0)) : -Infinity;
    const low = values.map((value, i) => Math.max(value - deviations[i], floor));
    return band(x, low, values.map((value, i) => value + deviations[i]), setting.color, 0.13);
  }

  function tracesOf(setting, runs) {
    const share = by("smoothing").value / 100;
    const log = by("scale").value === "log";
    const curves = runs.map((run) => curveOf(run, metric().key));
    const smoothed = curves.map(({ values }) => smooth(values, share));
    if (by("spread").value === "mean" && runs.length > 1) {
      const x = columns(curves.map((curve) => curve.x)).map(mean);
      const values = columns(smoothed);
      const range = band(x, values.map((v) => Math.min(...v)), values.map((v) => Math.max(...v)), setting.color, 0.22);
      return [...range, line(x, values.map(mean), setting, `${setting.title}, mean`, { showlegend: true })];
    }
    return [
      ...curves.flatMap((curve) => recorded(curve, setting, log)),
      ...curves.map(({ x }, i) => line(x, smoothed[i], setting, runs[i].name, { showlegend: i === 0 })),
    ];
  }

  // --- panels

  /** Show exactly these panels in `host`: {key, title, color, said, alt, traces, log, yTitle, mark, legend}. */
  function show(host, panels) {
    const figures = panelsOf.get(host) ?? new Map();
    panelsOf.set(host, figures);
    for (const [key, figure] of figures) {
      if (panels.some((panel) => panel.key === key)) continue;
      Plotly.purge(figure.lastElementChild);
      figures.delete(key);
    }
    for (const { key } of panels) {
      if (figures.has(key)) continue;
      const plot = make("div", { className: "plot", role: "img" });
      figures.set(key, make("figure", {}, make("figcaption"), plot));
    }
    const none = make("p", { className: "note", textContent: "No run that is shown has this." });
    host.replaceChildren(...(panels.length ? panels.map(({ key }) => figures.get(key)) : [none]));
    for (const panel of panels) drawPanel(figures.get(panel.key), panel);
  }

  function drawPanel(figure, panel) {
    const [caption, plot] = figure.children;
    caption.replaceChildren(...captionOf(panel));
    plot.ariaLabel = `Plot of ${panel.yTitle}. ${panel.title}: ${panel.alt ?? panel.said}`;
    const coarse = matchMedia("(pointer: coarse)").matches; // there a drag scrolls the page
    Plotly.react(plot, panel.traces, layoutOf(panel, coarse), { displayModeBar: false, responsive: true });
  }

  function captionOf({ title, color, said }) {
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = color ?? "none";
    return [
      ...(color ? [swatch] : []), make("strong", { textContent: title }),
      make("span", { className: "said", textContent: said }),
    ];
  }

  /** In lines of about so many characters, for the height of a panel. */
  const wrapped = (text, width = 24) => text.replace(new RegExp(`(.{1,${width}})( |$)`, "g"), "$1<br>").slice(0, -4);

  function layoutOf({ log, yTitle, mark, legend = false }, coarse) {
    const { color, fontFamily } = getComputedStyle(by("bar"));
    const grid = getComputedStyle(by("bar")).borderTopColor;
    const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true, title: { standoff: 6 } };
    const xTitle = by("axis").selectedOptions[0].textContent;
    const shape = { type: "line", x0: mark, x1: mark, y0: 0, y1: 1, yref: "paper", line: { color, width: 1, dash: "dot" } };
    return {
      autosize: true, showlegend: legend,
      legend: { orientation: "h", y: -0.15, traceorder: "normal", itemclick: false, itemdoubleclick: false },
      hovermode: "closest", dragmode: coarse ? false : "zoom",
      margin: { l: 8, r: 8, t: 12, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color, family: fontFamily, size: 11 },
      xaxis: { ...axis, title: { ...axis.title, text: xTitle }, rangemode: "tozero" },
      yaxis: { ...axis, title: { ...axis.title, text: wrapped(yTitle) }, type: log ? "log" : "linear", nticks: 6,
               exponentformat: "power" },
      shapes: mark === undefined ? [] : [shape],
    };
  }

  // --- the parts of the page

  function drawCurves() {
    const { key, title, ownScale } = metric();
    const log = by("scale").value === "log";
    const shared = by("layout").value === "shared";
    const found = shownSettings().map((setting) => [setting, shownRuns(setting, key)]).filter(([, runs]) => runs.length);
    const lasting = (runs) => `last ${runs.map((run) => short(last(run, key))).join(", ")}`;
    const common = { log, yTitle: title };
    const panels = found.map(([setting, runs]) =>
      ({ ...common, ...setting, key: setting.name, said: lasting(runs), traces: tracesOf(setting, runs) }));
    const one = { ...common, key: "shared", title, said: "", legend: true, traces: panels.flatMap(({ traces }) => traces),
                  alt: panels.map((panel) => `${panel.title}, ${panel.said}`).join("; ") };
    by("curve-panels").classList.toggle("one", shared);
    by("scales").textContent = !ownScale ? "" : shared
      ? "Critics with different Lipschitz constants have different scales of this: on one axis compare the shapes, not the heights."
      : "Critics with different Lipschitz constants have different scales of this, so every panel has its own axis.";
    by("smoothing").nextElementSibling.textContent = `${by("smoothing").value} %`;
    show(by("curve-panels"), shared && panels.length ? [one] : panels);
  }

  function drawSamples() {
    const slider = by("shot");
    const found = shownSettings().filter(({ name }) => name in data.samples);
    const share = slider.value / slider.max;
    const figures = found.map((setting) => {
      const { run, shots } = data.samples[setting.name];
      const [step, src] = shots[Math.round(share * (shots.length - 1))];
      const said = `${run}, after step ${step}`;
      const image = make("img", { src, alt: `Samples of ${setting.title} (${run}) after step ${step}` });
      return make("figure", {}, image, make("figcaption", {}, ...captionOf({ ...setting, said })));
    });
    slider.nextElementSibling.textContent = `${Math.round(100 * share)} %`;
    by("sample-panels").replaceChildren(...figures);
  }

  function drawLayers() {
    const run = data.runs.find(({ name }) => name === by("run").value);
    const setting = run && group().find(({ name }) => name === run.setting);
    by("layer-table").replaceChildren();
    if (!run) return show(by("layer-panels"), []);
    const curves = run.layers.map((layer) => {
      const [reshaped, lower, upper] = ["reshaped", "operator/lower", "operator/upper"]
        .map((norm) => curveOf(run, `layers/${layer}/${norm}`));
      return { layer, reshaped, lower, upper };
    });
    const slider = by("at");
    slider.max = curves[0].reshaped.steps.length - 1;
    const at = Number(slider.value);
    slider.nextElementSibling.textContent = `step ${curves[0].reshaped.steps[at]}`;
    show(by("layer-panels"), curves.map(({ layer, reshaped, lower, upper }) => ({
      key: layer, title: `layer ${layer}`, yTitle: "norm", mark: reshaped.x[at],
      said: `${lower.values[at]} ≤ ‖A‖₂ ≤ ${upper.values[at]}, reshaped ${reshaped.values[at]}`,
      traces: [
        ...band(lower.x, lower.values, upper.values, setting.color, 0.3),
        line(lower.x, lower.values, setting, "‖A‖₂ ≥", { line: { color: setting.color, width: 1 } }),
        line(upper.x, upper.values, setting, "‖A‖₂ ≤", { line: { color: setting.color, width: 2 } }),
        line(reshaped.x, reshaped.values, setting, "reshaped", { line: { color: "#808080", width: 2, dash: "dash" } }),
      ],
    })));
    const heads = ["layer", "reshaped norm", "‖A‖₂ ≥", "‖A‖₂ ≤", "‖A‖₂ ≤, over the reshaped norm"];
    tabulate(by("layer-table"), heads, layerRows(curves, at));
  }

  function layerRows(curves, at) {
    const ratio = (upper, reshaped) => (reshaped ? short(upper / reshaped) : "–");
    const rows = curves.map(({ layer, reshaped, lower, upper }) => [
      layer, reshaped.values[at], lower.values[at], upper.values[at], ratio(upper.values[at], reshaped.values[at]),
    ]);
    const product = (column) => rows.reduce((found, row) => found * row[column], 1);
    return [...rows, ["product", short(product(1)), "", short(product(3)), ratio(product(3), product(1))]];
  }

  function drawCertificate() {
    const panels = shownSettings().map((setting) => {
      const runs = [...new Set([...shownRuns(setting, "certificate/upper"), ...shownRuns(setting, "product/upper")])];
      return { ...setting, key: setting.name, runs };
    }).filter(({ runs }) => runs.length);
    show(by("certificate-panels"), panels.map((panel) => ({
      ...panel, log: true, yTitle: "constant of the critic",
      said: certified(panel.runs), traces: panel.runs.flatMap((run) => certificateTraces(run, panel)),
    })));
    const heads = ["run", "‖f‖ ≥, witnessed", "‖f‖ ≤, proved", "product of the layers' ‖A‖₂ ≤"];
    const keys = ["certificate/lower", "certificate/upper", "product/upper"];
    tabulate(by("certificate-table"), heads,
      panels.flatMap(({ runs }) => runs.map((run) => [run.name, ...keys.map((key) => last(run, key) ?? "–")])));
  }

  /** The interval that holds the constants of all of these runs after their last steps. */
  function certified(runs) {
    const found = runs.filter((run) => "certificate/upper" in run.curves);
    if (!found.length) return "not certified while it trained";
    const lower = Math.min(...found.map((run) => last(run, "certificate/lower")));
    const upper = Math.max(...found.map((run) => last(run, "certificate/upper")));
    return `${lower} ≤ ‖f‖ ≤ ${upper}${found.length > 1 ? `, all ${found.length} seeds` : ""}`;
  }

  function certificateTraces(run, setting) {
    const bound = (key, dash, width) => {
      if (!(key in run.curves)) return [];
      const { x, values } = curveOf(run, key);
      return [line(x, values, setting, `${run.name}, ${key}`, { line: { color: setting.color, dash, width } })];
    };
    const [lower] = bound("certificate/lower", "dash", 2);
    const [upper] = bound("certificate/upper", "solid", 2);
    const between = lower && upper ? band(lower.x, lower.y, upper.y, setting.color, 0.12) : [];
    return [...between, ...[lower, upper].filter(Boolean), ...bound("product/upper", "dot", 1.5)];
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
    const shots = Object.entries(data.samples).filter(([name]) => names.includes(name)).map(([, { shots }]) => shots.length);
    by("shot").max = Math.max(1, Math.max(1, ...shots) - 1);
    by("shot").value = by("shot").max;
    chooseMetric();
    chooseRuns();
  }

  function chooseMetric() {
    by("layout").value = metric().ownScale ? "panels" : "shared";
    by("scale").value = metric().log ? "log" : "linear";
  }

  /** The layers of the runs that are shown; at their last step. */
  function chooseRuns() {
    const runs = shownSettings().flatMap((setting) => shownRuns(setting, "product/upper").map((run) => [run, setting]));
    fill(by("run"), runs.map(([run, { title }]) => [run.name, `${title}, seed ${run.seed}`]));
    by("at").max = 1e6;
    by("at").value = 1e6;
  }

  const all = [drawCurves, drawSamples, drawLayers, drawCertificate];
  const after = {
    group: [chooseGroup, ...all],
    settings: [chooseRuns, ...all],
    seeds: [chooseRuns, ...all],
    axis: all,
    metric: [chooseMetric, drawCurves],
    ...Object.fromEntries(["layout", "spread", "scale", "smoothing"].map((id) => [id, [drawCurves]])),
    shot: [drawSamples],
    run: [drawLayers],
    at: [drawLayers],
  };

  function switchTheme() {
    const dark = getComputedStyle(document.documentElement).colorScheme;
    const isDark = dark === "dark" || (dark !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    return isDark ? "light" : "dark";
  }

  function offerTheme() {
    by("theme").textContent = `${switchTheme() === "dark" ? "Dark" : "Light"} colours`;
  }

  by("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = switchTheme();
    offerTheme();
    for (const draw of all) draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    offerTheme();
    for (const draw of all) draw();
  });
  for (const [id, on] of [["every", true], ["none", false]]) {
    by(id).addEventListener("click", () => {
      for (const input of by("settings").querySelectorAll("input")) input.checked = on;
      for (const act of after.settings) act();
    });
  }
  for (const [id, actions] of Object.entries(after)) {
    by(id).addEventListener("input", () => actions.forEach((act) => act()));
  }

  new ResizeObserver(() => by("explorer").style.setProperty("--bar", `${by("bar").offsetHeight}px`)).observe(by("bar"));
  fill(by("group"), Object.keys(data.groups).map((name) => [name, name]));
  by("group-box").hidden = Object.keys(data.groups).length < 2;
  by("smoothing").value = 100 * data.smoothing;
  by("bar").open = !matchMedia("(max-width: 40rem)").matches;
  by("theme").hidden = by("explorer").hidden = false;
  offerTheme();
  chooseGroup();
  for (const draw of all) draw();
})();

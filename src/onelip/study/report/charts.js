// Elements, arithmetic on curves, and panels of Plotly: nothing here knows the study.

const by = (id) => document.getElementById(id);

// --- elements

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Give a select these [value, text]; it keeps its value where that is still among them. */
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
  const body = rows.map(([first, ...rest]) =>
    make("tr", {}, cell("th", "row")(first), ...rest.map(cell("td"))));
  const head = make("tr", {}, ...heads.map(cell("th", "col")));
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
}

// --- arithmetic

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Rows of one length turned into columns. */
const columns = (rows) => rows[0].map((_, i) => rows.map((row) => row[i]));

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

function short(value) {
  const size = Math.abs(value);
  return size && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** The same, never below the value: a positive upper bound is one still where it is shown. */
function shortAbove(value) {
  const shown = short(value);
  if (Number(shown) >= value) return shown;
  const lastDigit = 10 ** (Math.floor(Math.log10(value)) - (shown.includes("e") ? 2 : 3));
  return short(Number(shown) + lastDigit);
}

// --- traces

/** Under the pointer five digits, which are all that the data have: rounded again a bound would be none. */
function line(x, y, setting, label, more = {}) {
  return {
    x, y, mode: x.length > 20 ? "lines" : "lines+markers", marker: { size: 4 },
    line: { color: setting.color, width: 2, dash: setting.dash },
    name: setting.title, showlegend: false,
    hovertemplate: `${label}<br>%{x:.4~g}: %{y:.5~g}<extra></extra>`, ...more,
  };
}

/** The area between two curves: a line that is not seen, and one that is filled down to it. */
function band(x, low, high, color, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  const fillcolor = `rgba(${r},${g},${b},${alpha})`;
  return [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor }];
}

// --- panels

const panelsOf = new Map(); // host element -> Map of panel key -> figure

/** Show exactly these panels in `host`: {key, title, color, said, alt, traces, and the options of layoutOf}. */
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
  Plotly.react(plot, panel.traces, layoutOf(panel), { displayModeBar: false, responsive: true });
}

function captionOf({ title, color, said }) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = color ?? "none";
  const name = make("strong", { textContent: title });
  return [...(color ? [swatch] : []), name, make("span", { className: "said", textContent: said })];
}

/** log, zero: of the vertical axis. mark: where a vertical line stands. */
function layoutOf({ xTitle, yTitle, log = false, zero = false, mark, legend = false }) {
  const { color, fontFamily, borderTopColor: grid } = getComputedStyle(by("bar"));
  const coarse = matchMedia("(pointer: coarse)").matches; // there a drag scrolls the page
  const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true };
  const stroke = { color, width: 1, dash: "dot" };
  const shape = { type: "line", x0: mark, x1: mark, y0: 0, y1: 1, yref: "paper", line: stroke };
  return {
    autosize: true, hovermode: "closest", dragmode: coarse ? false : "zoom",
    margin: { l: 8, r: 8, t: 12, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color, family: fontFamily, size: 11 },
    showlegend: legend,
    legend: { orientation: "h", y: -0.15, traceorder: "normal", itemclick: false, itemdoubleclick: false },
    xaxis: { ...axis, title: { standoff: 6, text: xTitle }, rangemode: "tozero" },
    yaxis: {
      ...axis, title: { standoff: 6, text: wrapped(yTitle) }, type: log ? "log" : "linear",
      rangemode: zero ? "tozero" : "normal", nticks: 6, exponentformat: "power",
    },
    shapes: mark === undefined ? [] : [shape],
  };
}

/** In lines of about 24 characters, for the height of a panel. */
function wrapped(text) {
  return text.replace(/(.{1,24})( |$)/g, "$1<br>").slice(0, -"<br>".length);
}

// Line charts with intervals as bars, drawn to the width at hand. The same data as plots/*.svg, from report/charts.py.

const MARKS = ["circle", "square", "up", "diamond", "down", "plus", "cross", "star"];

function mark(kind, x, y, r, attributes) {
  const at = (dx, dy) => `${(x + dx * r).toFixed(2)},${(y + dy * r).toFixed(2)}`;
  if (kind === "circle") return s("circle", { cx: x, cy: y, r, ...attributes });
  const shapes = {
    square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    up: [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]],
    down: [[0, 1.15], [1.1, -0.85], [-1.1, -0.85]],
    diamond: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
    plus: [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
    cross: [[-1, -0.5], [-0.5, -1], [0, -0.5], [0.5, -1], [1, -0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5], [-0.5, 1], [-1, 0.5], [-0.5, 0]],
    star: [[0, -1.3], [0.35, -0.4], [1.3, -0.4], [0.55, 0.2], [0.8, 1.1], [0, 0.6], [-0.8, 1.1], [-0.55, 0.2], [-1.3, -0.4], [-0.35, -0.4]],
  };
  return s("polygon", { points: shapes[kind].map(([dx, dy]) => at(dx, dy)).join(" "), ...attributes });
}
const markOf = (series) => MARKS[series.color % MARKS.length];
const tone = (color) => `tone${color % 8}`;

// At most about `wanted` round numbers; whole ones where `whole`.
function niceTicks(low, high, wanted, whole = false) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const nice = [1, 2, 5, 10].map((m) => m * power).find((size) => span / size <= wanted) || 10 * power;
  const step = whole ? Math.max(1, nice) : nice;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9) + 0; i * step <= high + step * 1e-9; i++) ticks.push(i * step);
  return ticks;
}
function logTicks(low, high, xs, room) {
  const distinct = [...new Set(xs)].sort((a, b) => a - b);
  if (distinct.length <= room && distinct.every((x) => Number.isInteger(x))) return distinct;
  for (const bases of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) {
      for (const m of bases) { const x = m * 10 ** p; if (x >= low * 0.999 && x <= high * 1.001) ticks.push(x); }
    }
    if (ticks.length <= room) return ticks;
  }
  return [low, high];
}

function legend(chart) {
  return h("ul", { class: "legend" }, chart.series.map((series) => h("li", {},
    s("svg", { width: 30, height: 12, "aria-hidden": "true", class: tone(series.color) },
      series.x.length > 1 && s("line", { x1: 1, x2: 29, y1: 6, y2: 6, class: series.dashed ? "stroke dashed" : "stroke" }),
      mark(markOf(series), 15, 6, 4, { class: series.dashed ? "hollow" : "solid" })),
    h("span", {}, visible(series.name)))));
}

// A figure that redraws itself when its width changes.
function figure(chart) {
  const host = h("div", { class: "plot" });
  const draw = () => { if (host.clientWidth) host.replaceChildren(plot(chart, host.clientWidth)); };
  new ResizeObserver(draw).observe(host);
  return h("figure", { class: "chart", "data-chart": chart.name },
    h("figcaption", {}, visible(chart.title)), legend(chart), host, chart.note && h("p", { class: "note" }, visible(chart.note)));
}

function plot(chart, width) {
  const height = clamp(width * 0.58, 230, 340);
  const left = 46, right = 14, top = 12, bottom = 42;
  const xs = chart.series.flatMap((one) => one.x);
  const ys = chart.series.flatMap((one) => [...one.y, ...(one.low || []), ...(one.high || [])]);
  const f = chart.log_x ? Math.log : (x) => x;
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  if (!xs.length) return h("p", { class: "note" }, "Nothing to draw yet.");
  if (x0 === x1) [x0, x1] = chart.log_x ? [x0 / 1.6, x1 * 1.6] : [x0 - 1, x1 + 1];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const pad = (y1 - y0 || 0.1) * 0.07;
  [y0, y1] = [y0 - pad, y1 + pad];
  if (chart.percent) [y0, y1] = [Math.max(0, y0), Math.min(1, y1)];
  const inset = 12;
  const px = (x) => left + inset + ((f(x) - f(x0)) / (f(x1) - f(x0))) * (width - left - right - 2 * inset);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const shown = (y) => (chart.percent ? `${+(100 * y).toFixed(2)}%` : String(+y.toPrecision(4)));
  const exact = (y) => (chart.percent ? `${percent(y)}%` : String(+y.toPrecision(4)));
  const root = s("svg", { width, height, role: "img", "aria-label": `${visible(chart.title)}; the numbers stand in the tables` });
  for (const y of niceTicks(y0, y1, 5)) {
    root.append(s("line", { x1: left, x2: width - right, y1: py(y), y2: py(y), class: "grid" }),
      s("text", { x: left - 8, y: py(y) + 4, class: "tick end" }, shown(y)));
  }
  const room = Math.floor((width - left) / 64);
  for (const x of chart.log_x ? logTicks(x0, x1, xs, room) : niceTicks(x0, x1, room, xs.every(Number.isInteger))) {
    root.append(s("line", { x1: px(x), x2: px(x), y1: height - bottom, y2: height - bottom + 4, class: "axis" }),
      s("text", { x: px(x), y: height - bottom + 17, class: "tick mid" }, Number.isInteger(x) ? count(x) : String(+x.toPrecision(6))));
  }
  root.append(s("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }),
    s("text", { x: (left + width - right) / 2, y: height - 6, class: "tick mid" }, visible(chart.x_label)));
  const points = [];
  for (const series of chart.series) {
    const group = s("g", { class: tone(series.color) });
    // Bars of arms at one place stand side by side.
    const shift = 5 * (chart.series.indexOf(series) - (chart.series.length - 1) / 2);
    const place = (x) => px(x) + clamp(shift, -inset, inset);
    const path = (values) => values.map((y, i) => `${place(series.x[i]).toFixed(2)},${py(y).toFixed(2)}`);
    if (series.low) {
      series.x.forEach((x, i) => group.append(s("line", { x1: place(x), x2: place(x), y1: py(series.low[i]), y2: py(series.high[i]), class: "whisker" })));
    }
    if (series.x.length > 1) group.append(s("polyline", { points: path(series.y).join(" "), class: series.dashed ? "stroke dashed" : "stroke" }));
    series.x.forEach((x, i) => {
      group.append(mark(markOf(series), place(x), py(series.y[i]), 4, { class: series.dashed ? "hollow" : "solid" }));
      points.push({ series, i, x: place(x), y: py(series.y[i]) });
    });
    root.append(group);
  }
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const [mx, my] = [event.clientX - box.left, event.clientY - box.top];
    const near = points.reduce((best, p) => { const d = Math.hypot(p.x - mx, p.y - my); return d < best.d ? { d, p } : best; }, { d: 40, p: null });
    if (!near.p) return hideTip();
    // Marks that lie on each other are named together.
    const same = points.filter((p) => Math.hypot(p.x - near.p.x, p.y - near.p.y) < 5);
    showTip(event.clientX, event.clientY, [`${count(near.p.series.x[near.p.i])} ${visible(chart.x_label)}`, ...same.map(({ series, i }) =>
      `${visible(series.name)} ${exact(series.y[i])}${series.low ? ` [${exact(series.low[i])}, ${exact(series.high[i])}]` : ""}`)]);
  });
  root.addEventListener("pointerleave", hideTip);
  return root;
}

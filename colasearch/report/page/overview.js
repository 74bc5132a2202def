// The run as a whole: verdict, comparison table, charts, parts, what was run.

// The largest number of simulations; of a run that was interrupted, the largest for which there is anything to show.
const measured = (point) => point.arms[data.summary.searcher]?.n > 0;
const state = { sims: data.kind === "run" ? (data.summary.curve.filter(measured).pop()?.sims ?? data.summary.sims) : null };
const pointAt = (sims) => data.summary.curve.find((point) => point.sims === sims) || data.summary.curve[data.summary.curve.length - 1];
const armName = (arm) => visible(data.arm_names[arm] || arm);
const swatch = (color) => h("i", { class: `swatch ${tone(color)}`, "aria-hidden": "true" });

const share = (part) => `${percent(part.accuracy)}%`;
const interval = (part) => `${percent(part.ci95[0])}\u2013${percent(part.ci95[1])}`;

function heading() {
  const r = data.summary;
  const facts = [
    `${count(r.n)} problems`, `model ${visible(r.model)}`,
    r.curve.length > 1 ? `${r.curve.map((p) => count(p.sims)).join(", ")} simulations` : `${count(r.sims)} simulations`,
    `seed ${r.seed}`, data.created ? String(data.created).slice(0, 16).replace("T", " ") + " UTC" : null,
  ].filter(Boolean);
  return h("header", { class: "masthead" },
    h("p", { class: "eyebrow" }, "colasearch bench"),
    h("h1", {}, foreign(data.title, 80)),
    h("p", { class: "facts" }, facts.map((fact) => h("span", {}, fact))),
    !r.complete && h("p", { class: "warning" }, data.running
      ? "This run is not finished: what stands here is made of the records so far."
      : "This run was interrupted: what stands here is made of the problems that were done."),
    h("p", { class: "verdict" }, visible(r.verdict)));
}

// The interval as a picture, on one axis for all arms; the oracle as a hollow mark.
function range(arm, color, low, high) {
  const width = 150, height = 22, x = (v) => 4 + ((v - low) / (high - low || 1)) * (width - 8);
  const { selected, oracle } = arm;
  return s("svg", { width, height, class: tone(color), role: "img", "aria-label": `selected ${share(selected)}, 95% interval ${interval(selected)}; oracle ${share(oracle)}` },
    s("line", { x1: 0, x2: width, y1: 11, y2: 11, class: "grid" }),
    s("line", { x1: x(selected.ci95[0]), x2: x(selected.ci95[1]), y1: 11, y2: 11, class: "thick" }),
    mark("circle", x(oracle.accuracy), 11, 4, { class: "hollow" }),
    mark("circle", x(selected.accuracy), 11, 4, { class: "solid" }));
}
function difference(c, reach) {
  const width = 110, x = (v) => width / 2 + (v / reach) * (width / 2 - 5);
  return s("svg", { width, height: 22, role: "img", "aria-label": "difference with its interval", class: c.separate ? "sure" : "unsure" },
    s("line", { x1: width / 2, x2: width / 2, y1: 1, y2: 21, class: "axis" }),
    s("line", { x1: x(c.ci95[0]), x2: x(c.ci95[1]), y1: 11, y2: 11, class: "thick" }),
    mark("circle", x(c.difference), 11, 4, { class: "solid" }));
}

function cutTitle(arm) {
  return `${count(arm.cut || 0)} texts were cut at --max-tokens; ${count(arm.cut_unanswered || 0)} of ${count(arm.n)} problems have no answer for that`;
}

function armsTable() {
  const point = pointAt(state.sims);
  const arms = Object.entries(point.arms);
  const versus = new Map(point.comparisons.map((c) => [c.second, c]));
  const marks = arms.flatMap(([, a]) => [a.selected.ci95[0], a.selected.ci95[1], a.oracle.accuracy]);
  const low = Math.max(0, Math.min(...marks) - 0.02), high = Math.min(1, Math.max(...marks) + 0.02);
  const reach = Math.max(0.01, ...point.comparisons.flatMap((c) => c.ci95.map(Math.abs)));
  const searcher = data.summary.searcher;
  const th = (text, attributes) => h("th", { scope: "col", class: "num", ...attributes }, text);
  const errors = arms.some(([, arm]) => arm.errors), cut = arms.some(([, arm]) => arm.cut);
  const rows = arms.map(([name, arm]) => {
    const c = versus.get(name), fine = Math.max(1, arm.n - arm.errors);
    return h("tr", { class: name === searcher ? "chosen" : null, "data-arm": name },
      h("th", { scope: "row" }, swatch(data.colors[name]), armName(name)),
      h("td", { class: "num big" }, share(arm.selected)),
      h("td", { class: "num dim" }, interval(arm.selected)),
      h("td", { class: "graphic" }, range(arm, data.colors[name], low, high)),
      h("td", { class: "num oracle", title: `95% interval ${interval(arm.oracle)}%` }, share(arm.oracle)),
      c ? h("td", { class: "num" }, signed(100 * c.difference)) : h("td", { class: "num dim" }, name === searcher ? "" : "\u2014"),
      h("td", { class: "graphic" }, c && difference(c, reach)),
      h("td", { class: "num dim" }, c && `${signed(100 * c.ci95[0])} to ${signed(100 * c.ci95[1])}`),
      h("td", { class: "num" }, c && `${c.only_first} : ${c.only_second}`),
      h("td", { class: c && c.separate ? "num" : "num dim" }, c && (c.p_value === undefined ? "\u2014" : String(Number(c.p_value.toPrecision(2))))),
      h("td", { class: "num" }, fixed(arm.texts / fine, 1)),
      cut && h("td", { class: "num", title: cutTitle(arm) }, arm.cut ? fixed(arm.cut / fine, 1) : ""),
      h("td", { class: "num" }, count(arm.generated_tokens / fine)),
      h("td", { class: "num" }, count(arm.model_calls / fine)),
      h("td", { class: "num" }, fixed(arm.seconds / Math.max(1, arm.n), 2)),
      errors && h("td", { class: "num" }, arm.errors ? count(arm.errors) : ""));
  });
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparison of arms" },
    h("table", { class: "arms" },
      h("thead", {},
        h("tr", { class: "groups" }, h("th", {}), h("th", { colspan: 3, scope: "colgroup" }, "Solved: selected answer"),
          h("th", { scope: "colgroup" }, "Oracle"), h("th", { colspan: 5, scope: "colgroup" }, `${armName(searcher)} minus this arm, paired`),
          h("th", { colspan: 4 + errors + cut, scope: "colgroup" }, "A problem takes, on average")),
        h("tr", {}, h("th", { scope: "col" }, "arm"), th("share"), th("95% Wilson"), th(""), th("any text"), th("points"), th(""), th("95% bootstrap"),
          th("alone right"), th("exact p", { title: "McNemar's exact test, two-sided" }), th("texts"), cut && th("cut", { title: "Texts that reached the limit of their length; they have no answer" }), th("tokens"), th("calls"), th("seconds"), errors && th("errors"))),
      h("tbody", {}, rows)));
}

function curveTable() {
  const arms = Object.keys(data.summary.arms || pointAt(state.sims).arms), searcher = data.summary.searcher;
  return h("details", {}, h("summary", {}, "The numbers behind the charts"),
    h("div", { class: "scroll", tabindex: "0" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "simulations"), arms.map((arm) => [
        h("th", { scope: "col", class: "num" }, `${armName(arm)}: selected`), h("th", { scope: "col", class: "num" }, "tokens"),
        arm === searcher && h("th", { scope: "col", class: "num" }, `${armName(arm)}: oracle`)]))),
      h("tbody", {}, data.summary.curve.map((point) => h("tr", {}, h("th", { scope: "row" }, count(point.sims)), arms.map((arm) => {
        const a = point.arms[arm];
        return [h("td", { class: "num" }, `${share(a.selected)} `, h("span", { class: "dim" }, interval(a.selected))),
          h("td", { class: "num" }, count(a.generated_tokens / Math.max(1, a.n - a.errors))),
          arm === searcher && h("td", { class: "num oracle" }, share(a.oracle))];
      })))))));
}

function partsTable(field) {
  const arms = Object.entries(pointAt(state.sims).arms);
  const parts = Object.keys((arms[0][1].by || {})[field] || {});
  if (!parts.length) return null;
  return h("details", {}, h("summary", {}, `By ${field}`),
    h("div", { class: "scroll", tabindex: "0" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, field), h("th", { scope: "col", class: "num" }, "problems"),
        arms.map(([arm]) => h("th", { scope: "col", class: "num" }, armName(arm))))),
      h("tbody", {}, parts.map((part) => h("tr", {}, h("th", { scope: "row" }, foreign(part, 60)),
        h("td", { class: "num" }, count(arms[0][1].by[field][part].n)),
        arms.map(([, arm]) => h("td", { class: "num" }, `${share(arm.by[field][part])} `,
          h("span", { class: "dim" }, interval(arm.by[field][part]))))))))));
}

const METHOD =
  "Selected is the answer that the arm chose without sight of the gold one. Oracle asks the gold answer whether any finished " +
  "text was right: a bound on better selection, not a result. Baselines had, problem by problem, the tokens that the search " +
  "generated (greedy is one text). A problem that errored counts as not solved.";

function overview(onSims) {
  const counts = data.summary.curve.map((point) => [point.sims, count(point.sims)]);
  const body = h("div", {});
  const fill = () => body.replaceChildren(...[
    counts.length > 1 && h("div", { class: "picker" }, h("span", {}, "Simulations"), choice("Simulations", counts, state.sims, (sims) => {
      state.sims = sims; fill(); onSims();
    })), armsTable(), h("p", { class: "note" }, METHOD)].filter(Boolean));
  fill();
  return h("section", { class: "overview" }, heading(),
    data.notes.length > 0 && h("ul", { class: "notes" }, data.notes.map((note) => h("li", {}, visible(note)))),
    body, h("div", { class: "charts" }, data.charts.map(figure)), curveTable(), partsTable("subject"), partsTable("level"),
    h("details", {}, h("summary", {}, "What was run"),
      h("dl", { class: "run" }, data.facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, visible(value))]))));
}

// One problem: what was asked, how each arm fared, and the tree of the arm that is looked at.

const WHY_NONE = {
  none: "No trace was kept of this search (the run had --no-traces, or the arm failed).",
  gone: "The trace file is no longer in the run folder.",
  "left out": "This trace was left out to keep the file small. `colasearch view RUN --all-traces` puts in all of them.",
};

// One tab an arm; where the run has several numbers of simulations, those of the current one.
function unitTabs(problem, all, current, pick) {
  const sims = [...new Set(all.map((u) => u.sims).filter(Boolean))].sort((a, b) => a - b);
  const now = current.sims || (sims.includes(state.sims) ? state.sims : sims[sims.length - 1]);
  const units = all.filter((u) => !u.sims || u.sims === now);
  const like = (count) => all.find((u) => u.arm === current.arm && u.sims === count) || all.find((u) => u.sims === count);
  const picker = sims.length > 1 && h("div", { class: "picker" }, h("span", {}, "Simulations"),
    choice("Simulations", sims.map((x) => [x, count(x)]), now, (x) => { state.sims = x; pick(like(x).key); }));
  return h("div", { class: "arms" }, picker, h("div", { class: "tabs", role: "tablist", "aria-label": "Arms" }, units.map((unit) => {
    const o = outcomeOf(problem, unit);
    return h("button", { type: "button", role: "tab", "aria-selected": String(unit === current), "data-unit": unit.key, click: () => pick(unit.key) },
      h("span", { class: "name" }, swatch(unit.color), visible(unit.name)),
      h("span", { class: "result" }, badge(o), " ", o?.status === "ok" ? (o.answer === null || o.answer === undefined ? h("span", { class: "dim" }, "no answer") : foreign(o.answer, 22)) : h("span", { class: "dim" }, o ? "errored" : "not done")));
  })));
}

function costLine(o) {
  if (!o || o.status !== "ok") return null;
  const facts = [
    o.correct === undefined ? null : o.correct ? "right" : o.oracle ? "wrong, though another finished text is right" : "wrong",
    o.texts === undefined ? null : `${count(o.texts_correct)} of ${count(o.texts)} texts right`,
    `${count(o.sims_done)} ${o.branching === null ? "texts drawn" : "simulations"}`,
    `${count(o.tokens)} tokens${o.token_budget ? ` of ${count(o.token_budget)}` : ""}`, `${count(o.calls)} model calls`,
    o.seconds === undefined ? null : `${fixed(o.seconds, 1)} s`,
    typeof o.branching === "number" ? `effective branching ${fixed(o.branching, 2)}` : null, `stopped: ${visible(o.stop)}`,
  ].filter(Boolean);
  return h("p", { class: "facts" }, facts.map((fact) => h("span", {}, fact)));
}

function problemHead(problem, index, text) {
  const order = list.shown.length ? list.shown : data.problems.map((_, i) => i);
  const place = order.indexOf(index);
  const step = (to, label) => h("a", { class: "step", href: to === undefined ? null : `#p=${to}`, "aria-disabled": to === undefined ? "true" : null }, label);
  const marks = [problem.subject, problem.level].filter(Boolean).map((v) => h("span", {}, foreign(v, 60)));
  return h("header", { class: "masthead" },
    (data.kind === "run" || data.problems.length > 1) && h("nav", { class: "crumbs" }, data.kind === "run" ? h("a", { href: "#" }, "\u2190 ", foreign(data.title, 40)) : foreign(data.title, 40),
      h("span", { class: "pager" }, step(order[place - 1], "Previous"), h("span", { class: "dim" }, place >= 0 ? `${count(place + 1)} of ${count(order.length)}` : ""), step(order[place + 1], "Next"))),
    h("h1", { class: "small" }, foreign(problem.id, 120)),
    marks.length > 0 && h("p", { class: "facts" }, marks),
    text ? h("div", { class: "asked foreign", dir: "auto" }, visible(text)) : h("p", { class: "note" }, "The problem's wording is not in this run's records, and no trace of it is at hand."),
    problem.gold && h("p", { class: "goldline" }, h("span", { class: "dim" }, "gold answer "), foreign(problem.gold, 200)));
}

// Which other search stands beside this one.
function secondPicker(problem, units, unit, second, pick) {
  const others = units.filter((u) => u !== unit && Number.isInteger(outcomeOf(problem, u).trace));
  if (!others.length || !Number.isInteger(outcomeOf(problem, unit).trace)) return null;
  const label = (u) => visible(u.name) + (u.sims ? `, ${count(u.sims)} simulations` : "");
  return h("label", { class: "picker second" }, h("span", {}, "Beside it"),
    h("select", { "aria-label": "A second search beside this one", change: (e) => pick(e.target.value || undefined) },
      h("option", { value: "", selected: !second }, "no other search"),
      others.map((u) => h("option", { value: u.key, selected: u === second }, label(u)))));
}

// Two searches of one problem: their trees side by side, grown together; the node that was chosen last below them.
function pairPart(problem, pair) {
  const side = h("aside", { class: "side", "aria-live": "polite" });
  const views = pair.map(({ trace }, i) => new TreeView(trace, (slot) => side.replaceChildren(nodeDetails(views[i].tree, slot)), i ? "second" : "node"));
  [views[0].partner, views[1].partner] = [views[1], views[0]];
  const part = h("section", { class: "treepart" }, h("div", { class: "pair" }, pair.map(({ unit }, i) => {
    const o = outcomeOf(problem, unit);
    return h("div", { class: "half" },
      h("h3", {}, swatch(unit.color), visible(unit.name), unit.sims ? h("span", { class: "dim" }, ` ${count(unit.sims)} simulations`) : null, " ", badge(o), " ", o.answer == null ? h("span", { class: "dim" }, "no answer") : foreign(o.answer, 40)),
      costLine(o), h("div", { class: "stage alone" }, views[i].element));
  })), side);
  requestAnimationFrame(() => { for (const view of [...views].reverse()) view.open(view.trace.best); });
  return part;
}

function treePart(trace, node, route) {
  const side = h("aside", { class: "side", "aria-live": "polite" });
  let chosen = false; // the address follows the reader's choices, not the first one, which may come after they have left
  const view = new TreeView(trace, (slot) => { side.replaceChildren(nodeDetails(view.tree, slot)); if (chosen) route(slot); });
  const hint = h("p", { class: "note keys" },
    trace.edge === "sample"
      ? "Each card is a text that was drawn by itself, with what it is worth and # its number. "
      : `On a card: visits, Q (backed-up value; of a finished text what it is worth), P (prior), ${trace.edge}; \u201c+2\u201d more ${trace.edge}s were merged with it. The coloured line is the selected path. `,
    "Drag to move, Ctrl+wheel or pinch to zoom. Keys: arrows, Enter folds, / searches, n next, b selected path, * all, f fit, + \u2212 zoom; p grows the tree, comma and full stop go one simulation back and on.");
  const part = h("section", { class: "treepart" }, h("div", { class: "stage" }, view.element, side), hint);
  const first = Number.isInteger(node) && node >= 0 && node < view.tree.size ? node : trace.best;
  // Selecting needs the frame's size, which it has once it stands in the document.
  requestAnimationFrame(() => { view.open(first); chosen = true; });
  return part;
}

let visit = 0;
const leaveProblem = () => { visit++; };
// Fill `host`; false if the reader has gone elsewhere in the meantime.
async function showProblem(host, index, key, node, secondKey, route) {
  const mine = ++visit, problem = data.problems[index];
  const units = data.units.filter((unit) => outcomeOf(problem, unit));
  const wanted = data.kind === "run" ? unitsNow().find((u) => u.arm === data.summary.searcher && outcomeOf(problem, u)) : null;
  const unit = units.find((u) => u.key === key) || wanted || units[0];
  const outcome = outcomeOf(problem, unit);
  const second = units.find((u) => u.key === secondKey && u !== unit && Number.isInteger(outcomeOf(problem, u).trace));
  let details = null, trace = null, other = null, failure = null;
  try {
    details = await payload(`d${index}`);
    if (Number.isInteger(outcome.trace)) trace = await payload(`t${outcome.trace}`);
    if (trace && second) other = await payload(`t${outcomeOf(problem, second).trace}`);
  } catch (error) { failure = error; }
  if (mine !== visit) return false;
  const more = details?.units[unit.key] || {};
  host.replaceChildren(problemHead(problem, index, details?.text || trace?.problem || problem.text),
    unitTabs(problem, units, unit, (to) => { location.hash = address(index, to, undefined, to === second?.key ? unit.key : second?.key); }),
    ...[secondPicker(problem, units, unit, second, (to) => { location.hash = address(index, unit.key, undefined, to); }),
      !other && costLine(outcome),
      more.error && h("p", { class: "warning" }, foreign(`${more.error.kind}: ${more.error.message}`, 600)),
      failure && h("p", { class: "warning" }, visible(failure.message)),
      other ? pairPart(problem, [{ trace, unit }, { trace: other, unit: second }])
        : trace ? treePart(trace, node, (slot) => route(index, unit.key, slot)) : !failure && h("p", { class: "note" }, WHY_NONE[outcome.trace] || ""),
      h("div", { class: "columns" }, candidatesTable(more.candidates, problem.gold),
        more.text && h("section", {}, h("h3", {}, "Selected text"), block(more.text)),
        trace && textsList(trace.texts))].filter(Boolean));
  return true;
}

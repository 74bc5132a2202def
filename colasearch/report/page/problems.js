// The list of problems: filters, search, one row a problem with each arm's outcome. Drawn in portions.

const PORTION = 150;
const list = { query: "", outcome: "all", field: "", shown: [], limit: PORTION };

const unitsNow = () => data.units.filter((unit) => unit.sims === state.sims || unit.sims === 0 || state.sims === null);
const outcomeOf = (problem, unit) => problem.units[unit.key];
const isRight = (problem, unit) => outcomeOf(problem, unit)?.correct === true;

function haystack(problem) {
  if (problem.hay === undefined) {
    const answers = Object.values(problem.units).map((u) => u.answer || "");
    problem.hay = [problem.id, problem.text, problem.gold || "", problem.subject || "", problem.level || "", ...answers].map((part) => part.replace(/\s+/g, " ")).join("\n").toLowerCase();
  }
  return problem.hay;
}

function outcomeFilters() {
  const units = unitsNow(), chosen = units.find((u) => u.arm === data.summary.searcher);
  const rivals = units.filter((u) => u !== chosen);
  const filters = [["all", "all", () => true]];
  if (chosen) {
    filters.push(["right", `${armName(chosen.arm)} right`, (p) => isRight(p, chosen)]);
    filters.push(["wrong", `${armName(chosen.arm)} wrong`, (p) => !isRight(p, chosen)]);
    if (rivals.length) {
      filters.push(["alone", `${armName(chosen.arm)} alone right`, (p) => isRight(p, chosen) && rivals.every((u) => !isRight(p, u))]);
      filters.push(["lost", "only others right", (p) => !isRight(p, chosen) && rivals.some((u) => isRight(p, u))]);
    }
    filters.push(["missed", "found but not selected", (p) => !isRight(p, chosen) && outcomeOf(p, chosen)?.oracle === true]);
  }
  if (data.problems.some((p) => Object.values(p.units).some((u) => u.status !== "ok"))) {
    filters.push(["errors", "errors", (p) => units.some((u) => outcomeOf(p, u)?.status === "error")]);
  }
  return filters;
}

function badge(outcome) {
  if (!outcome) return h("span", { class: "badge none", title: "not done" }, "\u2013");
  if (outcome.status !== "ok") return h("span", { class: "badge error", title: "errored" }, "!");
  if (outcome.correct === undefined) return null;
  return outcome.correct
    ? h("span", { class: "badge right", title: "right", role: "img", "aria-label": "right" }, "\u2713")
    : h("span", { class: "badge wrong", title: outcome.oracle ? "wrong; another text was right" : "wrong", role: "img", "aria-label": "wrong" }, "\u2717");
}

function problemRow(problem, index, units) {
  const link = `#p=${index}`;
  const cells = units.map((unit) => {
    const o = outcomeOf(problem, unit);
    return h("td", { class: "outcome", "data-arm": unit.arm, "data-name": armName(unit.arm) }, badge(o), " ",
      o?.status === "ok" && (o.answer === null || o.answer === undefined ? h("span", { class: "dim" }, "no answer") : foreign(o.answer, 28)),
      o?.status === "ok" && h("span", { class: "cost" }, count(o.tokens)));
  });
  return h("tr", { "data-problem": problem.id },
    h("td", { class: "what" }, h("a", { href: link }, foreign(problem.id, 48)), h("span", { class: "snippet", dir: "auto" }, line(problem.text, 150))),
    h("td", { class: "gold" }, problem.gold ? foreign(problem.gold, 28) : h("span", { class: "dim" }, "\u2013")), cells);
}

function problemList() {
  const table = h("table", { class: "problems" });
  const status = h("p", { class: "found", role: "status" });
  const more = h("button", { type: "button", class: "more", click: () => { list.limit += PORTION; draw(); } }, "Show more");
  const controls = h("div", { class: "filters" });
  const select = fieldSelect(() => apply());
  const search = h("input", { type: "search", placeholder: "id, text, answer", "aria-label": "Search problems", spellcheck: "false",
    input: (event) => { list.query = event.target.value; apply(); } });

  function draw() {
    const units = unitsNow(), shown = list.shown.slice(0, list.limit);
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "problem"), h("th", { scope: "col" }, "gold"),
        units.map((unit) => h("th", { scope: "col" }, swatch(unit.color), armName(unit.arm), h("span", { class: "cost" }, "tokens"))))),
      h("tbody", {}, shown.map((index) => problemRow(data.problems[index], index, units))));
    status.textContent = `${count(list.shown.length)} of ${count(data.problems.length)} problems`;
    more.hidden = shown.length >= list.shown.length;
  }
  function apply() {
    const filters = outcomeFilters();
    if (!filters.some(([key]) => key === list.outcome)) list.outcome = "all";
    const test = filters.find(([key]) => key === list.outcome)[2];
    const phrase = list.query.toLowerCase().trim().replace(/\s+/g, " ");
    list.shown = data.problems.map((_, i) => i).filter((i) => {
      const p = data.problems[i];
      if (list.field && p.subject !== list.field && p.level !== list.field) return false;
      return test(p) && haystack(p).includes(phrase);
    });
    list.limit = PORTION;
    const counted = filters.map(([key, text, f]) => [key, key === "all" ? text : `${text} ${count(data.problems.filter(f).length)}`]);
    controls.replaceChildren(choice("Outcome", counted, list.outcome, (key) => { list.outcome = key; apply(); }));
    draw();
  }
  // The next portion comes by itself when the end of the list comes into view.
  const watch = new IntersectionObserver((seen) => {
    if (more.hidden || !seen.some((entry) => entry.isIntersecting)) return;
    more.click();
    watch.unobserve(more); // observed anew, it reports again even if it never left the view
    watch.observe(more);
  }, { rootMargin: "600px" });
  watch.observe(more);
  apply();
  const section = h("section", { class: "list" }, h("h2", {}, "Problems"),
    h("div", { class: "tools" }, search, select, status), controls,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Problems" }, table), more);
  section.apply = apply;
  return section;
}

function fieldSelect(changed) {
  const names = (field) => [...new Set(data.problems.map((p) => p[field]).filter(Boolean))].sort();
  const groups = ["subject", "level"].map((field) => [field, names(field)]).filter(([, values]) => values.length > 1);
  if (!groups.length) return null;
  return h("select", { "aria-label": "Subject or level", change: (event) => { list.field = event.target.value; changed(); } },
    h("option", { value: "" }, `any ${groups.map(([field]) => field).join(", ")}`),
    groups.map(([field, values]) => h("optgroup", { label: field }, values.map((v) => h("option", { value: v }, line(v, 60))))));
}

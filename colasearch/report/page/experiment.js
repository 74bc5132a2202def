// An experiment: aims beside what was measured, then sections of words, tables and charts. From experiments/*_report.py.

const BADGES = { true: ["right", "\u2713"], false: ["wrong", "\u2715"], null: ["none", "\u2013"] };

function aimsTable() {
  const th = (text) => h("th", { scope: "col" }, text);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Aims" },
    h("table", { class: "aims" },
      h("thead", {}, h("tr", {}, th("aim"), th(""), th("measured"))),
      h("tbody", {}, data.aims.map((aim) => {
        const [kind, sign] = BADGES[aim.met];
        return h("tr", { "data-met": String(aim.met) },
          h("th", { scope: "row" }, visible(aim.aim)),
          h("td", { class: "outcome" }, h("span", { class: `badge ${kind}`, "aria-hidden": "true" }, sign), " ", visible(aim.verdict)),
          h("td", {}, h("b", { class: "big" }, visible(aim.measured)), h("span", { class: "snippet" }, visible(aim.detail))));
      }))));
}

function plainTable(table) {
  const kind = (column) => (column === 0 || table.words.includes(column) ? null : "num");
  return h("div", { class: "scroll", tabindex: "0" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, table.head.map((name, i) => h("th", { scope: "col", class: kind(i) }, visible(name))))),
    h("tbody", {}, table.rows.map((row) => h("tr", {},
      row.map((cell, i) => (i ? h("td", { class: kind(i) }, visible(cell)) : h("th", { scope: "row" }, visible(cell)))))))));
}

// Long tables are folded away: the charts above them say the same.
const FOLD = 14;
function experimentSection(section) {
  const tables = section.tables.map((table) => (table.rows.length > FOLD
    ? h("details", {}, h("summary", {}, `The numbers (${count(table.rows.length)} rows)`), plainTable(table)) : plainTable(table)));
  return h("section", { class: "part" }, h("h2", {}, visible(section.title)), h("p", { class: "about" }, visible(section.text)),
    tables, section.charts.length > 0 && h("div", { class: "charts" }, section.charts.map(figure)));
}

// A command that is broken between its words only: a browser would also break at the hyphens of its options.
const words = (command) => command.split(" ").map((word) => [h("span", { class: "word" }, visible(word)), " "]);

function experiment() {
  return h("article", { class: "experiment" },
    h("header", { class: "masthead" },
      h("p", { class: "eyebrow" }, visible(data.command)), h("h1", {}, visible(data.title)),
      h("p", { class: "facts" }, data.facts.map((fact) => h("span", {}, visible(fact)))),
      h("p", { class: "verdict" }, visible(data.lead))),
    data.aims.length > 0 && aimsTable(), data.sections.map(experimentSection),
    h("section", { class: "part" }, h("h2", {}, "Commands"),
      h("p", { class: "about" }, "Run in the run\u2019s folder, in this order, they make all that stands here."),
      h("dl", { class: "run commands" }, data.commands.map(([label, about, command]) => [
        h("dt", {}, visible(label)), h("dd", {}, h("span", { class: "dim" }, visible(about)), h("br"), words(command))]))),
    h("details", {}, h("summary", {}, "What was run"),
      h("dl", { class: "run" }, data.run.map(([name, value]) => [h("dt", {}, visible(name)), h("dd", {}, visible(value))]))));
}

// What a node says: on its card, and in full beside the tree.

const ENDS = { answer: "a finished text", cut: "cut off: no room left", refuted: "given up: it states something false", "": "open" };

function stepText(trace, node, longest) {
  if (node === 0) return `the problem (${count(trace.prompt_tokens)} tokens)`;
  return trace.text[node] ? line(trace.text[node], longest) : trace.end[node] ? "(end of text)" : "(no text)";
}
// 0, 1, 2, 3, 7 as "0\u20133, 7".
function ranges(codes) {
  const sorted = [...codes].sort((a, b) => a - b), runs = [];
  for (const code of sorted) {
    const last = runs[runs.length - 1];
    if (last && code === last[1] + 1) last[1] = code; else runs.push([code, code]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : to === from + 1 ? `${from}, ${to}` : `${from}\u2013${to}`)).join(", ");
}
// What a finished text is worth: the value that its answer was given, which is the edge's reward. Its own Q is what comes
// after it, so always 0.
const isFinished = (trace, node) => node > 0 && trace.end[node] !== "";
const worth = (trace, node) => (isFinished(trace, node) ? trace.reward[node] : trace.value[node]);

function codeText(trace, node) {
  const codes = trace.codes[node];
  if (!codes.length) return "";
  if (trace.edge === "sample") return `#${codes[0] + 1}`;
  return `${trace.edge === "code" ? "c" : "a"}${codes[0]}${codes.length > 1 ? ` +${codes.length - 1}` : ""}`;
}
function endChip(trace, node) {
  if (trace.end[node] === "cut") return h("span", { class: "chip cut" }, "cut off");
  if (trace.end[node] === "refuted") return h("span", { class: "chip cut" }, "false");
  if (trace.end[node] !== "answer") return null;
  const answer = trace.answers[node];
  return h("span", { class: "chip", dir: "auto" }, answer === null ? "no answer" : line(answer, 24));
}

// What the pointer is told of a node.
function nodeHints(tree, node, growth) {
  const t = tree.trace, ended = isFinished(t, node);
  const worthOf = ended ? `worth ${fixed(t.reward[node], 3)}` : growth.finished ? `Q ${fixed(t.value[node], 3)}` : `estimate ${fixed(t.raw[node], 3)}`;
  const codes = t.codes[node].length;
  return [
    stepText(t, node, 120),
    [`visits ${count(growth.visits[node])}`, worthOf, node > 0 && `prior ${fixed(t.prior[node], 3)}`].filter(Boolean).join("   "),
    [node > 0 && `${t.edge} ${codeText(t, node)}${codes > 1 ? ` (${codes} merged)` : ""}`, `${count(node ? t.tokens[node] : t.prompt_tokens)} tokens`].filter(Boolean).join("   "),
    ended && (t.end[node] === "answer" ? `answer ${t.answers[node] === null ? "none" : line(t.answers[node], 40)}` : ENDS[t.end[node]] ?? visible(t.end[node])),
  ].filter(Boolean);
}

function nodeDetails(tree, node) {
  const t = tree.trace, parent = t.parent[node];
  const from = parent >= 0 ? t.visits[parent] : 0, what = t.edge;
  const rows = [
    ["visits", count(t.visits[node]) + (from > 0 ? ` (${percent(t.visits[node] / from, 0)}% of its parent's)` : "")],
    isFinished(t, node) ? ["worth", fixed(t.reward[node], 4), "what this text is worth to the search"] : ["Q", fixed(t.value[node], 4), "backed-up value"],
    !isFinished(t, node) && ["estimate", fixed(t.raw[node], 4), "when the node was made"],
    parent >= 0 && ["prior", fixed(t.prior[node], 4), "all merged " + what + "s"],
    parent >= 0 && !isFinished(t, node) && t.reward[node] !== 0 && ["reward", fixed(t.reward[node], 4)],
    parent >= 0 && [t.codes[node].length > 1 ? `${what}s` : what, what === "sample" ? codeText(t, node) : ranges(t.codes[node]) || "none", t.codes[node].length > 1 ? "merged: same first token" : null],
    ["tokens", count(node ? t.tokens[node] : t.prompt_tokens)],
    ["depth", count(tree.depth[node])],
    ["children", count(tree.children[node].length)],
    tree.below[node] > tree.children[node].length && ["all below", count(tree.below[node])],
    ["state", ENDS[t.end[node]] ?? visible(t.end[node])],
    t.end[node] === "answer" && ["answer", t.answers[node] === null ? "none found" : foreign(t.answers[node], 200)],
  ].filter(Boolean);
  const whole = tree.path(node).slice(1).map((slot) => t.text[slot]).join("");
  return h("div", { class: "node", "data-shown": node },
    h("h3", {}, node ? `Node ${node}` : "Root", tree.best.has(node) && h("span", { class: "chip path" }, node === t.best ? "selected" : "on the selected path")),
    h("dl", { class: "numbers" }, rows.map(([name, value, hint]) => [h("dt", { title: hint }, name), h("dd", {}, value)])),
    node > 0 && [h("h4", {}, "Step"), block(t.text[node])],
    node > 0 && tree.depth[node] > 1 && [h("h4", {}, "Whole text to here"), block(whole)]);
}

function candidatesTable(candidates, gold) {
  if (!candidates || !candidates.length) return null;
  return h("section", {}, h("h3", {}, "Candidates"), h("table", { class: "candidates" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "answer"), h("th", { scope: "col", class: "num", title: "How far the texts agree; not how likely the answer is right" }, "share of vote"), h("th", { scope: "col", class: "num" }, "texts"))),
    h("tbody", {}, candidates.map((c) => h("tr", {}, h("td", {}, foreign(c.answer, 60), gold === c.answer && h("span", { class: "chip" }, "as gold")),
      h("td", { class: "num" }, fixed(c.weight, 3)), h("td", { class: "num" }, count(c.count)))))));
}

const TEXTS = 30;
function textsList(texts) {
  if (!texts.length) return null;
  const box = h("div", { class: "texts" });
  const show = (limit) => box.replaceChildren(...texts.slice(0, limit).map(([text, answer, value], i) =>
    h("details", {}, h("summary", {}, h("span", { class: "dim" }, `${i + 1}`), answer === null ? h("span", { class: "dim" }, "no answer") : foreign(answer, 40),
      h("span", { class: "cost" }, `value ${fixed(value, 3)}`), h("span", { class: "snippet", dir: "auto" }, line(text, 100))), block(text))),
    ...(texts.length > limit ? [h("button", { type: "button", class: "more", click: () => show(Infinity) }, `Show all ${count(texts.length)}`)] : []));
  show(TEXTS);
  return h("section", {}, h("h3", {}, `Finished texts (${count(texts.length)})`), box);
}

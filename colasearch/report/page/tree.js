// The tree viewer: cards in a plane that can be dragged and zoomed. Only cards in view are in the document; those of large
// trees seen from afar are painted.

const FAR = 0.42; // below this scale cards are drawn without text
const LEGIBLE = 0.5; // the smallest scale at which a tree opens
const CROWD = 1500; // where more nodes than this are unfolded, cards too small for text are painted
const MANY = 24; // larger trees begin folded to the selected path

class TreeView {
  // `name` keeps the elements of two viewers on one page apart.
  constructor(trace, onSelect, name = "node") {
    this.tree = new Tree(trace);
    this.growth = new Growth(trace);
    this.name = name;
    this.trace = trace;
    this.onSelect = onSelect;
    this.cards = new Map();
    this.matches = [];
    this.matched = new Set();
    this.at = { x: 16, y: 16, k: 1 };
    this.edges = s("svg", { class: "edges", "aria-hidden": "true" });
    this.plane = h("div", { class: "plane" }, this.edges);
    this.crowd = new Crowd(this);
    this.frame = h("div", { class: "tree", tabindex: "0", role: "tree", "aria-label": "Search tree", "data-nodes": this.tree.size }, this.crowd.element, this.plane);
    this.search = h("input", { type: "search", placeholder: "text, answer or code", "aria-label": "Search the tree", spellcheck: "false",
      input: () => this.find(this.search.value), keydown: (e) => this.searchKey(e) });
    this.found = h("span", { class: "found", role: "status" });
    this.bar = this.growth.steps > 1 ? new GrowthBar(this) : null;
    this.element = h("div", { class: "viewer" }, this.toolbar(), this.frame, this.bar?.element);
    if (this.tree.size > MANY) this.tree.collapseOffPath();
    this.selected = -1;
    this.frame.addEventListener("keydown", (e) => this.key(e));
    this.frame.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    this.frame.addEventListener("click", (e) => this.click(e));
    this.frame.addEventListener("pointermove", (e) => this.hover(e));
    this.frame.addEventListener("pointerleave", hideTip);
    dragging(this.frame, this);
    new ResizeObserver(() => this.paint()).observe(this.frame);
    this.relayout();
  }

  toolbar() {
    const button = (text, title, act) => h("button", { type: "button", title, "aria-label": title, click: act }, text);
    return h("div", { class: "toolbar", role: "toolbar", "aria-label": "Tree" },
      h("div", { class: "choice" },
        button("Selected path", "Fold all but the selected path (b)", () => this.showBest()),
        button("Expand all", "Expand all (*)", () => { this.tree.expandAll(); this.relayout(); }),
        button("Fit", "Fit the tree into view (f)", () => this.fit())),
      h("div", { class: "choice" },
        button(MINUS, "Zoom out (-)", () => this.zoom(1 / 1.3)), button("+", "Zoom in (+)", () => this.zoom(1.3))),
      this.search, this.found);
  }

  relayout() {
    const begun = performance.now();
    this.shape = this.tree.layout();
    this.edges.setAttribute("width", this.shape.width);
    this.edges.setAttribute("height", this.shape.height);
    this.edgesAt = -1;
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.makeRoom(false);
    this.paint();
    Object.assign(this.frame.dataset, { shown: this.shape.order.length, layoutMs: (performance.now() - begun).toFixed(1) });
  }

  // The lines between cards in the document, drawn anew when another step is shown.
  drawEdges() {
    if (this.edgesAt === this.growth.step) return;
    this.edgesAt = this.growth.step;
    const { paths, best } = edgePaths(this.tree, this.shape, this.growth, this.marked());
    this.edges.replaceChildren(...paths.map((d, i) => s("path", { d, class: `w${i}` })), s("path", { d: best, class: "best" }));
  }

  // Show the tree as it was after `step` simulations; `linked`: the viewer beside this one goes along.
  setStep(step, linked = true) {
    const { growth } = this;
    growth.to(step);
    const marked = this.marked();
    for (const [node, card] of this.cards) {
      if (!card.far || !growth.has(node)) { card.remove(); this.cards.delete(node); continue; }
      card.classList.toggle("best", marked.has(node));
      card.classList.toggle("now", node === growth.now);
    }
    this.paint();
    this.frame.dataset.step = String(this.growth.step);
    this.bar?.show();
    if (linked) this.partner?.setStep(step, false);
  }
  // The selected path; while the tree grows, the path of the current simulation.
  marked() {
    const { growth, tree } = this;
    return growth.finished ? tree.best : new Set(growth.now < 0 ? [] : tree.path(growth.now));
  }

  // Put the plane where it belongs and draw the cards that are in view.
  paint() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (!width) return;
    const { x, y, k } = this.at;
    const far = k < FAR;
    this.plane.style.transform = `translate(${x}px, ${y}px) scale(${k})`;
    this.plane.classList.toggle("far", far);
    this.edges.style.strokeWidth = far ? String(Math.min(5, 0.7 / k)) : "";
    const box = [(-x - 60) / k, (-y - 60) / k, (width - x + 60) / k, (height - y + 60) / k];
    this.crowded = far && this.shape.order.length > CROWD;
    this.edges.classList.toggle("painted", this.crowded);
    const wanted = new Set(this.crowded ? [] : this.tree.inside(this.shape, ...box));
    if (this.selected >= 0 && this.shape.at[this.selected] >= 0) wanted.add(this.selected);
    if (!this.growth.finished) for (const node of wanted) if (!this.growth.has(node)) wanted.delete(node);
    if (this.crowded) this.crowd.paint(box);
    else {
      this.crowd.hide();
      this.drawEdges();
    }
    this.frame.dataset.drawn = this.crowded ? this.shape.order.length : wanted.size;
    for (const [node, card] of this.cards) {
      if (!wanted.has(node) || card.far !== far) { card.remove(); this.cards.delete(node); }
    }
    this.markedNow = this.marked();
    for (const node of wanted) if (!this.cards.has(node)) this.place(node, far);
  }

  place(node, far) {
    const card = this.card(node, far);
    card.far = far;
    card.style.transform = `translate(${this.tree.depth[node] * PITCH_X}px, ${this.shape.row[node] * PITCH_Y}px)`;
    this.cards.set(node, card);
    this.plane.append(card);
  }

  card(node, far) {
    const t = this.trace, kids = this.tree.children[node].length, folded = this.tree.collapsed.has(node);
    const flags = [t.end[node] || "open", this.markedNow.has(node) && "best", node === this.growth.now && "now", this.matched.has(node) && "match", node === this.selected && "selected"];
    const attributes = {
      class: ["card", ...flags.filter(Boolean)].join(" "), id: `${this.name}${node}`, role: "treeitem", "data-node": node,
      "aria-level": this.tree.depth[node] + 1, "aria-selected": String(node === this.selected), "aria-expanded": kids ? String(!folded) : null,
    };
    if (far) return h("div", attributes);
    const bar = h("i", { class: "bar", "aria-hidden": "true" });
    const { visits, finished } = this.growth;
    bar.style.width = `${clamp((100 * visits[node]) / Math.max(1, visits[0]), 0, 100)}%`;
    const value = isFinished(t, node) ? `worth ${fixed(worth(t, node), 2)}` : finished ? `Q ${fixed(t.value[node], 2)}` : `est. ${fixed(t.raw[node], 2)}`;
    return h("div", attributes,
      h("div", { class: "step" }, h("span", { class: "words", dir: "auto" }, stepText(t, node, 90)), endChip(t, node)),
      h("div", { class: "nums" }, h("b", {}, count(visits[node])), h("span", {}, value),
        node > 0 && h("span", {}, `P ${fixed(t.prior[node], t.prior[node] < 0.0995 ? 3 : 2)}`), node > 0 && h("span", {}, codeText(t, node))),
      bar,
      kids > 0 && h("button", { type: "button", class: folded ? "fold more" : "fold", tabindex: "-1", "data-fold": node,
        "aria-label": folded ? `Show ${this.tree.below[node]} nodes below` : "Fold" }, folded ? `+${count(this.tree.below[node])}` : MINUS));
  }

  click(event) {
    if (this.dragged) return;
    const fold = event.target.closest("[data-fold]");
    if (fold) return this.toggle(Number(fold.dataset.fold));
    const node = this.nodeAt(event);
    if (node >= 0) this.select(node, false);
  }

  hover(event) {
    const node = this.frame.classList.contains("grabbed") || event.pointerType === "touch" ? -1 : this.nodeAt(event);
    if (node >= 0) showTip(event.clientX, event.clientY, nodeHints(this.tree, node, this.growth)); else hideTip();
  }
  // The node under the pointer, -1 where there is none; painted cards are found by where they stand.
  nodeAt(event) {
    const card = event.target.closest("[data-node]");
    if (card || !this.crowded) return card ? Number(card.dataset.node) : -1;
    const box = this.frame.getBoundingClientRect(), { x, y, k } = this.at;
    const px = (event.clientX - box.left - x) / k, py = (event.clientY - box.top - y) / k;
    for (const node of this.tree.inside(this.shape, px, py, px, py)) if (this.growth.has(node)) return node;
    return -1;
  }

  toggle(node) {
    if (!this.tree.children[node].length) return;
    if (!this.tree.collapsed.delete(node)) this.tree.collapsed.add(node);
    this.relayout();
  }

  select(node, reveal = true) {
    if (this.tree.uncover(node)) this.relayout();
    if (!this.growth.has(node)) this.setStep(this.growth.born[node]);
    for (const one of [this.selected, node]) { this.cards.get(one)?.remove(); this.cards.delete(one); }
    this.selected = node;
    this.frame.setAttribute("aria-activedescendant", `${this.name}${node}`);
    if (reveal) this.reveal(node);
    this.paint();
    this.onSelect(node);
  }

  reveal(node) {
    const { k } = this.at, margin = 24;
    const x = this.at.x + this.tree.depth[node] * PITCH_X * k, y = this.at.y + this.shape.row[node] * PITCH_Y * k;
    const { clientWidth: width, clientHeight: height } = this.frame;
    const over = (start, size, room) => (start < margin ? margin - start : Math.min(0, room - margin - size - start));
    this.at.x += over(x, CARD.width * k, width);
    this.at.y += over(y, CARD.height * k, height);
  }

  zoom(factor, cx = this.frame.clientWidth / 2, cy = this.frame.clientHeight / 2) {
    const k = clamp(this.at.k * factor, 0.03, 2.5), f = k / this.at.k;
    this.at = { x: cx - (cx - this.at.x) * f, y: cy - (cy - this.at.y) * f, k };
    this.paint();
  }
  pan(dx, dy) {
    const { clientWidth: width, clientHeight: height } = this.frame, { k } = this.at, keep = 60;
    const before = { ...this.at };
    this.at.x = clamp(this.at.x + dx, Math.min(this.at.x, keep - this.shape.width * k), Math.max(this.at.x, width - keep));
    this.at.y = clamp(this.at.y + dy, Math.min(this.at.y, keep - this.shape.height * k), Math.max(this.at.y, height - keep));
    this.paint();
    return before.x !== this.at.x || before.y !== this.at.y;
  }
  // The stage is as high as the tree needs, within bounds; it shrinks only where the reader has asked for another view.
  makeRoom(shrink) {
    const stage = this.element.parentElement;
    if (!stage || this.partner) return; // two side by side are of one height
    const wanted = clamp(this.shape.height * this.at.k + 110, 420, Math.min(680, 0.78 * window.innerHeight));
    if (shrink || wanted > stage.clientHeight) stage.style.height = `${wanted}px`;
  }
  // As first seen: all of the tree if its cards can still be read, else the chosen node in view, at a size that can be.
  open(node) {
    this.select(node, false);
    this.fit();
    this.at.k = Math.max(this.at.k, LEGIBLE);
    this.makeRoom(true);
    this.fit();
    if (this.at.k < LEGIBLE) {
      this.at = { x: 16, y: 16, k: LEGIBLE };
      this.reveal(node);
      this.paint();
    }
  }
  // All in view; where that would be a little too small for text and larger than `nearly`, as small as text can be.
  fit(nearly = FAR) {
    const { clientWidth: width, clientHeight: height } = this.frame;
    let k = clamp(Math.min((width - 32) / this.shape.width, (height - 32) / this.shape.height), 0.03, 1);
    if (k > nearly && k < FAR) k = FAR;
    this.at = { x: 16, y: Math.max(16, Math.min(40, (height - this.shape.height * k) / 2)), k };
    this.paint();
  }
  showBest() {
    this.tree.collapseOffPath();
    this.relayout();
    this.open(this.trace.best);
  }

  // Plain wheel moves the tree once it has the focus (else the page scrolls); with Ctrl or a pinch it zooms.
  wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      const box = this.frame.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 250), event.clientX - box.left, event.clientY - box.top);
    } else if (document.activeElement !== this.frame || !this.pan(-(event.shiftKey ? event.deltaY : event.deltaX), event.shiftKey ? 0 : -event.deltaY)) {
      return;
    }
    event.preventDefault();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { order, columns, at } = this.shape, now = Math.max(0, this.selected), column = columns[this.tree.depth[now]];
    const kids = this.tree.children[now], folded = this.tree.collapsed.has(now), parent = this.trace.parent[now];
    const go = (slot) => { if (slot !== undefined && slot >= 0) this.select(slot); };
    const keys = {
      ArrowRight: () => (kids.length && folded ? this.toggle(now) : go(kids[0])),
      ArrowLeft: () => (kids.length && !folded && event.shiftKey ? this.toggle(now) : go(parent)),
      ArrowDown: () => go(column[at[now] + 1]), ArrowUp: () => go(column[at[now] - 1]),
      Home: () => go(0), End: () => go(order[order.length - 1]),
      Enter: () => this.toggle(now), " ": () => this.toggle(now),
      "+": () => this.zoom(1.3), "=": () => this.zoom(1.3), "-": () => this.zoom(1 / 1.3), f: () => this.fit(), b: () => this.showBest(),
      "*": () => { this.tree.expandAll(); this.relayout(); }, "/": () => this.search.focus(), n: () => this.next(1), N: () => this.next(-1),
      p: () => this.bar?.toggle(), ",": () => { this.bar?.stop(); this.setStep(this.growth.step - 1); }, ".": () => { this.bar?.stop(); this.setStep(this.growth.step + 1); },
    };
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  }
  searchKey(event) {
    if (event.key === "Enter") { this.next(event.shiftKey ? -1 : 1); event.preventDefault(); }
    if (event.key === "Escape") { this.search.value = ""; this.find(""); this.frame.focus(); }
  }

  // Nodes whose text or answer has `query`; `c17` finds code 17.
  find(query) {
    const wanted = query.trim().toLowerCase(), code = /^(?:c|a|code:? ?)(\d+)$/.exec(wanted), t = this.trace;
    const hit = (i) => t.text[i].toLowerCase().includes(wanted) || (t.answers[i] || "").toLowerCase().includes(wanted);
    const all = wanted ? [...t.parent.keys()] : [];
    this.matches = all.filter((i) => (code ? t.codes[i].includes(Number(code[1])) : hit(i)));
    this.matched = new Set(this.matches);
    this.turn = -1;
    this.found.textContent = wanted ? `${count(this.matches.length)} found` : "";
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.paint();
  }
  next(step) {
    if (!this.matches.length) return;
    this.turn = this.turn < 0 && step < 0 ? this.matches.length - 1 : (this.turn + step + this.matches.length) % this.matches.length;
    this.select(this.matches[this.turn]);
    this.found.textContent = `${count(this.turn + 1)} of ${count(this.matches.length)}`;
  }
}

// One pointer moves the tree, two zoom it.
function dragging(frame, view) {
  const points = new Map();
  const spread = () => { const [a, b] = [...points.values()]; return { d: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }; };
  frame.addEventListener("pointerdown", (e) => { if (points.size === 0) view.dragged = false; if (e.button === 0) points.set(e.pointerId, { x: e.clientX, y: e.clientY, x0: e.clientX, y0: e.clientY }); });
  frame.addEventListener("pointermove", (e) => {
    const point = points.get(e.pointerId);
    if (!point) return;
    const before = points.size === 2 ? spread() : null, dx = e.clientX - point.x, dy = e.clientY - point.y;
    if (!view.dragged && Math.hypot(e.clientX - point.x0, e.clientY - point.y0) < 4) return;
    if (!view.dragged) { view.dragged = true; frame.setPointerCapture(e.pointerId); frame.classList.add("grabbed"); }
    Object.assign(point, { x: e.clientX, y: e.clientY });
    if (before) {
      const after = spread(), box = frame.getBoundingClientRect();
      view.zoom(after.d / Math.max(1, before.d), after.x - box.left, after.y - box.top);
    } else view.pan(dx, dy);
  });
  const end = (e) => { points.delete(e.pointerId); frame.classList.remove("grabbed"); };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", end);
}

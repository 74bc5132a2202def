// Thousands of cards in view at once are painted, not put into the document: see CROWD in tree.js.

class Crowd {
  constructor(view) {
    this.view = view;
    this.element = h("canvas", { class: "crowd", "aria-hidden": "true", hidden: true });
  }
  hide() { this.element.hidden = true; }

  paint(nodes) {
    const { view, element } = this, { frame, tree, shape, growth } = view, { x, y, k } = view.at;
    const width = frame.clientWidth, height = frame.clientHeight, scale = window.devicePixelRatio || 1;
    if (element.width !== Math.round(width * scale) || element.height !== Math.round(height * scale)) {
      element.width = Math.round(width * scale);
      element.height = Math.round(height * scale);
    }
    element.hidden = false;
    const pen = element.getContext("2d"), colors = this.colors();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const left = (node) => x + tree.depth[node] * PITCH_X * k, top = (node) => y + shape.row[node] * PITCH_Y * k;
    const wide = Math.max(1.5, CARD.width * k), high = Math.max(1, CARD.height * k), gap = CARD.gapX * k;
    const marked = view.marked();
    const edges = (chosen, color, thick) => {
      pen.beginPath();
      for (const node of nodes) {
        const parent = tree.trace.parent[node];
        if (parent < 0 || marked.has(node) !== chosen) continue;
        const y0 = top(parent) + high / 2, y1 = top(node) + high / 2, x0 = left(parent) + wide;
        pen.moveTo(x0, y0);
        pen.lineTo(x0 + gap / 2, y0);
        pen.lineTo(x0 + gap / 2, y1);
        pen.lineTo(left(node), y1);
      }
      pen.strokeStyle = color;
      pen.lineWidth = thick;
      pen.stroke();
    };
    edges(false, colors.line, 0.6);
    edges(true, colors.best, 1.6);
    const kinds = new Map(Object.keys(colors).map((kind) => [kind, []]));
    for (const node of nodes) kinds.get(this.kind(node, marked, growth)).push(node);
    for (const [kind, found] of kinds) {
      pen.beginPath();
      for (const node of found) pen.rect(left(node), top(node), wide, high);
      pen.fillStyle = colors[kind];
      pen.fill();
    }
  }

  kind(node, marked, growth) {
    if (node === growth.now) return "now";
    if (this.view.matched.has(node)) return "match";
    if (marked.has(node)) return "best";
    return this.view.trace.end[node] === "answer" ? "answer" : "line";
  }
  // As in style.css, where they change between light and dark.
  colors() {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    return { line: of("--faint"), answer: of("--tone2"), best: of("--accent"), match: of("--tone5"), now: of("--tone1") };
  }
}

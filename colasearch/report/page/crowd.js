// The cards of large trees seen from afar are painted, not put into the document: see CROWD in tree.js.
//
// The tree is painted once, at the scale at hand, and moved about as a picture; a new scale or step paints it anew. Where
// that picture would be large, little of the tree is in view: then that is painted each time.

const LARGEST_PICTURE = 3e6; // pixels

class Crowd {
  constructor(view) {
    this.view = view;
    this.element = h("canvas", { class: "crowd", "aria-hidden": "true", hidden: true });
    this.picture = document.createElement("canvas");
    this.painted = null;
  }
  hide() { this.element.hidden = true; }

  paint(box) {
    const { view, element } = this, { frame, shape, growth } = view, { x, y, k } = view.at;
    const scale = window.devicePixelRatio || 1, width = Math.round(frame.clientWidth * scale), height = Math.round(frame.clientHeight * scale);
    if (element.width !== width || element.height !== height) Object.assign(element, { width, height });
    element.hidden = false;
    const pen = element.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (shape.width * shape.height * (k * scale) ** 2 > LARGEST_PICTURE) {
      pen.setTransform(k * scale, 0, 0, k * scale, x * scale, y * scale);
      this.draw(pen, [...view.tree.inside(shape, ...box)]);
      return;
    }
    const now = [shape, k, scale, growth.step, view.matched, document.documentElement.dataset.theme];
    if (!this.painted || now.some((value, i) => value !== this.painted[i])) {
      this.painted = now;
      Object.assign(this.picture, { width: Math.ceil(shape.width * k * scale) + 4, height: Math.ceil(shape.height * k * scale) + 4 });
      const brush = this.picture.getContext("2d");
      brush.setTransform(k * scale, 0, 0, k * scale, 2, 2);
      this.draw(brush, shape.order);
    }
    pen.drawImage(this.picture, x * scale - 2, y * scale - 2);
  }

  // Nodes and the lines to them, in the plane's own units.
  draw(pen, wanted) {
    const { view } = this, { tree, shape, growth } = view, { k } = view.at, { parent } = tree.trace;
    const marked = view.marked(), colors = this.colors();
    const nodes = growth.finished ? wanted : wanted.filter((node) => growth.has(node));
    const edges = (chosen, color, thick) => {
      pen.beginPath();
      for (const node of nodes) {
        if (parent[node] < 0 || marked.has(node) !== chosen) continue;
        const y0 = shape.row[parent[node]] * PITCH_Y + CARD.height / 2, y1 = shape.row[node] * PITCH_Y + CARD.height / 2;
        const x1 = tree.depth[node] * PITCH_X, spine = x1 - CARD.gapX / 2;
        pen.moveTo(x1 - CARD.gapX, y0);
        if (y0 !== y1) { pen.lineTo(spine, y0); pen.lineTo(spine, y1); }
        pen.lineTo(x1, y1);
      }
      pen.strokeStyle = color;
      pen.lineWidth = thick / k;
      pen.stroke();
    };
    edges(false, colors.line, 0.6);
    edges(true, colors.best, 1.6);
    const kinds = new Map(Object.keys(colors).map((kind) => [kind, []]));
    for (const node of nodes) kinds.get(this.kind(node, marked, growth)).push(node);
    for (const [kind, found] of kinds) {
      pen.fillStyle = colors[kind];
      for (const node of found) pen.fillRect(tree.depth[node] * PITCH_X, shape.row[node] * PITCH_Y, CARD.width, CARD.height);
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

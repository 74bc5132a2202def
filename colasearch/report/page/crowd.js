// The cards of large trees seen from afar are painted, not put into the document: see CROWD in tree.js.
//
// The tree is painted once, at the scale at hand, and moved about as a picture; a new scale paints it anew. While the tree
// grows, what is new is painted into the picture, and the path of the moment over it. Where that picture would be large,
// little of the tree is in view: then that is painted each time.

const LARGEST_PICTURE = 3e6; // pixels

class Crowd {
  constructor(view) {
    this.view = view;
    this.element = h("canvas", { class: "crowd", "aria-hidden": "true", hidden: true });
    this.picture = document.createElement("canvas");
    this.painted = null;
    this.step = -1;
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
    const toPlane = () => pen.setTransform(k * scale, 0, 0, k * scale, x * scale, y * scale);
    if (shape.width * shape.height * (k * scale) ** 2 > LARGEST_PICTURE) {
      toPlane();
      this.draw(pen, [...view.tree.inside(shape, ...box)].filter((node) => growth.has(node)));
      this.drawMarked(pen);
      return;
    }
    const now = [shape, k, scale, view.matched, document.documentElement.dataset.theme];
    const same = this.painted && now.every((value, i) => value === this.painted[i]);
    const from = same && growth.step >= this.step ? this.step : -1;
    if (from < 0) Object.assign(this.picture, { width: Math.ceil(shape.width * k * scale) + 4, height: Math.ceil(shape.height * k * scale) + 4 });
    if (from < growth.step) {
      const brush = this.picture.getContext("2d");
      brush.setTransform(k * scale, 0, 0, k * scale, 2, 2);
      this.draw(brush, shape.order.filter((node) => growth.born[node] > from && growth.has(node)));
    }
    Object.assign(this, { painted: now, step: growth.step });
    pen.drawImage(this.picture, x * scale - 2, y * scale - 2);
    toPlane();
    this.drawMarked(pen);
  }

  // Nodes and the lines to them, in the plane's own units.
  draw(pen, nodes) {
    const colors = this.colors(), kinds = new Map();
    this.lines(pen, nodes, colors.line, 0.6);
    for (const node of nodes) {
      const kind = this.view.matched.has(node) ? "match" : this.view.trace.end[node] === "answer" ? "answer" : "line";
      if (!kinds.has(kind)) kinds.set(kind, []);
      kinds.get(kind).push(node);
    }
    for (const [kind, found] of kinds) this.boxes(pen, found, colors[kind]);
  }
  // The selected path or that of the current simulation, over the others.
  drawMarked(pen) {
    const { view } = this, { now } = view.growth, colors = this.colors();
    const nodes = [...view.marked()].filter((node) => view.shape.at[node] >= 0);
    this.lines(pen, nodes, colors.best, 1.6);
    this.boxes(pen, nodes.filter((node) => node !== now && !view.matched.has(node)), colors.best);
    if (nodes.includes(now)) this.boxes(pen, [now], colors.now);
  }
  lines(pen, nodes, color, thick) {
    const { tree, shape } = this.view, { parent } = tree.trace;
    pen.beginPath();
    for (const node of nodes) {
      if (parent[node] < 0) continue;
      const y0 = shape.row[parent[node]] * PITCH_Y + CARD.height / 2, y1 = shape.row[node] * PITCH_Y + CARD.height / 2;
      const x1 = tree.depth[node] * PITCH_X, spine = x1 - CARD.gapX / 2;
      pen.moveTo(x1 - CARD.gapX, y0);
      if (y0 !== y1) { pen.lineTo(spine, y0); pen.lineTo(spine, y1); }
      pen.lineTo(x1, y1);
    }
    pen.strokeStyle = color;
    pen.lineWidth = thick / this.view.at.k;
    pen.stroke();
  }
  boxes(pen, nodes, color) {
    const { tree, shape } = this.view;
    pen.fillStyle = color;
    for (const node of nodes) pen.fillRect(tree.depth[node] * PITCH_X, shape.row[node] * PITCH_Y, CARD.width, CARD.height);
  }

  // As in style.css, where they change between light and dark.
  colors() {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    return { line: of("--faint"), answer: of("--tone2"), best: of("--accent"), match: of("--tone5"), now: of("--tone1") };
  }
}

// The tree's shape and where its cards stand. Nothing here touches the document.
//
// A tidy layout to the right: a node and its chain of first children stand in one row, the first that is free in all
// their columns; so no card and no line crosses another. Children are sorted by visits, with the selected path before all:
// the top line reads as the answer. Rows grow within each column, which makes "what is in view" a slice of each.

const CARD = { width: 232, height: 46, gapX: 38, gapY: 10 };
const PITCH_X = CARD.width + CARD.gapX, PITCH_Y = CARD.height + CARD.gapY;

class Tree {
  constructor(trace) {
    const n = trace.parent.length;
    this.trace = trace;
    this.size = n;
    this.children = Array.from({ length: n }, () => []);
    this.depth = new Int32Array(n);
    this.below = new Int32Array(n);
    for (let i = 1; i < n; i++) {
      this.children[trace.parent[i]].push(i);
      this.depth[i] = this.depth[trace.parent[i]] + 1;
    }
    for (let i = n - 1; i > 0; i--) this.below[trace.parent[i]] += this.below[i] + 1;
    this.best = new Set();
    for (let i = trace.best; i >= 0; i = trace.parent[i]) this.best.add(i);
    const by = (a, b) => this.best.has(b) - this.best.has(a) || trace.visits[b] - trace.visits[a] || trace.prior[b] - trace.prior[a] || a - b;
    for (const list of this.children) list.sort(by);
    this.collapsed = new Set();
  }

  // Slots from the root to `node`.
  path(node) {
    const slots = [];
    for (let i = node; i >= 0; i = this.trace.parent[i]) slots.push(i);
    return slots.reverse();
  }

  // Everything below the selected path is folded away; what the path branches off to stays in sight.
  collapseOffPath() {
    this.collapsed.clear();
    for (let i = 0; i < this.size; i++) if (!this.best.has(i) && this.children[i].length) this.collapsed.add(i);
  }
  expandAll() { this.collapsed.clear(); }
  // Unfold what hides `node`; true if something was folded.
  uncover(node) {
    let changed = false;
    for (const slot of this.path(node).slice(0, -1)) changed = this.collapsed.delete(slot) || changed;
    return changed;
  }

  // `columns`: shown slots of each depth from top to bottom; `row` of a slot, and `at`, its place in its column (-1 if
  // hidden); `order`: shown slots in preorder.
  layout() {
    const order = [], columns = [], free = [];
    const row = new Int32Array(this.size), at = new Int32Array(this.size).fill(-1);
    const first = (i) => (this.collapsed.has(i) ? undefined : this.children[i][0]);
    const stack = [0];
    while (stack.length) {
      const i = stack.pop(), parent = this.trace.parent[i], depth = this.depth[i];
      if (parent < 0 || this.children[parent][0] !== i) {
        let lowest = parent < 0 ? 0 : row[parent] + 1;
        for (let c = i, d = depth; c !== undefined; c = first(c), d++) lowest = Math.max(lowest, free[d] || 0);
        for (let c = i, d = depth; c !== undefined; c = first(c), d++) { row[c] = lowest; free[d] = lowest + 1; }
      }
      (columns[depth] ||= []).push(i);
      at[i] = columns[depth].length - 1;
      order.push(i);
      if (!this.collapsed.has(i)) for (let c = this.children[i].length - 1; c >= 0; c--) stack.push(this.children[i][c]);
    }
    const width = (columns.length - 1) * PITCH_X + CARD.width, height = (Math.max(...free) - 1) * PITCH_Y + CARD.height;
    return { order, columns, row, at, width, height };
  }

  // Shown slots whose cards touch the box.
  *inside(shape, left, top, right, bottom) {
    const firstColumn = Math.max(0, Math.ceil((left - CARD.width) / PITCH_X));
    for (let d = firstColumn; d < shape.columns.length && d * PITCH_X <= right; d++) {
      const column = shape.columns[d];
      let low = 0, high = column.length;
      while (low < high) { const mid = (low + high) >> 1; if (shape.row[column[mid]] * PITCH_Y + CARD.height < top) low = mid + 1; else high = mid; }
      for (; low < column.length && shape.row[column[low]] * PITCH_Y <= bottom; low++) yield column[low];
    }
  }
}

// Edges as a few paths: one for each class of thickness (by share of visits) and one for the selected path.
// While the tree grows: edges of the nodes that are there; `marked` is the path of the current simulation.
function edgePaths(tree, shape, growth, marked) {
  const paths = ["", "", "", ""], best = [], { visits } = growth;
  const total = Math.max(1, visits[0]);
  for (const i of shape.order) {
    const p = tree.trace.parent[i];
    if (p < 0 || !growth.has(i)) continue;
    const x0 = tree.depth[p] * PITCH_X + CARD.width, x1 = tree.depth[i] * PITCH_X;
    const y0 = shape.row[p] * PITCH_Y + CARD.height / 2, y1 = shape.row[i] * PITCH_Y + CARD.height / 2;
    const spine = x0 + CARD.gapX / 2 + 2, r = 8;
    const path = y0 === y1 ? `M${x0},${y0}H${x1}` : `M${x0},${y0}H${spine - r}Q${spine},${y0} ${spine},${y0 + r}V${y1 - r}Q${spine},${y1} ${spine + r},${y1}H${x1}`;
    if (marked.has(i)) best.push(path);
    else paths[Math.min(3, Math.floor(Math.sqrt(Math.max(0, visits[i]) / total) * 4))] += path;
  }
  return { paths, best: best.join("") };
}

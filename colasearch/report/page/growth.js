// How a tree grew: which nodes there were after each simulation, and how often each had been visited.

class Growth {
  // `ends`: the slot at which each simulation ended; `born`: the simulation that made a node (0: the root).
  constructor(trace) {
    this.trace = trace;
    this.ends = trace.simulations;
    this.steps = this.ends.length;
    this.born = new Int32Array(trace.parent.length).fill(this.steps);
    this.born[0] = 0;
    for (let i = this.steps - 1; i >= 0; i--) this.born[this.ends[i]] = i + 1;
    // A node stands no later than what is below it.
    for (let i = this.born.length - 1; i > 0; i--) { const p = trace.parent[i]; this.born[p] = Math.min(this.born[p], this.born[i]); }
    this.visits = Int32Array.from(trace.visits);
    this.step = this.steps;
  }

  get finished() { return this.step >= this.steps; }
  // The node at which the current simulation ended.
  get now() { return this.step > 0 && !this.finished ? this.ends[this.step - 1] : -1; }
  has(node) { return this.born[node] <= this.step; }
  count() { let n = 0; for (const at of this.born) n += at <= this.step; return n; }

  // Go to the state after `step` simulations. At the end the numbers are those of the trace.
  to(step) {
    this.step = clamp(Math.round(step), 0, this.steps);
    if (this.finished) { this.visits.set(this.trace.visits); return; }
    const { parent } = this.trace;
    this.visits.fill(0);
    this.visits[0] = 1; // the root's own evaluation
    for (let i = 0; i < this.step; i++) for (let node = this.ends[i]; node >= 0; node = parent[node]) this.visits[node] += 1;
  }
}

// The slider under a tree, with a button that plays it.
class GrowthBar {
  constructor(view) {
    this.view = view;
    const { steps } = view.growth;
    this.range = h("input", { type: "range", min: 0, max: steps, step: 1, value: steps, "aria-label": "Simulations shown", input: () => this.slide() });
    this.button = h("button", { type: "button", class: "play", click: () => this.toggle() });
    this.label = h("span", { class: "found", role: "status" });
    this.element = h("div", { class: "growth" }, this.button, this.range, this.label);
    this.playing = 0;
    this.show();
  }
  show() {
    const { growth } = this.view;
    this.range.value = String(growth.step);
    this.label.textContent = `simulation ${count(growth.step)} of ${count(growth.steps)}, ${count(growth.count())} nodes`;
    this.range.setAttribute("aria-valuetext", this.label.textContent);
    this.button.textContent = this.playing ? "Pause" : "Grow";
    this.button.title = this.playing ? "Stop there (p)" : "Show how the tree grew (p)";
  }
  slide() {
    const wanted = Number(this.range.value); // stopping puts the slider where the tree is
    this.stop();
    this.view.setStep(wanted);
  }
  toggle() { if (this.playing) this.stop(); else this.play(); }
  stop() {
    if (this.playing) cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.show();
  }
  // A tree takes two to ten seconds, whatever its size.
  play() {
    const { growth } = this.view, from = growth.finished ? 0 : growth.step;
    const duration = clamp(growth.steps * 120, 2000, 10000);
    this.view.tree.expandAll();
    this.view.setStep(from);
    this.view.relayout();
    this.view.fit(0.3);
    let begun = 0;
    const frame = (time) => {
      begun ||= time - (duration * from) / growth.steps;
      const step = Math.min(growth.steps, Math.floor(((time - begun) / duration) * growth.steps));
      this.playing = step < growth.steps ? requestAnimationFrame(frame) : 0;
      if (step !== growth.step) this.view.setStep(step);
      else if (!this.playing) this.show();
    };
    this.playing = requestAnimationFrame(frame);
    this.show();
  }
}

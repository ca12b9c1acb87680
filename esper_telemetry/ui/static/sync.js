// What the figures of a page share: the zoomed range and the cursor of each kind of x axis, smoothing and log scales.

export class Sync {
  constructor() {
    this.ranges = new Map();
    this.figures = new Set();
    this.smoothing = 0;
    this.logs = new Set();
    this.zoomed = new Set();
  }

  static axis(figure) {
    return figure.x ? `${figure.x.label}|${figure.x.times}` : "";
  }

  join(view) { this.figures.add(view); }

  leave(view) { this.figures.delete(view); }

  range(axis) { return this.ranges.get(axis) ?? null; }

  /** Sets the range of an axis, null for everything, and tells the figures and those who listen. */
  zoom(axis, range) {
    const known = this.ranges.get(axis);
    if (range && known && Math.abs(range[0] - known[0]) + Math.abs(range[1] - known[1]) < 1e-9 * (range[1] - range[0])) return;
    if (!range && !known) return;
    if (range) this.ranges.set(axis, range); else this.ranges.delete(axis);
    for (const view of this.figures) if (view.axis === axis) view.redraw();
    for (const heard of this.zoomed) heard(axis, range);
  }

  reset() {
    for (const axis of [...this.ranges.keys()]) this.zoom(axis, null);
  }

  /** Moves the cursor of every figure with this axis. */
  point(axis, x) {
    for (const view of this.figures) if (view.axis === axis) view.mark(x);
  }

  redraw() { for (const view of this.figures) view.redraw(); }
}

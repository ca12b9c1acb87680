// Stacked bars: amounts of several parts at each position, signed, or as shares; what failed is hatched.

import { Chart } from "./chart.js";
import { number, quantity } from "./format.js";
import { hue, ink } from "./palette.js";

export class StackChart extends Chart {
  constructor(bokeh, host, context, data) {
    super(bokeh, host, context, { times: data.x.times, log: false });
    const quads = () => new bokeh.ColumnDataSource({ data: { left: [], right: [], bottom: [], top: [] } });
    const edges = { left: { field: "left" }, right: { field: "right" }, bottom: { field: "bottom" }, top: { field: "top" } };
    this.parts = data.parts.map((_, at) => {
      const found = { bars: quads(), hatched: quads() };
      this.figure.quad({ ...edges, source: found.bars, fill_color: hue(at), line_color: null, fill_alpha: 0.85 });
      this.figure.quad({
        ...edges, source: found.hatched, fill_color: null, line_color: null, hatch_pattern: "\\", hatch_color: ink("ground"),
        hatch_alpha: 0.9, hatch_scale: 6, hatch_weight: 1.4,
      });
      return found;
    });
    this.update(data);
  }

  fits(data) {
    return data.parts.length === this.data.parts.length && data.x.times === this.times;
  }

  update(data) {
    this.data = data;
    const at = data.labels.length ? data.at.map((_, index) => index) : data.at;
    const step = Math.min(...at.slice(1).map((x, index) => x - at[index]).filter((width) => width > 0), Infinity);
    const half = (Number.isFinite(step) ? step : 1) * 0.45;
    const piles = data.parts.map(() => ({ bars: empty(), hatched: empty() }));
    let low = 0;
    let high = data.share ? 1 : 0;
    at.forEach((x, row) => {
      const amounts = data.amounts[row];
      const whole = data.share ? amounts.reduce((sum, amount) => sum + Math.abs(finite(amount)), 0) || 1 : 1;
      let above = 0;
      let below = 0;
      amounts.forEach((amount, part) => {
        if (this.context.hidden.has(part) || amount === null) return;
        const size = finite(amount) / whole;
        const from = size >= 0 ? above : below;
        push(piles[part].bars, this.inside(x - half), this.inside(x + half), from, from + size);
        const failed = data.hatched[row]?.[part];
        if (failed) push(piles[part].hatched, this.inside(x - half), this.inside(x + half), from, from + failed / whole);
        if (size >= 0) above += size; else below += size;
      });
      low = Math.min(low, below);
      high = Math.max(high, above);
    });
    this.parts.forEach((part, index) => {
      part.bars.data = piles[index].bars;
      part.hatched.data = piles[index].hatched;
    });
    if (data.labels.length) {
      this.figure.xaxis[0].ticker = new this.bokeh.FixedTicker({ ticks: at });
      this.figure.xaxis[0].major_label_overrides = new Map(at.map((x, index) => [x, data.labels[index]]));
    }
    const domain = this.context.range ?? [(at[0] ?? 0) - half, (at[at.length - 1] ?? 1) + half];
    const pad = (high - low || 1) * 0.05;
    this.range(domain, [low < 0 ? low - pad : 0, data.share ? 1 : (high || 1) + pad]);
  }

  readout(x) {
    const row = this.row(x);
    if (row < 0) return [];
    return this.data.parts.map((name, part) => ({
      name, x: this.data.at[row], text: quantity(this.data.amounts[row][part], this.data.unit), seq: this.data.seqs[row], hue: part,
    }));
  }

  tapped(x) {
    const row = this.row(x);
    if (row >= 0 && this.data.seqs[row]) this.context.onSeq?.(this.data.seqs[row]);
  }

  row(x) {
    const at = this.data.labels.length ? this.data.at.map((_, index) => index) : this.data.at;
    let best = -1;
    at.forEach((position, row) => { if (best < 0 || Math.abs(position - x) < Math.abs(at[best] - x)) best = row; });
    return best;
  }
}

const empty = () => ({ left: [], right: [], bottom: [], top: [] });
const finite = (value) => (typeof value === "number" ? value : 0);

function push(columns, left, right, from, to) {
  columns.left.push(left);
  columns.right.push(right);
  columns.bottom.push(Math.min(from, to));
  columns.top.push(Math.max(from, to));
}

export function describe(data) {
  return `${data.title}: ${data.parts.length} parts at ${number(data.at.length)} positions of ${data.x.label}`;
}

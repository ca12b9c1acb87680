// Lines over one x axis: raw points always, a smoothed line over them if wanted, bands, marks, hatched gaps.

import { extent } from "./axis.js";
import { Chart } from "./chart.js";
import { number, quantity } from "./format.js";
import { hue, ink } from "./palette.js";

const FEW = 90;
const COLUMNS = { x: [], y: [] };

/** Columns of a line in which a break is a NaN: no line crosses what was not measured or is missing. */
export function columns(points) {
  const x = [];
  const y = [];
  const lone = { x: [], y: [] };
  const odd = [];
  points.forEach(([at, value, , joined], index) => {
    const finite = typeof value === "number";
    if (!joined && x.length) { x.push(NaN); y.push(NaN); }
    x.push(at);
    y.push(finite ? value : NaN);
    if (!finite) odd.push(at);
    const followed = points[index + 1]?.[3] && typeof points[index + 1][1] === "number";
    const led = joined && typeof points[index - 1]?.[1] === "number";
    if (finite && (points.length <= FEW || (!followed && !led))) { lone.x.push(at); lone.y.push(value); }
  });
  return { x, y, lone, odd };
}

/** A moving average in one direction; it begins anew behind every break and never replaces the raw line. */
export function smooth({ x, y }, weight) {
  const smoothed = [];
  let mean = null;
  let sum = 0;
  for (const value of y) {
    if (Number.isNaN(value)) { smoothed.push(NaN); mean = null; sum = 0; continue; }
    mean = mean === null ? value * (1 - weight) : mean * weight + value * (1 - weight);
    sum = sum * weight + (1 - weight);
    smoothed.push(mean / sum);
  }
  return { x, y: smoothed };
}

export class SeriesChart extends Chart {
  constructor(bokeh, host, context, data) {
    super(bokeh, host, context, { times: data.x.times, log: context.log });
    this.data = data;
    const source = () => new bokeh.ColumnDataSource({ data: { ...COLUMNS } });
    const quads = () => new bokeh.ColumnDataSource({ data: { left: [], right: [], bottom: [], top: [], colour: [] } });
    const edges = { left: { field: "left" }, right: { field: "right" }, bottom: { field: "bottom" }, top: { field: "top" } };
    this.bands = quads();
    this.figure.quad({ ...edges, source: this.bands, fill_color: { field: "colour" }, fill_alpha: 0.09, line_color: null });
    this.gaps = quads();
    this.figure.quad({
      ...edges, source: this.gaps, fill_color: null, line_color: null, hatch_pattern: "/", hatch_color: ink("bad"),
      hatch_alpha: 0.55, hatch_scale: 7, hatch_weight: 1,
    });
    this.lines = data.lines.map((line) => {
      const colour = hue(line.hue);
      const parts = { raw: source(), lone: source(), smooth: source(), odd: source() };
      const dash = line.dashed ? [5, 3] : [];
      parts.rawGlyph = this.figure.line({ x: { field: "x" }, y: { field: "y" }, source: parts.raw, line_color: colour, line_width: 1.4, line_dash: dash });
      this.figure.scatter({ x: { field: "x" }, y: { field: "y" }, source: parts.lone, marker: "circle", size: 3.5, fill_color: colour, line_color: null });
      this.figure.line({ x: { field: "x" }, y: { field: "y" }, source: parts.smooth, line_color: colour, line_width: 2.2, line_dash: dash });
      this.figure.scatter({ x: { field: "x" }, y: { field: "y" }, source: parts.odd, marker: "x", size: 8, line_color: ink("bad"), line_width: 2 });
      return parts;
    });
    this.marks = new bokeh.ColumnDataSource({ data: { x: [], y: [], glyph: [], colour: [] } });
    this.figure.text({
      x: { field: "x" }, y: { field: "y" }, text: { field: "glyph" }, source: this.marks, text_color: { field: "colour" },
      text_font_size: "12px", text_align: "center", text_baseline: "top",
    });
    this.update(data);
  }

  /** Whether new data fit this chart; else it is made anew. */
  fits(data) {
    return data.lines.length === this.data.lines.length && data.x.times === this.times
      && data.lines.every((line, at) => line.hue === this.data.lines[at].hue && line.dashed === this.data.lines[at].dashed);
  }

  update(data) {
    this.data = data;
    const domain = this.context.range ?? xExtent(data) ?? [0, 1];
    const [bottom, top] = this.heights(data, domain);
    this.range(domain, [bottom, top]);
    const hidden = this.context.hidden;
    data.lines.forEach((line, at) => {
      const found = hidden.has(at) ? columns([]) : columns(line.points);
      const inside = (values) => (this.times ? values.map((x) => x * 1000) : values);
      const weight = this.context.smoothing;
      const { raw, lone, smooth: over, odd, rawGlyph } = this.lines[at];
      raw.data = { x: inside(found.x), y: found.y };
      lone.data = { x: inside(found.lone.x), y: found.lone.y };
      over.data = weight ? { x: inside(found.x), y: smooth(found, weight).y } : { ...COLUMNS };
      rawGlyph.glyph.line_alpha = weight ? 0.35 : 1;
      odd.data = { x: inside(found.odd), y: found.odd.map(() => bottom + (top - bottom) * 0.04) };
    });
    const [left, right] = domain.map((x) => this.inside(x));
    this.bands.data = {
      left: data.bands.map(() => left), right: data.bands.map(() => right),
      bottom: data.bands.map((band) => band.low ?? bottom - 1e9), top: data.bands.map((band) => band.high ?? top + 1e9),
      colour: data.bands.map((band) => ink(band.tone || "quiet")),
    };
    const thin = (right - left) * 0.004;
    this.gaps.data = {
      left: data.gaps.map((gap) => (gap.start === null ? left : this.inside(gap.start)) - thin),
      right: data.gaps.map((gap) => (gap.end === null ? right : this.inside(gap.end)) + thin),
      bottom: data.gaps.map(() => bottom), top: data.gaps.map(() => top), colour: data.gaps.map(() => ""),
    };
    this.marks.data = {
      x: data.marks.map((mark) => this.inside(mark.x)), y: data.marks.map(() => top),
      glyph: data.marks.map((mark) => mark.glyph), colour: data.marks.map((mark) => ink(mark.tone || "text")),
    };
  }

  heights(data, [left, right]) {
    const log = this.context.log;
    const values = data.lines.flatMap((line, at) => (this.context.hidden.has(at) ? [] : line.points
      .filter(([x, y]) => x >= left && x <= right && typeof y === "number" && (!log || y > 0)).map((point) => point[1])));
    let [low, high] = extent(values) ?? (log ? [1e-3, 1] : [0, 1]);
    if (log) return [low / 1.3, high * 1.3];
    // An end that the measurement has by its nature (0 for a share) is kept only where the data come near it.
    const width = high - low || Math.abs(high) || 1;
    if (data.y.low !== null && low - data.y.low < width) low = data.y.low;
    if (data.y.high !== null && data.y.high - high < width) high = data.y.high;
    const pad = (high - low || Math.abs(high) || 1) * 0.07;
    return [low === data.y.low ? low - pad * 0.3 : low - pad, high + pad];
  }

  /** What is at a position: one text for each line that has a point near it. */
  readout(x) {
    return this.data.lines.map((line, at) => {
      const near = this.context.hidden.has(at) ? null : nearest(line.points, x);
      return near && { name: line.name, x: near[0], text: quantity(near[1], this.data.y.unit), seq: near[2], hue: line.hue };
    }).filter(Boolean);
  }

  tapped(x, y) {
    const found = this.data.lines.map((line, at) => (this.context.hidden.has(at) ? null : nearest(line.points, x)))
      .map((point, at) => point && { point, line: this.data.lines[at] }).filter(Boolean);
    if (!found.length) return;
    const distance = ({ point }) => (typeof point[1] === "number" ? Math.abs(point[1] - y) : Infinity);
    found.sort((one, other) => Math.abs(one.point[0] - x) - Math.abs(other.point[0] - x) || distance(one) - distance(other));
    this.context.onSeq?.(found[0].point[2], found[0].line);
  }
}

export function xExtent(data) {
  return extent(data.lines.flatMap((line) => line.points.map((point) => point[0])));
}

function nearest(points, x) {
  if (!points.length) return null;
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= x) low = middle;
    else high = middle;
  }
  return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
}

/** A sentence for those who hear the page. */
export function describe(data) {
  const count = data.lines.reduce((sum, line) => sum + line.count, 0);
  const lines = data.lines.length === 1 ? "one line" : `${data.lines.length} lines`;
  const last = data.lines.length === 1 ? data.lines[0].points.at(-1) : null;
  return `${data.title}: ${lines}, ${number(count)} measurements over ${data.x.label}`
    + (last ? `, latest ${quantity(last[1], data.y.unit)} at ${number(last[0])}` : "")
    + (data.gaps.length ? `, ${number(data.gaps.length)} gaps` : "");
}

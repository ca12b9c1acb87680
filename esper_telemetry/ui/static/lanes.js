// Lanes: one row for each environment and slot, a bar for each stage with its glyph, alpha as the height of the fill,
// events as marks; where sequence numbers are missing the ground is hatched. Our own SVG: no chart library has this.

import { extent, scale, ticks } from "./axis.js";
import { h, put, s, shown } from "./dom.js";
import { clock, number } from "./format.js";
import { hue } from "./palette.js";

const ROW = 22;
const HEAD = 6;
const FOOT = 24;
const LEFT = 118;
const RIGHT = 12;
const CROWD = 11;

/** The positions that a figure of lanes covers. */
export function lanesExtent(figure) {
  return extent(figure.lanes.flatMap((lane) => [
    ...lane.intervals.flatMap(([start, end]) => [start, end]), ...lane.marks.map((mark) => mark.x)]));
}

export function drawLanes(body, figure, context) {
  const width = Math.max(320, body.clientWidth || 640);
  const height = HEAD + figure.lanes.length * ROW + FOOT;
  const whole = lanesExtent(figure) ?? [0, 1];
  const [low, high] = context.range ?? whole;
  const x = scale(low, high, LEFT, width - RIGHT);
  const clip = `clip-${context.id}`;
  const hatch = `hatch-${context.id}`;
  const clamp = (value) => Math.max(LEFT, Math.min(width - RIGHT, x(value)));
  const kinds = new Map(figure.kinds.map(([name, glyph], at) => [name, { glyph, hue: at }]));
  const root = s("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "lanes",
    "aria-label": shown(`${figure.title}: ${figure.lanes.length} lanes over ${figure.x.label}`),
  });
  root.append(s("defs", {},
    s("clipPath", { id: clip }, s("rect", { x: LEFT, y: 0, width: width - LEFT - RIGHT, height })),
    s("pattern", { id: hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      s("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch-line" }))));
  const plot = s("g", { "clip-path": `url(#${clip})` });
  for (const at of ticks(low, high, width / 110)) {
    root.append(s("line", { x1: x(at), x2: x(at), y1: HEAD, y2: height - FOOT, class: "grid" }),
      s("text", { x: x(at), y: height - 8, class: "tick", "text-anchor": "middle" }, figure.x.times ? clock(at * 1000) : at.toLocaleString("en-US", { maximumFractionDigits: 6 })));
  }
  figure.lanes.forEach((lane, row) => {
    const top = HEAD + row * ROW;
    root.append(s("text", { x: LEFT - 8, y: top + ROW / 2 + 4, class: "lane-name", "text-anchor": "end" },
      [lane.group, lane.name].filter(Boolean).join(" · ")));
    plot.append(s("line", { x1: LEFT, x2: width - RIGHT, y1: top + ROW - 3, y2: top + ROW - 3, class: "base" }));
    for (const interval of lane.intervals) plot.append(bar(interval, top, kinds, clamp, high, context));
    let before = -Infinity;
    for (const mark of lane.marks) {
      const at = x(mark.x);
      // Marks that would cover each other are drawn as strokes; zooming in parts them.
      const crowded = at - before < CROWD;
      if (!crowded) before = at;
      plot.append(s(crowded ? "path" : "text", {
        ...(crowded ? { d: `M${at.toFixed(1)} ${top + 1}v5` } : { x: at, y: top + ROW / 2 + 4, "text-anchor": "middle" }),
        class: `${crowded ? "stroke" : "mark"} tone-${mark.tone || "plain"}`,
        onclick: () => context.onSeq?.(mark.seq), data: { seq: mark.seq, text: mark.text },
      }, crowded ? null : mark.glyph, s("title", {}, mark.text)));
    }
  });
  for (const gap of figure.gaps) {
    const from = clamp(gap.start ?? low);
    plot.append(s("rect", {
      x: from, y: HEAD, width: Math.max(3, clamp(gap.end ?? high) - from), height: figure.lanes.length * ROW,
      fill: `url(#${hatch})`, class: "gap",
    }, s("title", {}, gap.text)));
  }
  root.append(plot);
  const cursor = s("line", { y1: HEAD, y2: height - FOOT, class: "cursor", visibility: "hidden" });
  root.append(cursor);
  context.follow(root, cursor, (pixel) => low + ((pixel - LEFT) / (width - LEFT - RIGHT)) * (high - low),
    (value) => (value >= low && value <= high ? x(value) : null), width);
  put(body, root, legend(figure, kinds),
    figure.hidden ? h("p", { class: "quiet" }, `${number(figure.hidden)} more lanes have no room`) : null);
}

function bar([start, end, kind, heights, text, seq], top, kinds, clamp, high, context) {
  const known = kinds.get(kind) ?? { glyph: "?", hue: 7 };
  const from = clamp(start);
  const to = clamp(end ?? high);
  const full = ROW - 8;
  const bottom = top + ROW - 4;
  const colour = hue(known.hue);
  const group = s("g", {
    class: "bar", data: { seq, kind, start, end: end ?? "" }, onclick: () => context.onSeq?.(seq),
  }, s("title", {}, text),
  s("rect", { x: from, y: bottom - full, width: Math.max(1.5, to - from), height: full, fill: colour, "fill-opacity": 0.22 }));
  if (heights.length) {
    const points = [[from, bottom]];
    let before = 0;
    for (const [at, share] of heights) {
      points.push([clamp(at), bottom - before * full], [clamp(at), bottom - share * full]);
      before = share;
    }
    points.push([to, bottom - before * full], [to, bottom]);
    group.append(s("polygon", { points: points.map((point) => point.map((v) => v.toFixed(1)).join(",")).join(" "), fill: colour, "fill-opacity": 0.75 }));
  }
  if (to - from > 14) group.append(s("text", { x: from + 3, y: bottom - 4, class: "bar-glyph" }, known.glyph));
  return group;
}

function legend(figure, kinds) {
  return h("ul", { class: "legend", "aria-label": "what colours and glyphs mean" },
    figure.kinds.map(([name, glyph]) => {
      const swatch = h("span", { class: "swatch", "aria-hidden": "true" }, glyph);
      swatch.style.setProperty("--hue", hue(kinds.get(name).hue));
      return h("li", {}, swatch, name);
    }),
    figure.glyphs.map(([glyph, meaning]) => h("li", {}, h("span", { class: "swatch mark", "aria-hidden": "true" }, glyph), meaning)),
    figure.gaps.length ? h("li", {}, h("span", { class: "swatch hatched", "aria-hidden": "true" }), "numbers are missing") : null);
}

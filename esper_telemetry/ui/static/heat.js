// Heat: numbers as lightness, one row for each option or bucket. Drawn on a canvas, for there may be 25,000 cells; what
// was not measured is a dot on the bare ground, and missing sequence numbers are hatched.

import { h, put, shown } from "./dom.js";
import { clock, NONE, number, quantity } from "./format.js";
import { heat, ink } from "./palette.js";

const ROW = 16;
const HEAD = 4;
const FOOT = 24;
const LEFT = 150;
const RIGHT = 12;

export function drawHeat(body, figure, context) {
  draw(body, context, {
    ...figure, low: figure.low, high: figure.high, names: figure.rows,
    text: (row, at) => {
      const value = figure.values[row][at];
      const count = figure.counts[row]?.[at];
      const ratio = count ? `, ${number(count[0])} of ${number(count[1])}` : "";
      return value === null ? `${NONE} not measured` : `${quantity(value, figure.unit)}${ratio}`;
    },
  });
}

/** Counts by bucket over positions: the share of each bucket as lightness, the highest bucket on top. */
export function drawHistogram(body, figure, context) {
  const edges = ["−∞", ...figure.edges.map(number), "∞"];
  const order = edges.slice(1).map((_, at) => at).reverse();
  const sums = figure.counts.map((counts) => counts.reduce((sum, count) => sum + count, 0));
  const values = order.map((bucket) => figure.counts.map((counts, at) => (sums[at] ? counts[bucket] / sums[at] : null)));
  draw(body, context, {
    ...figure, values, low: 0, high: Math.max(1e-9, ...values.flat().map((value) => value ?? 0)),
    names: order.map((bucket) => `${edges[bucket]} … ${edges[bucket + 1]}`), groups: order.map(() => ""),
    text: (row, at) => `${number(figure.counts[at][order[row]])} of ${number(sums[at])}${
      figure.nan[at] ? `, ${number(figure.nan[at])} NaN` : ""}`,
  });
}

function draw(body, context, figure) {
  const width = Math.max(320, body.clientWidth || 640);
  const rows = figure.names.length;
  const height = HEAD + rows * ROW + FOOT;
  const [low, high] = context.range ?? [figure.at[0] ?? 0, figure.at[figure.at.length - 1] ?? 1];
  const shownAt = figure.at.map((_, at) => at).filter((at) => figure.at[at] >= low && figure.at[at] <= high);
  const cell = (width - LEFT - RIGHT) / Math.max(1, shownAt.length);
  const canvas = h("canvas", {
    class: "heat", role: "img", "aria-label": shown(`${figure.title}: ${rows} rows over ${figure.x.label}; the table has the numbers`),
  });
  const density = window.devicePixelRatio || 1;
  canvas.width = width * density;
  canvas.height = height * density;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  pen.textBaseline = "middle";
  const spread = figure.high - figure.low || 1;
  let group = null;
  for (let row = 0; row < rows; row += 1) {
    const top = HEAD + row * ROW;
    const name = [figure.groups[row], figure.names[row]].filter(Boolean).join(" · ");
    pen.fillStyle = ink("text");
    pen.textAlign = "right";
    pen.fillText(fit(pen, shown(name), LEFT - 14), LEFT - 8, top + ROW / 2);
    if (group !== null && figure.groups[row] !== group) {
      pen.fillStyle = ink("line-strong");
      pen.fillRect(0, top - 0.5, width, 1);
    }
    group = figure.groups[row];
    shownAt.forEach((at, column) => {
      const value = figure.values[row][at];
      const left = LEFT + column * cell;
      if (typeof value === "number") {
        pen.fillStyle = heat((value - figure.low) / spread);
        pen.fillRect(left, top + 1, Math.max(0.6, cell - (cell > 4 ? 1 : 0)), ROW - 2);
      } else {
        pen.fillStyle = value === null ? ink("quiet") : ink("bad");
        pen.fillRect(left + cell / 2 - 0.75, top + ROW / 2 - 0.75, 1.5, 1.5);
      }
    });
  }
  pen.fillStyle = ink("quiet");
  pen.textAlign = "center";
  const every = Math.max(1, Math.ceil(shownAt.length / Math.max(2, width / 110)));
  shownAt.forEach((at, column) => {
    if (column % every === 0) {
      const label = figure.x.times ? clock(figure.at[at] * 1000) : number(figure.at[at]);
      pen.fillText(label, LEFT + (column + 0.5) * cell, height - 10);
    }
  });
  hatchGaps(pen, figure, shownAt, cell, rows);
  const readout = h("output", { class: "readout" }, `darker is more; ${number(figure.low)} to ${quantity(figure.high, figure.unit)}`);
  const locate = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - LEFT) / cell);
    const row = Math.floor((event.clientY - box.top - HEAD) / ROW);
    return shownAt[column] !== undefined && row >= 0 && row < rows ? { at: shownAt[column], row } : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = locate(event);
    if (!found) return;
    const name = [figure.groups[found.row], figure.names[found.row]].filter(Boolean).join(" · ");
    readout.textContent = shown(`${name} at ${figure.x.label} ${number(figure.at[found.at])}: ${figure.text(found.row, found.at)}`);
    context.point(figure.at[found.at]);
  });
  canvas.addEventListener("click", (event) => {
    const found = locate(event);
    if (found && figure.seqs[found.at]) context.onSeq?.(figure.seqs[found.at]);
  });
  put(body, canvas, readout);
}

function hatchGaps(pen, figure, shownAt, cell, rows) {
  pen.strokeStyle = ink("bad");
  pen.lineWidth = 1;
  for (const gap of figure.gaps) {
    const after = shownAt.findIndex((at) => gap.end === null || figure.at[at] >= gap.end);
    const x = LEFT + (after < 0 ? shownAt.length : after) * cell;
    for (let y = HEAD; y < HEAD + rows * ROW; y += 5) {
      pen.beginPath();
      pen.moveTo(x - 3, y + 5);
      pen.lineTo(x + 3, y);
      pen.stroke();
    }
  }
}

function fit(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let length = text.length;
  while (length > 1 && pen.measureText(`${text.slice(0, length)}…`).width > width) length -= 1;
  return `${text.slice(0, length)}…`;
}


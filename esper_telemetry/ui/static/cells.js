// Figures of cells: strips, tables, grids of tiles and feeds, as HTML. A cell without a value is a dash with its reason.

import { h, put, shown } from "./dom.js";
import { cellText, clock, day, number, unit } from "./format.js";
import { TONES, TONE_GLYPHS } from "./palette.js";

const STATES = {
  not_yet: "not yet", not_recorded: "not recorded at this level", unavailable: "unavailable", lost: "lost", measured: "",
};

function why(cell) {
  const state = STATES[cell.state] ?? cell.state;
  return [state, cell.reason].filter(Boolean).map(shown).join(": ");
}

/** The content of a cell: its text, a glyph of its tone, and why it is empty where it is. */
export function cellNode(cell, onSeq, tag = "span") {
  const glyph = TONE_GLYPHS[cell.tone] ?? "";
  const attributes = {
    class: `cell ${cell.state} tone-${TONES[cell.tone] ?? "plain"}`, title: why(cell) || null,
    data: { state: cell.state, value: cell.value === null ? "" : String(cell.value) },
  };
  const inner = [
    h("bdi", {}, cellText(cell)),
    glyph && h("span", { class: "glyph", "aria-hidden": "true" }, glyph),
    cell.state !== "measured" && h("span", { class: "unseen" }, ` (${why(cell)})`),
  ];
  if (onSeq && cell.seq !== null && cell.seq !== undefined) {
    return h(tag, attributes, h("button", { class: "plain", type: "button", onclick: () => onSeq(cell.seq) }, inner));
  }
  return h(tag, attributes, inner);
}

export function drawStrip(body, figure, context) {
  put(body, figure.text ? h("p", { class: `verdict tone-${TONES[figure.tone] ?? "plain"}` }, h("bdi", {}, figure.text)) : null, h("dl", { class: `strip tone-${TONES[figure.tone] ?? "plain"}` },
    figure.items.map(([label, cell]) => h("div", {}, h("dt", {}, label), cellNode(cell, context.onSeq, "dd")))));
}

export function drawTable(body, figure, context) {
  const head = h("tr", {}, figure.columns.map((column) => h("th", {
    scope: "col", class: column.numeric ? "number" : null, title: column.text || null,
  }, column.name, column.unit && unit(column.unit) ? h("span", { class: "unit" }, ` ${unit(column.unit)}`) : null)));
  const rows = figure.rows.map((row, at) => {
    const seq = figure.seqs[at];
    return h("tr", {}, row.map((cell, column) => {
      const node = cellNode(cell.seq === null && column === 0 && seq ? { ...cell, seq } : cell, context.onSeq, "td");
      if (figure.columns[column]?.numeric) node.classList.add("number");
      return node;
    }));
  });
  const table = h("table", {}, h("caption", { class: "unseen" }, figure.title), h("thead", {}, head), h("tbody", {}, rows));
  put(body, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": figure.title }, table),
    figure.hidden ? h("p", { class: "quiet" }, `${number(figure.hidden)} more rows are not shown`) : null);
}

export function drawGrid(body, figure, context) {
  put(body, h("ul", { class: "tiles" }, figure.tiles.map((tile) => h("li", {},
    h("h4", {}, tile.name), cellNode(tile.state, context.onSeq),
    h("dl", {}, tile.items.map(([label, cell]) => h("div", {}, h("dt", {}, label), cellNode(cell, context.onSeq, "dd"))))))),
  figure.hidden ? h("p", { class: "quiet" }, `${number(figure.hidden)} more are not shown`) : null);
}

export function drawFeed(body, figure, context) {
  const rows = figure.rows.slice(-50).map(([seq, timeNs, type, repeats, place, fields, tone]) => h("li", {},
    h("time", { title: day(timeNs / 1e6) }, clock(timeNs / 1e6)),
    h("button", { class: "plain type", type: "button", onclick: () => context.onSeq?.(seq) }, type),
    h("span", { class: "count quiet" }, repeats > 1 ? `×${number(repeats)}` : ""),
    h("span", { class: `fields tone-${TONES[tone] ?? "plain"}` },
      [...place, ...fields].map(([name, text]) => h("span", {}, h("i", {}, name), " ", h("bdi", {}, text))))));
  put(body, h("ol", { class: "feed-rows scroll", tabindex: "0", "aria-label": figure.title }, rows));
}

/** Any figure of numbers as a table, for those who read numbers rather than pictures. */
export function numbersTable(figure) {
  const [head, rows] = flatten(figure);
  const table = h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.slice(-500).map((row) => h("tr", {}, row.map((value) => h("td", { class: "number" },
      typeof value === "string" ? value : number(value)))))));
  return h("div", { class: "scroll numbers", tabindex: "0", role: "region", "aria-label": `numbers of ${figure.title}` },
    rows.length > 500 ? h("p", { class: "quiet" }, `the last 500 of ${number(rows.length)} rows; CSV has all`) : null, table);
}

function flatten(figure) {
  if (figure.figure === "Series") {
    return [["series", figure.x.label, figure.y.label, "seq"],
      figure.lines.flatMap((line) => line.points.map(([x, y, seq]) => [line.name || figure.title, x, y, seq]))];
  }
  if (figure.figure === "Stack") {
    return [[figure.x.label, ...figure.parts], figure.at.map((x, at) => [figure.labels[at] ?? x, ...figure.amounts[at]])];
  }
  if (figure.figure === "Heat") {
    return [[figure.x.label, ...figure.rows.map((row, at) => [figure.groups[at], row].filter(Boolean).join(" "))],
      figure.at.map((x, at) => [x, ...figure.values.map((values) => values[at])])];
  }
  if (figure.figure === "Histogram") {
    const edges = ["−∞", ...figure.edges.map(number), "∞"];
    return [[figure.x.label, ...edges.slice(1).map((edge, at) => `${edges[at]} … ${edge}`)],
      figure.at.map((x, at) => [x, ...figure.counts[at]])];
  }
  if (figure.figure === "Lanes") {
    return [["lane", "what", "from", "to", "seq"], figure.lanes.flatMap((lane) => lane.intervals.map(
      ([start, end, kind, , , seq]) => [`${lane.group} ${lane.name}`, kind, start, end, seq]))];
  }
  return [[], []];
}


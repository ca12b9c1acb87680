// One figure of a panel on the page: a frame of fixed height, drawn when it comes into view and again when it changed.

import { drawFeed, drawGrid, drawStrip, drawTable, numbersTable } from "./cells.js";
import { library } from "./chart.js";
import { h, put, save, shown } from "./dom.js";
import { cellText, clock, number } from "./format.js";
import { drawHeat, drawHistogram } from "./heat.js";
import { drawLanes } from "./lanes.js";
import { hue } from "./palette.js";
import { describe as describeSeries, SeriesChart } from "./series.js";
import { describe as describeStack, StackChart } from "./stack.js";
import { Sync } from "./sync.js";

const DRAWN = { Strip: drawStrip, Table: drawTable, Grid: drawGrid, Feed: drawFeed, Lanes: drawLanes, Heat: drawHeat, Histogram: drawHistogram };
const CHARTS = { Series: [SeriesChart, describeSeries], Stack: [StackChart, describeStack] };
const WIDE = new Set(["Strip", "Lanes", "Heat", "Table", "Grid", "Feed", "Histogram"]);
const PICTURES = new Set(["Series", "Stack", "Lanes", "Heat", "Histogram"]);
const MOST_NAMES = 12;
let last = 0;

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.view?.see(entry.isIntersecting);
}, { rootMargin: "300px" });

/** What tells the figures of a panel apart. */
export function nameOf(figure) {
  return `${figure.figure}/${figure.title}`;
}

export class FigureView {
  constructor(panelId, figure, sync, onSeq) {
    last += 1;
    this.id = `figure-${last}`;
    this.sync = sync;
    this.onSeq = onSeq;
    this.figure = figure;
    this.axis = Sync.axis(figure);
    this.name = nameOf(figure); // changes are made in the documents themselves: `figure` may be another one by now
    this.key = `${panelId}/${figure.title}`;
    this.hidden = new Set();
    this.visible = false;
    this.stale = true;
    this.numbers = false;
    this.caption = h("figcaption", { id: `${this.id}-title` });
    this.plot = h("div", { class: "plot" });
    this.plot.view = this;
    this.table = h("div", { class: "table-of-numbers", hidden: true });
    this.names = h("ul", { class: "legend" });
    this.output = h("output", { class: "readout", "aria-hidden": "true" });
    this.element = h("figure", {
      class: `figure ${figure.figure.toLowerCase()}${WIDE.has(figure.figure) ? " wide" : ""}`, id: this.id,
      "aria-labelledby": `${this.id}-title`, data: { figure: figure.figure, title: figure.title },
    }, this.caption, this.plot, this.table);
    if (figure.figure in CHARTS) {
      this.plot.classList.add("chart");
      this.element.append(this.output, this.names);
    }
    sync.join(this);
    seen.observe(this.plot);
  }

  /** Takes new data; draws them if they are in view. */
  take(figure) {
    if (figure === this.figure && !this.stale) return;
    this.figure = figure;
    this.redraw();
  }

  redraw() {
    this.stale = true;
    if (this.visible) this.draw();
  }

  see(visible) {
    this.visible = visible;
    if (visible && this.stale) this.draw();
  }

  draw() {
    this.stale = false;
    this.heading();
    if (this.numbers) put(this.table, numbersTable(this.figure));
    if (this.figure.figure in CHARTS) void this.drawChart().catch((error) => this.failed(error));
    else {
      try { DRAWN[this.figure.figure](this.plot, this.figure, this.context()); } catch (error) { this.failed(error); }
    }
  }

  failed(error) {
    put(this.plot, h("p", { class: "problem" }, `this figure could not be drawn: ${error.message}`));
    console.error(error);
  }

  async drawChart() {
    const [Kind, describe] = CHARTS[this.figure.figure];
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", shown(describe(this.figure)));
    this.legend();
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    try {
      const bokeh = await library();
      const context = this.context();
      const log = Boolean(this.chart) && this.log !== context.log;
      if (this.chart && !log && this.theme === document.documentElement.dataset.theme && this.chart.fits(this.figure)) {
        Object.assign(this.chart.context, context);
        this.chart.update(this.figure);
      } else {
        this.chart?.remove();
        this.theme = document.documentElement.dataset.theme;
        this.log = context.log;
        this.chart = new Kind(bokeh, this.plot, context, this.figure);
        await this.chart.show();
      }
      this.element.dataset.drawn = String((Number(this.element.dataset.drawn) || 0) + 1);
    } finally {
      this.busy = false;
    }
    if (this.again) { this.again = false; await this.drawChart(); }
  }

  context() {
    return {
      id: this.id, hidden: this.hidden, range: this.sync.range(this.axis), smoothing: this.sync.smoothing,
      log: this.sync.logs.has(this.key), onSeq: (seq, line) => this.onSeq(seq, line),
      point: (x) => this.sync.point(this.axis, x), zoom: (range) => this.sync.zoom(this.axis, range),
      follow: (root, line, toValue, toPixel, width) => this.follow(root, line, toValue, toPixel, width),
    };
  }

  // The cursor of our own drawings.
  follow(root, line, toValue, toPixel, width) {
    this.ownCursor = { line, toPixel };
    root.addEventListener("pointermove", (event) => {
      const box = root.getBoundingClientRect();
      this.sync.point(this.axis, toValue(((event.clientX - box.left) / box.width) * width));
    });
    root.addEventListener("pointerleave", () => this.sync.point(this.axis, null));
  }

  mark(x) {
    if (this.chart && this.visible) {
      this.chart.mark(x);
      this.readout(x);
    } else if (this.ownCursor) {
      const pixel = x === null ? null : this.ownCursor.toPixel(x);
      this.ownCursor.line.setAttribute("visibility", pixel === null ? "hidden" : "visible");
      if (pixel !== null) { this.ownCursor.line.setAttribute("x1", pixel); this.ownCursor.line.setAttribute("x2", pixel); }
    }
  }

  readout(x) {
    if (x === null) { put(this.output); return; }
    const found = this.chart.readout(x);
    if (!found.length) { put(this.output); return; }
    const at = this.figure.x.times ? clock(found[0].x * 1000) : number(found[0].x);
    put(this.output, h("span", {}, `${this.figure.x.label} ${at}`), found.slice(0, 6).map(({ name, text, hue: colour }) => {
      const node = h("b", {}, name ? `${name} ${text}` : text);
      if (found.length > 1) node.style.color = hue(colour);
      return node;
    }), found.length > 6 ? h("span", {}, `+${found.length - 6}`) : null);
  }

  heading() {
    const { figure } = this;
    const title = h("span", { class: "title", title: figure.explanation || null }, figure.title);
    const latest = figure.latest ? h("span", { class: "latest" }, cellText(figure.latest)) : null;
    const log = figure.figure === "Series"
      ? this.button("log", "logarithmic scale", this.sync.logs.has(this.key), () => {
        if (!this.sync.logs.delete(this.key)) this.sync.logs.add(this.key);
        this.redraw();
      }) : null;
    const table = PICTURES.has(figure.figure) ? this.button("123", "show the numbers", this.numbers, () => {
      this.numbers = !this.numbers;
      this.table.hidden = !this.numbers;
      this.redraw();
    }) : null;
    const pictures = PICTURES.has(figure.figure) ? ["svg", "png"].map((form) => this.button(form, `save as ${form.toUpperCase()}`, null,
      () => void this.picture(form).catch((error) => this.failed(error)))) : null;
    if (!this.caption.childElementCount || this.caption.dataset.was !== JSON.stringify([this.numbers, this.sync.logs.has(this.key)])) {
      this.caption.dataset.was = JSON.stringify([this.numbers, this.sync.logs.has(this.key)]);
      const focused = this.caption.contains(document.activeElement) ? document.activeElement.textContent : null;
      put(this.caption, title, latest, h("span", { class: "tools" }, log, table, pictures));
      if (focused) [...this.caption.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
    } else {
      this.caption.querySelector(".latest")?.replaceWith(latest ?? "");
    }
  }

  button(text, meaning, pressed, act) {
    return h("button", {
      type: "button", class: "tool", title: meaning, "aria-label": `${meaning}: ${this.figure.title}`,
      "aria-pressed": pressed === null ? null : String(pressed), onclick: act,
    }, text);
  }

  legend() {
    const names = this.figure.figure === "Series" ? this.figure.lines.map((line) => [line.name, line.hue, line.dashed])
      : this.figure.parts.map((name, at) => [name, at, false]);
    if (names.length < 2) { if (this.names.childElementCount) put(this.names); return; }
    const key = JSON.stringify([names, [...this.hidden], document.documentElement.dataset.theme]);
    if (this.names.dataset.was === key) return;
    this.names.dataset.was = key;
    put(this.names, names.slice(0, MOST_NAMES).map(([name, colour, dashed], at) => {
      const swatch = h("span", { class: dashed ? "swatch line dashed" : "swatch line", "aria-hidden": "true" });
      swatch.style.setProperty("--hue", hue(colour));
      return h("li", {}, h("button", {
        type: "button", class: "plain name", "aria-pressed": String(!this.hidden.has(at)), title: "show or hide",
        onclick: () => { if (!this.hidden.delete(at)) this.hidden.add(at); this.redraw(); },
      }, swatch, name || "value"));
    }), names.length > MOST_NAMES ? h("li", {}, `+${names.length - MOST_NAMES} more`) : null);
  }

  /** Saves the picture. */
  async picture(form) {
    const name = `${this.key.replace(/[^a-z0-9]+/gi, "-").toLowerCase()}.${form}`;
    save(name, await this.blob(form));
  }

  async blob(form) {
    if (this.chart) return this.chart.picture(form);
    const svg = this.plot.querySelector("svg");
    const canvas = this.plot.querySelector("canvas");
    if (svg) {
      const text = standalone(svg);
      return form === "svg" ? new Blob([text], { type: "image/svg+xml" }) : raster(text, svg.width.baseVal.value, svg.height.baseVal.value);
    }
    if (form === "png") return new Promise((done) => { canvas.toBlob(done, "image/png"); });
    const image = canvas.toDataURL("image/png");
    const { width, height } = canvas;
    return new Blob([`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><image width="${width}" height="${height}" href="${image}"/></svg>`], { type: "image/svg+xml" });
  }

  remove() {
    seen.unobserve(this.plot);
    this.sync.leave(this);
    this.chart?.remove();
    this.element.remove();
  }
}

/** An SVG with the styles that the page gives it. */
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const from = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((node, at) => {
    const style = getComputedStyle(from[at]);
    for (const name of ["fill", "fill-opacity", "stroke", "stroke-width", "font-family", "font-size", "text-anchor"]) {
      node.setAttribute(name, style.getPropertyValue(name));
    }
  });
  return new XMLSerializer().serializeToString(copy);
}

function raster(text, width, height) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = width * 2;
      canvas.height = height * 2;
      canvas.getContext("2d").drawImage(image, 0, 0, width * 2, height * 2);
      canvas.toBlob(done, "image/png");
    };
    image.onerror = () => failed(new Error("the browser cannot draw its own SVG"));
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  });
}

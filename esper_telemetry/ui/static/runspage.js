// The list of runs: search, tags, order, and the choice of runs to compare.

import { h, put, setText } from "./dom.js";
import { bytes, day, NONE, number, span } from "./format.js";
import { ask } from "./net.js";

const AGAIN_MS = 3000;
const OUTCOMES = { completed: "good", running: "live", failed: "bad", killed: "bad", interrupted: "warning", abandoned: "warning", unknown: "muted" };
const COLUMNS = [
  ["name", "run", (run) => run.name || run.run_id], ["outcome", "state", (run) => run.outcome],
  ["started_ns", "started", (run) => run.started_ns], ["lasted", "lasted", (run) => (run.last_ns ?? 0) - (run.started_ns ?? 0)],
  ["events", "events", (run) => run.events], ["missing", "missing", (run) => run.missing], ["bytes", "size", (run) => run.bytes],
];

export class RunsPage {
  constructor(main) {
    this.chosen = new Set();
    this.tags = new Set();
    this.order = ["started_ns", -1];
    this.search = h("input", { type: "search", id: "search", placeholder: "name, id, host, setting=value", "aria-label": "search runs", oninput: () => this.draw() });
    this.tagList = h("ul", { class: "tags", "aria-label": "tags" });
    this.compare = h("a", { class: "primary", hidden: true }, "Compare");
    this.note = h("p", { class: "quiet", role: "status" });
    this.body = h("tbody");
    this.head = h("tr");
    put(main, h("div", { class: "runs" },
      h("div", { class: "toolbar" }, h("h1", {}, "Runs"), this.search, this.compare), this.tagList, this.note,
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "runs" },
        h("table", { class: "list" }, h("caption", { class: "unseen" }, "runs"), h("thead", {}, this.head), this.body))));
    this.heading();
    void this.load();
    this.timer = setInterval(() => void this.load(), AGAIN_MS);
  }

  async load() {
    if (this.loading || document.hidden) return;
    this.loading = true;
    try {
      const found = await ask("/api/runs");
      this.runs = found.runs;
      this.place = found.place;
      this.draw();
    } catch (error) {
      setText(this.note, `the list of runs cannot be read: ${error.message}`);
    } finally {
      this.loading = false;
    }
  }

  heading() {
    put(this.head, h("th", { scope: "col" }, h("span", { class: "unseen" }, "compare")), COLUMNS.map(([id, title]) => {
      const [by, way] = this.order;
      return h("th", { scope: "col", "aria-sort": by === id ? (way > 0 ? "ascending" : "descending") : null, class: id === "name" || id === "outcome" ? null : "number" },
        h("button", { type: "button", class: "plain", onclick: () => { this.order = [id, by === id ? -way : 1]; this.heading(); this.draw(); } },
          title, by === id ? h("span", { "aria-hidden": "true" }, way > 0 ? " ↑" : " ↓") : null));
    }), h("th", { scope: "col" }, "results"), h("th", { scope: "col" }, "tags"));
  }

  draw() {
    if (!this.runs) return;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.runs.filter((run) => words.every((word) => text(run).includes(word))
      && [...this.tags].every((tag) => Object.entries(run.tags).some(([name, value]) => `${name}=${value}` === tag)));
    const [by, way] = this.order;
    const value = COLUMNS.find(([id]) => id === by)[2];
    shown.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last either way
      return (a < b ? -1 : a > b ? 1 : 0) * way;
    });
    this.drawTags();
    const focused = document.activeElement?.id;
    put(this.body, shown.map((run) => this.row(run)));
    if (focused && this.body.contains(document.getElementById(focused))) document.getElementById(focused).focus();
    const names = { 0: `there is no run in ${this.place} yet; this page looks again every ${AGAIN_MS / 1000} s`, 1: "" };
    setText(this.note, this.runs.length ? (shown.length < this.runs.length ? `${shown.length} of ${this.runs.length} runs in ${this.place}` : `${this.runs.length} runs in ${this.place}`) : names[0]);
    this.button();
  }

  row(run) {
    const name = run.name || run.run_id;
    const box = h("input", {
      type: "checkbox", id: `choose-${run.key}`, "aria-label": `compare ${name}`, checked: this.chosen.has(run.key),
      onchange: (event) => { if (event.target.checked) this.chosen.add(run.key); else this.chosen.delete(run.key); this.button(); },
    });
    const lasted = run.last_ns && run.started_ns ? (run.last_ns - run.started_ns) / 1e9 : null;
    const results = Object.entries(run.results).slice(0, 3).map(([key, value]) => `${key} ${number(value)}`).join(", ");
    return h("tr", { data: { key: run.key } }, h("td", {}, box),
      h("td", { class: "run-name" }, run.problem ? h("span", { title: run.problem }, name) : h("a", { id: `open-${run.key}`, href: `#/run/${encodeURIComponent(run.key)}` }, h("bdi", {}, name)),
        h("span", { class: "id" }, run.run_id !== name ? run.run_id : "")),
      h("td", {}, h("span", { class: `chip ${OUTCOMES[run.outcome] ?? "muted"}`, title: run.problem || null }, run.problem ? "unreadable" : run.outcome)),
      [day(run.started_ns ? run.started_ns / 1e6 : null), span(lasted), number(run.events)].map((cell) => h("td", { class: "number" }, cell)),
      h("td", { class: `number${run.missing ? " tone-bad" : ""}` }, number(run.missing)), h("td", { class: "number" }, bytes(run.bytes)),
      h("td", { class: "results" }, results || NONE), h("td", {}, Object.entries(run.tags).map(([key, value]) => h("span", { class: "tag" }, `${key}=${value}`))));
  }

  drawTags() {
    const counts = new Map();
    for (const run of this.runs) for (const [name, value] of Object.entries(run.tags)) counts.set(`${name}=${value}`, (counts.get(`${name}=${value}`) ?? 0) + 1);
    const key = JSON.stringify([[...counts], [...this.tags]]);
    if (this.tagList.dataset.was === key) return;
    this.tagList.dataset.was = key;
    put(this.tagList, [...counts].sort().slice(0, 40).map(([tag, count]) => h("li", {}, h("button", {
      type: "button", class: "tag", "aria-pressed": String(this.tags.has(tag)),
      onclick: () => { if (!this.tags.delete(tag)) this.tags.add(tag); this.draw(); },
    }, `${tag} (${count})`))));
  }

  button() {
    const keys = [...this.chosen];
    this.compare.hidden = keys.length < 2 || keys.length > 8;
    this.compare.href = `#/compare/${keys.map(encodeURIComponent).join("/")}`;
    setText(this.compare, `Compare ${keys.length} runs`);
  }

  key(event) {
    if (event.key === "/") { this.search.focus(); event.preventDefault(); }
  }

  remove() { clearInterval(this.timer); }
}

function text(run) {
  const settings = Object.entries(run.settings).map(([name, value]) => `${name}=${value}`);
  const tags = Object.entries(run.tags).map(([name, value]) => `${name}=${value}`);
  return [run.name, run.run_id, run.host, run.outcome, ...settings, ...tags].join("\n").toLowerCase();
}

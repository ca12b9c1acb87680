// One run, or several compared: the stream of changes, the panels, the feed, and how far the page is behind.

import { announce, h, put, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Feed } from "./feed.js";
import { number, span } from "./format.js";
import { differences, merged } from "./merging.js";
import { RunModel } from "./model.js";
import { ask, runPath, Stream, tell } from "./net.js";
import { hue } from "./palette.js";
import { PanelView } from "./panelview.js";
import { Replay } from "./replay.js";
import { Sync } from "./sync.js";

const FEED = "feed";
const BEHIND_AFTER_MS = 3000;
const ZOOM_POINTS = 3000;
const ZOOM_AGAIN_MS = 2000;
const LIFE_GLYPHS = { live: "●", slow: "◐", stale: "○", ended: "■", gone: "✕", reading: "…" };
const CONTROL = /control|baseline|wait|random/i;

export class RunPage {
  constructor(main, bar, keys) {
    this.keys = keys;
    this.models = new Map(keys.map((key) => [key, new RunModel(key)]));
    this.sync = new Sync();
    this.panels = new Map();
    this.finer = new Map();
    this.drawer = new Drawer(document.getElementById("drawer"));
    this.grid = h("div", { class: "panels" });
    this.top = h("div", { class: "problems", role: "status" });
    this.differences = h("div", { class: "compare-facts" });
    this.index = h("nav", { class: "index", "aria-label": "panels" });
    this.feed = keys.length === 1 ? new Feed(keys[0], (event) => void this.drawer.detail(keys[0], event)) : null;
    this.replay = keys[0].startsWith("replay~") ? new Replay(keys[0]) : null;
    put(main, h("div", { class: `run-page${this.feed ? "" : " compare"}` },
      h("div", { class: "content" }, this.top, this.differences, this.index, this.grid), this.feed?.element));
    this.bar(bar);
    this.sync.zoomed.add((axis, range) => this.zoomed(axis, range));
    this.stream = new Stream(keys, (name, run, body) => this.take(name, run, body), (state) => this.connected(state));
    this.timer = setInterval(() => this.watch(), 1000);
    if (keys.length > 1) void this.compare();
  }

  bar(bar) {
    this.life = h("span", { class: "chip life reading" }, "…");
    this.behind = h("span", { class: "behind", role: "status" });
    this.name = h("h1", {}, this.keys.length > 1 ? `${this.keys.length} runs compared` : this.keys[0]);
    this.smoothing = h("input", {
      type: "range", min: 0, max: 0.98, step: 0.02, value: 0, id: "smoothing",
      oninput: () => {
        this.sync.smoothing = Number(this.smoothing.value);
        setText(this.smoothed, this.sync.smoothing ? this.sync.smoothing.toFixed(2) : "off");
        this.sync.redraw();
      },
    });
    this.smoothed = h("output", { for: "smoothing" }, "off");
    this.reset = h("button", { type: "button", class: "tool", onclick: () => this.sync.reset(), disabled: true }, "reset zoom");
    const replay = this.replay?.element ?? (this.keys.length === 1
      ? h("button", { type: "button", class: "tool", onclick: () => void this.beginReplay() }, "replay") : null);
    put(bar, this.name, this.life, this.behind, h("span", { class: "controls" },
      h("label", { class: "smoothing", title: "a smoothed line over the raw points, which stay" }, "smoothing ", this.smoothing, this.smoothed), this.reset, replay));
  }

  take(name, run, body) {
    const model = this.models.get(run);
    if (!model) return;
    if (name === "snapshot") model.snapshot(body);
    else if (name === "changes") model.changes(body);
    else model.take(body.state);
    if (name !== "state") this.soon();
    this.vitals();
    if (model.state && this.feed) this.feed.take(model.state);
    if (model.state && this.replay) this.replay.take(model.state);
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Draws the panels that have changed. */
  draw() {
    const dirty = new Set([...this.models.values()].flatMap((model) => [...model.dirty]));
    const order = [...new Set([...this.models.values()].flatMap((model) => model.order.filter((id) => model.panels.has(id))))];
    for (const id of dirty) this.show(id);
    for (const [id, view] of this.panels) if (!order.includes(id)) { view.remove(); this.panels.delete(id); }
    this.place(order);
    for (const model of this.models.values()) {
      model.dirty.clear();
      if (model.state) model.drawn = model.state.folded;
    }
    document.body.dataset.drawn = String((Number(document.body.dataset.drawn) || 0) + 1);
  }

  show(id) {
    const panel = this.document(id);
    if (!panel || (this.feed && id === FEED)) return; // the feed has a place of its own, with filters
    let view = this.panels.get(id);
    if (!view) {
      view = new PanelView(id, this.keys, this.sync, (query) => this.drawer.ask({ ...query, run: query.run ?? this.keys[0] }));
      this.panels.set(id, view);
    }
    view.take(this.refined(id, panel));
  }

  /** The panel of the run, or that of all runs in one. */
  document(id, of = (model) => model.panels.get(id)) {
    const known = [...this.models.values()].map((model, at) => ({ key: model.key, name: this.title(model), panel: of(model), hue: at })).filter(({ panel }) => panel);
    if (!known.length) return null;
    return this.keys.length === 1 ? known[0].panel : merged(known);
  }

  title(model) {
    const name = model.state?.name || model.key;
    const names = [...this.models.values()].map((each) => each.state?.name || each.key);
    return names.filter((each) => each === name).length > 1 ? `${name} ${model.key.slice(-6)}` : name;
  }

  place(order) {
    const canonical = order.filter((id) => this.panels.has(id));
    canonical.forEach((id, at) => {
      const { element } = this.panels.get(id);
      if (this.grid.children[at] !== element) this.grid.insertBefore(element, this.grid.children[at] ?? null);
    });
    const key = canonical.join();
    if (this.index.dataset.was !== key) {
      this.index.dataset.was = key;
      put(this.index, canonical.map((id) => h("button", {
        type: "button", class: "plain", onclick: () => this.go(id),
      }, this.panels.get(id).panel.title)));
    }
  }

  go(id) {
    const { element } = this.panels.get(id);
    element.scrollIntoView({ block: "start" });
    element.focus({ preventScroll: true });
  }

  // --- zoom: the server gives the points of the part that is seen, down to every single one ---------------------------

  zoomed(axis, range) {
    this.reset.disabled = !this.sync.ranges.size;
    if (!range) {
      for (const [id, finer] of this.finer) if (finer.axis === axis) this.finer.delete(id);
      for (const id of this.panels.keys()) this.show(id);
      return;
    }
    clearTimeout(this.zooming);
    this.zooming = setTimeout(() => void this.refine(axis, range), 150);
  }

  async refine(axis, range) {
    const [low, high] = range;
    const wanted = [...this.panels].filter(([, view]) => view.views.some((figure) => figure.axis === axis && figure.figure.figure === "Series")).map(([id]) => id);
    for (const id of wanted) {
      const query = new URLSearchParams({ low, high, points: ZOOM_POINTS });
      const path = `panels/${encodeURIComponent(id)}?${query}`;
      const found = new Map(await Promise.all(this.keys.map(async (key) => [key, await ask(runPath(key, path)).catch(() => null)])));
      if (this.sync.range(axis) !== range) return;
      this.finer.set(id, { axis, panel: this.document(id, (model) => found.get(model.key)), at: performance.now() });
      this.show(id);
    }
  }

  refined(id, panel) {
    const finer = this.finer.get(id);
    if (!finer?.panel) return panel;
    if (performance.now() - finer.at > ZOOM_AGAIN_MS && this.sync.range(finer.axis)) {
      finer.at = performance.now();
      void this.refine(finer.axis, this.sync.range(finer.axis));
    }
    const fine = new Map(finer.panel.figures.filter((figure) => Sync.axis(figure) === finer.axis).map((figure) => [figure.title, figure]));
    return { ...panel, figures: panel.figures.map((figure) => (figure.figure === "Series" && fine.get(figure.title)) || figure) };
  }

  // --- how the runs fare, and how far the page is behind --------------------------------------------------------------

  connected(state) {
    this.connection = state;
    document.body.dataset.connection = state;
    if (state === "lost") announce("the connection to the server is lost");
    this.vitals();
  }

  vitals() {
    const states = [...this.models.values()].map((model) => model.state).filter(Boolean);
    if (states.length === 1 && this.keys.length === 1) {
      const [state] = states;
      setText(this.name, state.name || state.run_id || this.keys[0]);
      document.title = `${state.name || state.run_id || "run"} · Esper Telemetry`;
    }
    const order = ["stale", "gone", "slow", "reading", "live", "ended"];
    const worst = states.sort((one, other) => order.indexOf(one.life) - order.indexOf(other.life))[0];
    const lost = this.connection === "lost";
    if (worst) {
      const life = lost ? "lost" : worst.life;
      if (this.life.dataset.life !== life) {
        this.life.dataset.life = life;
        this.life.className = `chip life ${life}`;
      }
      setText(this.life, lost ? "○ no connection" : `${LIFE_GLYPHS[worst.life]} ${worst.life}`);
      this.life.title = lost ? "the server does not answer; what is shown is old" : worst.text;
    }
    const problems = states.flatMap((state) => [state.failure && `the run cannot be read: ${state.failure}; trying again`,
      ["slow", "stale", "gone"].includes(state.life) && !this.replay && `${state.name || "the run"}: ${state.text}`].filter(Boolean));
    if (lost) problems.unshift("no connection to the server: what is shown is old; connecting again");
    const key = JSON.stringify(problems.map((text) => text.replace(/\d+/g, "#")));
    if (this.top.dataset.was !== key) {
      this.top.dataset.was = key;
      put(this.top, problems.map((text) => h("p", { class: "problem" }, text)));
    } else problems.forEach((text, at) => setText(this.top.children[at], text));
    this.lag();
  }

  lag() {
    const parts = [];
    for (const model of this.models.values()) {
      const { state } = model;
      if (!state) continue;
      if (state.phase === "history" && state.stored) parts.push(`reading ${number(state.folded)} of ${number(state.stored)} events`);
      const behind = state.folded - (model.drawn ?? 0);
      if (behind <= 0) model.since = null;
      else {
        model.since ??= performance.now();
        if (performance.now() - model.since > BEHIND_AFTER_MS && state.phase !== "history") parts.push(`view behind by ${number(behind)} events`);
      }
    }
    setText(this.behind, parts.join("; "));
  }

  watch() {
    this.lag();
    if (this.connection === "lost") {
      const silent = (performance.now() - Math.max(...[...this.models.values()].map((model) => model.heard ?? 0))) / 1000;
      setText(this.behind, `last heard ${span(silent)} ago`);
    }
  }

  // --- comparing and replaying ----------------------------------------------------------------------------------------

  async compare() {
    const { runs } = await ask("/api/runs").catch(() => ({ runs: [] }));
    const facts = this.keys.map((key) => runs.find((run) => run.key === key)).filter(Boolean);
    const control = facts.findIndex((run) => CONTROL.test(run.name) || Object.values(run.tags).some((tag) => CONTROL.test(tag)));
    const rows = differences(facts);
    const results = [...new Set(facts.flatMap((run) => Object.keys(run.results)))].sort();
    const cell = (value) => h("td", { class: "number" }, h("bdi", {}, value === undefined ? "—" : typeof value === "string" ? value : JSON.stringify(value)));
    const name = (run, at) => {
      const swatch = h("span", { class: "swatch line", "aria-hidden": "true" });
      swatch.style.setProperty("--hue", hue(at));
      return h("th", { scope: "col", class: "number" }, swatch, h("a", { href: `#/run/${encodeURIComponent(run.key)}` }, run.name || run.run_id), at === control ? " (control)" : "");
    };
    put(this.differences, h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Settings and results"),
      h("p", { class: "hint" }, "Only settings that differ; results beside the control.")),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "settings and results" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), facts.map(name))),
      h("tbody", {}, results.map((result) => h("tr", {}, h("th", { scope: "row" }, result), facts.map((run) => h("td", { class: "number" }, number(run.results[result] ?? null))))),
        rows.map(([setting, ...values]) => h("tr", {}, h("th", { scope: "row" }, setting), values.map(cell))),
        rows.length ? null : h("tr", {}, h("td", { colspan: facts.length + 1, class: "quiet" }, "no setting differs")))))));
  }

  async beginReplay() {
    try {
      const { key } = await tell(runPath(this.keys[0], "replay"), { speed: 10 });
      location.hash = `#/run/${encodeURIComponent(key)}`;
    } catch (error) {
      announce(error.message);
      put(this.top, h("p", { class: "problem" }, `the replay cannot begin: ${error.message}`));
    }
  }

  theme() {
    for (const view of this.panels.values()) for (const figure of view.views) { figure.theme = null; figure.redraw(); }
  }

  key(event) {
    const ids = [...this.grid.children].map((element) => element.id.replace("panel-", ""));
    const now = document.activeElement?.closest?.(".panel")?.id.replace("panel-", "");
    if (event.key === "j" || event.key === "k") {
      const at = ids.indexOf(now);
      const next = ids[Math.max(0, Math.min(ids.length - 1, at + (event.key === "j" ? 1 : -1)))];
      if (next) this.go(next);
    } else if (event.key === "0") this.sync.reset();
    else if (event.key === "/") { document.getElementById("feed-search")?.focus(); event.preventDefault(); }
    else if (event.key === "f") this.feed?.setFollowing(!this.feed.following);
    else if (event.key === "Escape") this.drawer.close();
  }

  remove() {
    clearInterval(this.timer);
    clearTimeout(this.zooming);
    if (this.frame) cancelAnimationFrame(this.frame);
    this.stream.close();
    this.drawer.close();
    for (const view of this.panels.values()) view.remove();
  }
}


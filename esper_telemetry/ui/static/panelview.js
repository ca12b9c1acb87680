// A panel on the page: its title, what to look at, its figures, and where their numbers come from.

import { h, put, setText } from "./dom.js";
import { FigureView, nameOf } from "./figureview.js";
import { day, number } from "./format.js";
import { runPath } from "./net.js";

export class PanelView {
  /** openEvents(query) shows events; keys are the runs of the page. */
  constructor(id, keys, sync, openEvents) {
    this.id = id;
    this.keys = keys;
    this.sync = sync;
    this.openEvents = openEvents;
    this.views = [];
    this.title = h("h2", { id: `title-${id}` });
    this.hint = h("p", { class: "hint" });
    this.downloads = h("span", { class: "tools" }, keys.length > 1 ? null : ["csv", "json"].map((form) => h("a", {
      class: "tool", href: runPath(keys[0], `panels/${encodeURIComponent(id)}/${form}`), download: `${id}.${form}`,
      title: `the data of this panel as ${form.toUpperCase()}`, "aria-label": `download ${id} as ${form.toUpperCase()}`,
    }, form)));
    this.figures = h("div", { class: "figures" });
    this.absence = h("p", { class: "quiet absence" });
    this.footer = h("footer", {});
    this.element = h("section", { class: `panel panel-${id}`, id: `panel-${id}`, tabindex: "-1", "aria-labelledby": `title-${id}` },
      h("header", {}, this.title, this.hint, this.downloads), this.figures, this.absence, this.footer);
  }

  /** Takes the panel as it is now. */
  take(panel) {
    this.panel = panel;
    setText(this.title, panel.title);
    setText(this.hint, panel.hint);
    const nothing = panel.figures.length ? "" : "these events have left out everything that this panel shows";
    setText(this.absence, panel.absence || nothing);
    this.absence.hidden = !panel.absence && !nothing;
    const same = panel.figures.length === this.views.length
      && panel.figures.every((figure, at) => nameOf(figure) === this.views[at].name);
    if (same) panel.figures.forEach((figure, at) => { this.views[at].stale = true; this.views[at].take(figure); });
    else this.rebuild(panel.figures);
    this.source(panel.footer);
  }

  // A figure that is new takes its place; those that were there keep theirs, with what a person has set on them.
  rebuild(figures) {
    const known = new Map(this.views.map((view) => [view.name, view]));
    this.views = figures.map((figure) => {
      const view = known.get(nameOf(figure));
      known.delete(nameOf(figure));
      if (view) { view.stale = true; view.take(figure); return view; }
      return new FigureView(this.id, figure, this.sync, (seq, line) => this.open(seq, line));
    });
    for (const view of known.values()) view.remove();
    this.views.forEach((view, at) => {
      if (this.figures.children[at] !== view.element) this.figures.insertBefore(view.element, this.figures.children[at] ?? null);
    });
  }

  source(footer) {
    if (!footer.events) { put(this.footer); return; }
    const types = footer.types.map(([name, count]) => (footer.types.length > 1 ? `${name} ×${number(count)}` : name));
    const some = types.length > 4 ? [...types.slice(0, 4), `${types.length - 4} more types`] : types;
    const text = `from ${number(footer.events)} events of ${some.join(", ")}, numbers ${number(footer.first_seq)} to ${
      number(footer.last_seq)}, last ${day(footer.last_time_ns / 1e6)}`;
    if (!this.footer.firstChild) {
      put(this.footer, h("button", { type: "button", class: "plain", title: "show these events", onclick: () => this.open() }, text));
    } else setText(this.footer.firstChild, text);
  }

  open(seq, line) {
    const types = this.panel.footer.types.map(([name]) => name);
    const query = { types: types.length > 12 ? [] : types };
    if (seq !== undefined && seq !== null) { query.first = seq; query.last = seq; }
    const rank = /rank (\d+)/.exec(line?.stream ?? "");
    if (rank) query.rank = rank[1];
    query.run = line?.run;
    this.openEvents(query);
  }

  remove() {
    for (const view of this.views) view.remove();
    this.element.remove();
  }
}

// The events behind a number: opened by a click on a point, a bar, a cell or the source line of a panel.

import { h, put } from "./dom.js";
import { eventDetail, eventRow } from "./eventrow.js";
import { ask, runPath } from "./net.js";

export class Drawer {
  constructor(element) {
    this.element = element;
    this.schemas = new Map();
    this.body = h("div", { class: "drawer-body" });
    this.heading = h("h2", {}, "Events");
    put(element, h("header", {}, this.heading,
      h("button", { type: "button", class: "tool", "aria-label": "close", onclick: () => this.close() }, "close")), this.body);
  }

  /** Shows the events of a query: {run, types, first, last, rank}. */
  async ask(query) {
    this.show(query.first ? `Event ${query.first}` : "The last events");
    put(this.body, h("p", { class: "quiet" }, "reading the record…"));
    const parameters = new URLSearchParams({ limit: 50 });
    if (query.types?.length) parameters.set("type", query.types.join(","));
    for (const name of ["first", "last", "rank"]) if (query[name] !== undefined) parameters.set(name, query[name]);
    const asked = (this.asked = {});
    try {
      const page = await ask(runPath(query.run, `events?${parameters}`));
      if (asked !== this.asked) return;
      if (!page.events.length) put(this.body, h("p", { class: "quiet" }, "the record has no such event (any more)"));
      else if (page.events.length === 1) await this.detail(query.run, page.events[0]);
      else {
        put(this.body, h("ol", { class: "feed-rows" },
          page.events.reverse().map((event) => eventRow(event, (one) => void this.detail(query.run, one), true))));
      }
    } catch (error) {
      put(this.body, h("p", { class: "problem" }, error.message));
    }
  }

  async detail(run, event) {
    this.show(`Event ${event.seq}`);
    put(this.body, eventDetail(event, await this.schema(run)));
  }

  async schema(run) {
    if (!this.schemas.has(run)) {
      // Descriptions are a help: where they cannot be had, the event is shown without them.
      this.schemas.set(run, await ask(runPath(run, "schema")).catch(() => null));
    }
    return this.schemas.get(run);
  }

  show(title) {
    if (this.element.hidden) this.before = document.activeElement;
    put(this.heading, title);
    this.element.hidden = false;
    document.body.classList.add("with-drawer");
    this.element.querySelector("button").focus();
  }

  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    document.body.classList.remove("with-drawer");
    this.before?.focus?.();
  }
}

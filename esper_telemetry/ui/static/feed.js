// The event feed of a run: the last events as they come, by type, environment and text; older ones from the record.

import { announce, h, put, setText } from "./dom.js";
import { eventRow } from "./eventrow.js";
import { number } from "./format.js";
import { ask, runPath } from "./net.js";

const KEPT = 300;
const EACH = 100;

export class Feed {
  constructor(key, open) {
    this.key = key;
    this.open = open;
    this.upto = 0;
    this.following = true;
    this.behind = 0;
    this.list = h("ol", { class: "feed-rows", tabindex: "0", "aria-label": "events, newest last" });
    this.type = h("select", { "aria-label": "type of events", onchange: () => this.again() }, h("option", { value: "" }, "all types"));
    this.env = h("input", { type: "search", inputmode: "numeric", pattern: "[0-9, ]*", placeholder: "env", size: 3, "aria-label": "environments", oninput: () => this.soon() });
    this.text = h("input", { type: "search", placeholder: "text in the event", "aria-label": "text in the event", id: "feed-search", oninput: () => this.soon() });
    this.follow = h("button", { type: "button", class: "tool", "aria-pressed": "true", onclick: () => this.setFollowing(!this.following) }, "follow");
    this.note = h("p", { class: "quiet feed-note", role: "status" });
    this.older = h("button", { type: "button", class: "plain", onclick: () => void this.before() }, "older events from the record");
    this.element = h("section", { class: "feed", "aria-labelledby": "feed-title" },
      h("header", {}, h("h2", { id: "feed-title" }, "Events"), this.follow),
      h("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, this.type, this.env, this.text),
      this.note, this.older, this.list);
    this.list.addEventListener("scroll", () => {
      const end = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 30;
      if (!end && this.following && !this.placing) this.setFollowing(false);
    });
  }

  /** What the state of the run tells: types, and that there is more. */
  take(state) {
    this.count = state.folded;
    const names = Object.keys(state.types);
    if (names.length !== this.type.options.length - 1) {
      const chosen = this.type.value;
      const families = [...new Set(names.filter((name) => name.includes(".")).map((name) => `${name.split(".")[0]}.*`))].sort();
      put(this.type, h("option", { value: "" }, "all types"), families.map((name) => h("option", { value: name }, name)),
        names.sort().map((name) => h("option", { value: name }, name)));
      this.type.value = chosen;
    }
    if (this.count < this.upto) this.again(); // the reading was begun anew
    else if (this.count > this.upto) void this.more();
  }

  query() {
    const query = new URLSearchParams({ limit: EACH });
    if (this.type.value) query.set("type", this.type.value);
    if (this.text.value) query.set("text", this.text.value);
    const envs = this.env.value.split(/[ ,]+/).filter((text) => /^\d+$/.test(text));
    if (envs.length) query.set("env", envs.join(","));
    return query;
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), 250);
  }

  again() {
    this.upto = 0;
    this.asked = (this.asked ?? 0) + 1;
    put(this.list);
    this.first = null;
    void this.more();
  }

  async more() {
    if (this.asking) { this.wanting = true; return; }
    if (!this.following && this.list.childElementCount) {
      setText(this.note, `${number(this.count - this.upto)} newer events; follow to see them`);
      return;
    }
    this.asking = true;
    const asked = this.asked;
    try {
      const query = this.query();
      query.set("after", this.upto);
      const page = await ask(runPath(this.key, `recent?${query}`));
      if (asked === this.asked) this.add(page);
    } catch (error) {
      setText(this.note, error.message);
    } finally {
      this.asking = false;
    }
    if (this.wanting || asked !== this.asked) { this.wanting = false; void this.more(); }
  }

  add(page) {
    const many = page.events.some((event) => event.rank > 0 || event.attempt > 1);
    this.upto = page.upto;
    const left = page.left ? `${number(page.left)} events went by faster than this page read; the record has them` : "";
    setText(this.note, left || (page.events.length || this.list.childElementCount ? "" : "no such event among the last ones"));
    this.placing = true;
    this.list.append(...page.events.map((event) => eventRow(event, this.open, many)));
    while (this.list.childElementCount > KEPT) this.list.firstChild.remove();
    this.first ??= page.events[0]?.time_ms;
    if (this.following) this.list.scrollTop = this.list.scrollHeight;
    requestAnimationFrame(() => { this.placing = false; });
  }

  /** Puts older events from the record before those that are here. */
  async before() {
    this.setFollowing(false);
    const query = this.query();
    const first = this.list.firstElementChild?.querySelector("time")?.dateTime;
    if (first) query.set("until_ms", Math.ceil(Date.parse(first)));
    setText(this.note, "reading the record…");
    try {
      const page = await ask(runPath(this.key, `events?${query}`));
      const known = new Set([...this.list.children].map((row) => row.dataset.seq));
      const rows = page.events.filter((event) => !known.has(String(event.seq))).map((event) => eventRow(event, this.open, event.rank > 0));
      this.list.prepend(...rows);
      setText(this.note, rows.length ? "" : "there are no older ones");
      announce(`${rows.length} older events`);
    } catch (error) {
      setText(this.note, error.message);
    }
  }

  setFollowing(following) {
    this.following = following;
    this.follow.setAttribute("aria-pressed", String(following));
    setText(this.note, "");
    if (following) void this.more();
  }
}

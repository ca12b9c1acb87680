// The controls of a replay: speed, pause, and a jump forward.

import { h, setText } from "./dom.js";
import { clock } from "./format.js";
import { runPath, tell } from "./net.js";

const SPEEDS = [1, 2, 5, 10, 30, 100, 1000, 10000];

export class Replay {
  constructor(key) {
    this.key = key;
    this.paused = false;
    this.speed = h("select", { "aria-label": "speed of the replay", onchange: () => void this.set({ speed: Number(this.speed.value) }) },
      SPEEDS.map((speed) => h("option", { value: speed, selected: speed === 10 }, `${speed}×`)));
    this.pause = h("button", { type: "button", class: "tool", "aria-pressed": "false", onclick: () => this.toggle() }, "pause");
    this.all = h("button", { type: "button", class: "tool", title: "give all events at once", onclick: () => void this.set({ speed: 1e6, until_ms: 4e12, paused: false }) }, "to the end");
    this.at = h("span", { class: "readout" });
    this.element = h("span", { class: "replay", role: "group", "aria-label": "replay" }, "replay", this.speed, this.pause, this.all, this.at);
  }

  toggle() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    setText(this.pause, this.paused ? "go on" : "pause");
    void this.set({ paused: this.paused });
  }

  async set(change) {
    try {
      await tell(runPath(this.key, "pace"), change);
    } catch (error) {
      setText(this.at, error.message);
    }
  }

  take(state) { setText(this.at, `at ${clock(state.last_ms)}`); }
}

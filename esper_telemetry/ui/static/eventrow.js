// An event as a row, and as a detail with units and the comments of its schema.

import { h } from "./dom.js";
import { clock, day, number, quantity, unit } from "./format.js";

const CONTEXT = new Set(["env_id", "device", "inner_epoch", "global_epoch", "batch_idx", "episodes_completed", "step", "episode", "rank", "worker_id"]);

function brief(value, code) {
  if (value === null || typeof value === "number" || typeof value === "boolean") return quantity(value, code);
  if (typeof value === "string") return value.length > 60 ? `${value.slice(0, 60)}…` : value;
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** A row of the feed. open(event) shows the detail. */
export function eventRow(event, open, many) {
  const fields = Object.entries(event.data).filter(([name]) => !CONTEXT.has(name)).slice(0, 5);
  const place = Object.entries(event.data).filter(([name]) => CONTEXT.has(name));
  const number_ = many ? `r${event.rank}${event.attempt > 1 ? `a${event.attempt}` : ""}#${event.seq}` : `#${event.seq}`;
  return h("li", { data: { seq: event.seq, type: event.type } },
    h("button", { type: "button", class: "plain event", onclick: () => open(event) },
      h("span", { class: "line" },
        h("time", { datetime: event.time, title: event.time }, clock(event.time_ms)),
        h("span", { class: "type" }, event.type), h("span", { class: "seq" }, number_)),
      h("span", { class: "fields" },
        place.map(([name, value]) => h("span", { class: "place" }, `${name} `, h("bdi", {}, brief(value, "")))),
        fields.map(([name, value]) => h("span", {}, h("i", {}, name), " ", h("bdi", {}, brief(value, event.units[name])))))));
}

/** Everything of an event. schema: as /schema gives it, or null. */
export function eventDetail(event, schema) {
  const meaning = schema?.events[event.type];
  const facts = [
    ["number", `${number(event.seq)}${event.row ? `, row ${number(event.row)}` : ""}`], ["time", `${event.time} (${day(event.time_ms)} here)`],
    ["stream", `${event.stream}, rank ${event.rank}, attempt ${event.attempt}`], ["type", event.full_name],
  ];
  return h("article", { class: "detail", data: { seq: event.seq } },
    h("h3", {}, event.type), meaning?.comment ? h("p", { class: "comment" }, meaning.comment) : null,
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("bdi", {}, value))))),
    h("table", {}, h("caption", { class: "unseen" }, `fields of ${event.type}`),
      h("thead", {}, h("tr", {}, ["field", "value", "unit", "meaning"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows("", event.data, event, meaning, schema))));
}

function rows(prefix, data, event, meaning, schema) {
  return Object.entries(data).flatMap(([name, value]) => {
    const path = prefix + name;
    const field = prefix ? null : meaning?.fields[name] ?? schema?.context[name];
    const code = event.units[path] ?? field?.unit ?? "";
    if (value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length) {
      return [h("tr", {}, h("th", { scope: "row" }, path), h("td", {}), h("td", {}), h("td", { class: "comment" }, field?.comment ?? "")),
        ...rows(`${path}.`, value, event, meaning, schema)];
    }
    const text = typeof value === "number" ? String(value) : typeof value === "string" ? value : JSON.stringify(value);
    return [h("tr", {}, h("th", { scope: "row" }, path), h("td", { class: "value" }, h("bdi", {}, text)),
      h("td", {}, unit(code)), h("td", { class: "comment" }, field?.comment ?? ""))];
  });
}


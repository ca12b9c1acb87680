// Numbers, times and units as text. What was not measured is a dash, never a zero; NaN is a measurement.

export const NONE = "—";
const MINUS = "−";
const UNITS = { "1": "", "%": "%", By: "B", Cel: "°C", us: "µs" };

export function number(value) {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "string") return { NaN: "NaN", Infinity: "∞", "-Infinity": MINUS + "∞" }[value] ?? value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) && size < 1e12) text = value.toLocaleString("en-US");
  else if (size >= 1e-3 && size < 1e6) {
    const digits = Math.min(6, Math.max(0, 3 - Math.floor(Math.log10(size))));
    text = value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  } else text = value === 0 ? "0" : value.toExponential(2);
  return text.replace(/-/g, MINUS);
}

export function unit(code) {
  return code in UNITS ? UNITS[code] : code.replace(/[{}]/g, "");
}

/** A value with its unit. */
export function quantity(value, code) {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "number" && code === "By") return bytes(value);
  const after = typeof value === "boolean" ? "" : unit(code ?? "");
  return after ? `${number(value)} ${after}` : number(value);
}

export function bytes(count) {
  if (count === null || count === undefined) return NONE;
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (Math.abs(count) >= 1024 && at < names.length - 1) { count /= 1024; at += 1; }
  return `${count.toLocaleString("en-US", { maximumFractionDigits: at ? 1 : 0 })} ${names[at]}`;
}

/** A cell of a figure as text. */
export function cellText(cell) {
  return cell.value === null ? NONE : typeof cell.value === "string" ? number(cell.value) : quantity(cell.value, cell.unit);
}

export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A time in the time zone of the reader, with the zone in its tooltip elsewhere. */
export function clock(ms) {
  if (!ms) return NONE;
  const date = new Date(ms);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function day(ms) {
  if (!ms) return NONE;
  const date = new Date(ms);
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
}

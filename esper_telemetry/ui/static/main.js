// Which page is shown: #/ is the list of runs, #/run/KEY one run, #/compare/KEY/KEY… several. And keys, theme, help.

import { h, put, setText } from "./dom.js";
import { isDark } from "./palette.js";
import { RunPage } from "./runpage.js";
import { RunsPage } from "./runspage.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
const help = document.getElementById("help");
let page = null;

const slot = h("div", { class: "page-bar" });
const theme = h("button", { type: "button", class: "tool", "aria-label": "switch between dark and light", title: "dark or light (t)", onclick: switchTheme }, "◑");
put(bar, h("a", { class: "brand", href: "#/" }, h("img", { src: "/static/mark.svg", alt: "", width: 20, height: 20 }), "Esper Telemetry"),
  slot, theme, h("button", { type: "button", class: "tool", "aria-label": "keys", title: "keys (?)", onclick: () => help.showModal() }, "?"));

const KEYS = [["j k", "next and previous panel"], ["/", "search runs, or text in events"], ["f", "follow the events, or stop"],
  ["0", "reset zoom"], ["drag", "zoom into a part of the x axis; double click resets"], ["click", "the event behind a point, bar or cell"],
  ["t", "dark or light"], ["Esc", "close"], ["?", "these keys"]];
put(help, h("h2", { id: "help-title" }, "Keys"), h("dl", {}, KEYS.map(([key, text]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)))),
  h("form", { method: "dialog" }, h("button", { class: "tool" }, "close")));

function switchTheme() {
  const wanted = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = wanted;
  try { localStorage.setItem("esper-theme", wanted); } catch { /* it holds for this page only */ }
  page?.theme?.();
}

function route() {
  page?.remove();
  put(slot);
  document.title = "Esper Telemetry";
  const [kind, ...keys] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if ((kind === "run" || kind === "compare") && keys.length && keys[0]) page = new RunPage(main, slot, kind === "run" ? keys.slice(0, 1) : keys.slice(0, 8));
  else page = new RunsPage(main);
  window.scrollTo(0, 0);
}

addEventListener("hashchange", () => { route(); main.focus({ preventScroll: true }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page?.theme?.());
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => page?.sync?.redraw(), 150); });
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.key === "Escape" && typing) { typing.blur(); return; }
  if (typing) return;
  if (event.key === "?") help.showModal();
  else if (event.key === "t") switchTheme();
  else page?.key?.(event);
});

// What fails in the page itself is shown on it: a page that stops in silence shows old numbers as new ones.
function broken(error) {
  let note = document.getElementById("broken");
  if (!note) {
    note = h("p", { id: "broken", class: "problem", role: "alert" });
    main.before(note);
  }
  setText(note, `the page failed and may show old numbers; reload it: ${error}`);
}
addEventListener("error", (event) => { if (!String(event.message).includes("ResizeObserver")) broken(event.message); });
addEventListener("unhandledrejection", (event) => broken(event.reason?.message ?? event.reason));
route();

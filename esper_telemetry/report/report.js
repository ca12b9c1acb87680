"use strict";
// Tooltips, a cursor that all charts with one axis share, events behind a click, sorting and filtering. The page is
// complete without it. Everything is set as text, never as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const tip = $("tip");
  const events = JSON.parse($("events").textContent);
  const meanings = JSON.parse($("meanings").textContent);
  const number = (value) => {
    if (typeof value === "string") return value;
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(3);
    return value.toLocaleString("en-US", { maximumSignificantDigits: 6 });
  };
  const bytes = (value) => {
    const names = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    while (Math.abs(value) >= 1024 && at < names.length - 1) { value /= 1024; at += 1; }
    return `${value.toFixed(at ? 1 : 0)} ${names[at]}`;
  };
  const show = (x, y, build) => {
    tip.replaceChildren();
    build(tip);
    tip.style.visibility = "visible";
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 8))}px`;
  };
  const hide = () => { tip.style.visibility = "hidden"; };
  const text = (name, content, style) => {
    const node = document.createElement(name);
    node.textContent = content;
    if (style) node.className = style;
    return node;
  };

  // --- series ---------------------------------------------------------------------------------------------------
  const charts = [];
  for (const holder of document.querySelectorAll("figure[data-series]")) {
    const svg = holder.querySelector("svg.chart");
    const data = JSON.parse(holder.querySelector("script").textContent);
    const all = data.lines.flatMap((line) => line.points.map((point) => point[0]));
    const scale = { low: +svg.dataset.low, high: +svg.dataset.high, start: +svg.dataset.start, end: +svg.dataset.end };
    const xs = [...new Set(all)].sort((a, b) => a - b);
    charts.push({ svg, data, xs, scale, axis: svg.dataset.x, cursor: svg.querySelector(".cursor"), at: -1 });
  }
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) { const mid = (low + high) >> 1; if (xs[mid] < x) low = mid; else high = mid; }
    return xs.length && Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  };
  const place = (chart, x) => {
    const { low, high, start, end } = chart.scale;
    return start + Math.max(0, Math.min(1, (x - low) / (high - low))) * (end - start);
  };
  const span = (axis) => (axis.startsWith("time") ? (x) => new Date(x * 1000).toISOString().slice(11, 19) : number);
  const rows = (chart, x) => chart.data.lines.map((line) => {
    const at = nearest(line.points.map((point) => point[0]), x);
    return line.points[at] ? { line, point: line.points[at] } : null;
  }).filter((row) => row && Math.abs(place(chart, row.point[0]) - place(chart, x)) < 6);
  const point = (chart, at) => {
    chart.at = at;
    const x = chart.xs[at];
    for (const other of charts) {
      const same = other.axis === chart.axis && (other === chart || (x >= other.scale.low && x <= other.scale.high));
      other.svg.classList.toggle("on", same);
      if (same) for (const end of ["x1", "x2"]) other.cursor.setAttribute(end, place(other, x));
    }
    return x;
  };
  const tell = (chart, x, left, top) => show(left, top, (box) => {
    box.append(text("div", `${chart.axis} ${span(chart.axis)(x)}`));
    const found = rows(chart, x);
    for (const { line, point: [, y, seq] } of found.slice(0, 12)) {
      const value = chart.data.by && typeof y === "number" ? bytes(y) : `${number(y)} ${chart.data.unit}`.trim();
      box.append(text("div", `${line.name ? line.name + ": " : ""}${value}   #${seq}`));
    }
    if (found.length > 12) box.append(text("div", `and ${found.length - 12} more lines`));
    for (const mark of chart.data.marks) if (Math.abs(place(chart, mark[0]) - place(chart, x)) < 4) box.append(text("div", `${mark[1]} ${mark[2]}   #${mark[3]}`));
    const each = Math.max(1, ...chart.data.lines.map((line) => line.each));
    if (each > 1) box.append(text("div", `drawn: smallest and largest of ${each} measurements each`));
  });
  const clear = () => { hide(); for (const chart of charts) chart.svg.classList.remove("on"); };
  for (const chart of charts) {
    const find = (event) => {
      const box = chart.svg.getBoundingClientRect();
      const pixel = (event.clientX - box.left) / box.width * chart.svg.viewBox.baseVal.width;
      const { low, high, start, end } = chart.scale;
      return nearest(chart.xs, low + (pixel - start) / (end - start) * (high - low));
    };
    chart.svg.addEventListener("pointermove", (event) => {
      if (chart.xs.length) tell(chart, point(chart, find(event)), event.clientX, event.clientY);
    });
    chart.svg.addEventListener("pointerleave", clear);
    chart.svg.addEventListener("blur", clear);
    const open = (at) => openEvents(rows(chart, chart.xs[at]).map((row) => row.point[2]), runOf(chart.svg));
    chart.svg.addEventListener("click", (event) => { if (chart.xs.length && !event.target.dataset.seq) open(find(event)); });
    chart.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
      if (!chart.xs.length) return;
      if (step || event.key === "Home" || event.key === "End") {
        let at = step ? chart.at + step : event.key === "Home" ? 0 : chart.xs.length - 1;
        at = Math.max(0, Math.min(chart.xs.length - 1, at));
        const x = point(chart, at);
        const box = chart.svg.getBoundingClientRect();
        tell(chart, x, box.left + place(chart, x) / chart.svg.viewBox.baseVal.width * box.width, box.top + 10);
        event.preventDefault();
      } else if (event.key === "Enter" && chart.at >= 0) open(chart.at);
    });
  }

  // --- events behind a click --------------------------------------------------------------------------------------
  const dialog = $("event");
  const runOf = (node) => node.closest(".run")?.id || "";
  const openEvents = (numbers, run) => {
    dialog.replaceChildren();
    for (const seq of [...new Set(numbers)].slice(0, 12)) {
      const found = events.filter((event) => event[0] === seq && (!run || event[5] === run));
      if (!found.length) {
        dialog.append(text("h2", `Event ${seq}`), text("p", "It is not in this file. Read it from the record:", "note"));
        dialog.append(text("code", `esper-telemetry cat RECORD --seq ${seq}`));
      }
      for (const [, time, type, stream, fields, from] of found.slice(0, 8)) {
        const [comment, comments] = meanings[type] || ["", {}];
        dialog.append(text("h2", `${type} #${seq}`), text("p", `${time} UTC ${stream}${run || document.querySelectorAll(".run").length < 2 ? "" : " · " + $(from).querySelector("h2").textContent}`, "id"), text("p", comment, "note"));
        const table = document.createElement("table");
        table.className = "data";
        for (const [name, value] of fields) {
          const row = table.insertRow();
          row.append(text("td", name), text("td", value), text("td", comments[name] || comments[name.split(".")[0]] || "", "muted"));
        }
        dialog.append(table);
      }
    }
    const close = text("button", "Close");
    close.addEventListener("click", () => dialog.close());
    dialog.append(close);
    if (numbers.length && !dialog.open) dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-seq]");
    if (target && !event.target.closest("button, a, dialog, input")) openEvents([+target.dataset.seq], runOf(target));
  });

  // --- tables -------------------------------------------------------------------------------------------------------
  for (const table of document.querySelectorAll("table.data:not(.feed)")) {
    const heads = [...table.querySelectorAll("thead th")];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.v;
      const sorted = [...table.tBodies[0].rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what was not measured is last in both directions
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
        return down ? order : -order;
      });
      table.tBodies[0].append(...sorted);
    }));
  }
  const filters = [...document.querySelectorAll("input.filter")];
  for (const filter of filters) {
    const figure = filter.closest("figure");
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...figure.querySelector("table.feed").tBodies[0].rows];
      const found = rows.filter((row) => {
        const hit = wanted.every((word) => row.textContent.toLowerCase().includes(word));
        row.classList.toggle("hidden", !hit);
        return hit;
      });
      figure.querySelector("output").textContent = wanted.length ? `${found.length} of the ${rows.length} rows in this file` : "";
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && filters.length && !event.target.closest("input, dialog")) { filters[0].focus(); event.preventDefault(); }
    if (event.key === "Escape") clear();
  });
})();

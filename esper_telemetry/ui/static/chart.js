// A chart of the library (Bokeh): its frame, ranges, cursor, zoom and pictures. What is in it, series.js and stack.js tell.
// The library is loaded when the first chart comes into view; strips, lanes and tables do not wait for it.

import { h } from "./dom.js";
import { ink } from "./palette.js";

let loading = null;

/** Loads the library once. */
export function library() {
  loading ??= script("/charts/bokeh.min.js").then(() => script("/charts/bokeh-api.min.js")).then(() => {
    window.Bokeh.set_log_level("warn");
    return window.Bokeh;
  });
  return loading;
}

function script(address) {
  return new Promise((done, failed) => {
    document.head.append(h("script", { src: address, onload: done, onerror: () => failed(new Error(`${address} did not load`)) }));
  });
}

export const HEIGHT = 168;
const FONT = "ui-sans-serif, system-ui, sans-serif";

export class Chart {
  /** host: an element of fixed height; context: what the panel knows (see panel.js); axes: types of x and y. */
  constructor(bokeh, host, context, { times, log }) {
    this.bokeh = bokeh;
    this.host = host;
    this.context = context;
    this.quietly = false;
    this.figure = bokeh.Plotting.figure({
      height: HEIGHT, sizing_mode: "stretch_width", toolbar_location: null, tools: [],
      x_range: new bokeh.Range1d({ start: 0, end: 1 }), y_range: new bokeh.Range1d({ start: log ? 1e-3 : 0, end: 1 }),
      x_axis_type: times ? "datetime" : "linear", y_axis_type: log ? "log" : "linear",
      background_fill_alpha: 0, border_fill_alpha: 0, outline_line_color: null,
      min_border_left: 52, min_border_right: 10, min_border_top: 4, min_border_bottom: 20,
      output_backend: "canvas", lod_threshold: null, match_aspect: false,
    });
    this.times = times;
    this.style();
    this.cursor = new bokeh.Span({ dimension: "height", line_color: ink("cursor"), line_width: 1, location: NaN, level: "overlay" });
    this.figure.add_layout(this.cursor);
    const zoom = new bokeh.BoxZoomTool({ dimensions: "width" });
    this.figure.add_tools(zoom);
    this.figure.toolbar.active_drag = zoom;
    this.figure.on_event("mousemove", (event) => context.point(this.outside(event.x)));
    this.figure.on_event("mouseleave", () => context.point(null));
    this.figure.on_event("tap", (event) => this.tapped(this.outside(event.x), event.y));
    this.figure.on_event("doubletap", () => context.zoom(null));
    const ranged = () => {
      if (this.quietly) return;
      clearTimeout(this.ranging);
      const { start, end } = this.figure.x_range;
      this.ranging = setTimeout(() => context.zoom([this.outside(start), this.outside(end)]), 60);
    };
    this.figure.x_range.properties.start.change.connect(ranged);
    this.figure.x_range.properties.end.change.connect(ranged);
  }

  // Bokeh counts datetimes in milliseconds, figures count seconds.
  inside(x) { return this.times ? x * 1000 : x; }

  outside(x) { return this.times ? x / 1000 : x; }

  style() {
    for (const axis of [...this.figure.xaxis, ...this.figure.yaxis]) {
      axis.axis_line_color = null;
      axis.major_tick_line_color = null;
      axis.minor_tick_line_color = null;
      axis.major_label_text_color = ink("quiet");
      axis.major_label_text_font_size = "11px";
      axis.major_label_text_font = FONT;
      axis.major_label_standoff = 4;
    }
    for (const grid of [...this.figure.xgrid, ...this.figure.ygrid]) grid.grid_line_color = ink("line");
    for (const grid of this.figure.xgrid) grid.grid_line_color = null;
    for (const axis of this.figure.yaxis) axis.ticker.desired_num_ticks = 4;
    for (const axis of this.figure.xaxis) axis.ticker.desired_num_ticks = 5;
  }

  async show() {
    this.view = await this.bokeh.Plotting.show(this.figure, this.host);
    return this;
  }

  /** Sets both ranges without telling of a zoom. */
  range([left, right], [bottom, top]) {
    this.quietly = true;
    const same = left === right;
    this.figure.x_range.setv({ start: this.inside(same ? left - 0.5 : left), end: this.inside(same ? right + 0.5 : right) });
    this.figure.y_range.setv({ start: bottom, end: top });
    this.quietly = false;
  }

  mark(x) {
    this.cursor.location = x === null ? NaN : this.inside(x);
  }

  tapped(x) {
    this.context.tapped?.(x);
  }

  /** The picture as a blob: "svg" or "png". */
  async picture(form) {
    const layer = this.view.export(form, true);
    if (form === "svg") return new Blob([layer.ctx.get_serialized_svg(true)], { type: "image/svg+xml" });
    return layer.to_blob();
  }

  remove() {
    clearTimeout(this.ranging);
    this.view?.model.document?.clear();
    this.host.replaceChildren();
  }
}


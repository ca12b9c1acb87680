// What tests ask of the page; injected before its own scripts.
window.probe = {
  figure: (title) => [...document.querySelectorAll(".figure")].find((one) => one.dataset.title === title),
  view: (title) => probe.figure(title)?.querySelector(".plot").view,
  scroll: (title) => probe.figure(title).scrollIntoView(),
  drawn(title) {
    const value = (number) => (Number.isNaN(number) ? "NaN" : number);
    return probe.view(title)?.chart?.lines.map((line) => ({
      raw: Array.from(line.raw.data.x, (x, at) => [value(x), value(line.raw.data.y[at])]),
      smooth: Array.from(line.smooth.data.x).length,
      odd: Array.from(line.odd.data.x),
    }));
  },
  has: (title, x) => probe.drawn(title)?.[0].raw.some(([at]) => at === x) ?? false,
  between: (title, low, high) => probe.drawn(title)[0].raw.filter(([x]) => x >= low && x <= high).length,
  // Every figure that is in view or near it is drawn, and none is being drawn.
  settled: () => [...document.querySelectorAll(".plot")]
    .every(({ view }) => !view || !view.visible || (!view.stale && !view.busy)),
  seen: (panel) => [...document.querySelectorAll(`#panel-${panel} .plot`)].some((plot) => plot.view.visible),
  cells: (panel, title) => [...document.querySelectorAll(`#panel-${panel} .figure`)]
    .find((one) => one.dataset.title === title)
    ?.querySelectorAll(".cell").values().map((one) => [one.dataset.state, one.dataset.value]).toArray(),
  bars: () => [...document.querySelectorAll("#panel-seeds .bar")].map(({ dataset }) => [Number(dataset.seq), dataset.kind]),
  heights: () => [...document.querySelectorAll(".panel, .figure")].map((one) => one.getBoundingClientRect().height),
  rows: () => [...document.querySelectorAll(".feed .feed-rows > li")].map((row) => row.dataset.type),
  life: () => document.querySelector(".life")?.dataset.life,
  pixel(title, x, y) {
    const { frame } = probe.view(title).chart.view;
    return [frame.x_scale.compute(x), frame.y_scale.compute(y)];
  },
  gaps: (title) => probe.view(title).chart.gaps.data.left.length,
};

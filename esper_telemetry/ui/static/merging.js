// Several runs in one panel: lines of the same figure are laid over each other, everything else stands side by side.

/** One panel made of the same panel of several runs. runs: [{key, name, panel}], those that have it. */
export function merged(runs) {
  const [first] = runs;
  const order = [];
  const bySeries = new Map();
  runs.forEach(({ key, name, panel, hue }) => {
    for (const figure of panel.figures) {
      const id = `${figure.figure}/${figure.title}/${figure.x?.label ?? ""}`;
      if (figure.figure === "Series") {
        let together = bySeries.get(id);
        if (!together) {
          together = { ...figure, lines: [], marks: [], gaps: [], latest: null };
          bySeries.set(id, together);
          order.push(together);
        }
        const alone = figure.lines.length === 1;
        together.lines.push(...figure.lines.map((line) => ({
          ...line, run: key, hue, dashed: line.dashed, name: alone ? name : `${name} · ${line.name}`,
        })));
        together.gaps.push(...figure.gaps);
      } else order.push({ ...figure, title: `${name}: ${figure.title}` });
    }
  });
  const footer = { ...first.panel.footer, events: 0, types: [], first_seq: null, last_seq: null, last_time_ns: 0 };
  const counts = new Map();
  for (const { panel } of runs) {
    footer.events += panel.footer.events;
    for (const [type, count] of panel.footer.types) counts.set(type, (counts.get(type) ?? 0) + count);
    footer.first_seq = Math.min(footer.first_seq ?? Infinity, panel.footer.first_seq ?? Infinity);
    footer.last_seq = Math.max(footer.last_seq ?? 0, panel.footer.last_seq ?? 0);
    footer.last_time_ns = Math.max(footer.last_time_ns, panel.footer.last_time_ns ?? 0);
  }
  footer.types = [...counts];
  const absent = runs.filter(({ panel }) => panel.absence).map(({ name, panel }) => `${name}: ${panel.absence}`);
  return { ...first.panel, figures: order, footer, absence: absent.join("; ") };
}

/** Settings that are not the same in all runs: rows of [name, value of each run]. */
export function differences(facts) {
  const names = [...new Set(facts.flatMap((run) => Object.keys(run.settings)))].sort();
  return names.map((name) => [name, ...facts.map((run) => run.settings[name])])
    .filter(([, ...values]) => values.some((value) => JSON.stringify(value) !== JSON.stringify(values[0])));
}

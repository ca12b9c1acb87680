// What the server has published of each run, kept in step by its operations; knows nothing of drawing.

/** Applies operations, as ui/changes.py makes them, to a document; returns the document. */
export function apply(document, operations) {
  for (const operation of operations) {
    const path = operation[0];
    if (!path.length && operation.length === 2) { document = operation[1]; continue; }
    let holder = document;
    for (const step of path.slice(0, -1)) holder = holder[step];
    const last = path[path.length - 1];
    if (operation.length === 3) {
      const list = path.length ? holder[last] : document;
      list.length = operation[1];
      for (const item of operation[2]) list.push(item);
    } else holder[last] = operation[1];
  }
  return document;
}

/** One run as the page knows it. */
export class RunModel {
  constructor(key) {
    this.key = key;
    this.panels = new Map();
    this.order = []; // of all panels there can be: where a panel goes does not depend on when its first event came
    this.state = null;
    this.revision = 0;
    this.dirty = new Set();
    this.folded = 0;
  }

  snapshot(body) {
    this.order = body.order;
    this.panels = new Map(Object.entries(body.panels));
    this.dirty = new Set(this.panels.keys());
    this.take(body.state);
    this.whole = true;
  }

  changes(body) {
    for (const [id, operations] of body.panels) {
      this.panels.set(id, apply(this.panels.get(id), operations));
      this.dirty.add(id);
    }
    this.take(body.state);
  }

  take(state) {
    if (!state || !("phase" in state)) return;
    this.state = state;
    this.heard = performance.now();
    this.revision += 1;
  }
}

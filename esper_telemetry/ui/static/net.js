// Questions to the server, and the stream of changes with a cursor: after a break the browser gets what it misses.

export async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({ error: `${path}: ${answer.status} ${answer.statusText}` }));
  if (!answer.ok) throw new Error(body.error ?? `${path}: ${answer.status}`);
  return body;
}

export function tell(path, body) {
  return ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

export const runPath = (key, rest) => `/api/runs/${encodeURIComponent(key)}/${rest}`;

const SILENCE_MS = 5000;
const AGAIN_MS = 1500;

/** The stream of several runs. Calls take(name, run, body) for each message and connection(state) when it changes. */
export class Stream {
  constructor(keys, take, connection) {
    this.keys = keys;
    this.take = take;
    this.connection = connection;
    this.cursor = "";
    this.heard = performance.now();
    this.state = "";
    this.open();
    this.watch = setInterval(() => this.check(), 1000);
  }

  open() {
    this.source?.close();
    const query = new URLSearchParams(this.keys.map((key) => ["run", key]));
    if (this.cursor) query.set("cursor", this.cursor);
    this.source = new EventSource(`/api/stream?${query}`);
    for (const name of ["snapshot", "changes", "state"]) {
      this.source.addEventListener(name, (event) => {
        this.heard = performance.now();
        if (event.lastEventId) this.cursor = event.lastEventId;
        this.set("open");
        const message = JSON.parse(event.data);
        this.take(name, message.run, message.body);
      });
    }
    this.source.addEventListener("bye", () => { this.set("lost"); });
    this.source.onerror = () => {
      this.set("lost");
      if (this.source.readyState === EventSource.CLOSED) this.later();
    };
  }

  // The browser gives up after an answer that is no stream; the server may only be starting.
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), AGAIN_MS);
  }

  check() {
    if (performance.now() - this.heard > SILENCE_MS) {
      this.set("lost");
      this.heard = performance.now();
      this.open(); // a connection that is silent for so long is broken, whatever the browser thinks
    }
  }

  set(state) {
    if (state !== this.state) {
      this.state = state;
      this.connection(state);
    }
  }

  close() {
    clearInterval(this.watch);
    clearTimeout(this.timer);
    this.source.close();
  }
}

// The calls of the console's API, and its stream of frames.

export class Refusal extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

export const session = { token: "page", admin: false, user: null, users: false, hidden: false, run: "", broker: "", python: "python3" };

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refusal("The server does not answer.", 0);
  }
  let said = {};
  try {
    said = await response.json();
  } catch {
    // the answer is not JSON
  }
  if (!response.ok) throw new Refusal(said.error ?? `The server answered ${response.status}.`, response.status);
  return said;
}

export const get = (path) => ask(path);
export const post = (path, body = {}) => ask(path, {
  method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-Console": session.token },
});

export const runDemo = (run) => post("/api/demo", { run });

// Receive the frames of a page. A hidden page has no stream, because a browser has few connections for all its tabs.
export class Stream {
  constructor(onframe, onstate) {
    this.onframe = onframe;
    this.onstate = onstate;
    this.url = "";
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  open(view, query) {
    const url = `/api/stream?view=${view}&q=${encodeURIComponent(query)}`;
    if (url === this.url && this.source) return;
    this.url = url;
    this.stop();
    this.start();
  }

  start() {
    if (this.source || !this.url || document.hidden) return;
    this.source = new EventSource(this.url);
    let next = null;
    this.source.onmessage = (event) => {
      this.onstate("live");
      if (next === null) requestAnimationFrame(() => { const data = next; next = null; this.onframe(JSON.parse(data)); });
      next = event.data;
    };
    this.source.addEventListener("over", () => { this.stop(); this.onstate("over"); });
    this.source.onerror = () => {
      this.onstate("lost");
      if (this.source?.readyState === EventSource.CLOSED) {
        this.stop();
        setTimeout(() => this.start(), 1_000);
      }
    };
  }

  stop() {
    this.source?.close();
    this.source = null;
  }
}

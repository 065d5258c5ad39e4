/* Calls of services through the gateway. A path is the topic of a service, and data is JSON in both directions. */

const ATTEMPTS = 4;
const PATIENCE = 15_000; // milliseconds for an answer, or for a stream, which the service ends after 4 seconds
const PASSING = new Set([429, 502, 503, 504]);

/** An answer that is no result. Without a status, there was no answer. */
export class Problem extends Error {
  constructor(message, status = null) {
    super(message);
    this.status = status;
  }

  get passes() {
    return this.status === null || PASSING.has(this.status);
  }
}

let token = sessionStorage.getItem("token");

export const hasToken = () => Boolean(token);

export function setToken(text) {
  token = text;
  sessionStorage.setItem("token", text);
}

export const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

async function send(topic, options) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch(topic, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Problem("The server does not answer.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(problem.detail ?? problem.title ?? `The server answers with status ${response.status}.`, response.status);
}

/** Call a service. The key makes a call that is repeated, because its answer did not come, the same call. */
export async function call(topic, data) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await send(topic, { method: "POST", headers, body: JSON.stringify(data) });
      return await response.json().catch(() => { throw new Problem("The answer has broken off."); });
    } catch (error) {
      if (!error.passes || attempt === ATTEMPTS) throw error;
      await pause(250 * 2 ** attempt);
    }
  }
}

/** The parts of a stream of a service: server-sent events, read by fetch because EventSource sends no token. */
export async function* stream(topic) {
  const response = await send(topic, { headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => { throw new Problem("The stream has broken off."); });
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
        if (fields.event === "end") return;
        if (fields.event === "error") throw problemOf(JSON.parse(fields.data));
        if (fields.data !== undefined) yield JSON.parse(fields.data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const problemOf = (problem) => new Problem(problem.detail ?? problem.title, problem.status);

// The REST calls of the front end, as docs/web.md has them. Each returns what the front end answered, or throws:
// Refusal for an answer that is an error, TypeError (from fetch) when there was no answer.

const MOST = 200; // replies in one answer

export class Refusal extends Error {
  constructor(sentence, status, code, wait) {
    super(sentence);
    this.status = status;
    this.code = code;
    this.wait = wait; // milliseconds until another try may succeed; 0 if waiting does not help
  }
}

async function request(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", ...options });
  if (response.ok) return response.json();
  let said = {};
  try {
    said = await response.json();
  } catch {
    // The answer came from a machine between this page and the front end.
  }
  const wait = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
  throw new Refusal(said.error ?? `The front end answered ${response.status}.`, response.status, said.code, wait);
}

// The page gives the cookie. One request at a time, over all tabs where the browser can do that: with two new sessions
// words would go to one of them, and be asked for in the other.
let renewing = null;
export function renewSession() {
  const ask = () => fetch("./", { cache: "no-store" });
  renewing ??= (navigator.locks ? navigator.locks.request("session", ask) : ask()).finally(() => {
    renewing = null;
  });
  return renewing;
}

// Send a sentence; a session that the front end does not know is renewed once.
export async function post(sentence) {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ words: sentence }),
  };
  try {
    return await request("rest/words", options);
  } catch (error) {
    if (error.code !== "unknown-session") throw error;
  }
  await renewSession();
  return request("rest/words", options);
}

// Fetch the replies after one, waiting some seconds for the first. The front end keeps them until the next call says
// that they have arrived, so an answer that is lost on its way costs no word.
export const fetchReplies = (after, seconds) =>
  request(`rest/wordsuppercase?after=${after}&most=${MOST}&wait=${seconds}`);

// The command that starts one more worker, perhaps a note, and the address of the server's console if it is known.
export const fetchWorker = () => request("rest/worker");

// "connected", "disconnected" (front end from server) or "offline" (page from front end).
export async function fetchConnection() {
  try {
    return (await fetch("readyz", { cache: "no-store" })).ok ? "connected" : "disconnected";
  } catch {
    return "offline";
  }
}

// The page's side of the worker-offload demo: posts a sentence, holds a GET open for the words that come back.
// Whatever came over the network is shown by textContent only.

const HOLD_SECONDS = 25;
const HINT_AFTER = 10_000;
const CHECK_CONNECTION_EVERY = 4_000;
const ANNOUNCE_EVERY = 1_500;
const MAX_SHOWN = 1_000;

const KINDS = [
  { prefix: "Python:", kind: "python", label: "Python" },
  { prefix: "Node.js:", kind: "node", label: "Node.js" },
  { prefix: "Ruby:", kind: "ruby", label: "Ruby" },
  { prefix: "Liberty for Java:", kind: "java", label: "Liberty for Java" },
];

const byId = (id) => document.getElementById(id);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function fish(kind) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "fish");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#fish-${kind}`);
  svg.append(use);
  return svg;
}

function kindOf(backend) {
  const known = KINDS.find(({ prefix }) => backend.startsWith(prefix));
  if (!known) return { kind: "other", label: "Other", name: backend };
  return { ...known, name: backend.slice(known.prefix.length).trim() || known.label };
}

function duration(milliseconds) {
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

// A sentence with the commands in it set as code.
function withCommands(sentence) {
  const parts = sentence.split(/(python -m [a-z.]+[a-z])/);
  return parts.map((part, index) => (index % 2 ? element("code", "", part) : part));
}

// Errors: one banner for each different sentence, with how often it happened.

const banners = new Map();

function showError(sentence) {
  let banner = banners.get(sentence);
  if (!banner) {
    const box = element("div", "notice error");
    const text = element("p");
    const times = element("span", "times");
    times.setAttribute("aria-hidden", "true");
    text.append(...withCommands(sentence), times);
    const close = element("button", "", "Close");
    close.type = "button";
    close.setAttribute("aria-label", `Close the message: ${sentence}`);
    close.addEventListener("click", () => {
      closeError(sentence);
      byId("sentence").focus();
    });
    box.append(text, close);
    byId("errors").append(box);
    banner = { box, times, count: 0 };
    banners.set(sentence, banner);
  }
  banner.count += 1;
  if (banner.count > 1) banner.times.textContent = `${banner.count.toLocaleString("en")} times`;
}

function closeError(sentence) {
  banners.get(sentence)?.box.remove();
  banners.delete(sentence);
}

function clearErrors() {
  for (const { box } of banners.values()) box.remove();
  banners.clear();
}

// The run: what was sent and came back since no word was out.

const run = { sent: 0, back: 0, failed: 0, lastSign: 0 };
let posting = false;
let posts = 0; // raised at the start and end of every POST: a poll that saw it change cannot correct the count

const wordsOut = () => Math.max(0, run.sent - run.back);

function showRun() {
  const out = wordsOut();
  const { sent, back, failed } = run;
  const bar = byId("progress");
  bar.max = Math.max(1, sent);
  bar.value = Math.min(back, bar.max);
  let text = "No words are out.";
  if (out) text = `${back.toLocaleString("en")} of ${plural(sent, "word")} back, ${out.toLocaleString("en")} still out`;
  else if (back) text = back === 1 ? "Your word is back." : `All ${plural(back, "word")} are back.`;
  if (failed) text = `${text.replace(/\.$/, "")}, ${failed.toLocaleString("en")} with an error.`;
  byId("progress-text").textContent = text;
  byId("empty").hidden = out > 0 || byId("words").hasChildNodes();
  byId("diagram").classList.toggle("working", out > 0);
  showHint();
}

function showHint() {
  byId("hint").hidden = !(wordsOut() && performance.now() - run.lastSign >= HINT_AFTER);
}

function restartRunWhenDone() {
  if (!posting && wordsOut() === 0) Object.assign(run, { sent: 0, back: 0, failed: 0 });
}

// Words and workers

const workers = new Map();
const shown = { hidden: 0, older: null };

function showWord(reply) {
  const card = element("li", "word new");
  const { kind, label, name } = reply.error ? { kind: "failed" } : kindOf(reply.backend);
  card.dataset.kind = kind;
  const from = element("span", "from");
  if (reply.error) {
    from.textContent = reply.error;
    from.title = reply.error;
  } else {
    from.append(element("span", "unseen", `${label} worker `), name);
  }
  card.append(fish(kind), element("b", "", reply.word), from);
  if (!reply.error) card.append(element("span", "time", duration(reply.roundTripMs)));
  const list = byId("words");
  list.append(card);
  byId("clear").disabled = false;
  if (list.querySelectorAll(".word").length > MAX_SHOWN) {
    list.querySelector(".word").remove();
    shown.hidden += 1;
    if (!shown.older) {
      shown.older = element("li", "older quiet");
      list.prepend(shown.older);
    }
    shown.older.textContent = `${plural(shown.hidden, "earlier word")} not shown`;
  }
}

function countWorker(reply) {
  let worker = workers.get(reply.backend);
  if (!worker) {
    const { kind, label, name } = kindOf(reply.backend);
    const row = element("li", "one-worker");
    row.dataset.kind = kind;
    const count = element("span", "count");
    const pace = element("span", "pace");
    const share = element("span", "share");
    const fill = element("i");
    share.append(fill);
    row.append(fish(kind), element("span", "name", name), count, pace, share);
    byId("workers").append(row);
    byId("no-workers").hidden = true;
    worker = { words: 0, time: 0, label, count, pace, fill };
    workers.set(reply.backend, worker);
  }
  worker.words += 1;
  worker.time += reply.roundTripMs;
  const most = Math.max(...Array.from(workers.values(), ({ words }) => words));
  for (const { words, time, label, count, pace, fill } of workers.values()) {
    count.textContent = words.toLocaleString("en");
    pace.textContent = `${label} · ${duration(time / words)} on average`;
    fill.style.width = `${(100 * words) / most}%`;
  }
}

const arrived = [];

function receive(reply) {
  run.lastSign = performance.now();
  if (!reply.again) { // the run counts words, not what each kind of worker has to say to them
    restartRunWhenDone();
    run.back += 1;
    if (reply.error) run.failed += 1;
  }
  if (reply.error) {
    showError(reply.error);
  } else {
    countWorker(reply);
  }
  showWord(reply);
  arrived.push(reply.error ? `${reply.word} failed` : reply.word);
}

// One sentence for screen readers about all words that came since the last one.
function announce() {
  if (!arrived.length) return;
  const words = arrived.splice(0);
  const which = words.length > 12 ? plural(words.length, "word") : words.join(", ");
  const out = wordsOut();
  byId("announce").textContent = `${which} arrived. ${out ? `${plural(out, "word")} still out.` : "No word is out."}`;
}

function clear() {
  byId("words").replaceChildren();
  byId("workers").replaceChildren();
  workers.clear();
  Object.assign(shown, { hidden: 0, older: null });
  clearErrors();
  byId("no-workers").hidden = false;
  byId("clear").disabled = true;
  run.failed = 0;
  restartRunWhenDone();
  showRun();
  byId("sentence").focus();
}

// The connection

const STATES = {
  connected: "Connected",
  disconnected: "Messaging server unreachable",
  offline: "Front end unreachable",
};

function showConnection(state) {
  const box = byId("connection");
  if (box.dataset.state === state) return;
  box.dataset.state = state;
  byId("connection-text").textContent = STATES[state];
}

async function checkConnection() {
  try {
    const response = await fetch("readyz", { cache: "no-store" });
    showConnection(response.ok ? "connected" : "disconnected");
  } catch {
    showConnection("offline");
  }
}

// Talking to the front end

// What a response that is not OK says: a sentence, a code, and how long to wait in milliseconds.
async function refusalOf(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // It came from something between this page and the front end.
  }
  const wait = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
  return { sentence: said.error ?? `The front end answered ${response.status}.`, code: said.code, wait };
}

// The page gives the cookie. One request at a time, over all tabs where the browser can do that: with two new sessions
// words would go to one of them, and be asked for in the other.
let renewing = null;
function renewSession() {
  const ask = () => fetch("./", { cache: "no-store" });
  renewing ??= (navigator.locks ? navigator.locks.request("session", ask) : ask()).finally(() => {
    renewing = null;
  });
  return renewing;
}

function forgetLostWords() {
  const lost = wordsOut();
  if (lost) showError(`The front end was started anew, and ${plural(lost, "word")} did not come back: submit again.`);
  run.sent = run.back;
  showRun();
}

async function post(words) {
  for (let renewed = false; ; ) {
    const response = await fetch("rest/words", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ words }),
    });
    if (response.ok) {
      run.sent += (await response.json()).msgCount;
      return;
    }
    const { sentence, code, wait } = await refusalOf(response);
    if (code === "unknown-session" && !renewed) {
      renewed = true;
      await renewSession();
    } else if (response.status === 429 && wait) {
      const slower = `${sentence} Your sentence goes out again by itself.`;
      showError(slower);
      byId("submit").disabled = true;
      await pause(wait);
      byId("submit").disabled = false;
      closeError(slower);
    } else {
      showError(sentence);
      if (response.status === 503) checkConnection();
      return;
    }
  }
}

async function submit() {
  if (posting) return; // the button shows it when that takes long
  restartRunWhenDone();
  posting = true;
  posts += 1;
  run.lastSign = performance.now();
  try {
    await post(byId("sentence").value);
  } catch {
    showError("The front end does not answer, so nothing was sent. Is it running (python -m frontend)?");
    checkConnection();
  }
  posting = false;
  posts += 1;
  showRun();
}

// With the ticket of the last poll, a word that was lost on its way comes again: the number goes up when one has arrived.
const reader = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16)).join("");
let ticket = 1;

let pollError = null; // what the last poll was refused with; its banner goes when polls work again

async function poll(seconds) {
  const postsBefore = posts;
  const response = await fetch(`rest/wordsuppercase?wait=${seconds}&ticket=${reader}.${ticket}`, { cache: "no-store" });
  if (!response.ok) {
    const { sentence, code, wait } = await refusalOf(response);
    if (code === "unknown-session") {
      forgetLostWords();
      await renewSession();
      await pause(500); // a browser that keeps no cookie would be back at once
      return;
    }
    if (pollError !== sentence) showError(sentence);
    pollError = sentence;
    await pause(wait);
    throw new Error(sentence);
  }
  if (pollError) closeError(pollError);
  pollError = null;
  if (response.status === 200) {
    receive(await response.json());
    ticket += 1;
  }
  const waiting = Number(response.headers.get("Words-Waiting"));
  if (postsBefore === posts && !posting) {
    if (waiting && !run.sent) run.lastSign = performance.now(); // out since before this page was loaded
    run.sent = run.back + waiting;
  }
  showRun();
}

async function pollForEver() {
  let failures = 0;
  let hold = 0; // the first answer comes at once: it tells how many words are out from before
  for (;;) {
    try {
      await poll(hold);
      failures = 0;
      hold = HOLD_SECONDS;
    } catch {
      failures += 1;
      checkConnection();
      await pause(Math.min(5_000, 250 * 2 ** failures));
    }
  }
}

// The form

const sentence = byId("sentence");

function countWords() {
  const count = sentence.value.split(/\s+/).filter(Boolean).length;
  byId("word-count").textContent = plural(count, "word");
}

sentence.addEventListener("input", countWords);
sentence.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("clear").addEventListener("click", clear);

countWords();
showRun();
checkConnection();
setInterval(checkConnection, CHECK_CONNECTION_EVERY);
setInterval(showHint, 500);
setInterval(announce, ANNOUNCE_EVERY);
pollForEver();

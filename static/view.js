// Paints the state on the page, once a frame. What came over the network is set as text only, never as markup.

const CARDS_A_FRAME = 120; // more would make the frame long
const COMPACT_BEYOND = 60; // words; cards become chips
const ANIMATED = 12; // new cards in one frame, at most, that surface with a movement
const LONG_WORD = 18; // characters; the card gets a row of its own
const MOST_NOTICES = 2;

export const byId = (id) => document.getElementById(id);
const written = (count) => count.toLocaleString("en");
export const plural = (count, noun) => `${written(count)} ${noun}${count === 1 ? "" : "s"}`;

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
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

function duration(milliseconds) {
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

// Notices: one for each subject, so that a newer one takes the place of the older, and two at most.

const notices = new Map();

export function showNotice(subject, sentence) {
  if (notices.get(subject)?.sentence === sentence) return;
  closeNotice(subject);
  const box = element("div", "notice error");
  const close = element("button", "", "Close");
  close.type = "button";
  close.setAttribute("aria-label", `Close the message: ${sentence}`);
  close.addEventListener("click", () => {
    closeNotice(subject);
    byId("sentence").focus();
  });
  box.append(element("p", "", sentence), close);
  byId("errors").append(box);
  notices.set(subject, { box, sentence });
  if (notices.size > MOST_NOTICES) closeNotice(notices.keys().next().value);
}

export function closeNotice(subject) {
  notices.get(subject)?.box.remove();
  notices.delete(subject);
}

// The connection, the line beside the button, the commands

const LAMP = {
  connected: "Connected",
  disconnected: "Broker unreachable",
  offline: "Front end unreachable",
};

export function showConnection(state) {
  byId("connection").dataset.state = state;
  setText(byId("connection-text"), LAMP[state]);
}

// With no text, the line is the word count and the keys.
export function showStatus({ text = "", command = false }) {
  byId("sentence-hint").hidden = Boolean(text);
  byId("status").hidden = !text;
  setText(byId("status-text"), text);
  byId("status-command").hidden = !command;
}

// A command breaks between its words only, if these are not longer than a line.
function setCommand(node, command) {
  node.replaceChildren(...command.split(" ").flatMap((part, i) => [i ? " " : "", element("span", "", part)]));
}

export function showWorkerCommand({ command, note, console }) {
  byId("console").hidden = !console;
  if (console) byId("console").href = console;
  for (const node of document.querySelectorAll("[data-command=worker]")) setCommand(node, command);
  byId("slow-motion").hidden = !command.endsWith("-m backend");
  setCommand(byId("slow-command"), `${command} --delay 0.5`);
  byId("command-note").hidden = !note;
  byId("command-note").textContent = note ?? "";
}

export async function copyFrom(button) {
  const code = byId(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch { // without https a browser has no clipboard for scripts
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2_000);
}

// Words

function card({ reply, worker }, compact) {
  const node = element("li", "word");
  node.dataset.kind = worker?.kind ?? "failed";
  if (worker) node.dataset.hue = worker.hue;
  if (reply.word.length > LONG_WORD) node.classList.add("long");
  const from = element("span", "from", worker ? "" : reply.error);
  if (worker) {
    from.append(element("span", "called", "worker "), String(worker.number));
    node.title = `${worker.id}, ${duration(reply.roundTripMs)}`;
  } else {
    node.title = reply.error;
  }
  if (!compact) node.append(fish(node.dataset.kind));
  node.append(element("b", "", reply.word), from);
  if (worker && !compact) node.append(element("span", "time", duration(reply.roundTripMs)));
  return node;
}

// Make the list hold exactly these entries, in this order.
function arrange(list, entries) {
  let next = list.firstElementChild;
  for (const { node } of entries) {
    if (node === next) next = next.nextElementSibling;
    else list.insertBefore(node, next);
  }
  while (next) {
    const over = next;
    next = next.nextElementSibling;
    over.remove();
  }
}

// Return whether there is more to paint in the next frame.
function paintWords(words, inSentenceOrder) {
  const list = byId("words");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const fresh = [];
  for (let i = words.shown.length - 1; i >= 0 && !words.shown[i].node; i -= 1) fresh.push(words.shown[i]);
  fresh.reverse();
  const made = fresh.slice(0, CARDS_A_FRAME);
  const compact = words.shown.length > COMPACT_BEYOND;
  for (const entry of made) {
    entry.node = card(entry, compact);
    if (made.length <= ANIMATED) {
      entry.node.classList.add("new");
      entry.node.addEventListener("animationend", () => entry.node.classList.remove("new"), { once: true });
    }
  }
  list.classList.toggle("compact", compact);
  arrange(list, words.inOrder(inSentenceOrder).filter(({ node }) => node));
  if (made.length && atEnd && !inSentenceOrder) list.scrollTop = list.scrollHeight;
  byId("older").hidden = !words.dropped;
  setText(byId("older"), `${plural(words.dropped, "earlier word")} not shown`);
  return made.length < fresh.length;
}

// Workers

const rows = new Map(); // worker -> the parts of its row

function rowOf(worker) {
  if (rows.has(worker)) return rows.get(worker);
  const row = element("li", "one-worker");
  row.dataset.hue = worker.hue;
  const name = element("span", "name", `worker ${worker.number}`);
  name.title = worker.id;
  const parts = ["count", "percent", "pace", "share", "fill"].map((part) => element("span", part));
  const [count, percent, pace, share, fill] = parts;
  share.append(fill);
  row.append(fish(worker.kind), name, element("span", "label", worker.label), count, percent, pace, share);
  byId("workers").append(row);
  rows.set(worker, { row, count, percent, pace, fill });
  return rows.get(worker);
}

function paintWorkers(words) {
  const all = new Set(words.workers.values());
  const latest = Math.max(0, ...Array.from(all, ({ lastSign }) => lastSign));
  for (const [worker, { row }] of rows) {
    if (all.has(worker)) continue;
    row.remove();
    rows.delete(worker);
  }
  for (const worker of all) {
    const { row, count, percent, pace, fill } = rowOf(worker);
    const share = worker.words / words.answers;
    setText(count, written(worker.words));
    setText(percent, `${Math.round(100 * share)} %`);
    fill.style.width = `${100 * share}%`;
    const { working, waiting, both } = worker.average;
    const spent = both === undefined
      ? `${duration(waiting)} waiting · ${duration(working)} working`
      : `${duration(both)} on average`;
    const quiet = words.out > 0 && worker.isQuiet(words.lastSent, latest);
    row.classList.toggle("quiet-worker", quiet);
    setText(pace, quiet ? "silent: its words go to other workers" : spent);
  }
  byId("no-workers").hidden = all.size > 0;
}

// Progress

export function progressOf({ sent, back, out, failed, missing }) {
  const errors = failed ? `, ${written(failed)} with an error` : "";
  const gone = missing ? ` ${plural(missing, "word")} went to another tab or got lost.` : "";
  if (out) return `${written(back)} of ${plural(sent, "word")} back, ${written(out)} still out${errors}`;
  if (!back) return gone.trim() || "Nothing is under way.";
  return `${back === 1 ? "Your word is back" : `All ${plural(back, "word")} are back`}${errors}.${gone}`;
}

function paintProgress(words) {
  const bar = byId("progress");
  bar.max = Math.max(1, words.sent);
  bar.value = Math.min(words.back, bar.max);
  setText(byId("progress-text"), progressOf(words));
  byId("empty").hidden = words.out > 0 || words.shown.length > 0;
  byId("clear").disabled = !words.shown.length;
  byId("diagram").classList.toggle("working", words.out > 0);
}

// Return whether there is more to paint in the next frame.
export function paint(words, inSentenceOrder) {
  paintWorkers(words);
  paintProgress(words);
  return paintWords(words, inSentenceOrder);
}

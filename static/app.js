// The page: the form, the poll for replies, and what happens when. State is in words.js, the page's look in view.js.

import { Refusal, fetchConnection, fetchReplies, fetchWorker, post, renewSession } from "./api.js";
import * as view from "./view.js";
import { Words } from "./words.js";

const { byId, plural } = view;
const HOLD_SECONDS = 25;
const SILENCE = 1_500; // milliseconds without a reply until the line beside the button says so
const LONG_SILENCE = 10_000;
const CHECK_CONNECTION_EVERY = 4_000;
const CHECK_SILENCE_EVERY = 250;
const ANNOUNCE_EVERY = 1_500;
const CHECK_SERVER = "If a worker is running, check that it has the same MACAQUE_BROKER as the front end.";

const words = new Words();
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const split = (sentence) => sentence.split(/\s+/).filter(Boolean);

// Painting: whatever changes the state asks for a frame, and a frame paints all that has changed.

let frame = 0;
function changed() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (view.paint(words, byId("in-order").checked)) changed();
  });
}

// The line beside the button: what is known when no word comes back.

let connection = "unknown";
let slowDown = ""; // why the sentence is held back for now

function status() {
  const silence = performance.now() - words.lastSign;
  if (connection === "offline") return { text: "The front end does not answer. The page keeps trying." };
  if (connection === "disconnected") return { text: "The front end is connecting to the broker again." };
  if (slowDown) return { text: slowDown };
  if (words.areUnserved) {
    return { text: "No worker took the words: none has answered yet. Start one, and submit again:", command: true };
  }
  if (!words.out || silence < SILENCE) return {};
  const waiting = words.answers
    ? `${plural(words.out, "word")} still out, and no worker answers. Start one:`
    : "Waiting for a worker: none has answered yet. Start one:";
  return { text: silence < LONG_SILENCE ? waiting : `${CHECK_SERVER} ${waiting}`, command: true };
}

const checkSilence = () => view.showStatus(status());

async function checkConnection() {
  const before = connection;
  connection = await fetchConnection();
  view.showConnection(connection);
  if (connection === "connected" && before !== connection) {
    view.closeNotice("connection");
    showWorkerCommand();
  }
  checkSilence();
}

async function showWorkerCommand() {
  try {
    view.showWorkerCommand(await fetchWorker());
  } catch {
    // The command of the page itself stays.
  }
}

// Sending

let posting = false;
let posts = 0; // raised at the start and end of every POST: a poll that saw it change cannot correct the count

async function postUntilTaken(sentence) {
  for (;;) {
    try {
      return await post(sentence);
    } catch (error) {
      if (error.status !== 429 || !error.wait) throw error;
      slowDown = `${error.message} Your sentence goes out again by itself.`;
      checkSilence();
      await pause(error.wait);
    } finally {
      slowDown = "";
    }
  }
}

async function submit() {
  if (posting) return;
  posting = true;
  posts += 1;
  byId("submit").disabled = true;
  const sentence = byId("sentence").value;
  const sent = split(sentence);
  words.expect(sent, performance.now());
  changed();
  try {
    const { msgCount } = await postUntilTaken(sentence);
    words.sent += msgCount - sent.length; // where the front end splits the sentence in another way
    for (const subject of ["connection", "submit", "words"]) view.closeNotice(subject);
  } catch (error) {
    words.unexpect(sent);
    const answered = error instanceof Refusal;
    const sentenceOf = answered ? error.message : "The front end does not answer, so nothing was sent.";
    view.showNotice(answered && error.status !== 503 ? "submit" : "connection", sentenceOf);
    if (!answered || error.status === 503) checkConnection();
  }
  words.lastSign = performance.now();
  posting = false;
  posts += 1;
  byId("submit").disabled = false;
  checkSilence();
  changed();
}

// Fetching

let after = 0; // the number of the last reply that has arrived
const arrived = []; // words that the screen reader has not been told of

function receive(replies) {
  words.receive(replies, performance.now());
  const failed = replies.findLast(({ error }) => error);
  if (failed && !words.areUnserved) view.showNotice("words", failed.error);
  else if (words.areUnserved) view.closeNotice("words"); // the line beside the button says it, with the command
  arrived.push(...replies.map(({ word, error }) => (error ? `${word} failed` : word)));
  after = replies.at(-1)?.id ?? after;
  if (replies.length) checkSilence();
}

async function renew() {
  after = 0;
  const lost = words.out;
  if (lost) view.showNotice("words", `The front end was restarted, and ${plural(lost, "word")} did not come back: submit again.`);
  words.sent = words.back;
  changed();
  await renewSession();
  await pause(500); // a browser that keeps no cookie would be back at once
}

async function poll(seconds) {
  const postsBefore = posts;
  const { replies, out } = await fetchReplies(after, seconds);
  view.closeNotice("fetch");
  receive(replies);
  if (postsBefore === posts && !posting) words.correct(out, performance.now());
  changed();
}

async function pollForEver() {
  let failures = 0;
  let hold = 0; // the first answer comes at once: it tells how many words are out from before
  for (;;) {
    try {
      await poll(hold);
      failures = 0;
      hold = HOLD_SECONDS;
    } catch (error) {
      if (error.code === "unknown-session") {
        await renew().catch(checkConnection);
        continue;
      }
      if (error instanceof Refusal) view.showNotice("fetch", error.message);
      else if (!(error instanceof TypeError)) throw error;
      failures += 1;
      checkConnection();
      await pause(Math.max(error.wait ?? 0, Math.min(5_000, 250 * 2 ** failures)));
    }
  }
}

// One sentence for screen readers about all words that came since the last one.
function announce() {
  if (!arrived.length) return;
  const came = arrived.splice(0);
  const which = came.length > 12 ? plural(came.length, "word") : came.join(", ");
  byId("announce").textContent = `${which} arrived. ${words.out ? `${plural(words.out, "word")} still out.` : "No word is out."}`;
}

// The form

function countWords() {
  byId("word-count").textContent = plural(split(byId("sentence").value).length, "word");
}

byId("sentence").addEventListener("input", countWords);
byId("sentence").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("clear").addEventListener("click", () => {
  words.clear();
  for (const subject of ["submit", "words"]) view.closeNotice(subject);
  changed();
  byId("sentence").focus();
});
for (const choice of document.querySelectorAll("[name=order]")) choice.addEventListener("change", changed);
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", () => view.copyFrom(button));
}

countWords();
changed();
checkConnection();
setInterval(checkConnection, CHECK_CONNECTION_EVERY);
setInterval(checkSilence, CHECK_SILENCE_EVERY);
setInterval(announce, ANNOUNCE_EVERY);
pollForEver();

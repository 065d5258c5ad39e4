// The console: the open page, its frames, and the header.
import { Refusal, Stream, get, post, session } from "./api.js";
import { bytes, h, icon, minute, now, number, patch, rate, setNow, spark, text } from "./dom.js";
import * as calls from "./calls.js";
import * as dead from "./dead.js";
import * as destinations from "./destinations.js";
import * as learn from "./learn.js";
import * as messages from "./messages.js";
import * as topics from "./topics.js";

const PAGES = { messages, calls, destinations, dead, topics, learn };
const view = document.getElementById("view");
const $ = (id) => document.getElementById(id);
let page = null, name = "";

export const app = {
  frame: null,
  go(url, { replace = false } = {}) {
    if (url === location.pathname + location.search) return;
    history[replace ? "replaceState" : "pushState"](null, "", url);
    route();
  },
  query: () => new URLSearchParams(location.search).get("q") ?? "",
  // Return the address of a page with a filter.
  url(path, query = app.query()) {
    return query ? `${path}?q=${encodeURIComponent(query).replaceAll("%2F", "/").replaceAll("%3A", ":")}` : path;
  },
  say(sentence) { text($("status"), sentence); },
  listen() { stream.open(page.view ?? name, name === "messages" || name === "learn" ? app.query() : ""); },
};

const stream = new Stream((frame) => {
  setNow(frame.now);
  app.frame = frame;
  header(frame);
  page?.frame?.(frame);
}, (state) => {
  if (state === "over") start();
  $("connection").dataset.state = state === "live" ? "connected" : "disconnected";
  text($("connection-text"), state === "live" ? "Live" : "Lost contact");
});

function route() {
  const [, first = "", rest = ""] = location.pathname.match(/^\/([^/]*)\/?(.*)$/) ?? [];
  const wanted = PAGES[first] ? first : "messages";
  if (wanted !== name) {
    page?.close?.();
    name = wanted;
    page = PAGES[name];
    view.replaceChildren();
    view.dataset.page = name;
    page.open(view, app);
    document.title = `${name === "dead" ? "Dead letters" : name[0].toUpperCase() + name.slice(1)} · macaque console`;
    for (const link of document.querySelectorAll(".tabs a")) {
      if (link.getAttribute("href") === `/${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  page.show?.(decodeURIComponent(rest));
  app.listen();
  if (app.frame) page.frame?.(app.frame);
}

function header(frame) {
  const totals = frame.totals;
  text($("rate"), rate(totals.rate));
  text($("total"), number(totals.messages));
  text($("connected"), totals.gone ? `${totals.connected} · ${totals.gone} gone` : totals.connected);
  const sampled = totals.recorded < totals.messages ? ` of ${number(totals.messages)}` : "";
  text($("history"), `${number(totals.held)}${sampled}${totals.since ? ` since ${minute(totals.since)}` : ""}`);
  $("history").title = `${bytes(totals.memory)} of ${bytes(totals.memory_limit)} (--console-memory)`;
  $("dead-count").hidden = !totals.dead;
  text($("dead-count"), number(totals.dead));
  spark($("spark"), totals.series.map(([each]) => each));
  patch($("attention"), frame.attention, (line) => line.link, () => h("li", {}, h("a", {})), (node, line) => {
    text(node.firstChild, line.text);
    node.firstChild.setAttribute("href", line.link);
  });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  app.go(link.getAttribute("href"));
});
window.addEventListener("popstate", route);

const JUMPS = { m: "/messages", c: "/calls", d: "/destinations", l: "/dead", t: "/topics" };
let jumps = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (jumps && JUMPS[event.key]) app.go(JUMPS[event.key]);
  else if (event.key === "?") $("help").showModal();
  else if (page?.key?.(event)) event.preventDefault();
  jumps = event.key === "g";
});
$("help-button").addEventListener("click", () => $("help").showModal());

function padlock() {
  const lock = $("padlock");
  const what = session.users ? `${session.user}: ${session.admin ? "may act" : "reads only"}` : session.admin ? "Anybody here may act" : "Reading only";
  lock.replaceChildren(icon(session.users ? "lock" : "lock-open"), h("span", {}, what));
  lock.title = session.admin ? "Sending, replaying, purging and dropping are allowed." :
    session.users ? "A line \"USER admin\" in the users file lets a user act." : "Start the server with --console-admin to send, replay, purge and drop.";
  if (session.users) {
    lock.append(h("button", { type: "button", class: "small", onclick: async () => { await post("/api/logout"); location.reload(); } }, "Log out"));
  }
}

function login() {
  const error = h("p", { class: "notice error", role: "alert", hidden: true });
  const form = h("form", { class: "card login", onsubmit: async (event) => {
    event.preventDefault();
    const { user, password } = Object.fromEntries(new FormData(form));
    try {
      await post("/api/login", { user, password });
      await start();
    } catch (refusal) {
      error.hidden = false;
      error.textContent = refusal.message;
    }
  } },
  h("h1", {}, "Log in"),
  h("p", { class: "quiet" }, "The users of this server are in its users file."),
  error,
  h("label", {}, "User", h("input", { name: "user", autocomplete: "username", required: true })),
  h("label", {}, "Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true })),
  h("button", { class: "primary" }, "Log in"));
  view.replaceChildren(form);
  form.elements.user.focus();
}

async function start() {
  let said;
  try {
    said = await get("/api/session");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    $("connection").dataset.state = "disconnected";
    text($("connection-text"), "Lost contact");
    setTimeout(start, 1_000);
    return;
  }
  if (said.login) { stream.stop(); page?.close?.(); name = ""; login(); return; }
  if (session.run && session.run !== said.run) name = ""; // the server has restarted
  Object.assign(session, said);
  padlock();
  route();
}

setInterval(() => { if (app.frame && !document.hidden) page?.tick?.(now()); }, 1_000);
start();

// The console: the open page, its frames, and the header.
import { Refusal, Stream, get, post, runDemo, session } from "./api.js";
import { bytes, counted, h, icon, minute, now, number, patch, rate, setNow, spark, text } from "./dom.js";
import * as calls from "./calls.js";
import * as clients from "./clients.js";
import * as dead from "./dead.js";
import * as destinations from "./destinations.js";
import * as learn from "./learn.js";
import * as messages from "./messages.js";
import * as services from "./services.js";
import * as topics from "./topics.js";

const PAGES = { messages, calls, services, clients, destinations, dead, topics, learn };
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
  // Say what was done, with a button that undoes it while that is possible.
  undo(sentence, name) {
    const done = (said) => { $("toast").replaceChildren(h("span", {}, said)); setTimeout(() => { if ($("toast").textContent === said) $("toast").hidden = true; }, 6_000); };
    $("toast").hidden = false;
    if (!name) { done(sentence); return; }
    $("toast").replaceChildren(h("span", {}, sentence), h("button", { type: "button", class: "small", onclick: async () => {
      try {
        const { restored } = await post("/api/undo", { undo: name });
        done(`${counted(restored, "message")} ${restored === 1 ? "is" : "are"} back.`);
      } catch (error) { done(`${error.message}.`); }
    } }, "Undo"));
    clearTimeout(this.toast);
    this.toast = setTimeout(() => { $("toast").hidden = true; }, 55_000);
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
      if (link.getAttribute("href") === `/${name}`) {
        link.setAttribute("aria-current", "page");
        link.parentNode.scrollLeft = link.offsetLeft - (link.parentNode.clientWidth - link.clientWidth) / 2;
      }
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
  $("demo").hidden = !frame.demo;
  $("demo-end").hidden = !session.admin;
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

// The keys of pages that are a table: j and k walk through the rows, Escape closes the row that is open.
function tableKey(event) {
  const links = [...view.querySelectorAll("tbody th a:first-child")].filter((link) => !link.closest(".pane")), at = links.indexOf(document.activeElement);
  if (event.key === "j" || event.key === "k") links[event.key === "j" ? Math.min(links.length - 1, at + 1) : Math.max(0, at - 1)]?.focus();
  else if (event.key === "Escape" && location.pathname !== `/${name}`) app.go(`/${name}`);
  else return false;
  return true;
}

const JUMPS = { m: "/messages", c: "/calls", s: "/services", n: "/clients", d: "/destinations", l: "/dead", t: "/topics" };
let jumps = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (jumps && JUMPS[event.key]) app.go(JUMPS[event.key]);
  else if (event.key === "?") $("help").showModal();
  else if ((page?.key ?? tableKey)(event)) event.preventDefault();
  jumps = event.key === "g";
});
$("demo-end").addEventListener("click", () => runDemo(false));
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

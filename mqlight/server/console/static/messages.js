// Messages: the senders, the messages and the receivers.
import { get, post, session } from "./api.js";
import { age, bytes, clientPath, colours, counted, demoButton, h, hue, now, number, patch, plain, rate, span, state, text } from "./dom.js";
import { confirm } from "./destinations.js";
import { Detail } from "./detail.js";
import { Pins } from "./pins.js";

let app, root, list, filter, problem, hold, fresh, older, sending, receiving, sampled, detail, empty, pins, exported;
let held = false, shown = [], latest = null, extra = [], seenTotal = 0;

export function open(view, application) {
  app = application;
  held = false; shown = []; extra = []; latest = null;
  filter = h("input", { id: "filter", type: "search", placeholder: "Filter: topic:orders/#  from:web*  state:waiting  apples", "aria-label": "Filter messages", autocomplete: "off", spellcheck: "false", maxlength: 500 });
  let later = 0;
  filter.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(() => setFilter(filter.value), 200);
  });
  problem = h("p", { class: "problem", role: "alert", hidden: true });
  hold = h("button", { type: "button", id: "hold", class: "small", "aria-pressed": "false", title: "Space", onclick: () => setHeld(!held) }, "Hold");
  fresh = h("button", { type: "button", id: "fresh", class: "small primary", hidden: true, onclick: () => setHeld(false) });
  sampled = h("p", { class: "sampled", hidden: true });
  list = h("ol", { id: "messages", class: "rows", role: "list", "aria-label": "Messages, the newest first" });
  older = h("button", { type: "button", id: "older", class: "small", hidden: true, onclick: showOlder }, "Show older");
  empty = h("div", { class: "empty", hidden: true });
  list.addEventListener("focusin", () => setHeld(true, true));
  sending = h("ul", { id: "sending", class: "cards", role: "list" });
  receiving = h("ul", { id: "receiving", class: "cards", role: "list" });
  const column = (name, label, ...content) => h("section", { class: `column ${name}`, "aria-label": label }, h("h2", {}, label), ...content);
  const tabs = h("div", { class: "switch", role: "group", "aria-label": "Columns" }, ...["Sending", "Messages", "Receiving"].map((each) =>
    h("button", { type: "button", class: "small", "aria-pressed": String(each === "Messages"), onclick: (event) => {
      root.dataset.column = each.toLowerCase();
      for (const button of tabs.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
    } }, each)));
  const send = session.admin ? h("button", { type: "button", id: "send", class: "small", onclick: () => sendDialog(app) }, "Send a message") : null;
  pins = new Pins(app);
  exported = h("a", { class: "export", download: "" }, "Export");
  exported.title = "All remembered messages that the filter finds, as JSON lines";
  const clear = session.admin ? h("button", { type: "button", id: "clear", class: "link", onclick: () => confirm("Clear the history", "All pages forget the messages up to now. The messages themselves stay where they are, and the counters too.", "Clear the history", () => post("/api/clear")) }, "Clear") : null;
  root = h("div", { class: "three", "data-column": "messages" },
    h("div", { class: "tools" }, tabs, filter, pins.button, hold, send, pins.node),
    problem,
    column("sending", "Sending", sending),
    h("section", { class: "column list", "aria-label": "Messages" }, h("div", { class: "over" }, h("h2", {}, "Messages"), fresh, sampled, exported, clear ?? ""), empty, list, older),
    column("receiving", "Receiving", receiving));
  detail = new Detail(app, () => app.go(app.url("/messages")));
  view.append(root, detail.node);
}

export function close() { detail.hide(); }

export function show(id) {
  if (document.activeElement !== filter) filter.value = app.query();
  problem.hidden = true;
  pins.draw();
  exported.setAttribute("href", `/api/messages.jsonl?q=${encodeURIComponent(app.query())}`);
  extra = [];
  if (id) detail.show(id); else detail.hide();
  check();
}

async function check() { // the stream cannot report the error in a filter
  if (!app.query()) return;
  try {
    await get(`/api/messages?limit=1&q=${encodeURIComponent(app.query())}`);
  } catch (error) {
    problem.hidden = error.status !== 400;
    problem.textContent = `${error.message}.`;
  }
}

export function setFilter(query) {
  app.go(app.url(location.pathname, query.trim()), { replace: true });
}

function add(term) {
  const query = app.query().split(" ").filter(Boolean);
  if (!query.includes(term)) query.push(term);
  filter.value = query.join(" ");
  setFilter(filter.value);
}

function setHeld(wanted, byFocus = false) {
  if (held === wanted) return;
  held = wanted;
  hold.setAttribute("aria-pressed", String(held));
  hold.textContent = held ? "Go on" : "Hold";
  seenTotal = app.frame?.totals.messages ?? 0;
  fresh.hidden = true;
  if (!held) {
    extra = [];
    if (document.activeElement?.closest?.(".rows")) document.activeElement.blur();
    list.scrollIntoView({ block: "nearest" });
    if (app.frame) frame(app.frame);
  } else if (!byFocus) app.say("The list is held.");
}

export function frame(data) {
  cards(data);
  if (!data.messages) return;
  latest = data;
  sampled.hidden = !data.totals.sampling;
  const share = Math.max(1, Math.round(data.totals.messages / Math.max(1, data.totals.recorded)));
  text(sampled, `Very busy: about 1 message of ${share} is shown. The counters are exact.`);
  if (held && shown.length) {
    const news = data.totals.messages - seenTotal;
    fresh.hidden = news <= 0;
    text(fresh, `${number(news)} new`);
    const known = new Map(data.messages.map((row) => [row.id, row]));
    shown = shown.map((row) => known.get(row.id) ?? row);
  } else shown = data.messages;
  draw();
}

function draw() {
  const all = [...shown, ...extra];
  patch(list, all, (row) => row.id, makeRow, updateRow);
  older.hidden = !(extra.more ?? latest?.more) || all.length < 20;
  empty.hidden = all.length > 0;
  if (!all.length) explain();
  mark();
}

let explained = null;
function explain() {
  const why = app.query() ? "filter" : latest?.destinations.length ? "quiet" : "new";
  if (explained === why && empty.childElementCount) return;
  explained = why;
  empty.replaceChildren(...{
    filter: [h("p", {}, "No message of the history matches this filter."), h("button", { type: "button", class: "small", onclick: () => { filter.value = ""; setFilter(""); } }, "Clear the filter")],
    quiet: [h("p", {}, "Receivers are connected, and nobody has sent anything yet."), h("p", { class: "quiet" }, "Every message appears here the moment it is sent."), h("a", { href: "/learn" }, "Send one: Learn has the commands")],
    new: [h("p", {}, "Nobody is connected yet."), h("p", { class: "quiet" }, `Start a program with MACAQUE_BROKER=${session.broker}`), h("a", { href: "/learn" }, "New here? Learn begins with hello, world"), demoButton()].filter(Boolean),
  }[why]);
}

async function showOlder() {
  const before = (extra.at(-1) ?? shown.at(-1)).number;
  setHeld(true);
  const more = await get(`/api/messages?before=${before}&q=${encodeURIComponent(app.query())}`);
  const known = new Set([...shown, ...extra].map((row) => row.id));
  extra = [...extra, ...more.messages.filter((row) => !known.has(row.id))];
  extra.more = more.more;
  draw();
}

function makeRow() {
  const row = h("li", { class: "row" },
    h("span", { class: "sign" }),
    h("a", { class: "topic" }),
    h("span", { class: "meta" }),
    h("span", { class: "age" }),
    h("code", { class: "preview" }),
    h("p", { class: "why" }));
  row.addEventListener("click", (event) => { if (!event.target.closest("a") && !getSelection().toString()) row.querySelector("a").click(); });
  row.addEventListener("mouseenter", () => light(row.item));
  row.addEventListener("focusin", () => light(row.item));
  row.addEventListener("mouseleave", () => light(null));
  return row;
}

function updateRow(node, row) {
  if (node.item === row) return;
  const before = node.item;
  node.item = row;
  const [sign, topic, meta, when, preview, why] = node.children;
  node.dataset.state = row.state;
  node.dataset.role = row.role;
  if (before?.state !== row.state || before?.of !== row.of || before?.done !== row.done) {
    const label = state(row.state);
    if (row.of > 1) label.lastChild.textContent += ` ${row.done}/${row.of}`;
    sign.replaceChildren(label);
  }
  text(topic, plain(row.topic) || "(no topic)");
  topic.setAttribute("href", app.url(`/messages/${row.id}`));
  text(meta, `${row.role ? `${row.role} ` : ""}from ${plain(row.from) || "somebody"} · ${bytes(row.size)}`);
  text(when, age(row.at));
  if (before?.preview !== row.preview || before?.kind !== row.kind) {
    preview.replaceChildren(row.kind === "json" ? colours(row.preview) : row.kind === "hidden" ? "(hidden)" : plain(row.preview));
  }
  preview.hidden = !row.preview && row.kind !== "hidden";
  why.hidden = !row.why || (row.state === "held" && now() - row.at < 1_000); // a message that is unsettled for a moment is no news
  text(why, row.why ? `${row.why.text}.` : "");
}

export function tick() {
  for (const node of list.children) text(node.children[3], age(node.item.at));
}

// The senders and receivers of a message.
function light(row) {
  for (const card of sending.children) card.classList.toggle("lit", Boolean(row) && card.dataset.key === row.from);
  for (const card of receiving.querySelectorAll("[data-number]")) card.classList.toggle("lit", Boolean(row) && row.to.includes(Number(card.dataset.number)));
}

function mark() {
  const id = location.pathname.split("/")[2];
  for (const node of list.children) node.classList.toggle("open", node.dataset.key === id);
}

function cards(data) {
  for (const node of root.querySelectorAll(".none")) node.remove();
  patch(sending, data.clients, (card) => card.id, makeSender, updateSender);
  const replies = data.destinations.filter((each) => each.pattern.startsWith("response/")).length;
  const first = data.destinations.filter((each) => !/^(response|macaque)\//.test(each.pattern)); // what macaque uses itself is on other pages
  patch(receiving, replies ? [...first, { number: "replies", replies }] : first, (card) => card.number, makeReceiver, updateReceiver);
  if (!sending.childElementCount) sending.append(h("li", { class: "none", "data-key": "none" }, "Clients appear here when they connect."));
  if (!receiving.childElementCount) receiving.append(h("li", { class: "none", "data-key": "none" }, "Subscriptions and shares appear here, with those who receive from them."));
}

function makeSender() {
  const button = h("button", { type: "button", class: "name" });
  const card = h("li", { class: "one card" }, button, h("span", { class: "pace" }), h("p", { class: "about" }), h("p", { class: "figures" }, h("span", {}), " ", h("a", {}, "links")));
  button.addEventListener("click", () => add(`from:${card.item.id}`));
  return card;
}

function updateSender(node, card) {
  node.item = card;
  const [name, pace, about, figures] = node.children;
  node.className = card.gone ? "one card gone" : "one card";
  text(name, plain(card.id));
  name.title = `Filter: from:${plain(card.id)}`;
  text(pace, card.gone ? `gone ${age(card.gone)}` : card.rate ? `${rate(card.rate)}/s` : "");
  text(about, [plain(card.library), plain(card.address), card.user === null ? "" : `user ${plain(card.user)}`].filter(Boolean).join(" · "));
  figures.lastChild.setAttribute("href", clientPath(card.id));
  figures.lastChild.setAttribute("aria-label", `The links of ${plain(card.id)}`);
  text(figures.firstChild, card.sent ? `${counted(card.sent, "message")}, last ${card.last ? age(card.last) : "now"}` : "sent nothing yet");
}

function makeReceiver() {
  return h("li", { class: "one card" });
}

function updateReceiver(node, card) {
  if (card.replies) {
    if (!node.classList.contains("replies")) {
      node.className = "one replies";
      delete node.dataset.number;
      node.replaceChildren(h("a", { href: "/destinations" }));
    }
    text(node.firstChild, `and ${counted(card.replies, "topic")} for replies`);
    return;
  }
  node.dataset.number = card.number;
  if (node.item?.number !== card.number || !node.querySelector(".members")) {
    node.className = "one card";
    node.replaceChildren(
      h("a", { class: "name", href: `/destinations/${card.number}` }), h("span", { class: "pace" }), h("p", { class: "about" }),
      h("p", { class: "figures" }), h("ul", { class: "members", role: "list" }));
  }
  node.item = card;
  const [name, pace, about, figures, members] = node.children;
  text(name, plain(card.share ?? card.pattern));
  text(pace, card.leaving ? `${rate(card.leaving)}/s` : "");
  about.replaceChildren(h("code", {}, plain(card.pattern)), h("span", {}, ` ${card.kind === "share" ? "shared by all members" : card.kind === "queue" ? "a queue" : `private to ${plain(card.client) || "one client"}`}`));
  const parts = [`${number(card.waiting)} waiting`, `${number(card.unsettled)} in hand`, `${number(card.given)} given`];
  if (card.dropped) parts.push(`${number(card.dropped)} dropped`);
  text(figures, parts.join(" · "));
  figures.classList.toggle("bad", card.waiting > 0 && card.members.every((member) => member.credit <= 0));
  const most = Math.max(1, ...card.members.map((member) => member.taken));
  members.querySelector(".nobody")?.remove();
  const nth = {}; // a client may be a member more than once
  for (const member of card.members) member.key = `${nth[member.client] = (nth[member.client] ?? 0) + 1} ${member.client}`;
  patch(members, card.members.slice(0, 12), (member) => member.key, makeMember, (each, member) => {
    each.dataset.hue = hue(member.client);
    each.children[0].firstChild.setAttribute("href", clientPath(member.client));
    text(each.children[0].firstChild, plain(member.client));
    text(each.children[1], number(member.taken));
    each.children[2].firstChild.style.width = `${(100 * member.taken) / most}%`;
    const busy = member.holds ? `holds ${member.holds}${member.oldest !== null ? ` since ${span(member.oldest * 1_000)}` : ""}` : "";
    text(each.children[3], [busy, member.credit > 0 ? `credit ${number(member.credit)}` : "no credit"].filter(Boolean).join(", "));
  });
  if (!card.members.length) members.replaceChildren(h("li", { class: "nobody", "data-key": "" }, card.forget_in === null ? "no member" : `no member; kept for ${span(card.forget_in * 1_000)}`));
}

function makeMember() {
  return h("li", { class: "member" }, h("b", {}, h("a", { class: "who" })), h("span", { class: "count" }), h("span", { class: "share", "aria-hidden": "true" }, h("span", { class: "fill" })), h("span", { class: "credit" }));
}

export function key(event) {
  const links = [...list.querySelectorAll(".topic")], at = links.indexOf(document.activeElement);
  if (event.key === "/") filter.focus();
  else if (event.key === " " && !event.target.closest("button, a")) setHeld(!held);
  else if (event.key === "j" || (event.key === "ArrowDown" && at >= 0)) links[Math.min(links.length - 1, at + 1)]?.focus();
  else if (event.key === "k" || (event.key === "ArrowUp" && at >= 0)) links[Math.max(0, at - 1)]?.focus();
  else if (event.key === "Escape" && !detail.node.hidden) {
    const id = location.pathname.split("/")[2];
    app.go(app.url("/messages"));
    list.querySelector(`[data-key="${CSS.escape(id)}"] .topic`)?.focus();
  } else if (event.key === "Escape" && held) setHeld(false);
  else return false;
  return true;
}

// Send a message from the page.
export function sendDialog(application, like = {}) {
  const told = h("p", { class: "quiet", role: "status" });
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const { topic, body, ttl } = Object.fromEntries(new FormData(form));
    try {
      const said = await post("/api/messages", { topic, body, ttl: ttl ? Math.round(Number(ttl) * 1_000) : null });
      dialog.close();
      if (said.id) application.go(`/messages/${said.id}`);
    } catch (error) {
      told.className = "problem";
      told.textContent = `${error.message}.`;
    }
  } },
  h("h2", { id: "send-title" }, "Send a message"),
  h("label", {}, "Topic", h("input", { name: "topic", required: true, value: like.topic ?? "", autocomplete: "off", oninput: () => where() })),
  told,
  h("label", {}, "Body", h("textarea", { name: "body", rows: 6, spellcheck: "false" }, like.body ?? "")),
  h("label", {}, "Time to live, in seconds", h("input", { name: "ttl", inputmode: "decimal", pattern: "[0-9]*\\.?[0-9]+", placeholder: "for ever" })),
  h("div", { class: "deeds" }, h("button", { class: "primary" }, "Send"), h("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  const where = async () => {
    const topic = form.elements.topic.value;
    if (!topic) { told.textContent = ""; return; }
    const { destinations } = await get(`/api/route?topic=${encodeURIComponent(topic)}`).catch(() => ({ destinations: [] }));
    if (topic !== form.elements.topic.value) return; // the page has asked a later question meanwhile
    told.className = "quiet";
    told.textContent = destinations.length ? `It would go to ${destinations.map((each) => each.name).join(", ")}.` : "Nobody is subscribed to this topic.";
  };
  const dialog = h("dialog", { "aria-labelledby": "send-title", onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
  where();
}

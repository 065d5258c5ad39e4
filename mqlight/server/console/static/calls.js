// Calls: a request, its worker and its reply as one row.
import { session } from "./api.js";
import { age, copyButton, h, hue, patch, plain, quoted, span, text } from "./dom.js";

const SIGNS = { replied: "accepted", running: "held", waiting: "waiting", error: "rejected", "no reply": "dropped" };
let app, body, empty, note;

export function open(view, application) {
  app = application;
  body = h("tbody", {});
  empty = h("div", { class: "empty", hidden: true },
    h("p", {}, "No calls yet."), h("p", { class: "quiet" }, "A request with a topic for its reply appears here, together with that reply."),
    h("a", { href: "/learn" }, "Make one: Learn has the commands"));
  note = h("p", { class: "quiet" }, "The newest calls of the history. Times are those of the server.");
  view.append(h("section", { class: "page" }, h("h1", {}, "Calls"), note, empty,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Calls" }, h("table", { class: "table" }, h("thead", {}, h("tr", {}, ...["State", "Service", "Caller", "Worker", "Waiting and working", "Age", ""].map((name) => h("th", { scope: "col" }, name)))), body))));
}

export function frame(data) {
  if (!data.calls) return;
  empty.hidden = data.calls.length > 0;
  body.closest("table").hidden = !data.calls.length;
  const most = Math.max(1, ...data.calls.map((call) => call.total ?? 0));
  patch(body, data.calls, (call) => call.id, make, (node, call) => update(node, call, most));
}

export function tick() {
  for (const node of body.children) text(node.children[5], age(node.item.at));
}

function make() {
  return h("tr", {}, h("td", {}), h("th", { scope: "row" }, h("a", {}), h("p", { class: "why" })), h("td", {}), h("td", {}),
    h("td", {}, h("span", { class: "split", "aria-hidden": "true" }, h("span", { class: "waited" }), h("span", { class: "worked" })), h("span", { class: "took" })), h("td", { class: "quiet" }), h("td", {}));
}

function update(node, call, most) {
  const before = node.item;
  node.item = call;
  const [status, service, caller, worker, split, when, deeds] = node.children;
  if (before?.status !== call.status || before?.id !== call.id) {
    status.replaceChildren(h("span", { class: "state", "data-state": SIGNS[call.status] ?? call.status }, use(SIGNS[call.status] ?? call.status), h("span", {}, call.status)));
    deeds.replaceChildren(call.data ? copyButton(() => `macaque call ${quoted(call.topic)} ${quoted(call.data)}`, "Copy as call") : "", call.reply ? h("a", { class: "reply", href: `/messages/${call.reply}` }, "reply") : "");
  }
  service.firstChild.setAttribute("href", `/messages/${call.id}`);
  text(service.firstChild, plain(call.topic));
  text(service.lastChild, plain(call.error));
  service.lastChild.hidden = !call.error;
  text(caller, plain(call.from));
  if (call.worker) worker.dataset.hue = hue(call.worker);
  else delete worker.dataset.hue;
  text(worker, call.attempt > 1 ? `${plain(call.worker)}, attempt ${call.attempt}` : plain(call.worker));
  const [bar, took] = split.children;
  bar.hidden = call.total === null;
  bar.children[0].style.width = `${(60 * (call.waiting ?? 0)) / most}%`;
  bar.children[1].style.width = `${(60 * (call.working ?? 0)) / most}%`;
  text(took, call.total === null ? (call.waiting === null ? "" : `waited ${span(call.waiting)}`) : `${span(call.waiting ?? 0)} + ${span(call.working ?? call.total)}`);
  text(when, age(call.at));
}

function use(name) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  node.setAttribute("class", "icon");
  node.setAttribute("aria-hidden", "true");
  const inner = document.createElementNS("http://www.w3.org/2000/svg", "use");
  inner.setAttribute("href", `#s-${name}`);
  node.append(inner);
  return node;
}

// Calls: a request, its worker and its reply as one row, and the calls inside a call as a waterfall.
import { age, client, colours, copyButton, h, hue, patch, plain, pretty, quoted, span, state, table, text } from "./dom.js";
import { Pane, head } from "./pane.js";

const SIGNS = { replied: "accepted", running: "held", error: "rejected", "no reply": "dropped" };
const sign = (status) => state(SIGNS[status] ?? status, status);
const command = (call) => `macaque call ${quoted(call.topic)} ${quoted(call.data)}`;
let body, empty, pane;

export function open(view) {
  body = h("tbody", {});
  empty = h("div", { class: "empty", hidden: true },
    h("p", {}, "No calls yet."), h("p", { class: "quiet" }, "A request with a topic for its reply appears here, together with that reply."),
    h("a", { href: "/learn" }, "Make one: Learn has the commands"));
  pane = new Pane("/api/calls", draw);
  view.append(h("section", { class: "page" }, h("h1", {}, "Calls"), h("p", { class: "quiet" }, "The newest calls of the history. Times are those of the server."), pane.node, empty,
    table("Calls", ["State", "Service", "Caller", "Worker", "Waiting and working", "Age", ""], body)));
}

export function close() { pane.close(); }
export function show(id) { pane.show(id); }

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
  node.classList.toggle("open", call.id === pane.id);
  const [status, service, caller, worker, split, when, deeds] = node.children;
  if (before?.status !== call.status || before?.id !== call.id) {
    status.replaceChildren(sign(call.status));
    deeds.replaceChildren(call.data ? copyButton(() => command(node.item), "Copy as call") : "");
  }
  service.firstChild.setAttribute("href", `/calls/${call.id}`);
  text(service.firstChild, plain(call.topic));
  text(service.lastChild, plain(call.error));
  service.lastChild.hidden = !call.error;
  text(caller, plain(call.from));
  if (call.worker) worker.dataset.hue = hue(call.worker);
  else delete worker.dataset.hue;
  text(worker, call.attempt > 1 ? `${plain(call.worker)}, attempt ${call.attempt}` : plain(call.worker));
  const [bar, took] = split.children;
  bar.hidden = call.total === null;
  bar.children[0].style.width = `${(100 * (call.waiting ?? 0)) / most}%`;
  bar.children[1].style.width = `${(100 * (call.working ?? 0)) / most}%`;
  text(took, call.total === null ? (call.waiting === null ? "" : `waited ${span(call.waiting)}`) : `${span(call.waiting ?? 0)} + ${span(call.working ?? call.total)}`);
  text(when, age(call.at));
}

function draw(call) {
  const { request, answer, tree } = call;
  return [
    head(plain(call.topic), "/calls"),
    h("p", { class: "line" }, sign(call.status), h("span", { class: "quiet" }, call.from ? client(call.from) : "somebody", " called", call.worker ? [", ", client(call.worker), call.attempt > 1 ? ` answered at attempt ${call.attempt}` : answer ? " answered" : " has it"] : "", call.total === null ? "" : ` in ${span(call.total)}`)),
    call.error ? h("p", { class: "problem" }, plain(call.error)) : answer ? null : h("p", { class: "answer" }, request.answer),
    waterfall(call, tree),
    h("div", { class: "pair" }, half("Request", request), answer ? half("Reply", answer) : null),
    h("div", { class: "deeds" },
      call.data ? copyButton(command(call), "Copy as macaque call") : null,
      call.trace ? h("a", { class: "button small", href: `/messages?q=${encodeURIComponent(`trace:${call.trace}`)}` }, "Messages of this trace") : null,
      call.trace ? copyButton(call.trace, "Copy trace id") : null),
  ];
}

// Draw the calls around a call and inside it on one time axis.
function waterfall(call, tree) {
  const end = (each) => each.start + (each.total ?? (each.waiting ?? 0));
  const whole = Math.max(1, ...tree.map(end)), percent = (ms) => `${(100 * ms) / whole}%`;
  return h("ol", { class: "waterfall", role: "list", "aria-label": "The calls inside this call" }, tree.map((each) => {
    const waited = h("span", { class: "waited" }), worked = h("span", { class: "worked", "data-hue": hue(each.worker) });
    waited.style.left = percent(each.start);
    waited.style.width = percent(each.waiting ?? 0);
    worked.style.left = percent(each.start + (each.waiting ?? 0));
    worked.style.width = percent(each.total === null ? 0 : each.total - (each.waiting ?? 0));
    const name = h("a", { class: "name", href: `/calls/${each.id}`, "aria-current": each.id === call.id ? "true" : null }, plain(each.topic));
    name.style.paddingLeft = `${each.depth * 1.1}rem`;
    return h("li", { class: each.status === "error" ? "bad" : null }, name, h("span", { class: "lane", "aria-hidden": "true" }, waited, worked), h("span", { class: "took" }, each.total === null ? each.status : span(each.total)));
  }));
}

function half(title, message) {
  const shown = message.body === null ? "Hidden from you." : message.kind === "json" && message.body.length < 20_000 ? colours(pretty(message.body)) : message.body;
  return h("div", {}, h("h3", {}, title, " ", h("a", { href: `/messages/${message.id}` }, "its story")), h("pre", { class: "body", tabindex: "0", "aria-label": title }, shown || "(empty)"));
}

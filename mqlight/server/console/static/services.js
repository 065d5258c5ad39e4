// Services: what the servers tell of themselves, and a form to call each.
import { post, session } from "./api.js";
import { age, client, colours, copyButton, counted, h, hue, number, patch, plain, pretty, quoted, span, table, text } from "./dom.js";
import { Form } from "./form.js";
import { head } from "./pane.js";

let body, empty, pane, open_ = "", shown = "", form = null, workers, about;

export function open(view) {
  body = h("tbody", {});
  empty = h("div", { class: "empty", hidden: true }, h("p", {}, "No services yet."), h("p", { class: "quiet" }, "The services of each macaque server appear here by themselves."), h("a", { href: "/learn" }, "Start one: Learn has the commands"));
  pane = h("div", { class: "pane" });
  shown = "";
  view.append(h("section", { class: "page" }, h("h1", {}, "Services"), h("p", { class: "quiet" }, "As their servers describe them, asked every two seconds while this page is open."), pane, empty,
    table("Services", ["Service", "Share", "Workers", "Waiting", "In flight", "Calls", "Errors", "Half within", "99 % within"], body)));
}

export function show(topic) {
  open_ = topic;
  if (!topic) { pane.replaceChildren(); shown = ""; }
}

const sum = (service, name) => service.workers.reduce((total, worker) => total + (worker[name] ?? 0), 0);
const most = (service, name) => { const all = service.workers.map((worker) => worker[name]).filter((each) => each !== null); return all.length ? span(Math.max(...all)) : ""; };

export function frame(data) {
  const { services } = data;
  if (!services) return;
  empty.hidden = services.length > 0;
  body.closest("table").hidden = !services.length;
  patch(body, services, (service) => service.topic, make, update);
  const service = services.find((each) => each.topic === open_);
  if (service) draw(service);
  else if (open_ && !shown) pane.replaceChildren(h("p", { class: "notice" }, `No server tells of ${plain(open_)}.`));
}

function make() {
  return h("tr", {}, h("th", { scope: "row" }, h("a", {}), h("p", { class: "about" })), h("td", {}), ...Array.from({ length: 7 }, () => h("td", { class: "figure" })));
}

function update(node, service) {
  node.classList.toggle("open", service.topic === open_);
  const [name, share, ...figures] = node.children;
  name.firstChild.setAttribute("href", `/services/${encodeURIComponent(service.topic)}`);
  text(name.firstChild, plain(service.topic));
  text(name.lastChild, plain(service.doc.split("\n")[0]));
  name.lastChild.hidden = !service.doc;
  text(share, [...new Set(service.workers.map((worker) => worker.share ?? "none: each gets all"))].map(plain).join(", "));
  const errors = sum(service, "errors");
  [number(service.workers.length), number(service.waiting), number(sum(service, "in_flight")), number(sum(service, "calls")), number(errors), most(service, "p50"), most(service, "p99")]
    .forEach((figure, i) => text(figures[i], figure));
  figures[4].classList.toggle("bad", errors > 0);
}

// The form stays as the user left it while the figures of the workers change.
function draw(service) {
  const key = JSON.stringify([service.topic, service.request, service.doc, session.admin]);
  if (key !== shown) {
    shown = key;
    form = session.admin ? new Form(service.request) : null;
    workers = h("tbody", {});
    about = h("p", { class: "quiet" });
    const reply = h("div", { class: "reply-box", role: "status" });
    pane.replaceChildren(h("section", { class: "card", "aria-labelledby": "pane-title" },
      head(plain(service.topic), "/services"), about,
      service.doc ? h("p", { class: "doc" }, service.doc.split("\n").map(plain).join("\n")) : "",
      table("Workers", ["Worker", "Host", "Share", "Credit", "In flight", "Calls", "Errors", "Half within", "99 % within", "Since"], workers),
      h("div", { class: "pair" }, form ? caller(service, reply) : h("p", { class: "quiet" }, session.users ? "To call it here, a user needs a line \"USER admin\" in the users file." : "To call it here, start the server with --console-admin."),
        h("div", {}, reply, schema("Type of the data", service.request), schema("Type of the reply", service.reply)))));
  }
  about.replaceChildren(`${counted(service.workers.length, "worker")}, ${counted(service.waiting, "message")} waiting. `,
    ...service.destinations.slice(0, 3).flatMap((each) => [h("a", { href: `/destinations/${each}` }, "See its destination"), " · "]),
    h("a", { href: `/messages?q=${encodeURIComponent(`topic:${service.topic}`)}` }, "See its requests"));
  patch(workers, service.workers, (worker) => `${worker.id} ${worker.share}`, () => h("tr", {}, h("th", { scope: "row" }, h("a", { class: "who" })), ...Array.from({ length: 9 }, () => h("td", { class: "figure" }))), (node, worker) => {
    node.firstChild.dataset.hue = hue(worker.id);
    node.firstChild.firstChild.replaceWith(client(worker.id));
    [`${plain(worker.host)}, process ${worker.pid}`, plain(worker.share ?? ""), worker.credit ?? "", number(worker.in_flight), number(worker.calls), number(worker.errors), worker.p50 === null ? "" : span(worker.p50), worker.p99 === null ? "" : span(worker.p99), worker.since ? age(worker.since) : ""]
      .forEach((cell, i) => text(node.children[1 + i], cell));
  });
}

function schema(title, value) {
  return value ? h("details", {}, h("summary", {}, title), h("pre", { class: "body", tabindex: "0" }, colours(pretty(JSON.stringify(value))))) : null;
}

function caller(service, reply) {
  const go = h("button", { class: "primary" }, "Call it");
  const node = h("form", { class: "caller", onsubmit: async (event) => {
    event.preventDefault();
    const data = form.json(), began = performance.now();
    go.disabled = true;
    reply.replaceChildren(h("p", { class: "quiet" }, "Waiting for the reply."));
    try {
      const said = await post("/api/services/call", { topic: service.topic, data });
      reply.replaceChildren(...[
        h("h3", {}, "Reply"),
        h("p", { class: said.failed ? "problem" : "line" }, said.failed ? "It answered with an error" : "It replied", ` after ${span(performance.now() - began)}. `, said.id ? h("a", { href: `/calls/${said.id}` }, "See the call") : ""),
        h("pre", { class: "body", tabindex: "0", "aria-label": "Reply" }, colours(pretty(said.reply)))]);
    } catch (error) {
      reply.replaceChildren(h("p", { class: "problem" }, `${error.message}.`));
    } finally {
      go.disabled = false;
    }
  } }, form.node, h("div", { class: "deeds" }, go, copyButton(() => `macaque call ${quoted(service.topic)} ${quoted(form.json())}`, "Copy as macaque call")));
  return node;
}

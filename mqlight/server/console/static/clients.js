// Clients: their links, their credit, and the messages that they have.
import { age, bytes, clientPath, counted, h, hue, number, patch, plain, rate, span, state, table, text } from "./dom.js";
import { Pane, head, queued } from "./pane.js";

let body, empty, pane;

export function open(view) {
  body = h("tbody", {});
  empty = h("div", { class: "empty", hidden: true }, h("p", {}, "No clients yet."), h("p", { class: "quiet" }, "Each program that connects appears here, and stays for a minute after it has gone."), h("a", { href: "/learn" }, "Start one: Learn has the commands"));
  pane = new Pane("/api/clients", draw);
  view.append(h("section", { class: "page" }, h("h1", {}, "Clients"), pane.node, empty,
    table("Clients", ["Client", "Address", "User", "Sent", "Rate", "Last sent", "Connected"], body)));
}

export function close() { pane.close(); }
export function show(name) { pane.show(name); }
export function frame(data) {
  empty.hidden = data.clients.length > 0;
  body.closest("table").hidden = !data.clients.length;
  patch(body, data.clients, (card) => card.id, make, update);
}

export function tick() { for (const node of body.children) update(node, node.item); }

function make() {
  return h("tr", {}, h("th", { scope: "row" }, h("a", {}), h("span", { class: "took" })), ...Array.from({ length: 6 }, () => h("td", { class: "figure" })));
}

function update(node, card) {
  node.item = card;
  node.classList.toggle("open", card.id === pane.id);
  node.classList.toggle("gone", card.gone !== null);
  const link = node.children[0].firstChild;
  link.setAttribute("href", clientPath(card.id));
  text(link, plain(card.id));
  text(node.children[0].lastChild, plain(card.library));
  const cells = [plain(card.address), card.user === null ? "" : plain(card.user), number(card.sent), card.rate ? `${rate(card.rate)}/s` : "", card.last ? age(card.last) : "", card.gone ? `gone ${age(card.gone)}` : age(card.since)];
  cells.forEach((cell, i) => text(node.children[1 + i], cell));
}

function draw(client) {
  return [
    head(plain(client.id), "/clients"),
    h("p", { class: "line" }, client.gone ? h("span", { class: "notice-word" }, "Gone") : state("accepted", "connected"), h("span", { class: "quiet" }, [plain(client.library), plain(client.address), client.user === null ? "without a user" : `user ${plain(client.user)}`].filter(Boolean).join(" · "))),
    client.clogged ? h("p", { class: "problem" }, `It does not read: ${bytes(client.unread)} wait for it, and it gets no further messages until then.`) : null,
    h("ul", { class: "members wide", role: "list" }, client.links.map((link) => h("li", { class: "member", "data-hue": hue(link.address ?? "") },
      h("b", {}, `${link.direction} `, link.destination === null ? h("code", {}, plain(link.address ?? "to any topic")) : h("a", { href: `/destinations/${link.destination}` }, plain(link.address))),
      h("span", { class: "count", title: "messages" }, number(link.messages)),
      h("span", { class: "credit" }, [link.credit > 0 ? `credit ${number(link.credit)}` : "no credit", link.unsettled ? `holds ${link.unsettled}${link.oldest === null ? "" : ` since ${span(link.oldest * 1_000)}`}` : "", link.at_most_once ? "at most once" : ""].filter(Boolean).join(", ")),
      link.why ? h("p", { class: "why" }, `${link.why.text}. ${link.why.remedy}`) : null))),
    client.count > client.links.length ? h("p", { class: "quiet" }, `The first ${client.links.length} of ${counted(client.count, "link")}.`) : null,
    client.gone === null && !client.count ? h("p", { class: "quiet" }, "It has no links: it neither sends nor receives.") : null,
    h("h3", {}, "In hand"),
    client.holds.length ? queued(client.holds) : h("p", { class: "quiet" }, "It has no unsettled message."),
    h("p", { class: "deeds" }, h("a", { class: "button small", href: `/messages?q=${encodeURIComponent(`from:${client.id}`)}` }, "What it sent"), h("a", { class: "button small", href: `/messages?q=${encodeURIComponent(`to:${client.id}`)}` }, "What it was given")),
  ];
}

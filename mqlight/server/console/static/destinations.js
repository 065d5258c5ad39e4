// Destinations and their waiting messages. To look into a destination changes nothing.
import { post, session } from "./api.js";
import { bytes, client, counted, h, hue, number, patch, plain, rate, span, spark, svg, table, text } from "./dom.js";
import { Pane, head, queued } from "./pane.js";

let app, body, charts, empty, pane;

export function open(view, application) {
  app = application;
  body = h("tbody", {});
  empty = h("div", { class: "empty", hidden: true }, h("p", {}, "There are no destinations yet."), h("p", { class: "quiet" }, "A subscription or a share becomes one, when its first receiver connects."), h("a", { href: "/learn" }, "Start one: Learn has the commands"));
  pane = new Pane("/api/destinations", draw);
  charts = h("div", { class: "charts" }, ...["Messages a second", "Messages that wait"].map((name) => h("figure", { class: "card chart" },
    h("figcaption", {}, h("span", {}, name), h("b", {})), svg("svg", { viewBox: "0 0 120 28", preserveAspectRatio: "none", "aria-hidden": "true" }), h("p", { class: "quiet" }))));
  view.append(h("section", { class: "page" }, h("h1", {}, "Destinations"), charts, pane.node, empty,
    table("Destinations", ["Destination", "Topics", "Waiting", "In hand", "Members", "In", "Out", "Kept for"], body)));
}

export function close() { pane.close(); }

export function show(number_) { pane.show(number_); }

export function frame(data) {
  empty.hidden = data.destinations.length > 0;
  body.closest("table").hidden = !data.destinations.length;
  [...charts.children].forEach((chart, i) => {
    const values = data.totals.series.map((each) => each[i]);
    spark(chart.querySelector("svg"), values);
    text(chart.querySelector("b"), number(Math.round(values.at(-1) ?? 0)));
    text(chart.querySelector("p"), `the last two minutes; at most ${number(Math.round(Math.max(0, ...values)))}`);
  });
  patch(body, data.destinations, (each) => each.number, make, update);
}

function make() {
  return h("tr", {}, h("th", { scope: "row" }, h("a", {})), h("td", {}, h("code", {})), ...Array.from({ length: 6 }, () => h("td", { class: "figure" })));
}

function update(node, each) {
  node.classList.toggle("open", String(each.number) === pane.id);
  const link = node.children[0].firstChild;
  link.setAttribute("href", `/destinations/${each.number}`);
  text(link, each.share !== null ? `share ${plain(each.share)}` : each.kind === "queue" ? "queue" : `private to ${plain(each.client) || "one client"}`);
  text(node.children[1].firstChild, plain(each.pattern));
  const figures = [number(each.waiting), number(each.unsettled), number(each.count), `${rate(each.arriving)}/s`, `${rate(each.leaving)}/s`, each.forget_in !== null ? `${span(each.forget_in * 1_000)} more` : each.ttl ? span(each.ttl * 1_000) : "its members"];
  figures.forEach((figure, i) => text(node.children[2 + i], figure));
}

function draw(each) {
  const deeds = session.admin ? h("div", { class: "deeds" },
    h("button", { type: "button", disabled: !each.waiting, onclick: () => purge(each) }, `Purge ${counted(each.waiting, "message")}`),
    each.count ? null : h("button", { type: "button", onclick: () => drop(each) }, "Drop the destination")) : null;
  return [
    head(plain(each.name), "/destinations"),
    h("p", { class: "quiet" }, `${counted(each.waiting, "message")} wait (${bytes(each.bytes)} of at most ${number(each.limit)} messages), ${number(each.unsettled)} in hand, ${number(each.given)} given. Looking touches nothing: no message is taken, and no count changes.`),
    h("ul", { class: "members wide", role: "list" }, each.members.map((member) => h("li", { class: "member", "data-hue": hue(member.client) }, h("b", {}, client(member.client)), h("span", { class: "count" }, number(member.taken)), h("span", { class: "credit" }, `credit ${number(Math.max(0, member.credit))}, holds ${member.holds}`)))),
    deeds,
    each.messages.length ? queued(each.messages) : h("p", { class: "empty" }, "Nothing waits here."),
    each.waiting + each.unsettled > each.messages.length ? h("p", { class: "quiet" }, `The first ${each.messages.length} are shown.`) : null,
  ];
}

// Ask for confirmation of an action that cannot be undone, and name the messages that it deletes.
export function confirm(title, sentence, label, deed, typed = null) {
  const told = h("p", { class: "problem", role: "alert", hidden: true });
  const go = h("button", { class: "primary danger", disabled: typed !== null }, label);
  const dialog = h("dialog", { "aria-labelledby": "confirm-title", onclose: () => dialog.remove() }, h("form", { onsubmit: async (event) => {
    event.preventDefault();
    try {
      await deed();
      dialog.close();
    } catch (error) {
      told.hidden = false;
      told.textContent = `${error.message}.`;
    }
  } }, h("h2", { id: "confirm-title" }, title), h("p", {}, sentence),
  typed === null ? null : h("label", {}, `Type ${typed} to go on`, h("input", { autocomplete: "off", oninput: (event) => { go.disabled = event.target.value !== typed; } })),
  told, h("div", { class: "deeds" }, go, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  document.body.append(dialog);
  dialog.showModal();
}

function purge(each) {
  confirm("Purge", `${counted(each.waiting, "message")} that wait in ${plain(each.name)} will be lost. Those in hand stay. This can be undone for a minute.`, `Purge ${counted(each.waiting, "message")}`, async () => {
    const { purged, undo } = await post(`/api/destinations/${each.number}/purge`);
    app.undo(`${counted(purged, "message")} purged from ${plain(each.name)}.`, undo);
    pane.load(true);
  });
}

function drop(each) {
  confirm("Drop the destination", `${plain(each.name)} ends, and ${counted(each.waiting, "message")} in it will be lost.`, "Drop it", async () => {
    await post(`/api/destinations/${each.number}/drop`);
    app.go("/destinations");
  }, plain(each.share ?? each.pattern));
}

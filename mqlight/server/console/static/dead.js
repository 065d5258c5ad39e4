// Dead letters: requests that services gave up. The user can change them, send them again or drop them.
import { post, session } from "./api.js";
import { confirm } from "./destinations.js";
import { age, counted, h, patch, plain, pretty, stamp, text } from "./dom.js";

let app, list, empty, tools, results, all, open_ = "";

export function open(view, application) {
  app = application;
  list = h("ul", { id: "letters", class: "letters", role: "list" });
  results = h("ul", { class: "results", role: "status" });
  all = h("button", { type: "button", onclick: () => replay([...list.children].map((node) => node.item.number)) });
  const drop = h("button", { type: "button", onclick: () => dropAll([...list.children].map((node) => node.item.number)) }, "Drop all");
  tools = h("div", { class: "deeds", hidden: true }, all, drop);
  empty = h("div", { class: "empty", hidden: true }, h("p", {}, "No dead letters."), h("p", { class: "quiet" }, "A request that fails delivery after delivery is kept here with its reason, until it is replayed or dropped."), h("a", { href: "/learn" }, "Try it: Learn has a poison request"));
  view.append(h("section", { class: "page" }, h("h1", {}, "Dead letters"), h("p", { class: "quiet" }, "They wait in the share macaque-dead of this server. A letter goes only when its request is accepted once more."), tools, results, empty, list));
}

export function frame(data) {
  if (!data.letters) return;
  const { letters } = data;
  empty.hidden = letters.length > 0;
  tools.hidden = !letters.length || !session.admin;
  text(all, `Replay ${counted(letters.length, "letter")}`);
  patch(list, letters, (letter) => letter.number, () => h("li", { class: "letter card" }), update);
}

function update(node, letter) {
  if (node.item?.number === letter.number) return;
  node.item = letter;
  const said = h("p", { class: "problem", role: "alert", hidden: true });
  const shown = letter.kind === "json" ? pretty(letter.body ?? "") : letter.body ?? "";
  const field = h("textarea", { rows: Math.min(14, shown.split("\n").length + 1), spellcheck: "false", "aria-label": "Request", readonly: !session.admin || !letter.replayable || letter.cut });
  field.value = shown;
  const original = shown;
  const difference = h("span", { class: "quiet" }, "as it arrived");
  const go = h("button", { type: "button", class: "primary", onclick: async () => {
    said.hidden = true;
    try {
      const changed = field.value !== original;
      const { results: [result] } = await post("/api/dead-letters/replay", { numbers: [letter.number], ...(changed ? { body: field.value } : {}) });
      if (result.error) throw new Error(result.error);
      report(result, letter);
    } catch (error) {
      said.hidden = false;
      said.textContent = `Not replayed: ${error.message}.`;
    }
  } }, "Replay");
  field.addEventListener("input", () => {
    const changed = field.value !== original;
    difference.textContent = changed ? "edited" : "as it arrived";
    go.textContent = changed ? "Replay as edited" : "Replay";
  });
  node.replaceChildren(...[
    h("div", { class: "letter-head" }, h("h2", {}, plain(letter.topic)), h("span", { class: "quiet" }, counted(letter.attempts, "attempt"), letter.at ? " · " : "", letter.at ? stamp(letter.at) : "", letter.from ? ` · from ${plain(letter.from)}` : "", letter.server ? ` · at ${plain(letter.server)}` : "")),
    h("p", { class: "why" }, plain(letter.reason)),
    letter.body === null ? h("p", { class: "quiet" }, letter.kind ? "Bodies of this topic are hidden from you." : "There is no request in this letter.") : field,
    said,
    session.admin ? h("div", { class: "deeds" }, letter.replayable && !letter.cut ? go : null, h("button", { type: "button", onclick: () => dropAll([letter.number]) }, "Drop"), letter.replayable ? difference : null) : null,
  ].filter(Boolean));
}

function report(result, letter) {
  results.prepend(h("li", {}, result.error ? `${plain(letter?.topic ?? result.number)}: ${result.error}` : h("span", {}, `${plain(letter?.topic ?? "")} was replayed. `, result.id ? h("a", { href: `/messages/${result.id}` }, "Follow it") : "")));
}

async function replay(numbers) {
  const letters = new Map([...list.children].map((node) => [node.item.number, node.item]));
  const said = await post("/api/dead-letters/replay", { numbers });
  for (const result of said.results) report(result, letters.get(result.number));
}

function dropAll(numbers) {
  confirm("Drop", `${counted(numbers.length, "dead letter")} will be lost. This can be undone for a minute.`, `Drop ${counted(numbers.length, "letter")}`, async () => {
    const { dropped, undo } = await post("/api/dead-letters/drop", { numbers });
    app.undo(`${counted(dropped, "dead letter")} dropped.`, undo);
  });
}

// Topics: the tree of sent topics, and the subscriptions that a topic would reach.
import { get } from "./api.js";
import { age, counted, h, number, plain } from "./dom.js";

let tree, told, field, pattern, wrong, timer = 0;

export function open(view) {
  tree = h("div", { class: "tree" });
  told = h("div", { role: "status" });
  let later = 0;
  field = h("input", { id: "route", type: "text", placeholder: "orders/new", autocomplete: "off", spellcheck: "false", oninput: () => { clearTimeout(later); later = setTimeout(where, 150); } });
  pattern = h("input", { id: "pattern", type: "search", placeholder: "orders/#", autocomplete: "off", spellcheck: "false", oninput: () => { clearTimeout(later); later = setTimeout(load, 150); } });
  wrong = h("p", { class: "problem", role: "alert", hidden: true });
  view.append(h("section", { class: "page topics" }, h("h1", {}, "Topics"),
    h("section", { class: "card" }, h("h2", {}, "Where would it go?"), h("p", { class: "quiet" }, "Enter a topic: nothing is sent."), h("label", {}, h("span", { class: "unseen" }, "Topic"), field), told),
    h("section", {}, h("h2", {}, "Topics of the history"), h("label", {}, h("span", { class: "quiet" }, "Only those that a pattern matches: + is one level, # any number of levels"), pattern), wrong, tree)));
  load();
  timer = setInterval(load, 2_000);
}

export function close() { clearInterval(timer); }

async function where() {
  const topic = field.value;
  if (!topic) { told.replaceChildren(); return; }
  try {
    const { destinations } = await get(`/api/route?topic=${encodeURIComponent(topic)}`);
    if (topic !== field.value) return; // the page has asked a later question meanwhile
    told.replaceChildren(destinations.length ? h("ul", { class: "reach" }, destinations.map((each) => h("li", {}, h("a", { href: `/destinations/${each.number}` }, plain(each.name)), ` ${counted(each.members, "member")}, ${each.members ? (each.credit ? `credit ${number(each.credit)}` : "no credit") : `${counted(each.waiting, "message")} waiting`}`))) : h("p", { class: "why" }, "Nobody is subscribed to this topic."));
  } catch (error) {
    told.replaceChildren(h("p", { class: "problem" }, `${error.message}.`));
  }
}

let said = "";
async function load() {
  if (document.hidden) return;
  const wanted = pattern.value;
  let topics;
  try {
    ({ topics } = await get(`/api/topics?pattern=${encodeURIComponent(wanted)}`));
  } catch (error) {
    if (error.status === 400) { wrong.hidden = false; wrong.textContent = `${error.message}.`; }
    return;
  }
  if (wanted !== pattern.value) return;
  wrong.hidden = true;
  const root = { nodes: new Map(), count: 0 };
  for (const topic of topics) {
    let at = root;
    for (const level of topic.topic.split("/")) {
      if (!at.nodes.has(level)) at.nodes.set(level, { nodes: new Map(), count: 0 });
      at = at.nodes.get(level);
      at.count += topic.count;
    }
    at.topic = topic;
  }
  const key = JSON.stringify([topics, wanted]);
  if (key === said && tree.childElementCount) return;
  said = key;
  const opened = new Set([...tree.querySelectorAll("details:not([open])")].map((node) => node.dataset.path));
  tree.replaceChildren(topics.length ? branch(root, "", opened) : wanted ? h("p", { class: "empty" }, "No topic of the history matches this pattern.") : h("div", { class: "empty" }, h("p", {}, "No topics yet."), h("p", { class: "quiet" }, "Each topic that a message is sent to grows a branch here."), h("a", { href: "/learn" }, "Send one: Learn has the commands")));
}

function branch(node, path, closed) {
  return h("ul", { role: "list" }, [...node.nodes].map(([level, child]) => {
    const here = path ? `${path}/${level}` : level;
    const line = [h("b", {}, plain(level) || "(empty)"), h("span", { class: "count" }, number(child.count)), child.topic ? h("a", { href: `/messages?q=${encodeURIComponent(`topic:${child.topic.topic}`)}` }, "messages") : null, child.topic?.preview ? h("code", { class: "preview" }, plain(child.topic.preview)) : null].filter(Boolean);
    return h("li", {}, child.nodes.size ? h("details", { "data-path": here, open: !closed.has(here) }, h("summary", {}, line), branch(child, here, closed)) : h("div", { class: "leaf" }, line));
  }));
}

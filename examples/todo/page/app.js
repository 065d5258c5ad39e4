/* The page: it shows the list, and sends what its reader changes. */

import { call, hasToken, pause, setToken, stream } from "./api.js";

const find = (id) => document.getElementById(id);
const PAGE = 100;

const items = new Map();
let changes = 0;
let running = 0;
let last = Promise.resolve();

/* What the reader sees */

function show(task) {
  const item = items.get(task.id) ?? add(task);
  item.task = task;
  const { node } = item;
  node.classList.toggle("done", task.done);
  node.querySelector("[type=checkbox]").checked = task.done;
  node.querySelector(".title").textContent = task.title;
  node.querySelector(".description").textContent = task.description;
  node.querySelectorAll(".hidden").forEach((span) => { span.textContent = ` “${task.title}”`; });
}

function add(task) {
  const node = find("task").content.firstElementChild.cloneNode(true);
  const item = { task, node };
  items.set(task.id, item);
  const later = Array.from(find("tasks").children).find((other) => Number(other.dataset.id) > task.id);
  node.dataset.id = task.id;
  find("tasks").insertBefore(node, later ?? null);
  node.querySelector("[type=checkbox]").addEventListener("change", (event) => tick(item, event.target.checked));
  node.querySelector(".edit").addEventListener("click", () => edit(item, true));
  node.querySelector(".delete").addEventListener("click", () => remove(item));
  node.querySelector(".cancel").addEventListener("click", () => edit(item, false));
  const form = node.querySelector("form");
  form.addEventListener("submit", (event) => save(event, item));
  form.addEventListener("keydown", (event) => { if (event.key === "Escape") edit(item, false); });
  return item;
}

/** Remove a task from the page, but not under the hands of a reader who edits it. */
function drop(id) {
  const item = items.get(id);
  if (!item) return; // it was deleted twice
  item.gone = true;
  if (item.before) return;
  item.node.remove();
  items.delete(id);
  summarize();
}

function summarize() {
  const done = Array.from(items.values()).filter(({ task }) => task.done).length;
  const said = items.size === 0 ? "No tasks" : `${done} of ${items.size} done`;
  if (find("summary").textContent !== said) find("summary").textContent = said;
  find("empty").hidden = items.size > 0;
}

function complain(message) {
  find("error").firstElementChild.textContent = message;
  find("error").hidden = message === "";
}

function connected(state) {
  const said = { yes: "Connected", no: "Not connected: trying again …" }[state];
  if (find("connection").dataset.state !== state) find("connection").textContent = said;
  find("connection").dataset.state = state;
}

/* What the reader does */

/** Do something that may fail, after all that the reader did before, and say so. Return whether it was done. */
function attempt(action) {
  complain("");
  running += 1;
  last = last.then(() => perform(action));
  return last;
}

async function perform(action) {
  try {
    await action();
    return true;
  } catch (error) {
    if (error.status === 401) login();
    complain(error.message);
    return false;
  } finally {
    running -= 1;
    changes += 1;
    summarize();
  }
}

async function create(event) {
  event.preventDefault();
  const form = event.target;
  const { title, description } = Object.fromEntries(new FormData(form));
  if (!title.trim()) return;
  const button = form.querySelector("button");
  button.disabled = true;
  const draft = { title: title.trim(), description: description.trim() };
  if (await attempt(async () => show(await call("todo/create", draft)))) form.reset();
  button.disabled = false;
  form.elements.title.focus();
}

async function tick(item, done) {
  await attempt(async () => show(await call("todo/update", { id: item.task.id, done })));
  show(item.task); // as it was, if that failed
}

function edit(item, on) {
  const form = item.node.querySelector("form");
  form.elements.title.value = item.task.title;
  form.elements.description.value = item.task.description;
  form.hidden = !on;
  item.before = on ? item.task : null;
  item.node.querySelector(".view").hidden = on;
  (on ? form.elements.title : item.node.querySelector(".edit")).focus();
  if (item.gone && !on) drop(item.task.id);
}

/** Send the fields that the reader has changed, so that what others have changed meanwhile stays. */
async function save(event, item) {
  event.preventDefault();
  const fields = Object.entries(Object.fromEntries(new FormData(event.target)));
  const changed = fields.map(([name, text]) => [name, text.trim()]).filter(([name, text]) => text !== item.before[name]);
  const change = { id: item.task.id, ...Object.fromEntries(changed) };
  if (changed.length === 0 || await attempt(async () => show(await call("todo/update", change)))) edit(item, false);
}

async function remove(item) {
  const { id } = item.task;
  const deleted = await attempt(async () => {
    try {
      await call("todo/delete", { id });
    } catch (error) {
      if (error.status !== 404) throw error; // somebody else was faster
    }
    drop(id);
  });
  if (deleted) find("summary").focus();
}

/* What others do */

/** Fetch the list and show it. A list that was read before a change of this page is not shown. */
async function refresh() {
  for (;;) {
    while (running) await pause(50);
    const before = changes;
    const tasks = [];
    let page;
    do {
      page = await call("todo/list", { after: tasks.at(-1)?.id ?? 0, limit: PAGE });
      tasks.push(...page);
    } while (page.length === PAGE);
    if (changes === before && !running) {
      const known = new Set(tasks.map((task) => task.id));
      Array.from(items.keys()).filter((id) => !known.has(id)).forEach(drop);
      tasks.forEach(show);
      summarize();
      return;
    }
  }
}

/** Follow the changes for ever. */
async function follow() {
  for (;;) {
    try {
      for await (const _ of stream("todo/changes")) {
        await refresh();
        connected("yes");
      }
      await pause(100);
    } catch (error) {
      if (error.status === 401) await login();
      else {
        connected("no");
        await pause(1000);
      }
    }
  }
}

function login() {
  const dialog = find("login");
  dialog.querySelector("p").hidden = !hasToken();
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
}

find("add").addEventListener("submit", create);
find("error").querySelector("button").addEventListener("click", () => complain(""));
find("login").querySelector("form").addEventListener("submit", (event) => {
  setToken(new FormData(event.target).get("token").trim());
  event.target.reset();
});
follow();

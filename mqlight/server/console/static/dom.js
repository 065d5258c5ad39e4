// Elements, and figures for people. All text from the server becomes text nodes, never markup.

import { runDemo, session } from "./api.js";

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Draw the last two minutes as an area.
export function spark(node, values) {
  const most = Math.max(1, ...values), step = 120 / 119, start = 120 - (values.length - 1) * step;
  const points = values.map((value, i) => `${(start + i * step).toFixed(1)} ${(27 - (value / most) * 25).toFixed(1)}`);
  const line = points.length ? `M${points.join("L")}` : "";
  if (!node.firstChild) node.append(svg("path", { class: "area" }), svg("path", { class: "line" }));
  node.firstChild.setAttribute("d", line && `${line}L120 28L${start.toFixed(1)} 28Z`);
  node.lastChild.setAttribute("d", line);
}

export const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#${name}` }));

// Show items as the children of a list. Each item keeps its node by key, and free nodes are used again. A node that has
// the focus stays with its item.
export function patch(list, items, key, make, update) {
  const old = new Map(Array.from(list.children, (node) => [node.dataset.key, node]));
  const wanted = new Set(items.map((item) => String(key(item))));
  const spare = [...old.values()].filter((node) => !wanted.has(node.dataset.key) && !node.contains(document.activeElement));
  let place = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const node = old.get(name) ?? spare.pop() ?? make();
    node.dataset.key = name;
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
  for (const node of [...list.children]) if (!wanted.has(node.dataset.key)) node.remove();
}

export function text(node, value) {
  const wanted = String(value);
  if (node.textContent !== wanted) node.textContent = wanted;
}

const whole = new Intl.NumberFormat("en");
export const number = (value) => whole.format(value);
export const rate = (value) => (value < 10 && value > 0 ? value.toFixed(1) : number(Math.round(value)));
export const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(count < 10240 ? 1 : 0)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

export function span(ms) {
  if (ms < 1) return "0 ms";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1).replace(".0", "")} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}

// Return the time on the server's clock, by the newest frame.
let offset = 0;
export const setNow = (now) => { offset = now - Date.now(); };
export const now = () => Date.now() + offset;
export const age = (at) => (now() - at < 1_000 ? "now" : span(now() - at));

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const time = (at) => `${clock.format(at)}.${String(Math.floor(at) % 1_000).padStart(3, "0")}`;
export const minute = (at) => clock.format(at).slice(0, 5);
export const stamp = (at) => h("time", { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() }, time(at));

// Make control characters and bidirectional overrides in a name visible, so that they cannot disguise it.
const ODD = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
export const plain = (value) => String(value).replace(ODD, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

// Show JSON in colours, as text. Numbers stay as they are written.
const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
export function colours(source) {
  const part = document.createDocumentFragment();
  let at = 0;
  for (const match of source.matchAll(TOKEN)) {
    part.append(source.slice(at, match.index));
    const kind = match[1] ? (match[2] ? "key" : "string") : match[3] ? "word" : "number";
    part.append(h("span", { class: `j-${kind}` }, match[1] ?? match[0]), match[2] ?? "");
    at = match.index + match[0].length;
  }
  part.append(source.slice(at));
  return part;
}

// Break JSON into lines. JavaScript does not parse the numbers, so they stay exact.
export function pretty(source) {
  let out = "", depth = 0, at = 0;
  const line = () => { out += `\n${"  ".repeat(depth)}`; };
  while (at < source.length) {
    const c = source[at];
    if (c === '"') {
      const end = /"(?:\\.|[^"\\])*"/y;
      end.lastIndex = at;
      const found = end.exec(source)?.[0] ?? source.slice(at);
      out += found;
      at += found.length;
      continue;
    }
    if (c === "{" || c === "[") {
      const closes = /^\s*[}\]]/.test(source.slice(at + 1));
      out += c;
      depth += 1;
      if (!closes) line();
    } else if (c === "}" || c === "]") {
      depth = Math.max(0, depth - 1);
      if (!/[{[]$/.test(out)) line();
      out += c;
    } else if (c === ",") { out += c; line(); }
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
    at += 1;
  }
  return out;
}

export function copyButton(value, label = "Copy") {
  const button = h("button", { type: "button", class: "small", onclick: async () => {
    await navigator.clipboard.writeText(typeof value === "function" ? value() : value);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1_500);
  } }, label);
  return button;
}

export const command = (line) => h("div", { class: "command" }, h("code", {}, line), copyButton(line));
export const quoted = (value) => `'${String(value).replaceAll("'", "'\\''")}'`;

// Return the hue of a client, the same on every page.
export function hue(name) {
  let sum = 7;
  for (const c of String(name)) sum = (sum * 31 + c.codePointAt(0)) % 9_973;
  return (sum % 8) + 1;
}

export const STATES = {
  accepted: "delivered", held: "in hand", waiting: "waiting", rejected: "rejected", expired: "expired", dropped: "dropped",
  nobody: "to nobody", refused: "refused",
};
export const state = (name, label = STATES[name] ?? name) => h("span", { class: "state", "data-state": name }, icon(`s-${name}`), h("span", {}, label));

export const clientPath = (name) => `/clients/${encodeURIComponent(name)}`;
export const client = (name) => h("a", { class: "who", href: clientPath(name) }, plain(name));

export const demoButton = () => (session.admin ? h("button", { type: "button", class: "small", onclick: () => runDemo(true) }, "Run the demo") : null);

// Return a table that scrolls sideways on a narrow screen.
export const table = (label, columns, body, kind = "") => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
  h("table", { class: `table ${kind}` }, h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), body));

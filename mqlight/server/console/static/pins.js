// Pinned filters. This browser keeps them, for all servers on this address.
import { h, plain, text } from "./dom.js";

const KEY = "console-pins", MOST = 20;

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each === "string").slice(0, MOST) : [];
  } catch { return []; }
}

export class Pins {
  constructor(app) {
    this.app = app;
    this.node = h("ul", { class: "pins", role: "list", "aria-label": "Pinned filters" });
    this.button = h("button", { type: "button", id: "pin", class: "small", hidden: true, onclick: () => this.toggle(app.query()) });
  }

  toggle(query) {
    const pins = read();
    const left = pins.filter((each) => each !== query);
    if (left.length === pins.length) left.push(query);
    localStorage.setItem(KEY, JSON.stringify(left.slice(-MOST)));
    this.draw();
  }

  draw() {
    const pins = read(), query = this.app.query();
    this.button.hidden = !query;
    text(this.button, pins.includes(query) ? "Unpin" : "Pin");
    this.node.replaceChildren(...pins.map((each) => h("li", {},
      h("a", { href: this.app.url("/messages", each), "aria-current": each === query ? "true" : null }, plain(each)),
      h("button", { type: "button", "aria-label": `Unpin ${plain(each)}`, onclick: () => this.toggle(each) }, "×"))));
  }
}

// One item of a page with many, in detail. It is loaded again every two seconds while it is open.
import { get } from "./api.js";
import { h, plain, span, table } from "./dom.js";

export class Pane {
  // `path` is the address of the items in the API. `draw(item)` returns the nodes that show an item.
  constructor(path, draw) {
    this.path = path;
    this.draw = draw;
    this.id = "";
    this.node = h("div", { class: "pane" });
  }

  show(id) {
    this.close();
    this.id = id;
    this.said = "";
    this.node.replaceChildren();
    if (!id) return;
    this.load(true);
    this.timer = setInterval(() => this.load(), 2_000);
  }

  close() {
    clearInterval(this.timer);
    this.id = "";
  }

  get busy() { return document.hidden || this.node.contains(getSelection().anchorNode) && getSelection().toString() || this.node.querySelector("button:focus, input:focus, textarea:focus"); }

  async load(now = false) {
    if (!now && this.busy) return;
    const { id } = this;
    let item;
    try {
      item = await get(`${this.path}/${encodeURIComponent(id)}`);
    } catch (error) {
      if (id === this.id && error.status === 404) {
        clearInterval(this.timer);
        this.node.replaceChildren(h("p", { class: "notice" }, `${error.message}.`));
      }
      return;
    }
    const said = JSON.stringify(item);
    if (id !== this.id || said === this.said || (!now && this.busy)) return;
    this.said = said;
    this.node.replaceChildren(h("section", { class: "card", "aria-labelledby": "pane-title" }, ...[this.draw(item)].flat().filter(Boolean)));
    if (now && this.node.getBoundingClientRect().top > innerHeight) this.node.scrollIntoView({ block: "nearest" });
  }
}

// Show the messages of a destination or of a client.
export const queued = (messages) => table("Messages", ["Topic", "Where", "Body", "Attempts", "Time left"], h("tbody", {}, messages.map((message) => h("tr", {},
  h("th", { scope: "row" }, message.id ? h("a", { href: `/messages/${message.id}` }, plain(message.topic)) : plain(message.topic)),
  h("td", {}, message.holder ? `in hand of ${plain(message.holder)}` : "waits"), h("td", {}, h("code", { class: "preview" }, plain(message.preview))),
  h("td", { class: "figure" }, message.attempts), h("td", { class: "figure" }, message.left === null ? "" : span(message.left * 1_000))))), "peek");

export const head = (title, back, ...more) => h("div", { class: "detail-head" }, h("h2", { id: "pane-title" }, title), ...more, h("a", { class: "button small", href: back }, "Close"));

// One message: its fate, step by step.
import { get, session } from "./api.js";
import { age, bytes, client, colours, copyButton, h, hue, plain, pretty, quoted, span, stamp, state, text } from "./dom.js";

const STEPS = {
  sent: "sent", given: "given to", accepted: "accepted by", rejected: "rejected by", released: "released by", modified: "failed at",
  undeliverable: "cannot be delivered by", lost: "lost with the connection of", expired: "its time to live ran out", dropped: "dropped", restored: "waits again: the purge was undone",
};

export class Detail {
  constructor(app, onclose) {
    this.app = app;
    this.id = "";
    this.node = h("aside", { class: "detail card", "aria-label": "Message", hidden: true, tabindex: "-1" });
    this.onclose = onclose;
  }

  async show(id) {
    if (this.id === id && !this.node.hidden) return;
    this.id = id;
    this.said = "";
    this.node.hidden = false;
    document.body.classList.add("has-detail");
    await this.load();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.load(), 1_000);
  }

  hide() {
    clearInterval(this.timer);
    this.id = "";
    this.node.hidden = true;
    document.body.classList.remove("has-detail");
  }

  async load() {
    if (document.hidden || !this.id) return;
    const id = this.id;
    let message;
    try {
      message = await get(`/api/messages/${encodeURIComponent(id)}`);
    } catch (error) {
      if (this.id === id && error.status === 404) {
        clearInterval(this.timer);
        this.node.replaceChildren(this.head("Message"), h("p", { class: "notice" }, `${error.message}.`));
      }
      return;
    }
    if (this.id !== id) return;
    const said = JSON.stringify({ ...message, left: 0, answer: 0 });
    if (said !== this.said && !this.node.contains(getSelection().anchorNode) || !this.said) this.draw(message);
    else text(this.answer, message.answer);
    this.said = said;
    if (["accepted", "rejected", "expired", "dropped", "refused"].includes(message.state) && !message.related.length === !message.role) clearInterval(this.timer);
  }

  head(title) {
    return h("div", { class: "detail-head" }, h("h2", {}, title), h("button", { type: "button", class: "small", "aria-label": "Close", title: "Esc", onclick: this.onclose }, "Close"));
  }

  draw(message) {
    this.answer = h("p", { class: "answer" }, message.answer);
    const remedy = message.why?.remedy ? h("p", { class: "remedy" }, message.why.remedy) : null;
    const line = message.data ? `macaque call ${quoted(message.topic)} ${quoted(message.data)}` : null;
    this.node.replaceChildren(...[
      this.head(plain(message.topic) || "(no topic)"),
      h("p", { class: "line" }, state(message.state), h("span", { class: "quiet" }, message.role || "message", " · ", bytes(message.size), message.ttl ? ` · time to live ${span(message.ttl)}${message.left ? `, ${span(message.left)} left` : ""}` : "")),
      this.answer, remedy,
      h("h3", {}, "Story"), this.story(message),
      h("h3", {}, "Body"), this.body(message),
      this.table("Properties", message.properties), this.table("Application properties", message.headers),
      message.related.length ? h("h3", {}, "Related") : null,
      message.related.length ? h("ul", { class: "related" }, message.related.map((each) => h("li", {}, h("a", { href: `/messages/${each.id}` }, `${each.role || "message"} to ${plain(each.topic)}`)))) : null,
      h("div", { class: "deeds" },
        message.role === "request" ? h("a", { class: "button small", href: `/calls/${message.id}` }, "See the call") : null,
        line ? copyButton(line, "Copy as macaque call") : null,
        copyButton(() => location.href, "Copy link"),
        session.admin && message.body !== null && !message.cut && message.kind !== "binary" && message.kind !== "value" ? h("button", { type: "button", class: "small", onclick: async () => (await import("./messages.js")).sendDialog(this.app, message) }, "Send like this") : null),
    ].filter(Boolean));
  }

  story(message) {
    const node = h("ol", { class: "story", role: "list" });
    node.append(h("li", { class: "step", "data-kind": "sent" }, stamp(message.at), h("span", {}, message.partial ? "its beginning was not recorded" : h("span", {}, "sent by ", message.from ? client(message.from) : h("b", {}, "somebody")))));
    for (const branch of message.branches) {
      node.append(h("li", { class: "branch" }, h("a", { href: `/destinations/${branch.destination}` }, plain(branch.name)), state(branch.state)));
      let before = message.at;
      for (const event of branch.events) {
        const wait = event.at - before;
        before = event.at;
        node.append(h("li", { class: "step", "data-kind": event.kind, "data-hue": event.who ? hue(event.who) : null },
          stamp(event.at), h("span", {}, STEPS[event.kind] ?? event.kind, " ", event.who ? client(event.who) : "", event.detail && event.kind !== "dropped" ? `: ${plain(event.detail)}` : event.detail ? ` (${event.detail})` : ""),
          h("span", { class: "wait" }, wait >= 1 ? `after ${span(wait)}` : "")));
      }
      if (branch.why && ["waiting", "held"].includes(branch.state)) node.append(h("li", { class: "step now" }, h("span", {}, "now"), h("span", {}, `${branch.why.text}.`)));
    }
    if (!message.branches.length) node.append(h("li", { class: "step", "data-kind": "dropped" }, h("span", {}, "at once"), h("span", {}, message.state === "nobody" ? "went to nobody" : "was refused")));
    return node;
  }

  body(message) {
    if (message.body === null) return h("p", { class: "quiet" }, "Bodies of this topic are hidden from you.");
    const shown = message.kind === "json" && message.body.length < 20_000 ? colours(pretty(message.body)) : message.body;
    const part = h("div", {}, h("pre", { class: "body", tabindex: "0", "aria-label": "Body" }, shown || "(empty)"));
    if (message.cut) part.append(h("p", { class: "quiet" }, `The first ${bytes(65_536)} are shown; the message has ${bytes(message.size)}.`));
    else if (message.kind === "binary") part.append(h("p", { class: "quiet" }, "Binary, in hexadecimal."));
    return part;
  }

  table(title, values) {
    const entries = Object.entries(values);
    if (!entries.length) return null;
    return h("details", {}, h("summary", {}, `${title} (${entries.length})`), h("dl", { class: "pairs" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, plain(name)), h("dd", {}, plain(value))))));
  }
}

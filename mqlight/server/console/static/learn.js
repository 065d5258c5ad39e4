// Learn: short exercises, which notice their own completion.
import { session } from "./api.js";
import { command, demoButton, h } from "./dom.js";

export const view = "messages";
const SERVICE = `import macaque, time
app = macaque.Server()
@app.service("learn/upper", share_id="learn")
def upper(word):
    time.sleep(0.2)
    return word.upper()
app.run()`;
const POISON = `import macaque
app = macaque.Server()
@app.service("learn/price", share_id="prices", max_deliveries=2)
def price(order):
    print("price of", order["pieces"], flush=True)
    if not isinstance(order["pieces"], int):
        raise ValueError("pieces is no whole number")
app.run()`;
const NOTIFY = `import macaque
with macaque.Client() as app:
    app.notify("learn/price", {"pieces": "three"}).result()`;

const run = (code) => `MACAQUE_BROKER=${session.broker} ${session.python} -c '\n${code}'`;
const call = (topic, data, more = "") => `${session.python} -m macaque call --broker ${session.broker} ${more}${topic} '${data}'`;
const share = (data, name) => data.destinations.find((each) => each.share === name);

const EXERCISES = [
  {
    id: "hello", title: "Hello", about: "A service, and a call to it.",
    steps: () => [
      ["In a terminal, start a service. It appears under Receiving, as the share learn.", run(SERVICE)],
      ["In another terminal, call it. The request and its reply appear among the messages.", call("learn/upper", '"hello"')],
    ],
    done: (data) => data.messages?.some((row) => row.topic === "learn/upper" && row.state === "accepted"),
    learned: ["The request went to learn/upper, and the reply to the caller’s own topic. ", ["See both in one row", "/calls"]],
  },
  {
    id: "offload", title: "Share the work", about: "A second worker takes half of it.",
    steps: () => [
      ["Start the same service once more, in a terminal of its own. The share learn has two members now.", run(SERVICE)],
      ["Send twenty words at once, and watch the bars of both members grow.", `MACAQUE_BROKER=${session.broker} ${session.python} -c '\nimport macaque\nwith macaque.Client() as app:\n    print([each.result() for each in [app.call("learn/upper", f"word {i}") for i in range(20)]])'`],
    ],
    done: (data) => (share(data, "learn")?.members ?? []).filter((member) => member.taken > 1).length > 1,
    learned: ["Workers of one share divide its messages. Stop one with Ctrl-C, and the other gets them all. ", ["See the share", "/messages?q=topic:learn/upper"]],
  },
  {
    id: "wrong", title: "A wrong topic", about: "The most common reason why nothing arrives.",
    steps: () => [["Call a topic with a slip of the pen. The caller is told at once that nobody is there, and the row says which subscription comes close.", call("learn/uper", '"hello"')]],
    done: (data) => data.messages?.some((row) => row.state === "nobody" && row.topic.startsWith("learn/")),
    learned: ["The row of the message says which patterns come close. ", ["See it", "/messages?q=state:nobody"]],
  },
  {
    id: "life", title: "Time to live", about: "A request that nobody takes in time.",
    steps: () => [
      ["Stop the services with Ctrl-C. The share learn stays, without a member.", null],
      ["Call it, and wait for two seconds only. The request waits, and then expires.", call("learn/upper", '"too late"', "--timeout 2 ")],
    ],
    done: (data) => data.messages?.some((row) => row.state === "expired" && row.topic === "learn/upper"),
    learned: ["A call’s time-out is the request’s time to live: no worker starts on what nobody waits for. ", ["See it", "/messages?q=state:expired"]],
  },
  {
    id: "dead", title: "A poison request", about: "It fails, is kept as a dead letter, mended, and replayed.",
    steps: () => [
      ["Start a service that counts pieces.", run(POISON)],
      ["Send it a request that it cannot take. After two attempts it is a dead letter.", run(NOTIFY)],
      [session.admin ? "Open Dead letters, replace \"three\" by 3 in the request, and press Replay as edited." : "Open Dead letters to see it. To mend and replay it there, start the server with --console-admin.", null],
    ],
    done: (data) => (session.admin ? data.messages?.some((row) => row.topic === "learn/price" && row.from.startsWith("console") && row.state === "accepted") : data.totals.dead > 0),
    learned: ["The service took the mended request. ", ["See its story", "/messages?q=topic:learn/price"]],
  },
];

let cards = [], done = new Set();

export function open(view_) {
  try { done = new Set(JSON.parse(sessionStorage.getItem(`learnt-${session.run}`) ?? "[]")); } catch { done = new Set(); }
  cards = EXERCISES.map((exercise, i) => {
    const node = h("section", { class: "card exercise", id: `learn-${exercise.id}`, "aria-labelledby": `learn-${exercise.id}-title` },
      h("div", { class: "exercise-head" }, h("span", { class: "nth", "aria-hidden": "true" }, i + 1), h("h2", { id: `learn-${exercise.id}-title` }, exercise.title), h("p", { class: "quiet" }, exercise.about), h("span", { class: "tick", role: "status" })),
      h("ol", { class: "exercise-steps" }, exercise.steps().map(([said, line]) => h("li", {}, h("p", {}, said), line ? command(line) : null))),
      h("p", { class: "learned", hidden: true }, exercise.learned[0], h("a", { href: exercise.learned[1][1] }, exercise.learned[1][0])));
    return { exercise, node };
  });
  view_.append(h("section", { class: "page learn" }, h("h1", {}, "Learn"), h("p", { class: "quiet" }, "Five exercises of a minute each. Keep this page open beside a terminal: it notices what you do."),
    h("section", { class: "card", "aria-labelledby": "learn-demo" }, h("h2", { id: "learn-demo" }, "Or watch first"), h("p", {}, "The demo is a shop inside this server: customers, workers, calls inside calls, and some mishaps. Its topics and clients begin with demo, and it leaves nothing behind."), h("p", { class: "deeds" }, demoButton() ?? h("span", { class: "quiet" }, "Start the server with --console-admin to run it."))),
    ...cards.map((card) => card.node)));
  for (const card of cards) if (done.has(card.exercise.id)) finish(card);
}

export function frame(data) {
  for (const card of cards) {
    if (!done.has(card.exercise.id) && card.exercise.done(data)) {
      done.add(card.exercise.id);
      sessionStorage.setItem(`learnt-${session.run}`, JSON.stringify([...done]));
      finish(card);
    }
  }
}

function finish({ node }) {
  node.classList.add("done");
  node.querySelector(".tick").textContent = "Done";
  node.querySelector(".learned").hidden = false;
}

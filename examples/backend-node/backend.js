// A worker of the fishalive page. Like `python -m backend`, it turns words into upper case, over plain AMQP 1.0.
//
//     npm install && npm start
//
// It connects to MACAQUE_BROKER, or to amqp://127.0.0.1:5672. docs/protocol.md describes requests and replies.

const { randomBytes } = require("node:crypto");
const container = require("rhea").create_container();

const SHARE = "share:nodejs-back-end:mqlight/sample/wordsuppercase";
const DAY = 24 * 3600; // seconds that words wait while no worker of this share runs
const id = `node_${randomBytes(4).toString("hex")}`;

const server = new URL(process.env.MACAQUE_BROKER || "amqp://127.0.0.1:5672");
const secure = server.protocol === "amqps:";
const connection = container.connect({
  container_id: id,
  host: server.hostname,
  port: server.port || (secure ? 5671 : 5672),
  transport: secure ? "tls" : "tcp",
  username: decodeURIComponent(server.username) || undefined,
  password: decodeURIComponent(server.password) || undefined,
});
// The link of the replies has no address: the `to` of each reply has its topic.
const replies = connection.open_sender({ target: {} });
const words = connection.open_receiver({ source: { address: SHARE, timeout: DAY }, credit_window: 0, autoaccept: false });
const inHand = new Map();

function answer({ uuid, data, replyTo }) {
  const reply = typeof data?.word === "string"
    ? { uuid, data: { word: data.word.toUpperCase(), backend: `Node.js: ${id}` } }
    : { uuid, error: { code: 400, message: 'send an object with a "word" that is a string' } };
  return { to: replyTo, correlation_id: uuid, content_type: "text/plain", body: JSON.stringify(reply) };
}

words.on("receiver_open", () => { // after a lost connection again
  console.log(`${id} serves ${SHARE}`);
  inHand.clear();
  words.add_credit(1); // one word at a time
});
words.on("message", ({ message, delivery }) => {
  try {
    inHand.set(replies.send(answer(JSON.parse(message.body))).id, delivery);
  } catch (error) {
    delivery.reject({ condition: "amqp:decode-error", description: error.message });
    words.add_credit(1);
  }
});
replies.on("settled", ({ delivery }) => { // the reply is safe, so let go of the word
  inHand.get(delivery.id)?.accept();
  inHand.delete(delivery.id);
  words.add_credit(1);
});

connection.on("disconnected", ({ error }) => console.error(`no connection (${error?.message ?? "lost"}), trying again`));
connection.on("connection_close", () => process.exit(0));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => connection.close());

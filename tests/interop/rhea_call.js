// A client that knows only AMQP 1.0, by rhea: calls each topic in turn, and prints a JSON line about each call.
//
//     node rhea_call.js PORT TOPIC JSON [TOPIC JSON]...

const container = require("rhea").create_container({ container_id: "rhea-client" });

const [port, ...rest] = process.argv.slice(2);
const calls = [];
while (rest.length) calls.push({ topic: rest.shift(), body: rest.shift() });

const connection = container.connect({ host: "127.0.0.1", port, reconnect: false });
const answers = connection.open_receiver({ source: { dynamic: true } });
let call;

function next() {
  call?.sender.close();
  call = calls.shift();
  if (!call) return connection.close();
  call.sender = connection.open_sender({ target: { address: call.topic, capabilities: ["mqlight:release-unrouted"] } });
  call.sender.once("sendable", () => {
    call.sender.send({
      body: call.body,
      reply_to: answers.source.address,
      correlation_id: `about ${call.topic}`,
      content_type: "application/json",
    });
  });
  call.sender.once("released", () => tell({ outcome: "released" }));
}

function tell(what) {
  console.log(JSON.stringify({ topic: call.topic, ...what }));
  next();
}

answers.once("receiver_open", next);
answers.on("message", ({ message }) => tell({
  correlation: message.correlation_id,
  type: message.content_type,
  body: message.body,
  properties: message.application_properties ?? null,
}));

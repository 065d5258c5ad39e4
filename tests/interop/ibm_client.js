// IBM's own client of MQ Light: does what its documentation shows, and prints a JSON line for everything that happens.
// It must stay below 100 sends on a connection: from then on this client fails by itself on Node.js 10 and later.
//
//     node ibm_client.js URL

const mqlight = require("mqlight");

const [service] = process.argv.slice(2);
const say = (event, what) => console.log(JSON.stringify({ event, ...what }));
const started = (id) => new Promise((resolve, reject) => {
  const client = mqlight.createClient({ service, id }, (error) => (error ? reject(error) : resolve(client)));
  client.on("error", (error) => say("error", { id, name: error.name, message: error.message }));
});
const told = (object, method, ...args) => new Promise((resolve, reject) => {
  object[method](...args, (error) => (error ? reject(error) : resolve()));
});
const send = (client, topic, data, options) => told(client, "send", topic, data, options);

function collect(client, name, options = {}) {
  const messages = [];
  client.on("message", (data, delivery) => {
    messages.push({ data, topic: delivery.message.topic, share: delivery.destination.share ?? null });
    if (options.confirm) delivery.message.confirmDelivery?.();
    say("message", { name, data, topic: delivery.message.topic, ttl: delivery.message.ttl ?? null });
  });
  return messages;
}

async function until(predicate, what) {
  for (let turn = 0; turn < 1000; turn += 1) {
    if (predicate()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${what} did not happen`);
}

async function main() {
  const [sender, one, two] = await Promise.all(["sender", "one", "two"].map(started));
  const toOne = collect(one, "one");
  const toTwo = collect(two, "two", { confirm: true });

  // At most once, to everybody who subscribed
  await told(one, "subscribe", "news/#");
  await told(two, "subscribe", "news/+");
  await send(sender, "news/fish", "for all", { qos: mqlight.QOS_AT_MOST_ONCE });
  await until(() => toOne.length === 1 && toTwo.length === 1, "news for both");
  await told(one, "unsubscribe", "news/#");
  await told(two, "unsubscribe", "news/+");
  await send(sender, "news/fish", "for nobody", { qos: mqlight.QOS_AT_LEAST_ONCE });

  // At least once, divided in a share, objects as JSON
  const options = { qos: mqlight.QOS_AT_LEAST_ONCE, autoConfirm: false, credit: 5 };
  await told(one, "subscribe", "work", "team", { qos: mqlight.QOS_AT_LEAST_ONCE, credit: 5 });
  await told(two, "subscribe", "work", "team", options);
  for (let number = 0; number < 20; number += 1) {
    await send(sender, "work", { number }, { qos: mqlight.QOS_AT_LEAST_ONCE, ttl: 60_000 });
  }
  await until(() => toOne.length + toTwo.length === 22, "all work");
  say("shared", { one: toOne.length - 1, two: toTwo.length - 1 });
  await told(one, "unsubscribe", "work", "team");
  await told(two, "unsubscribe", "work", "team", { ttl: 0 });

  // What was not confirmed is delivered again, to the next one
  const careless = await started("careless");
  const toCareless = collect(careless, "careless");
  const keep = { qos: mqlight.QOS_AT_LEAST_ONCE, autoConfirm: false, ttl: 60_000 };
  await told(careless, "subscribe", "parcel", "post", keep);
  await send(sender, "parcel", "fragile", { qos: mqlight.QOS_AT_LEAST_ONCE });
  await until(() => toCareless.length === 1, "the first delivery");
  await told(careless, "stop");
  await told(two, "subscribe", "parcel", "post", { ...keep });
  await until(() => toTwo.at(-1).data === "fragile", "the second delivery");
  await told(two, "unsubscribe", "parcel", "post", { ttl: 0 });

  await Promise.all([sender, one, two].map((client) => told(client, "stop")));
  say("end");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
}).finally(() => setTimeout(() => process.exit(), 100));

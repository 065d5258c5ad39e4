// The words of this page: what was sent, what came back, and by which worker. It knows neither the page nor the clock:
// `now` is milliseconds, and comes in with each call that needs it.

const MAX_SHOWN = 1_000;
const HUES = 8;
const QUIET_AFTER = 2_000;
const NO_WORKER = ["NoResponders", "Timeout"];

const KINDS = [
  { prefix: "Python:", kind: "python", label: "Python" },
  { prefix: "Node.js:", kind: "node", label: "Node.js" },
  { prefix: "Ruby:", kind: "ruby", label: "Ruby" },
  { prefix: "Liberty for Java:", kind: "java", label: "Liberty for Java" },
];

// One process that answers words. Its number is the order in which workers were first heard of.
class Worker {
  words = 0;
  timed = 0; // words for which the worker said how long it worked
  total = 0; // milliseconds from the front end's call to its answer, over all words
  working = 0; // milliseconds of work, over the timed words
  timedTotal = 0; // as total, over the timed words
  lastSign = 0;

  constructor(id, number) {
    const known = KINDS.find(({ prefix }) => id.startsWith(prefix));
    this.id = id;
    this.number = number;
    this.hue = ((number - 1) % HUES) + 1;
    this.kind = known?.kind ?? "other";
    this.label = known?.label ?? "Another kind";
  }

  count(reply, now) {
    this.words += 1;
    this.total += reply.roundTripMs;
    this.lastSign = now;
    if (reply.workMs === undefined) return;
    this.timed += 1;
    this.timedTotal += reply.roundTripMs;
    this.working += reply.workMs;
  }

  // Milliseconds a word: waiting and working if the worker tells them apart, else their sum.
  get average() {
    if (!this.timed) return { both: this.total / this.words };
    const working = this.working / this.timed;
    return { working, waiting: Math.max(0, this.timedTotal / this.timed - working) };
  }

  // Whether others answer and this one does not: `since` the last sentence was sent, until the last answer of all.
  isQuiet(since, latest) {
    const patience = Math.max(QUIET_AFTER, 3 * (this.average.working ?? this.average.both));
    return latest - Math.max(since, this.lastSign) > patience;
  }
}

export class Words {
  sent = 0; // words since none was out: sent, back (failed ones too), failed, and never to come back
  back = 0;
  failed = 0;
  unserved = 0; // failed for want of a worker
  missing = 0;
  lastSent = 0; // when a sentence was sent
  lastSign = 0; // when a sentence was sent, or a reply came
  shown = []; // { reply, worker, place, node }, oldest first; the page keeps its node in it
  dropped = 0; // words that came before the shown ones
  workers = new Map();
  answers = 0; // by all workers

  #places = new Map(); // word -> its places in the sentences sent, and how many of them each kind of answer has taken
  #next = 0;

  get out() {
    return Math.max(0, this.sent - this.back);
  }

  // Whether no worker took any of them.
  get areUnserved() {
    return this.unserved > 0 && this.unserved === this.back && !this.out && !this.answers;
  }

  // Note the words of a sentence before it is sent, because their replies may be here before the answer to that.
  expect(words, now) {
    if (!this.out) {
      this.restart();
      this.#places.clear();
    }
    this.lastSent = this.lastSign = now;
    this.sent += words.length;
    for (const word of words) {
      if (!this.#places.has(word)) this.#places.set(word, { places: [], taken: new Map() });
      this.#places.get(word).places.push(this.#next);
      this.#next += 1;
    }
  }

  // Forget the words of a sentence that was not sent.
  unexpect(words) {
    this.sent -= words.length;
    for (const word of words) this.#places.get(word)?.places.pop();
  }

  restart() {
    Object.assign(this, { sent: 0, back: 0, failed: 0, unserved: 0, missing: 0 });
  }

  receive(replies, now) {
    if (replies.length) this.lastSign = now;
    for (const reply of replies) {
      const worker = reply.error ? null : this.#workerOf(reply);
      worker?.count(reply, now);
      this.answers += worker ? 1 : 0;
      if (!reply.again) { // the count is of words, not of what each kind of worker has to say to them
        if (!this.sent || !this.out) this.restart(); // sent by another tab, or before this page was loaded
        this.back += 1;
        this.failed += reply.error ? 1 : 0;
        this.unserved += NO_WORKER.includes(reply.code) ? 1 : 0;
      }
      this.shown.push({ reply, worker, place: this.#placeOf(reply, worker) });
    }
    const over = this.shown.length - MAX_SHOWN;
    if (over > 0) {
      this.shown.splice(0, over);
      this.dropped += over;
    }
  }

  // Believe the front end, which knows how many words are still to come.
  correct(out, now) {
    if (out && !this.sent) this.lastSign = now; // sent before this page was loaded
    this.missing += Math.max(0, this.out - out);
    this.sent = this.back + out;
  }

  clear() {
    Object.assign(this, { shown: [], dropped: 0, workers: new Map(), answers: 0, failed: 0, unserved: 0 });
    if (!this.out) this.restart();
  }

  inOrder(ofSentence) {
    return ofSentence ? [...this.shown].sort((a, b) => a.place - b.place) : this.shown;
  }

  #workerOf(reply) {
    const { workers } = this;
    if (!workers.has(reply.backend)) workers.set(reply.backend, new Worker(reply.backend, workers.size + 1));
    return workers.get(reply.backend);
  }

  // The first answer to "fish" belongs to the first "fish" of the sentence, and so does each other kind's first.
  #placeOf(reply, worker) {
    const known = this.#places.get(reply.original);
    const by = reply.again ? worker?.kind : "first";
    const taken = known?.taken.get(by) ?? 0;
    known?.taken.set(by, taken + 1);
    const place = known?.places[taken];
    if (place !== undefined) return place;
    this.#next += 1; // sent by another tab, or before this page was loaded: it comes last
    return this.#next - 1;
  }
}

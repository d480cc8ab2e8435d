// Earlier conversations, kept by this browser and sent nowhere: IndexedDB, one list for each of those who sign in here.
// Every tab has a conversation of its own; what two tabs changed at once becomes two conversations, and none is lost.

const NAME = "ansambl.chat";
const [HEADS, TURNS, OWNER] = ["heads", "turns", "owner"];
const LONGEST = 80;

const answerTo = (request) => new Promise((done, failed) => {
  request.onsuccess = () => done(request.result);
  request.onerror = () => failed(request.error);
});

/** Letters that nobody else has; `crypto.randomUUID` is only there behind TLS and on this machine. */
export const fresh = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (one) => one.toString(36)).join("-");

/** What a conversation is called where nobody has named it: the first line of its first question. */
export const titleOf = (turns) => {
  const line = turns[0]?.question.trim().split("\n")[0].trim() ?? "";
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 1).trimEnd()}…` : line;
};

/** A head is `{id, owner, title, first, created, changed, count, token}`: `title` is what somebody named it, "" for
 *  nothing, `first` what it is called then; times in milliseconds; `token` tells who wrote it last. */
export class Archive {
  /** `onChange(removed)` is called after every change here and in other tabs, with the ids that are gone. */
  constructor(owner) {
    this.owner = owner;
    this.onChange = () => {};
    this.channel = new BroadcastChannel(NAME);
    this.channel.addEventListener("message", ({ data }) => this.onChange(data));
  }

  /** The heads, the newest first. */
  async list() {
    const found = await this.#within("readonly", (heads) => answerTo(heads.index(OWNER).getAll(this.owner)));
    return found.sort((a, b) => b.changed - a.changed);
  }

  /** One as `{head, turns}`; null where it is gone. */
  async read(id) {
    const [head, found] = await this.#within("readonly", (heads, turns) =>
      Promise.all([answerTo(heads.get(id)), answerTo(turns.get(id))]));
    return head?.owner === this.owner ? { head, turns: found?.turns ?? [] } : null;
  }

  /** Keep `now` (see `Conversation`). What another tab has changed meanwhile stays as it is: `now` then gets an id of
   *  its own. */
  async write(now) {
    await this.#within("readwrite", async (heads, turns) => {
      const known = await answerTo(heads.get(now.id));
      const strange = known && (known.owner !== this.owner || !now.tokens.includes(known.token));
      if (strange) now.id = fresh();
      const title = (!strange && known?.title) || now.title;
      heads.put({
        id: now.id, owner: this.owner, title, first: titleOf(now.turns), created: now.created, changed: now.changed,
        count: now.turns.length, token: now.tokens.at(-1),
      });
      turns.put({ id: now.id, turns: now.turns });
    });
    this.#tell([]);
  }

  async rename(id, title) {
    await this.#within("readwrite", async (heads) => {
      const head = await answerTo(heads.get(id));
      if (head) heads.put({ ...head, title });
    });
    this.#tell([]);
  }

  /** Remove some; resolves to what `restore` takes back. */
  async remove(ids) {
    const removed = await this.#within("readwrite", async (heads, turns) => {
      const found = await Promise.all(ids.map((id) => Promise.all([answerTo(heads.get(id)), answerTo(turns.get(id))])));
      for (const id of ids) { heads.delete(id); turns.delete(id); }
      return found.filter(([head]) => head);
    });
    this.#tell(ids);
    return removed;
  }

  async restore(removed) {
    await this.#within("readwrite", (heads, turns) => {
      for (const [head, found] of removed) { heads.put(head); turns.put(found); }
    });
    this.#tell([]);
  }

  #tell(removed) {
    this.channel.postMessage(removed);
    this.onChange(removed);
  }

  /** Do `work(heads, turns)` within one transaction, which is whole or was not. */
  async #within(mode, work) {
    const base = await (this.opened ??= this.#open());
    const deal = base.transaction([HEADS, TURNS], mode);
    const ended = new Promise((done, failed) => {
      deal.oncomplete = done;
      deal.onabort = () => failed(deal.error ?? new Error("the browser broke it off"));
    });
    const doing = (async () => work(deal.objectStore(HEADS), deal.objectStore(TURNS)))().catch((error) => {
      // Half of it must not stay. Where the browser broke it off, it is over already.
      try { deal.abort(); } catch { /* it is */ }
      throw error;
    });
    return (await Promise.all([doing, ended]))[0];
  }

  async #open() {
    try {
      const opening = indexedDB.open(NAME, 1);
      opening.onupgradeneeded = () => {
        opening.result.createObjectStore(HEADS, { keyPath: "id" }).createIndex(OWNER, OWNER);
        opening.result.createObjectStore(TURNS, { keyPath: "id" });
      };
      const base = await answerTo(opening);
      base.onclose = () => { this.opened = null; };
      base.onversionchange = () => { base.close(); this.opened = null; };
      return base;
    } catch (error) {
      this.opened = null;
      throw error;
    }
  }
}

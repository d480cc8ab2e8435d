// Collections that are made, places that are added, and what is removed after a question.
import { ask, path, tried } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { number, say } from "../../lib/words.js";

/** Milliseconds in which changes are gathered, so that a hundred files do not ask for the lists a hundred times. */
const GATHERED = 1000;
const due = {};

/** Have the lists read again: `what` is knowledge or memory. */
export function changed(what = "knowledge") {
  due[what] ??= setTimeout(() => {
    delete due[what];
    document.body.dispatchEvent(new CustomEvent(`${what}-changed`));
  }, GATHERED);
}

export function making() {
  return {
    name: "", description: "", problem: "", busy: false,
    make() {
      return tried(this, true, async () => {
        await ask("POST", "knowledge/collections", { name: this.name.trim(), description: this.description.trim() });
        changed();
      });
    },
    embed() { return tried(this, true, () => ask("POST", "knowledge/embed")); },
  };
}

export function placing() {
  return {
    place: "", collection: "", chats: false, watch: false, problem: "", busy: false,
    add() {
      const place = this.place.trim();
      const into = this.collection.trim() ? { collection: this.collection.trim() } : {};
      return tried(this, true, async () => {
        if (this.chats) await ask("POST", "knowledge/import-chats", { path: place, ...into });
        else await ask("POST", "knowledge/add", { place, watch: this.watch, ...into });
        this.place = "";
      });
    },
  };
}

/** The words that narrow a list of documents, in its address. */
export function narrowing() {
  return {
    go() {
      const address = new URL(location.href);
      address.searchParams.delete("after");
      address.searchParams.set("text", this.$refs.text.value.trim());
      location.assign(address.href);
    },
  };
}

const REMOVED = {
  collection: (of) => ["DELETE", path("knowledge", "collections", of.name)],
  document: (of) => ["DELETE", path("knowledge", "documents", of.id)],
  folder: (of) => ["DELETE", `knowledge/folders?${new URLSearchParams({ path: of.name, collection: of.collection })}`],
  memory: (of) => ["DELETE", path("knowledge", "memory", of.id)],
  owner: (of) => ["DELETE", `knowledge/memory?${new URLSearchParams({ owner: of.id })}`],
};
const ACTIONS = { folder: "leave", memory: "forget", owner: "forget" };

export function removal() {
  return {
    title: "", lost: "", action: "", problem: "", busy: false, of: {},
    init() {
      document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-remove]");
        if (button) this.question({ ...button.dataset });
      });
    },
    question(of) {
      const counted = { documents: number(of.documents ?? 0), passages: number(of.passages ?? 0) };
      this.of = of;
      this.title = say(`remove_${of.remove}`, of);
      this.lost = say(`remove_${of.remove}_lost`, { ...of, ...counted });
      this.action = say(ACTIONS[of.remove] ?? "remove");
      this.problem = "";
      this.$root.showModal();
    },
    close() { this.$root.close(); },
    go() {
      return tried(this, true, async () => {
        await ask(...REMOVED[this.of.remove](this.of));
        if (this.of.then) {
          location.assign(this.of.then);
          return;
        }
        this.$root.close();
        // What had the focus may be gone.
        byId("main").focus();
        changed();
        if (this.of.remove === "memory" || this.of.remove === "owner") changed("memory");
      });
    },
  };
}

// The list of earlier conversations: opened, named, removed, taken away as files.
import { asJson, asMarkdown } from "./exporting.js";
import { byId, el, give } from "../../lib/dom.js";
import { clock, number, say } from "../../lib/words.js";

const LONGEST_NAME = 200;

export class Past {
  constructor({ archive, chat, conversation }) {
    Object.assign(this, { archive, chat, conversation });
    this.panel = byId("past");
    this.words = "";
    this.heads = [];
    archive.onChange = (removed) => this.#changed(removed);
    this.panel.addEventListener("toggle", (event) => { if (event.newState === "open") this.#refresh(); });
    byId("past-find").addEventListener("input", () => this.#draw());
    byId("past-new").addEventListener("click", () => { this.panel.hidePopover(); chat.begin(); });
    byId("past-clear").addEventListener("click", () => this.#remove(this.heads.map((one) => one.id), say("removed_all")));
    byId("past-list").addEventListener("keydown", (event) => this.#walk(event));
    for (const [id, files] of [["export", () => [this.#here]], ["past", () => this.#all()]]) {
      byId(`${id}-json`).addEventListener("click", async () =>
        this.#give(id, asJson(await files(), byId("chat").dataset.version), "application/json", "json"));
      byId(`${id}-markdown`).addEventListener("click", async () =>
        this.#give(id, asMarkdown(await files(), say("you")), "text/markdown", "md"));
    }
  }

  /** Say why the conversation cannot be kept (null where it can again), or that it is another one from now on. */
  trouble(error, isSplit) {
    const full = error?.name === "QuotaExceededError";
    const words = error ? say(full ? "no_room" : "not_kept", { reason: error.message }) : "";
    if (isSplit) this.chat.tell(say("split"));
    // The next question took the line away, but what it said is so still.
    if (words === this.words && !(words && byId("told").hidden)) return;
    byId("past-trouble").textContent = words;
    if (words || this.words) this.chat.tell(words);
    this.words = words;
  }

  get #here() {
    const { title, turns, now } = this.conversation;
    return { title, turns, created: now.created, changed: now.changed };
  }

  async #all() {
    const found = await Promise.all(this.heads.map((one) => this.archive.read(one.id)));
    return found.filter(Boolean).map(({ head, turns }) => ({ ...head, title: nameOf(head), turns }));
  }

  #give(id, text, type, ending) {
    const stamp = new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-");
    give(text, type, `ansambl-${stamp}.${ending}`);
    if (id === "export") byId("export").open = false;
  }

  /** Something changed, here or in another tab. What is gone there is not shown here any more. */
  #changed(removed) {
    if (removed.includes(this.conversation.now.id)) this.chat.forget({ keeps: false });
    if (this.panel.matches(":popover-open")) this.#refresh();
  }

  async #refresh() {
    try {
      this.heads = await this.archive.list();
      this.#draw();
    } catch (error) {
      byId("past-trouble").textContent = say("not_kept", { reason: error.message });
    }
  }

  #draw() {
    const wanted = byId("past-find").value.trim().toLowerCase();
    const shown = this.heads.filter((one) => nameOf(one).toLowerCase().includes(wanted));
    const list = byId("past-list");
    const focused = list.contains(document.activeElement) && document.activeElement.closest("li").dataset.id;
    if (list.querySelector("input")) return;
    list.replaceChildren(...shown.map((one) => this.#item(one)));
    byId("past-none").hidden = shown.length > 0;
    byId("past-all").hidden = this.heads.length === 0;
    if (focused) [...list.children].find((one) => one.dataset.id === focused)?.querySelector("button").focus();
  }

  #item(head) {
    const title = nameOf(head);
    const act = (key, does) => el("button", {
      type: "button", className: "quiet", ariaLabel: say(`${key}_one`, { title }), on: { click: does },
    }, say(key));
    const open = el("button", { type: "button", className: "open", dir: "auto", on: { click: () => this.#open(head.id) } }, title);
    if (head.id === this.conversation.now.id) open.ariaCurrent = "true";
    const item = el("li", {}, open, el("div", { className: "facts" },
      el("small", {}, say("past_facts", { time: clock(head.changed / 1000), count: number(head.count) })),
      act("rename", () => this.#rename(item, head)), act("remove", () => this.#remove([head.id], say("removed", { title })))));
    item.dataset.id = head.id;
    return item;
  }

  async #open(id) {
    const found = await this.archive.read(id);
    this.panel.hidePopover();
    if (found && id !== this.conversation.now.id) this.chat.open(found);
  }

  /** A field in the place of the title: Enter and leaving it keep the name, Escape does not. */
  #rename(item, head) {
    const field = el("input", { value: nameOf(head), maxLength: LONGEST_NAME, dir: "auto", ariaLabel: say("new_name") });
    let over = false;
    const end = async (keeps) => {
      if (over) return;
      over = true;
      const name = field.value.trim();
      field.remove();
      if (keeps && name && name !== nameOf(head)) {
        await this.archive.rename(head.id, name);
        if (head.id === this.conversation.now.id) this.conversation.now.title = name;
      }
      await this.#refresh();
      [...byId("past-list").children].find((one) => one.dataset.id === head.id)?.querySelector("button").focus();
    };
    field.addEventListener("blur", () => end(true));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) end(true);
      // The list stays open.
      if (event.key === "Escape") { event.preventDefault(); end(false); }
    });
    item.firstChild.replaceWith(field);
    field.select();
  }

  async #remove(ids, sentence) {
    const now = this.conversation.now;
    const removed = await this.archive.remove(ids);
    const undo = el("button", { type: "button", className: "quiet", on: { click: async () => {
      await this.archive.restore(removed);
      byId("past-told").replaceChildren();
      const here = removed.find(([head]) => head.id === now.id);
      if (here && !this.conversation.turns.length) this.chat.open({ head: here[0], turns: here[1].turns });
    } } }, say("undo"));
    byId("past-told").replaceChildren(`${sentence} `, undo);
    undo.focus();
  }

  /** Arrows go from one conversation to the next. */
  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.tagName === "INPUT") return;
    const next = event.target.closest("li")[step > 0 ? "nextElementSibling" : "previousElementSibling"];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }
}

const nameOf = (head) => head.title || head.first;

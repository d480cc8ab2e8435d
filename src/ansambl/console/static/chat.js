// The chat: sends messages, shows answers as they arrive, keeps the conversation.
import { TurnView } from "./answer.js";
import { emptyAnswer } from "./conversation.js";
import { byId, el } from "./dom.js";
import { AnswerError, ask } from "./stream.js";
import { examples, language, onLanguage, say } from "./words.js";

const NEAR = 80;

export class Chat {
  constructor(conversation, picker, machine) {
    this.conversation = conversation;
    this.picker = picker;
    this.machine = machine;
    this.views = [];
    this.running = null;
    this.follows = true;
    this.box = byId("message");
    this.scroll = byId("scroll");
    this.#listen();
    this.#drawAll();
  }

  #listen() {
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
    this.box.addEventListener("input", () => this.refresh());
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.#submit(); }
      if (event.key === "Escape") this.stop();
    });
    byId("stop").addEventListener("click", () => { this.stop(); this.box.focus(); });
    byId("clear").addEventListener("click", () => this.#clear());
    byId("newest").addEventListener("click", () => { this.follows = true; this.#followNewest(); this.box.focus(); });
    this.scroll.addEventListener("scroll", () => {
      this.follows = this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < NEAR;
      byId("newest").hidden = this.follows;
    }, { passive: true });
    // A browser that leaves the page breaks the connection first, which then is no error.
    window.addEventListener("beforeunload", () => { this.leaving = true; });
    window.addEventListener("pagehide", () => this.conversation.save());
    this.picker.onChange(() => this.refresh());
    onLanguage(() => this.known());
  }

  /** Whether a message can be sent now. */
  get ready() { return !this.running && this.picker.current !== undefined && this.box.value.trim() !== ""; }

  /** Show what the buttons can do now. */
  refresh() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
    byId("send").disabled = !this.ready;
    byId("send").hidden = Boolean(this.running);
    byId("stop").hidden = !this.running;
    byId("actions").hidden = this.conversation.turns.length === 0;
    byId("welcome").hidden = this.conversation.turns.length > 0;
  }

  stop() { this.running?.abort(); }

  #submit() {
    if (!this.ready) return;
    this.#notice("");
    const turn = { question: this.box.value.trim(), answer: emptyAnswer(this.picker.current) };
    this.conversation.turns.push(turn);
    this.box.value = "";
    this.#add(turn);
    this.follows = true;
    this.#answer(this.conversation.turns.length - 1);
  }

  #retry(turn) {
    const index = this.conversation.turns.indexOf(turn);
    if (this.running || index < 0 || !this.picker.current) return;
    turn.answer = emptyAnswer(this.picker.current);
    this.views[index].toggled = false;
    this.box.focus();
    this.#answer(index);
  }

  async #answer(index) {
    const turn = this.conversation.turns[index];
    const view = this.views[index];
    const { answer } = turn;
    this.running = new AbortController();
    this.leaving = false;
    this.conversation.save();
    this.refresh();
    const label = this.picker.label(answer.name);
    this.#say(say("answering", { name: label }));
    const show = this.#painter(view);
    const began = performance.now();
    const since = () => (performance.now() - began) / 1000;
    // The heading that a council writes before a role speaks is no word of a model.
    const heading = (text) => /^\s*\*\*[^\n]*\*\*\s*$/.test(text);
    const arrived = (part) => (text) => { if (!heading(text)) answer.first ??= since(); answer[part] += text; show(); };
    show();
    try {
      const found = await ask({
        model: answer.name,
        messages: this.conversation.messages(index),
        signal: this.running.signal,
        on: { reasoning: arrived("reasoning"), content: arrived("content") },
      });
      Object.assign(answer, found);
      this.#say(say("answered", { name: label }));
    } catch (error) {
      if (error.name === "AbortError" || this.leaving) answer.stopped = true;
      else answer.error = error instanceof AnswerError ? error.message : say("lost_during");
    }
    answer.seconds = since();
    answer.running = false;
    this.running = null;
    this.conversation.save();
    this.refresh();
    show();
  }

  /** A function that brings a view up to date at the next frame, however often it is called before. */
  #painter(view) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; view.update(); this.#followNewest(); });
    };
  }

  #followNewest() {
    if (this.follows) this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  #add(turn) {
    const view = new TurnView(turn, this.picker, () => this.#retry(turn));
    this.views.push(view);
    byId("log").append(view.element);
  }

  #drawAll() {
    this.views = [];
    byId("log").replaceChildren();
    for (const turn of this.conversation.turns) this.#add(turn);
    this.refresh();
    this.#followNewest();
  }

  #drawExamples() {
    const offered = examples().filter((one) => this.picker.find(one.role));
    byId("examples").replaceChildren(...offered.map((one) => {
      // The embedded model knows English only: a question in another language would show nothing but that.
      const text = this.machine.isEmbedded ? one.english : one.text;
      const use = () => {
        this.picker.choose(one.role);
        this.box.value = text;
        this.refresh();
        this.box.focus();
      };
      const lang = text === one.text ? language() : "en";
      return el("li", {}, el("button", { type: "button", on: { click: use } },
        el("span", { className: "by" }, this.picker.badge(one.role), this.picker.label(one.role)), el("span", { lang }, text)));
    }));
  }

  /** The roles, the machine or the language changed. */
  known() {
    this.#drawExamples();
    for (const view of this.views) view.update();
    this.refresh();
  }

  #clear() {
    this.stop();
    const before = this.conversation.clear();
    this.#drawAll();
    const undo = el("button", { type: "button", className: "quiet", on: {
      click: () => {
        if (this.conversation.turns.length) return;
        this.conversation.restore(before);
        this.#notice("");
        this.#drawAll();
        this.box.focus();
      },
    } }, say("undo"));
    this.#notice(say("cleared"), undo);
    this.box.focus();
  }

  #notice(text, ...more) {
    byId("notice").hidden = !text;
    byId("notice").replaceChildren(text, ...more);
  }

  #say(text) { byId("spoken").textContent = text; }
}

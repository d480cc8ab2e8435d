// The chat: sends messages, shows answers as they arrive, keeps the conversation.
import { byId, el, forTab, keep, kept, speakAloud } from "../../lib/dom.js";
import { language, say } from "../../lib/words.js";
import { TurnView } from "./answer.js";
import { emptyAnswer } from "./conversation.js";
import { takeReasoning } from "./progress.js";
import { AnswerError, ask } from "../../lib/stream.js";

const NEAR = 80;
const DRAFT = "ansambl.chat.draft";
/** Milliseconds of drawing above which the next drawing waits, so that a long answer leaves the page usable. */
const SLOW = 8;

export class Chat {
  /** `sampling()` is what the panel sets, `needsKey()` is called where a key is asked for. */
  constructor({ conversation, targets, sampling, needsKey, examples }) {
    Object.assign(this, { conversation, targets, sampling, needsKey, examples });
    this.views = [];
    this.runs = new Map();
    this.follows = true;
    this.editing = false;
    this.box = byId("message");
    this.box.value = kept(forTab, DRAFT) ?? "";
    this.#listen();
    this.#drawAll();
    // What is waited for, and for how long, changes without a word from the engine.
    setInterval(() => this.wait(), 1000);
  }

  #listen() {
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
    this.box.addEventListener("input", () => this.refresh());
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.#submit(); }
      if (event.key === "Escape") { if (this.runs.size) this.stop(); else this.#edited(); }
    });
    byId("stop").addEventListener("click", () => { this.stop(); this.box.focus(); });
    byId("clear").addEventListener("click", () => this.#clear());
    byId("newest").addEventListener("click", () => { this.follows = true; this.#followNewest(); this.box.focus(); });
    window.addEventListener("scroll", () => {
      const page = document.scrollingElement;
      this.follows = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR;
      byId("newest").hidden = this.follows || this.views.length === 0;
    }, { passive: true });
    // A browser that leaves the page breaks the connection first, which then is no error.
    window.addEventListener("beforeunload", () => { this.leaving = true; });
    window.addEventListener("pagehide", () => { this.conversation.save(); keep(forTab, DRAFT, this.box.value || null); });
  }

  get busy() { return this.runs.size > 0; }

  /** Whether a message can be sent now. */
  get ready() { return !this.busy && this.targets.chosen.length > 0 && this.box.value.trim() !== ""; }

  /** Fill the message box; nothing is sent. */
  write(text) {
    this.box.value = text;
    this.refresh();
    this.box.focus();
  }

  /** Show what the buttons can do now. */
  refresh() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
    byId("send").disabled = !this.ready;
    byId("send").hidden = this.busy;
    byId("stop").hidden = !this.busy;
    byId("stop").textContent = say(this.runs.size > 1 ? "stop_all" : "stop");
    byId("actions").hidden = this.conversation.turns.length === 0;
    byId("welcome").hidden = this.conversation.turns.length > 0;
    this.views.forEach((one, at) => one.arrange({ last: at === this.views.length - 1, busy: this.busy }));
  }

  /** The roles are known, or changed: names, marks and first questions. */
  known() {
    this.#drawExamples();
    for (const view of this.views) view.update();
    this.refresh();
    if (this.eager && this.ready) this.#submit();
  }

  wait() {
    for (const answer of this.runs.keys()) this.#viewOf(answer)?.wait();
  }

  /** End one answer, or all. */
  stop(answer = null) {
    for (const [one, run] of this.runs) if (answer === null || one === answer) run.abort();
  }

  tell(text, ...more) {
    byId("told").hidden = !text;
    byId("told").replaceChildren(text, ...more.filter(Boolean));
  }

  #submit() {
    // Who is quicker than the list of roles is not made to press again.
    this.eager = !this.targets.known && this.box.value.trim() !== "";
    if (!this.ready) return;
    this.tell("");
    if (this.editing) {
      this.conversation.turns.pop();
      this.views.pop().element.remove();
      this.editing = false;
    }
    const turn = { question: this.box.value.trim(), answers: this.targets.chosen.map(emptyAnswer), kept: null };
    this.conversation.turns.push(turn);
    this.box.value = "";
    this.#add(turn);
    this.follows = true;
    for (const answer of turn.answers) this.#answer(turn, answer);
    this.#followNewest();
  }

  #retry(answer) {
    const turn = this.conversation.turns.find((one) => one.answers.includes(answer));
    const target = this.targets.find(answer.name) ?? { id: answer.name, kind: answer.kind, models: answer.models };
    if (!turn || this.runs.has(answer)) return;
    const fresh = emptyAnswer({ ...target, id: answer.name });
    const view = this.#viewOf(answer);
    turn.answers[turn.answers.indexOf(answer)] = fresh;
    view.begin(fresh);
    this.box.focus({ preventScroll: true });
    this.#answer(turn, fresh);
  }

  async #answer(turn, answer) {
    const view = this.#viewOf(answer);
    const run = new AbortController();
    this.runs.set(answer, run);
    this.leaving = false;
    this.conversation.save();
    this.refresh();
    const label = this.targets.label(answer.name);
    speakAloud(say("answering", { name: label }));
    const show = this.#painter(view);
    const began = performance.now();
    Object.defineProperty(answer, "began", { value: began, configurable: true });
    const since = () => (performance.now() - began) / 1000;
    const spoken = () => { answer.first ??= since(); };
    show();
    try {
      const index = this.conversation.turns.indexOf(turn);
      const found = await ask(
        { model: answer.name, messages: this.conversation.messages(index, answer.name), ...this.sampling() },
        {
          signal: run.signal,
          needsKey: this.needsKey,
          on: {
            facts: (facts) => { Object.assign(answer, facts); show(); },
            waiting: (sentence) => { answer.waiting = sentence; show(); },
            reasoning: (text) => { if (takeReasoning(answer, text)) spoken(); show(); },
            content: (text) => { spoken(); answer.content += text; show(); },
          },
        },
      );
      Object.assign(answer, found);
      speakAloud(say("answered", { name: label }));
    } catch (error) {
      if (error.name === "AbortError" || this.leaving) answer.stopped = true;
      else answer.error = error instanceof AnswerError ? error.message : say("lost_during");
    }
    answer.seconds = since();
    answer.running = false;
    this.runs.delete(answer);
    this.conversation.save();
    show();
    this.refresh();
  }

  /** A function that brings a view up to date soon, however often it is called before. */
  #painter(view) {
    let waiting = false;
    let cost = 0;
    const paint = () => {
      waiting = false;
      const began = performance.now();
      view.update();
      cost = performance.now() - began;
      this.#followNewest();
    };
    return () => {
      if (waiting) return;
      waiting = true;
      if (cost < SLOW) requestAnimationFrame(paint);
      else setTimeout(paint, 4 * cost);
    };
  }

  #followNewest() {
    const page = document.scrollingElement;
    if (this.follows) page.scrollTop = page.scrollHeight;
  }

  #viewOf(answer) {
    for (const view of this.views) {
      const found = view.of(answer);
      if (found) return found;
    }
    return null;
  }

  #add(turn) {
    const view = new TurnView(turn, this.targets, {
      stop: (answer) => this.stop(answer),
      retry: (answer) => this.#retry(answer),
      goOn: (answer) => this.#goOn(answer),
      edit: () => this.#edit(),
    });
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
    // The embedded model knows English only: a question in another language would show nothing but that.
    const embedded = this.targets.all.some((one) => one.kind === "role" && one.models?.includes("embedded"));
    for (const one of document.querySelectorAll(".embedded")) one.hidden = !embedded;
    const offered = this.examples.filter((one) => this.targets.find(one.role));
    byId("examples").replaceChildren(...offered.map((one) => {
      const text = embedded ? one.english : one.text;
      const use = () => { this.targets.choose([one.role]); this.write(text); };
      const lang = text === one.text ? language() : "en";
      return el("li", {}, el("button", { type: "button", on: { click: use } },
        el("span", { className: "by" }, this.targets.badge(one.role), this.targets.label(one.role)), el("span", { lang }, text)));
    }));
  }

  /** One column becomes the conversation. */
  #goOn(answer) {
    const before = { names: this.targets.names, undo: this.conversation.continueWith(answer.name) };
    this.targets.choose([answer.name]);
    this.refresh();
    this.tell(say("continued", { name: this.targets.label(answer.name) }), button("undo", () => {
      before.undo();
      this.targets.choose(before.names);
      this.tell("");
      this.refresh();
    }));
    this.box.focus();
  }

  /** Take the last question back into the box; sending replaces it. */
  #edit() {
    if (this.busy || this.editing) return;
    this.editing = true;
    this.draft = this.box.value;
    this.tell(say("editing"), button("cancel", () => this.#edited()));
    this.write(this.conversation.last.question);
  }

  #edited() {
    if (!this.editing) return;
    this.editing = false;
    this.tell("");
    this.write(this.draft);
  }

  /** Go on with a conversation of the knowledge: a document with `title` and `turns`. */
  goOnWith({ title, turns }) {
    const author = turns.find((one) => one.speaker === "assistant")?.author;
    this.#replace(() => this.conversation.take(turns, author || "assistant"), say("continued_past", { title }));
  }

  /** Leave nothing of the conversation in the browser. */
  forget() {
    this.stop();
    this.conversation.clear();
    this.box.value = "";
    this.#drawAll();
  }

  #clear() { this.#replace(() => this.conversation.clear(), say("cleared")); }

  /** Put another conversation in the place of this one, which can be undone. */
  #replace(act, sentence) {
    this.stop();
    this.editing = false;
    const before = this.conversation.turns;
    act();
    const after = this.conversation.turns.length;
    this.#drawAll();
    this.tell(sentence, before.length > 0 && button("undo", () => {
      if (this.conversation.turns.length !== after) return;
      this.conversation.restore(before);
      this.tell("");
      this.#drawAll();
      this.box.focus();
    }));
    this.box.focus();
  }
}

const button = (key, act) => el("button", { type: "button", className: "quiet", on: { click: act } }, say(key));

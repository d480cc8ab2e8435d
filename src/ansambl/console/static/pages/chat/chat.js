// The chat: sends messages, shows answers as they arrive, keeps the conversation.
import { byId, el, forTab, keep, kept, speakAloud } from "../../lib/dom.js";
import { language, say } from "../../lib/words.js";
import { TurnView } from "./answer.js";
import { emptyAnswer, turnsOf } from "./conversation.js";
import { takeReasoning } from "./progress.js";
import { splitter } from "./thinking.js";
import { AnswerError, ask } from "../../lib/stream.js";

const NEAR = 80;
const DRAFT = "ansambl.chat.draft";
/** Milliseconds of drawing above which the next drawing waits, so that a long answer leaves the page usable. */
const SLOW = 8;
/** Milliseconds between two times that an answer is kept while it comes. */
const BETWEEN = 5000;
/** Letters of an answer that are read out when it has ended; more is read by going there. */
const READ_OUT = 400;
/** What has no Shift beside Enter: there Enter begins a line, as everywhere on such devices. */
const BY_TOUCH = matchMedia("(hover: none) and (pointer: coarse)");

export class Chat {
  /** `sampling()` is what the panel sets, `needsKey()` is called where a key is asked for. */
  constructor({ conversation, targets, sampling, needsKey, examples }) {
    Object.assign(this, { conversation, targets, sampling, needsKey, examples });
    this.views = [];
    this.runs = new Map();
    this.follows = true;
    this.edited = null;
    this.top = 0;
    this.box = byId("message");
    this.box.value = kept(forTab, DRAFT) ?? "";
    this.#listen();
    this.#drawAll();
    // What is waited for, and for how long, changes without a word from the engine.
    setInterval(() => this.wait(), 1000);
    // A browser that ends without a word leaves what had come until then.
    setInterval(() => { if (this.busy) this.conversation.save(); }, BETWEEN);
  }

  #listen() {
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
    this.box.addEventListener("input", () => this.refresh());
    this.box.addEventListener("keydown", (event) => {
      // Safari ends the composing of a word before it tells of the key that ended it: 229 is that key.
      const composes = event.isComposing || event.keyCode === 229;
      if (event.key !== "Enter" || event.shiftKey || composes || BY_TOUCH.matches) return;
      event.preventDefault();
      this.#submit();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      // What is open closes, and no more.
      if (event.target.closest("details.menu[open]") || document.querySelector(":popover-open")) return;
      if (this.busy) this.stop();
      else this.#leaveEditing();
    }, true);
    byId("stop").addEventListener("click", () => { this.stop(); this.box.focus(); });
    byId("new").addEventListener("click", () => this.begin());
    byId("newest").addEventListener("click", () => { this.follows = true; this.#followNewest(); this.box.focus(); });
    window.addEventListener("scroll", () => {
      const page = document.scrollingElement;
      const below = page.scrollHeight - page.scrollTop - page.clientHeight;
      // Who scrolls up, be it a little, wants to read there.
      this.follows = below <= 1 || (below < NEAR && page.scrollTop >= this.top);
      this.top = page.scrollTop;
      byId("newest").hidden = this.follows || this.views.length === 0;
    }, { passive: true });
    // A browser that leaves the page breaks the connection first, which then is no error.
    window.addEventListener("beforeunload", () => { this.leaving = true; });
    window.addEventListener("pagehide", () => { if (this.busy) this.conversation.save(); keep(forTab, DRAFT, this.box.value || null); });
    // A phone ends pages that nobody sees, and tells no more.
    document.addEventListener("visibilitychange", () => { if (document.hidden && this.busy) this.conversation.save(); });
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
    if (this.edited) this.#dropFrom(this.conversation.turns.indexOf(this.edited));
    const turn = { question: this.box.value.trim(), answers: this.targets.chosen.map(emptyAnswer), kept: null };
    this.conversation.turns.push(turn);
    this.box.value = "";
    this.#add(turn);
    this.follows = true;
    for (const answer of turn.answers) this.#answer(turn, answer);
    this.#followNewest();
  }

  /** The question that is asked anew goes, and all after it. Where there were answers to later questions, the
   *  conversation as it was stays among the earlier ones. */
  #dropFrom(index) {
    const { turns, title } = this.conversation;
    this.edited = null;
    if (index < turns.length - 1) {
      this.conversation.begin(turns.slice(0, index), this.conversation.now.title);
      this.tell(say("forked", { title }));
    } else {
      turns.length = index;
    }
    for (const view of this.views.splice(index)) view.element.remove();
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
    const thinks = (text) => { if (takeReasoning(answer, text)) answer.thought ??= since(); };
    const split = splitter();
    const take = ({ thinking, content }) => {
      if (thinking) thinks(thinking);
      if (content.trim()) answer.first ??= since();
      answer.content += content;
    };
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
            reasoning: (text) => { thinks(text); show(); },
            content: (text) => { take(split(text)); show(); },
          },
        },
      );
      Object.assign(answer, found);
    } catch (error) {
      if (error.name === "AbortError" || this.leaving) answer.stopped = true;
      else answer.error = error instanceof AnswerError ? error.message : say("lost_during");
    }
    take(split());
    answer.seconds = since();
    answer.running = false;
    this.runs.delete(answer);
    // Another one may be here by now.
    if (this.conversation.turns.includes(turn)) this.conversation.save();
    view.update();
    this.#followNewest();
    this.refresh();
    if (!answer.error && !answer.stopped) speakAloud(`${say("answered", { name: label })} ${this.busy ? "" : view.spoken(READ_OUT)}`);
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
      edit: () => this.#edit(turn),
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

  /** Take a question back into the box; sending replaces it. */
  #edit(turn) {
    if (this.busy) return;
    if (!this.edited) this.draft = this.box.value;
    this.edited = turn;
    this.tell(say(turn === this.conversation.last ? "editing" : "editing_earlier"), button("cancel", () => this.#leaveEditing()));
    this.write(turn.question);
  }

  #leaveEditing() {
    if (!this.edited) return;
    this.edited = null;
    this.tell("");
    this.write(this.draft);
  }

  /** Go on with a conversation of the knowledge: a document with `title` and `turns`. */
  goOnWith({ title, turns }) {
    const author = turns.find((one) => one.speaker === "assistant")?.author;
    this.#replace(() => this.conversation.begin(turnsOf(turns, author || "assistant"), title), say("continued_past", { title }));
  }

  /** Leave nothing of the conversation on the page and in the tab. With `keeps` the archive has it, for whoever said it,
   *  and the draft goes, too. */
  forget({ keeps = true } = {}) {
    if (keeps) this.box.value = "";
    this.#replace(() => this.conversation.begin(), "", keeps);
  }

  /** A new conversation. */
  begin() { this.#replace(() => this.conversation.begin(), say("begun")); }

  /** Go on with one of the archive: `{head, turns}`. */
  open(found) { this.#replace(() => this.conversation.open(found)); }

  /** The conversation is another one now: all of it is drawn. */
  redraw() { this.#drawAll(); }

  /** Put another conversation in the place of this one; where there is a `sentence` for it, it can be undone. */
  #replace(act, sentence = "", keeps = true) {
    this.#settle(keeps);
    this.edited = null;
    const before = act();
    const { now } = this.conversation;
    const after = now.turns.length;
    this.#drawAll();
    const undo = () => {
      if (this.conversation.now !== now || now.turns.length !== after) return;
      this.conversation.back(before);
      this.tell("");
      this.#drawAll();
      this.box.focus();
    };
    this.tell(sentence, sentence && before.turns.length > 0 && button("undo", undo));
    this.box.focus({ preventScroll: true });
  }

  /** End the answers that are running, and keep what came of them before another conversation is here. */
  #settle(keeps) {
    if (!this.busy) return;
    for (const answer of this.runs.keys()) Object.assign(answer, { running: false, stopped: true });
    if (keeps) this.conversation.save();
    this.stop();
    this.runs.clear();
  }
}

const button = (key, act) => el("button", { type: "button", className: "quiet", on: { click: act } }, say(key));

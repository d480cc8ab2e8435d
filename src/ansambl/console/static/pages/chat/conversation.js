// The conversation of this tab as data: kept for the tab at once and in the archive soon after. No elements here.
import { fresh, titleOf } from "./archive.js";
import { forTab, keep, kept } from "../../lib/dom.js";

const KEY = "ansambl.chat";
/** The token of what the archive has of it: where it differs, the tab was left before that was written. */
const KEPT = "ansambl.chat.kept";
const VERSION = 2;
/** Writings whose end is not known, at most. */
const TOKENS = 20;

/** `now` is `{id, title, created, changed, tokens, turns}`: times in milliseconds, the newest token last.
 *  `turns` is a list of `{question, answers, kept}`: an answer for each role that was asked (what `emptyAnswer` makes,
 *  times in seconds), and the name of the one that the conversation goes on with, null while all do. */
export class Conversation {
  /** `onTrouble(error, isSplit)` is called after every keeping: where the archive could not, why, else null; `isSplit`
   *  tells that another tab went on with it, so that it is one of its own from now on. */
  constructor(archive, onTrouble) {
    this.archive = archive;
    this.onTrouble = onTrouble;
    this.now = empty();
    const found = this.#found();
    if (!found) return;
    this.now = { ...empty(), ...found, turns: settled(found.turns ?? []) };
    if (found.turns && found.tokens?.at(-1) !== kept(forTab, KEPT)) this.save();
  }

  /** What the tab has of it could be its name alone, where the browser had no room: the rest then comes from the archive. */
  async complete() {
    const { id, turns } = this.now;
    if (turns.length || !kept(forTab, KEY)) return false;
    const found = await this.archive.read(id).catch(() => null);
    if (!found || this.now.id !== id || this.now.turns.length) return false;
    this.open(found);
    return true;
  }

  get turns() { return this.now.turns; }

  get last() { return this.turns.at(-1); }

  get title() { return this.now.title || titleOf(this.turns); }

  /** The messages for `answer` of turn `index`: what was said before in its own column, and the question. A role that
   *  was not asked before reads what the conversation goes on with. Turns without an answer are left out, because many
   *  chat templates refuse two user messages in a row. */
  messages(index, name) {
    const said = this.turns.slice(0, index).map((turn) => ({ question: turn.question, answer: heard(turn, name) }));
    return [
      ...said.filter((one) => one.answer?.content).flatMap((one) => [
        { role: "user", content: one.question },
        { role: "assistant", content: one.answer.content },
      ]),
      { role: "user", content: this.turns[index].question },
    ];
  }

  /** Go on with one column; returns what undoes it. */
  continueWith(name) {
    const before = this.turns.map((turn) => turn.kept);
    for (const turn of this.turns) {
      if (turn.answers.length > 1 && turn.answers.some((one) => one.name === name)) turn.kept = name;
    }
    this.save();
    return () => {
      before.forEach((one, at) => { if (this.turns[at]) this.turns[at].kept = one; });
      this.save();
    };
  }

  /** Keep it as it is now. */
  save() {
    const { now } = this;
    if (!now.turns.length) { this.#forTab(null); return; }
    const token = fresh();
    now.tokens = [...now.tokens, token].slice(-TOKENS);
    now.changed = Date.now();
    const { id } = now;
    this.#forTab(now);
    this.archive.write(now).then(() => {
      // Another tab may have changed it meanwhile: then it has another id now.
      if (this.now === now) { this.#forTab(now); keep(forTab, KEPT, token); }
      this.onTrouble(null, now.id !== id);
    }, (error) => this.onTrouble(error, false));
  }

  #forTab(now) {
    const owner = this.archive.owner;
    if (now && keep(forTab, KEY, JSON.stringify({ version: VERSION, owner, ...now }))) return;
    keep(forTab, KEY, now && JSON.stringify({ version: VERSION, owner, id: now.id, tokens: now.tokens }));
  }

  #found() {
    try {
      const found = JSON.parse(kept(forTab, KEY) ?? "null");
      // What somebody else said here is not for whoever signed in after.
      return found?.version === VERSION && (found.owner ?? this.archive.owner) === this.archive.owner ? found : null;
    } catch {
      return null;
    }
  }

  /** Begin a new one, perhaps with turns; the one before stays in the archive. Returns that one. */
  begin(turns = [], title = "") {
    return this.back({ ...empty(), turns, title });
  }

  /** Go back to one that was here before. Returns the one that is here now. */
  back(now) {
    const before = this.now;
    this.now = now;
    this.save();
    return before;
  }

  /** Go on with one of the archive; returns the one before. Nothing of it is written before it changes. */
  open({ head, turns }) {
    const before = this.now;
    const { id, title, created, changed, token } = head;
    this.now = { id, title, created, changed, tokens: [token], turns: settled(turns) };
    this.#forTab(this.now);
    keep(forTab, KEPT, token);
    return before;
  }
}

/** Turns of what was said elsewhere: `said` is a list of `{speaker, text}`, speakers "user" and others. */
export function turnsOf(said, name) {
  const turns = [];
  for (const one of said) {
    if (one.speaker === "user") {
      if (turns.at(-1)?.answers[0].content === "") turns.at(-1).question += `\n\n${one.text}`;
      else turns.push({ question: one.text, answers: [{ ...emptyAnswer({ id: name, kind: "past" }), running: false }], kept: null });
    } else if (one.speaker === "assistant" && turns.length) {
      const answer = turns.at(-1).answers[0];
      answer.content += (answer.content && "\n\n") + one.text;
    }
  }
  return turns.filter((one) => one.answers[0].content);
}

/** The answer of a turn that column `name` reads. */
function heard({ answers, kept: chosen }, name) {
  const of = (wanted) => answers.find((one) => one.name === wanted);
  return (chosen && of(chosen)) ?? of(name) ?? answers.find((one) => one.content);
}

const empty = () => ({ id: fresh(), title: "", created: Date.now(), changed: Date.now(), tokens: [], turns: [] });

/** A new answer that has not begun. `thought` and `first` are the times of the first words of thinking and answer. */
export const emptyAnswer = (target) => ({
  name: target.id, kind: target.kind, models: target.models ?? [], content: "", reasoning: "", parts: [], route: null,
  usage: null, account: null, instance: null, queued: null, swaps: null, thought: null, first: null, seconds: null,
  finish: null, waiting: "", stopped: false, error: null, running: true,
});

/** Turns that were left while an answer arrived: what had come stays. */
export function settled(turns) {
  for (const answer of turns.flatMap((turn) => turn.answers)) {
    if (answer.running) Object.assign(answer, { running: false, stopped: true });
  }
  return turns;
}

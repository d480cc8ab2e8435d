// The conversation as data: kept for the tab, sent to models, exported as a file. No elements here.
import { forTab, keep, kept } from "../../lib/dom.js";

const KEY = "ansambl.chat";
const VERSION = 2;

/** `turns` is a list of `{question, answers, kept}`: an answer for each role that was asked (what `emptyAnswer` makes,
 *  times in seconds), and the name of the one that the conversation goes on with, null while all do. */
export class Conversation {
  constructor() {
    this.turns = load();
  }

  get last() { return this.turns.at(-1); }

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

  save() {
    keep(forTab, KEY, this.turns.length ? JSON.stringify({ version: VERSION, turns: this.turns }) : null);
  }

  clear() { this.restore([]); }

  restore(turns) {
    this.turns = turns;
    this.save();
  }

  /** Begin with what was said elsewhere: `said` is a list of `{speaker, text}`, speakers "user" and others. */
  take(said, name) {
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
    this.turns = turns.filter((one) => one.answers[0].content);
    this.save();
  }

  asJson(version) {
    const messages = this.turns.flatMap(({ question, answers, kept: chosen }, index) => [
      { turn: index + 1, role: "user", content: question },
      ...answers.map((answer) => ({
        turn: index + 1,
        role: "assistant",
        name: answer.name,
        content: answer.content,
        ...(chosen === answer.name && { continued: true }),
        ...(answer.reasoning && { reasoning_content: answer.reasoning }),
        ...(answer.usage && { usage: answer.usage }),
        ...(answer.instance && { instance: answer.instance }),
        ...(answer.first !== null && { first_word_seconds: answer.first }),
        ...(answer.seconds !== null && { seconds: answer.seconds }),
        ...(answer.queued !== null && { queued_ms: answer.queued }),
        ...(answer.account && { ansambl: answer.account }),
        ...(answer.error && { error: answer.error }),
      })),
    ]);
    return JSON.stringify({ application: "ansambl", version, exported: new Date().toISOString(), messages }, null, 2);
  }

  asMarkdown(you) {
    const parts = this.turns.map(({ question, answers }) => [
      `## ${you}\n\n${question}\n`,
      ...answers.map((one) => `## ${oneLine(one.name)}\n\n${one.content || `> ${one.error ?? "…"}`}\n`),
    ].join("\n"));
    return parts.join("\n");
  }
}

/** The answer of a turn that column `name` reads. */
function heard({ answers, kept: chosen }, name) {
  const of = (wanted) => answers.find((one) => one.name === wanted);
  return (chosen && of(chosen)) ?? of(name) ?? answers.find((one) => one.content);
}

const oneLine = (text) => text.replace(/\s+/g, " ");

/** A new answer that has not begun. */
export const emptyAnswer = (target) => ({
  name: target.id, kind: target.kind, models: target.models ?? [], content: "", reasoning: "", parts: [], route: null,
  usage: null, account: null, instance: null, queued: null, swaps: null, first: null, seconds: null, finish: null,
  waiting: "", stopped: false, error: null, running: true,
});

function load() {
  try {
    const found = JSON.parse(kept(forTab, KEY) ?? "null");
    if (found?.version !== VERSION || !Array.isArray(found.turns)) return [];
    // The page was left while an answer arrived: what had come stays.
    for (const answer of found.turns.flatMap((turn) => turn.answers)) {
      if (answer.running) Object.assign(answer, { running: false, stopped: true });
    }
    return found.turns;
  } catch {
    return [];
  }
}

// The conversation as data: kept for the tab, sent to models, exported as a file. No elements here.
import { forTab, keep, kept } from "./dom.js";

const KEY = "ansambl.conversation";
const VERSION = 1;

/** `turns` is a list of `{question, answer}`; the answer is what `emptyAnswer` makes, times in seconds. */
export class Conversation {
  constructor() {
    this.turns = load();
  }

  /** The messages to send for turn `index`: what was said before it, and its question. Turns without an answer are left
   *  out, because many chat templates refuse two user messages in a row. */
  messages(index) {
    const said = this.turns.slice(0, index).filter((one) => one.answer.content);
    return [
      ...said.flatMap((one) => [
        { role: "user", content: one.question },
        { role: "assistant", content: one.answer.content },
      ]),
      { role: "user", content: this.turns[index].question },
    ];
  }

  save() {
    keep(forTab, KEY, this.turns.length ? JSON.stringify({ version: VERSION, turns: this.turns }) : null);
  }

  clear() {
    const before = this.turns;
    this.turns = [];
    this.save();
    return before;
  }

  restore(turns) {
    this.turns = turns;
    this.save();
  }

  asJson(version) {
    const messages = this.turns.flatMap(({ question, answer }) => [
      { role: "user", content: question },
      {
        role: "assistant",
        name: answer.name,
        content: answer.content,
        ...(answer.reasoning && { reasoning_content: answer.reasoning }),
        ...(answer.usage && { usage: answer.usage }),
        ...(answer.error && { error: answer.error }),
      },
    ]);
    return JSON.stringify({ application: "ansambl", version, exported: new Date().toISOString(), messages }, null, 2);
  }

  asMarkdown(you) {
    const parts = this.turns.map(({ question, answer }) =>
      `## ${you}\n\n${question}\n\n## ${answer.name}\n\n${answer.content || `> ${answer.error ?? "…"}`}\n`);
    return parts.join("\n");
  }
}

/** A new answer that has not begun. */
export const emptyAnswer = (target) => ({
  name: target.id, kind: target.kind, content: "", reasoning: "", usage: null, instance: null,
  first: null, seconds: null, finish: null, stopped: false, error: null, running: true,
});

function load() {
  try {
    const found = JSON.parse(kept(forTab, KEY) ?? "null");
    if (found?.version !== VERSION || !Array.isArray(found.turns)) return [];
    // The page was left while an answer arrived: what had come stays.
    for (const { answer } of found.turns) {
      if (answer.running) Object.assign(answer, { running: false, stopped: true });
    }
    return found.turns;
  } catch {
    return [];
  }
}

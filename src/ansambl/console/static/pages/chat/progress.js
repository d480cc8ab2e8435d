// What is shown of the work before an answer: a model's thinking, or what each role of an ensemble said, part by part.
import { el } from "../../lib/dom.js";
import { number, say, seconds } from "../../lib/words.js";
import { Markdown } from "./markdown.js";

/** The gateway sends the heading of a part as a piece of its own: a name, and after a route's choice its reason. */
const HEADING = /^\s*\*\*(.+)\*\*(?: – (.*?))?\s*$/;

/** Add a piece of reasoning to an answer; true where it is words of a model and not a heading. */
export function takeReasoning(answer, text) {
  answer.reasoning += text;
  const found = answer.kind === "ensemble" && HEADING.exec(text);
  if (!found) {
    if (!answer.parts.length) answer.parts.push({ name: null, text: "" });
    answer.parts.at(-1).text += text;
    return true;
  }
  const [, name, reason] = found;
  if (reason !== undefined) answer.route = { role: name, reason };
  answer.parts.push({ name, text: "" });
  return false;
}

export class Progress {
  constructor(answer, targets) {
    this.answer = answer;
    this.targets = targets;
    this.toggled = false;
    this.summary = el("summary");
    // It scrolls, so the keyboard must reach it.
    this.list = el("div", { className: "parts", tabIndex: 0, role: "group", ariaLabel: say("parts") });
    this.element = el("details", { className: "thinking", hidden: true }, this.summary, this.list);
    this.summary.addEventListener("click", () => { this.toggled = true; });
    this.drawn = [];
  }

  update() {
    const { answer } = this;
    const parts = answer.parts.filter((one) => one.text.trim() || (answer.running && one === answer.parts.at(-1) && !answer.route));
    this.element.hidden = parts.length === 0;
    if (!parts.length) return;
    const works = answer.running && answer.content === "";
    this.summary.textContent = this.#words(works, parts);
    if (!this.toggled && this.element.open !== works) this.element.open = works;
    // Each part's state, in the order in which they were shown; the last call is that of the answer.
    const calls = [...(answer.account?.branches ?? [])];
    parts.forEach((part, index) => {
      const call = takeCall(calls, part.name);
      this.drawn[index] ??= this.#part(part);
      this.drawn[index].update(part, works && index === parts.length - 1, call);
    });
    if (works && this.element.open) this.list.scrollTop = this.list.scrollHeight;
  }

  #words(works, parts) {
    const named = parts.filter((one) => one.name !== null);
    if (!named.length) return this.#thinking(works);
    if (works) return say("speaking", { name: this.targets.label(named.at(-1).name) });
    const calls = this.answer.account?.branches;
    if (!calls) return say("conferred");
    const spent = calls.slice(0, -1).reduce((sum, one) => Math.max(sum, one.seconds ?? 0), 0);
    return say("conferred_by", { count: number(named.length), seconds: seconds(spent) });
  }

  #thinking(works) {
    const { thought, first } = this.answer;
    if (works) return say("thinking");
    return thought === null || first === null ? say("thought") : say("thought_for", { seconds: seconds(first - thought) });
  }

  #part(part) {
    const label = el("span");
    const facts = el("small");
    const head = el("p", { className: "by", hidden: part.name === null },
      part.name === null ? null : this.targets.badge(part.name), label, facts);
    const body = el("div", { className: "text", dir: "auto" });
    const element = el("section", { className: "part" }, head, body);
    const rendered = new Markdown(body);
    this.list.append(element);
    return {
      update: (now, current, call) => {
        label.textContent = now.name === null ? "" : this.targets.label(now.name);
        element.classList.toggle("current", current);
        facts.textContent = call ? factsOf(call) : "";
        rendered.update(now.text);
      },
    };
  }
}

/** The next call of a role, taken from the list; null where it is not known. */
function takeCall(calls, name) {
  const at = calls.findIndex((one) => one.role === name);
  return at < 0 ? null : calls.splice(0, at + 1).at(-1);
}

function factsOf(call) {
  const cached = call.usage?.prompt_tokens_details?.cached_tokens;
  return [
    call.seconds > 0 ? say("waited", { seconds: seconds(call.seconds) }) : null,
    Number.isFinite(call.first_seconds) ? say("first", { seconds: seconds(call.first_seconds) }) : null,
    call.usage ? say("tokens", { count: number(call.usage.completion_tokens ?? 0) }) : null,
    Number.isInteger(cached) ? say("cached", { count: number(cached) }) : null,
  ].filter(Boolean).join(" · ");
}

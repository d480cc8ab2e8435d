// One turn on the page: the question, and the answer with its thinking, figures and errors.
import { el } from "./dom.js";
import { Markdown } from "./markdown.js";
import { number, say, seconds } from "./words.js";

export class TurnView {
  /** `onRetry` is called when the reader asks for the answer again. */
  constructor(turn, picker, onRetry) {
    this.turn = turn;
    this.picker = picker;
    this.toggled = false;
    this.name = el("h2", { className: "name" });
    this.thinking = el("div", { className: "text" });
    this.summary = el("summary");
    this.details = el("details", { className: "thinking", hidden: true }, this.summary, this.thinking);
    this.summary.addEventListener("click", () => { this.toggled = true; });
    this.body = el("div", { className: "text" });
    this.waiting = el("p", { className: "waiting" });
    this.note = el("p", { className: "dim", hidden: true });
    this.problem = el("span");
    this.retry = el("button", { type: "button", className: "retry", on: { click: onRetry } });
    this.error = el("div", { className: "error", hidden: true, role: "alert" }, this.problem, this.retry);
    this.figures = el("div", { className: "figures", hidden: true });
    this.article = el("article", { className: "answer" },
      this.name, this.details, this.body, this.waiting, this.error, this.note, this.figures);
    this.question = el("div", { className: "question" }, el("h2", { className: "hidden" }), el("p", {}, turn.question));
    this.element = el("section", { className: "turn" }, this.question, this.article);
    this.rendered = new Markdown(this.body);
    this.renderedThinking = new Markdown(this.thinking);
    this.update();
  }

  /** Bring the page up to the answer as it is now. */
  update() {
    const { answer } = this.turn;
    const label = this.picker.label(answer.name);
    this.question.firstChild.textContent = say("you");
    this.name.replaceChildren(this.picker.badge(answer.name, answer.kind), el("span", {}, label));
    if (answer.instance && answer.instance !== answer.name) this.name.append(el("small", {}, answer.instance));
    this.article.ariaBusy = String(answer.running);
    this.#thinking(answer);
    this.rendered.update(answer.content);
    this.waiting.hidden = !answer.running || answer.content !== "" || answer.reasoning !== "";
    this.waiting.textContent = say("waiting");
    this.error.hidden = !answer.error;
    this.problem.textContent = answer.error ?? "";
    this.retry.textContent = say("retry");
    this.#note(answer);
    this.#figures(answer);
  }

  #thinking(answer) {
    this.details.hidden = answer.reasoning === "";
    if (this.details.hidden) return;
    const thinks = answer.running && answer.content === "";
    const words = answer.kind === "ensemble" ? ["conferring", "conferred"] : ["thinking", "thought"];
    this.summary.textContent = say(words[thinks ? 0 : 1]);
    if (!this.toggled && this.details.open !== thinks) this.details.open = thinks;
    this.renderedThinking.update(answer.reasoning);
  }

  #note(answer) {
    let words = "";
    if (answer.stopped) words = say("stopped");
    else if (answer.finish === "length") words = say("cut");
    else if (!answer.running && !answer.error && !answer.content) words = say("empty");
    this.note.textContent = words;
    this.note.hidden = !words;
  }

  #figures(answer) {
    const shown = answer.running ? [] : figures(answer);
    this.figures.hidden = shown.length === 0;
    this.figures.replaceChildren(...shown);
  }
}

/** The figures under an answer: what it took, and how much of the prompt did not have to be read again. */
function figures(answer) {
  const made = [];
  const add = (key, values) => made.push(el("span", { title: say(`${key}_hint`), className: key }, say(key, values)));
  const { usage } = answer;
  if (usage) {
    const prompt = usage.prompt_tokens ?? 0;
    const cached = usage.prompt_tokens_details?.cached_tokens;
    add("tokens", { count: number(usage.completion_tokens ?? 0) });
    if (Number.isInteger(cached)) {
      made.push(bar(cached, prompt));
      add("cached", { count: number(cached) });
      add("prefilled", { count: number(Math.max(prompt - cached, 0)) });
    } else {
      add("prompt", { count: number(prompt) });
    }
  }
  if (answer.first !== null) add("first", { seconds: seconds(answer.first) });
  const writing = answer.seconds - answer.first;
  if (usage && answer.kind !== "ensemble" && answer.first !== null && writing > 0.05 && usage.completion_tokens > 1) {
    add("rate", { rate: number((usage.completion_tokens - 1) / writing, writing > 100 ? 1 : 0) });
  }
  return made;
}

function bar(cached, prompt) {
  const filled = el("span");
  filled.style.width = `${prompt ? Math.min(100, (100 * cached) / prompt) : 0}%`;
  const label = say("share", { cached: number(cached), prompt: number(prompt) });
  return el("span", { className: "share", title: label, role: "img", ariaLabel: label }, filled);
}

// One turn on the page: the question, and its answers side by side, each with its progress, figures and errors.
import { copyButton } from "../../lib/copying.js";
import { el } from "../../lib/dom.js";
import { number, say } from "../../lib/words.js";
import { figures } from "./figures.js";
import { Markdown } from "./markdown.js";
import { Progress } from "./progress.js";
import { Sources } from "./sources.js";
import { waitingFor } from "./waiting.js";

/** Letters and lines of a question above which it is not shown whole. */
const [LONG, LINES] = [3000, 25];

/** `does` is what the buttons do: `stop(answer)`, `retry(answer)`, `goOn(answer)`, `edit()`. */
export class TurnView {
  constructor(turn, targets, does) {
    this.turn = turn;
    this.edit = el("button", { type: "button", className: "quiet edit", hidden: true, on: { click: () => does.edit() } }, say("edit"));
    this.question = el("div", { className: "question" },
      el("h2", { className: "visually-hidden" }, say("you")), words(turn.question), this.edit);
    this.views = turn.answers.map((answer) => new AnswerView(answer, targets, does, turn.answers.length === 1));
    this.list = el("div", { className: "answers" });
    this.rest = el("details", { className: "rest" }, el("summary"), el("div", { className: "answers" }));
    this.element = el("section", { className: "turn" }, this.question, this.list);
    this.arrange();
  }

  /** Put the answers beside each other; where the conversation goes on with one, the others are folded. */
  arrange({ last = false, busy = false } = {}) {
    const { kept } = this.turn;
    const shown = kept === null ? this.views : this.views.filter((one) => one.answer.name === kept);
    const folded = this.views.filter((one) => !shown.includes(one));
    place(this.list, shown);
    place(this.rest.lastChild, folded);
    this.rest.firstChild.textContent = say("others", { count: number(folded.length) });
    if (folded.length) this.element.append(this.rest);
    else this.rest.remove();
    this.edit.hidden = busy;
    for (const one of this.views) one.offer({ goOn: last && !busy && kept === null && this.views.length > 1 });
  }

  of(answer) { return this.views.find((one) => one.answer === answer); }

  update() { for (const one of this.views) one.update(); }
}

/** A question as it was written; a long one scrolls, which the keyboard must reach. */
function words(question) {
  const made = el("p", { dir: "auto" }, question);
  if (question.length > LONG || question.split("\n").length > LINES) Object.assign(made, { className: "long", tabIndex: 0 });
  return made;
}

function place(list, views) {
  const elements = views.map((one) => one.element);
  if (elements.length !== list.children.length || elements.some((one, at) => list.children[at] !== one)) list.replaceChildren(...elements);
  list.dataset.count = views.length;
  // A row that can be swiped is reached by the keyboard, too.
  if (views.length > 1) { list.tabIndex = 0; list.role = "group"; list.ariaLabel = say("side_by_side"); }
  else { list.removeAttribute("tabindex"); list.removeAttribute("role"); list.removeAttribute("aria-label"); }
}

class AnswerView {
  /** `alone` is whether it is its turn's only one: the button beside the message box then stops it. */
  constructor(answer, targets, does, alone) {
    this.answer = answer;
    this.alone = alone;
    this.targets = targets;
    const button = (className, act) => el("button", { type: "button", className, on: { click: () => act(this.answer) } });
    this.name = el("h2", { className: "name" });
    this.stop = button("quiet stop-one", does.stop);
    this.route = el("p", { className: "route", hidden: true });
    this.body = el("div", { className: "text", dir: "auto" });
    this.waiting = el("p", { className: "waiting" });
    this.note = el("p", { className: "dim small", hidden: true });
    this.problem = el("span");
    this.retry = button("retry", does.retry);
    this.error = el("div", { className: "error", hidden: true, role: "alert" }, this.problem, this.retry);
    this.sources = new Sources();
    this.figures = el("div", { className: "figures", hidden: true });
    this.goOn = button("quiet go-on", does.goOn);
    this.again = button("quiet again", does.retry);
    this.tools = el("div", { className: "answer-tools", hidden: true },
      copyButton(say("copy_answer"), () => this.answer.content), this.again, this.goOn);
    this.progress = el("div");
    this.element = el("article", { className: "answer" }, el("header", {}, this.name, this.stop), this.route, this.progress,
      this.body, this.waiting, this.error, this.note, this.sources.element, this.figures, this.tools);
    this.begin(answer);
  }

  /** Show another answer in this place: the one that is tried again. */
  begin(answer) {
    this.answer = answer;
    this.rendered = new Markdown(this.body);
    this.body.replaceChildren();
    this.work = new Progress(answer, this.targets);
    this.progress.replaceChildren(this.work.element);
    this.update();
  }

  /** The beginning of the answer, to be read out. */
  spoken(letters) {
    const said = this.body.textContent;
    return said.length > letters ? `${said.slice(0, letters)}…` : said;
  }

  offer({ goOn }) {
    this.goOn.hidden = !goOn || !this.answer.content;
  }

  /** Bring the page up to the answer as it is now. */
  update() {
    const { answer } = this;
    const label = this.targets.label(answer.name);
    this.name.replaceChildren(this.targets.badge(answer.name, answer.kind), el("span", {}, label));
    if (answer.instance && answer.instance !== answer.name) this.name.append(el("small", {}, answer.instance));
    this.stop.hidden = !answer.running || this.alone;
    this.stop.textContent = say("stop");
    this.stop.ariaLabel = say("stop_one", { name: label });
    this.element.ariaBusy = String(answer.running);
    this.#route(answer);
    this.work.update();
    const chip = this.sources.update(answer.running ? null : answer.account);
    if (chip !== undefined) this.rendered.cite(chip);
    this.rendered.update(answer.content);
    this.wait();
    this.error.hidden = !answer.error;
    this.problem.textContent = answer.error ?? "";
    this.retry.textContent = say("retry");
    this.#note(answer);
    const shown = answer.running ? [] : figures(answer);
    this.figures.hidden = shown.length === 0;
    this.figures.replaceChildren(...shown);
    this.tools.hidden = answer.running || (!answer.content && Boolean(answer.error));
    this.tools.firstChild.hidden = !answer.content;
    this.again.hidden = Boolean(answer.error) || answer.kind === "past";
    this.again.textContent = say("retry");
    this.goOn.textContent = say("continue");
  }

  /** Say what the answer waits for, and for how long. */
  wait() {
    const { answer } = this;
    const waits = answer.running && answer.content === "" && answer.reasoning === "";
    this.waiting.hidden = !waits;
    if (!waits) { this.waiting.textContent = ""; return; }
    const spent = (performance.now() - (answer.began ?? performance.now())) / 1000;
    const words = waitingFor(answer);
    this.waiting.textContent = spent < 1 ? words : `${words} ${say("waited", { seconds: number(spent) })}`;
  }

  #route(answer) {
    const route = answer.account?.route ?? answer.route;
    this.route.hidden = !route;
    if (!route) return;
    // The reason in the stream is in the reader's language, that of the account is not.
    const reason = answer.route?.reason ?? route.reason ?? "";
    this.route.replaceChildren(this.targets.badge(route.role), el("b", {}, say("chose", { name: this.targets.label(route.role) })), reason && ` – ${reason}`);
  }

  #note(answer) {
    let words = "";
    if (answer.stopped) words = say("stopped");
    else if (answer.finish === "length") words = say("cut");
    else if (!answer.running && !answer.error && !answer.content) words = say("empty");
    this.note.textContent = words;
    this.note.hidden = !words;
  }
}

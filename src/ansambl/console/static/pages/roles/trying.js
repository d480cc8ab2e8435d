// The draft and another version answer one question side by side. Both are asked as any client asks.
import { AnswerError, ask as askModel } from "../../lib/stream.js";
import { Refused, ask, path } from "../../lib/asking.js";
import { byId, el, speakAloud } from "../../lib/dom.js";
import { number, say, seconds } from "../../lib/words.js";

/** `draft()` gives the fields and the name of now, `others` what they can be compared with: `{value, name}`. */
export function startTrying({ kind, draft, refused }) {
  let stopping = null;
  byId("ask").addEventListener("click", () => run());
  byId("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  byId("stop").addEventListener("click", () => stopping?.abort());

  async function run() {
    if (stopping) return;
    const question = byId("question").value.trim();
    byId("trial-problem").textContent = question ? "" : say("question_needed");
    if (!question) { byId("question").focus(); return; }
    const { name, fields } = draft();
    if (!name) { refused(new Refused(say("name_needed"), 400, null, "name")); return; }
    stopping = new AbortController();
    busy(true);
    try {
      const sides = [[say("draft"), await trial(name, { fields })]];
      const select = byId("against");
      if (select.value) sides.push([select.selectedOptions[0].textContent, await other(name, select.value)]);
      const columns = sides.map(([title, model]) => column(title, model));
      byId("answers").replaceChildren(...columns.map((one) => one.box));
      await Promise.all(columns.map((one) => one.run(question, stopping.signal)));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (!refused(error)) byId("trial-problem").textContent = say("try_again", { reason: error.message });
    } finally {
      stopping = null;
      busy(false);
    }
  }

  const trial = async (name, wanted) => (await ask("POST", `${path(kind, name)}/trials`, wanted)).model;
  const other = (name, value) => (value.startsWith("v:") ? trial(name, { version: Number(value.slice(2)) }) : value.slice(2));
}

function busy(yes) {
  byId("ask").disabled = yes;
  byId("stop").hidden = !yes;
}

function column(title, model) {
  const said = el("div", { className: "text" });
  const thought = el("div", { className: "text" });
  const thinking = el("details", { className: "thinking", hidden: true }, el("summary", { textContent: say("thinking") }), thought);
  const figures = el("p", { className: "figures small dim", textContent: say("waiting_for_it") });
  const problem = el("p", { className: "problem" });
  const box = el("article", {}, el("h3", { textContent: title }), thinking, said, problem, figures);
  return {
    box,
    async run(question, signal) {
      const began = performance.now();
      let first = null;
      const take = (place) => (text) => {
        first ??= (performance.now() - began) / 1000;
        place.append(text);
      };
      const reasoning = take(thought);
      try {
        // A trial is no conversation: nobody shall find it among what was said.
        const body = { model, messages: [{ role: "user", content: question }], ansambl: { memory: false } };
        const { usage } = await askModel(body, {
          signal,
          needsKey: () => location.reload(),
          on: {
            facts() {},
            waiting(sentence) { if (first === null) figures.textContent = sentence; },
            reasoning(text) { thinking.hidden = false; reasoning(text); },
            content: take(said),
          },
        });
        figures.textContent = told(usage, first, (performance.now() - began) / 1000);
        speakAloud(`${title}: ${said.textContent.slice(0, 300)}`);
      } catch (error) {
        if (error.name === "AbortError") figures.textContent = say("stopped");
        else if (error instanceof AnswerError) { problem.textContent = error.message; figures.textContent = ""; }
        else throw error;
      }
    },
  };
}

function told(usage, first, whole) {
  const parts = [];
  if (usage) {
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    parts.push(say("tokens_cached", { cached: number(cached), prompt: number(usage.prompt_tokens) }));
    parts.push(say("tokens_made", { tokens: number(usage.completion_tokens), seconds: seconds(whole) }));
  }
  if (first !== null) parts.push(say("first_after", { seconds: seconds(first) }));
  return parts.join(" · ");
}

// The figures under an answer: what it took, and how much of the prompt did not have to be read again.
import { el } from "../../lib/dom.js";
import { number, say, seconds } from "../../lib/words.js";

/** Milliseconds from which on a request has really waited for its place. */
const WAITED = 50;

/** The elements for an answer that has ended. */
export function figures(answer) {
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
  const begun = answer.thought ?? answer.first;
  const writing = answer.seconds - begun;
  if (usage && answer.kind !== "ensemble" && begun !== null && writing > 0.05 && usage.completion_tokens > 1) {
    add("rate", { rate: number((usage.completion_tokens - 1) / writing, writing > 100 ? 1 : 0) });
  }
  if (answer.queued >= WAITED) add("queued", { seconds: seconds(answer.queued / 1000) });
  if (answer.swaps) add("swaps", { count: number(answer.swaps) });
  return made;
}

function bar(cached, prompt) {
  const filled = el("span");
  filled.style.width = `${prompt ? Math.min(100, (100 * cached) / prompt) : 0}%`;
  const label = say("share", { cached: number(cached), prompt: number(prompt) });
  return el("span", { className: "share", title: label, role: "img", ariaLabel: label }, filled);
}

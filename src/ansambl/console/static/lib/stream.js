// One question to POST /v1/chat/completions and its streamed answer.
import { language, say } from "./words.js";

/** An answer that did not come, or broke off, with a sentence for the reader. */
export class AnswerError extends Error {}

/** Ask with `body` (model, messages, sampling). What arrives is told by `on`: `facts({instance, queued, swaps})`,
 *  `waiting(sentence)`, `reasoning(text)`, `content(text)`. Resolves to `{usage, finish, account}`.
 *  Throws an AnswerError, or an AbortError when `signal` stopped it. `needsKey()` is called where a key is asked for. */
export async function ask(body, { signal, on, needsKey }) {
  const response = await send({ ...body, stream: true, stream_options: { include_usage: true } }, signal, needsKey);
  on.facts(factsOf((name) => response.headers.get(name)));
  const result = { usage: null, finish: null, account: null };
  const take = (data) => {
    if (data.error) throw new AnswerError(data.error.message || String(data.error));
    if (data.usage) result.usage = data.usage;
    if (data.ansambl) result.account = data.ansambl;
    const choice = data.choices?.[0];
    const part = choice?.delta ?? choice?.message ?? {};
    const reasoning = part.reasoning_content || part.reasoning;
    if (typeof reasoning === "string" && reasoning) on.reasoning(reasoning);
    if (typeof part.content === "string" && part.content) on.content(part.content);
    if (choice?.finish_reason) result.finish = choice.finish_reason;
  };
  const comment = (line) => {
    const told = new Map(line.split(";").map((one) => one.split(/:(.*)/s, 2).map((part) => part.trim())));
    if (line.startsWith("x-ansambl-")) on.facts(factsOf((name) => told.get(name) ?? null));
    else if (line) on.waiting(line);
  };
  if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
    take(parse(await response.text(), response.status));
    return result;
  }
  let done = false;
  try {
    for await (const data of events(response.body, comment)) {
      if (data === "[DONE]") { done = true; break; }
      take(parse(data, response.status));
    }
  } catch (error) {
    if (error instanceof AnswerError || error.name === "AbortError") throw error;
    throw new AnswerError(say("lost_during"), { cause: error });
  }
  if (!done && !result.finish) throw new AnswerError(say("lost_during"));
  return result;
}

async function send(body, signal, needsKey) {
  let response;
  try {
    response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json", "accept-language": language() },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AnswerError(say("unreachable"), { cause: error });
  }
  if (response.ok) return response;
  if (response.status === 401) needsKey();
  const found = await response.json().catch(() => null);
  const message = found?.error?.message;
  const sentence = typeof message === "string" && message ? message : say("unreadable", { status: response.status });
  const later = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  throw new AnswerError(later > 0 ? `${sentence} ${say("retry_after", { seconds: later })}` : sentence);
}

function parse(data, status) {
  try {
    return JSON.parse(data);
  } catch (error) {
    throw new AnswerError(say("unreadable", { status }), { cause: error });
  }
}

/** The data of each server-sent event of a body; `comment` is called with what is said between them. */
async function* events(body, comment) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line.startsWith(":")) comment(line.slice(1).trim());
        else if (!line && data.length) { yield data.join("\n"); data = []; }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Where the request ran and how long it waited for that, as far as it is told. */
function factsOf(told) {
  const count = (name) => { const found = Number.parseInt(told(name) ?? "", 10); return Number.isNaN(found) ? null : found; };
  const facts = { instance: plain(told("x-ansambl-instance")), queued: count("x-ansambl-queued-ms"), swaps: count("x-ansambl-swaps") };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== null));
}

const plain = (name) => name && name.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));

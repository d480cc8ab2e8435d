// One question to POST /v1/chat/completions and its streamed answer.
import { look } from "./session.js";
import { language, say } from "./words.js";

/** An answer that did not come, or broke off, with a sentence for the reader. */
export class AnswerError extends Error {}

/** Ask `model`; calls `on.reasoning(text)`, `on.content(text)` as they arrive. Resolves to `{usage, finish, instance}`.
 *  Throws an AnswerError, or an AbortError when `signal` stopped it. */
export async function ask({ model, messages, signal, on }) {
  const response = await send({ model, messages, stream: true, stream_options: { include_usage: true } }, signal);
  const result = { usage: null, finish: null, instance: instanceOf(response) };
  const take = (data) => {
    if (data.error) throw new AnswerError(data.error.message || String(data.error));
    if (data.usage) result.usage = data.usage;
    const choice = data.choices?.[0];
    const part = choice?.delta ?? choice?.message ?? {};
    const reasoning = part.reasoning_content || part.reasoning;
    if (typeof reasoning === "string" && reasoning) on.reasoning(reasoning);
    if (typeof part.content === "string" && part.content) on.content(part.content);
    if (choice?.finish_reason) result.finish = choice.finish_reason;
  };
  if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
    take(parse(await response.text(), response.status));
    return result;
  }
  let done = false;
  try {
    for await (const data of events(response.body)) {
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

async function send(body, signal) {
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
    throw new AnswerError(say("lost_before"), { cause: error });
  }
  if (look(response).ok) return response;
  const found = await response.json().catch(() => null);
  const message = found?.error?.message;
  throw new AnswerError(typeof message === "string" && message ? message : say("bad_answer", { status: response.status }));
}

function parse(data, status) {
  try {
    return JSON.parse(data);
  } catch (error) {
    throw new AnswerError(say("bad_answer", { status }), { cause: error });
  }
}

/** The data of each server-sent event of a body. */
async function* events(body) {
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
        else if (!line && data.length) { yield data.join("\n"); data = []; }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function instanceOf(response) {
  const name = response.headers.get("x-ansambl-instance");
  return name && name.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
}

// Asks Ansambl. Errors come as `Refused` with one line to show; where a key is asked for, the page begins anew.
import { language, say } from "./words.js";

export class Refused extends Error {
  constructor(message, status, code = null, param = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

/** What `answer` says is wrong, as `Refused`. */
export async function refusal(answer) {
  // The server then writes the sign-in page in the place of this one.
  if (answer.status === 401 && !document.querySelector(".sign-in")) location.reload();
  const found = await answer.json().catch(() => null);
  const error = found?.error ?? {};
  return new Refused(error.message ?? say("unreadable", { status: answer.status }), answer.status, error.code, error.param);
}

/** Send a request below /admin/api, or to any path that begins with a slash, and return its document (null for none). */
export async function ask(method, path, document = undefined, options = {}) {
  let answer;
  try {
    answer = await fetch(path.startsWith("/") ? path : `/admin/api/${path}`, {
      method,
      headers: { "accept-language": language(), ...(document === undefined ? {} : { "content-type": "application/json" }) },
      body: document === undefined ? undefined : JSON.stringify(document),
      ...options,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(say("unreachable"), 0);
  }
  if (!answer.ok) throw await refusal(answer);
  return answer.status === 204 ? null : answer.json();
}

/** Do `work` while `shown.busy` is `busy`. The one line of a refusal goes into `shown.problem`; the result is then null. */
export async function tried(shown, busy, work) {
  shown.problem = "";
  shown.busy = busy;
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    shown.problem = error.message;
    return null;
  } finally {
    shown.busy = typeof busy === "string" ? "" : false;
  }
}

/** A path of parts that may hold anything. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

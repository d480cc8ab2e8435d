// The key that Ansambl asks for: a form gives it once, and a cookie that no script can read stands for it.
import { byId, forBrowser, keep, kept } from "./dom.js";
import { language, say } from "./words.js";

const SIGNED_IN = "ansambl.signed-in";
const listeners = [];
let needed = false;

/** Whether the page waits for a key: whatever it asks for would be refused. */
export const needsKey = () => needed;

/** Call `listener` after a key was accepted. */
export const onSignedIn = (listener) => listeners.push(listener);

/** Look at an answer of Ansambl: where it asks for a key, so does the page. */
export function look(answer) {
  if (answer.status === 401) show(true);
  return answer;
}

export function startSession() {
  byId("sign-in").addEventListener("submit", (event) => { event.preventDefault(); signIn(); });
  byId("sign-out").addEventListener("click", () => signOut());
  show(false);
}

function show(open) {
  const opens = open && !needed;
  needed = open;
  byId("sign-in").hidden = !open;
  byId("composer").hidden = open;
  byId("sign-out").hidden = open || kept(forBrowser, SIGNED_IN) === null;
  if (opens) { byId("sign-in-problem").textContent = ""; byId("key").focus(); }
}

async function signIn() {
  const problem = byId("sign-in-problem");
  problem.textContent = "";
  byId("sign-in-send").disabled = true;
  try {
    const answer = await fetch("/console/session", {
      method: "POST",
      headers: { "content-type": "application/json", "accept-language": language() },
      body: JSON.stringify({ key: byId("key").value.trim() }),
    });
    if (!answer.ok) {
      const found = await answer.json().catch(() => null);
      problem.textContent = found?.error?.message ?? say("bad_answer", { status: answer.status });
      return;
    }
  } catch {
    problem.textContent = say("lost_before");
    return;
  } finally {
    byId("sign-in-send").disabled = false;
  }
  byId("key").value = "";
  keep(forBrowser, SIGNED_IN, "yes");
  show(false);
  for (const listener of listeners) listener();
}

async function signOut() {
  await fetch("/console/session", { method: "DELETE" }).catch(() => null);
  keep(forBrowser, SIGNED_IN, null);
  show(true);
}

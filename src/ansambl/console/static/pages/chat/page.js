// The page Chat: joins its parts.
import { Archive } from "./archive.js";
import { Chat } from "./chat.js";
import { Conversation } from "./conversation.js";
import { Past } from "./past.js";
import { startSampling } from "./sampling.js";
import { MOST, Targets } from "./targets.js";
import { noticeSwaps } from "./waiting.js";
import { Refused, ask, path } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { onEvent } from "../../lib/live.js";
import { say } from "../../lib/words.js";
import { start } from "../../lib/shell.js";

const LONGEST_LINK = 20_000;
const LINKED = ["to", "q", "continue"];

// In the place of the chat a page may hold the sign-in, or a problem.
const { conversation, targets, chat } = byId("chat") ? build() : {};
start();
if (chat) {
  conversation.complete().then((came) => { if (came) chat.redraw(); });
  onEvent((kind) => {
    if (["snapshot", "instance", "removed"].includes(kind)) { noticeSwaps(); chat.wait(); }
    // Ansambl may have come back with other roles.
    if (kind === "snapshot") targets.load();
  });
  // The next one at this browser must not read it.
  byId("sign-out")?.addEventListener("click", () => chat.forget());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) targets.load(); });
  await targets.load();
  follow();
}

function build() {
  const archive = new Archive(byId("chat").dataset.owner);
  const made = {
    conversation: new Conversation(archive, (...news) => past.trouble(...news)),
    targets: new Targets({ onChange: () => chat.known(), needsKey }),
  };
  const examples = JSON.parse(byId("first-questions").textContent);
  const shown = new Chat({ ...made, needsKey, sampling: startSampling(), examples });
  const past = new Past({ archive, chat: shown, conversation: made.conversation });
  return { ...made, chat: shown };
}

/** `?to=coder,reasoner&q=…` chooses and fills the box, `?continue=ID` goes on with a conversation of the knowledge;
 *  nothing is sent. */
async function follow() {
  const address = new URL(location.href);
  const [to, question, past] = LINKED.map((one) => address.searchParams.get(one));
  if (to === null && question === null && past === null) return;
  const wanted = (to ?? "").split(",").map((one) => one.trim()).filter(Boolean);
  const known = wanted.map((one) => targets.find(one)?.id).filter(Boolean);
  if (known.length) targets.choose([...new Set(known)].slice(0, MOST));
  const unknown = wanted.filter((one) => !targets.find(one));
  if (targets.known && unknown.length) chat.tell(say("unknown_names", { names: unknown.join(", ").slice(0, 200) }));
  if (question !== null) chat.write(question.slice(0, LONGEST_LINK));
  // What was taken from the address stands on the page now: a reload must not bring it back.
  for (const one of LINKED) address.searchParams.delete(one);
  history.replaceState(null, "", address);
  if (past === null) return;
  try {
    chat.goOnWith(await ask("GET", path("knowledge", "conversations", past)));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    chat.tell(error.message);
  }
}

/** A key is asked for: the sign-in takes the place of the message box. The draft and the conversation stay. */
function needsKey() {
  if (document.querySelector(".sign-in")) return;
  document.querySelector(".dock").hidden = true;
  byId("welcome").hidden = true;
  byId("chat").after(byId("sign-in-template").content.cloneNode(true));
  byId("key").focus();
}

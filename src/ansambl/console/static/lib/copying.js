// Copying to the clipboard, with a word whether it went well, and a button that does it.
import { el, speakAloud } from "./dom.js";
import { say } from "./words.js";

/** Copy `text`; whether that worked, and the word for it, which those who hear the page are told. */
export async function copy(text) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false) || copyAsChosen(text);
  const word = say(done ? "copied" : "copy_failed");
  speakAloud(word);
  return { done, word };
}

/** The old way: browsers have no clipboard for pages of another machine without TLS. */
function copyAsChosen(text) {
  const focused = document.activeElement;
  // Within the dialog that is open, because all else cannot be chosen then.
  const box = el("textarea", { value: text, className: "visually-hidden" });
  (focused?.closest("dialog") ?? document.body).append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  focused?.focus({ preventScroll: true });
  return done;
}

/** Copy `text` and say on `button`, for a moment in the place of its name, whether that worked. */
export async function copyBy(button, text) {
  const name = button.dataset.name ??= button.textContent;
  button.textContent = (await copy(text)).word;
  setTimeout(() => { button.textContent = name; }, 2000);
}

/** A button that copies what `text()` returns. */
export function copyButton(name, text) {
  return el("button", { type: "button", className: "quiet copy", on: { click: (event) => copyBy(event.target, text()) } }, name);
}

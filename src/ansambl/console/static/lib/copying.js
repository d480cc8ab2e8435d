// Copying to the clipboard, with a word whether it went well. Browsers have no clipboard for pages without TLS elsewhere.
import { speakAloud } from "./dom.js";
import { say } from "./words.js";

/** Copy `text`; whether that worked, and the word for it, which those who hear the page are told. */
export async function copy(text) {
  const done = Boolean(await navigator.clipboard?.writeText(text).then(() => true, () => false));
  const word = say(done ? "copied" : "copy_failed");
  speakAloud(word);
  return { done, word };
}

/** Copy `text` and say on `button`, for a moment in the place of its name, whether that worked. */
export async function copyBy(button, text) {
  const name = button.dataset.name ??= button.textContent;
  button.textContent = (await copy(text)).word;
  setTimeout(() => { button.textContent = name; }, 2000);
}

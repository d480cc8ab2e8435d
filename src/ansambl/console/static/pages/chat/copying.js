// A button that copies.
import { copyBy } from "../../lib/copying.js";
import { el } from "../../lib/dom.js";

/** A button that copies what `text()` returns. */
export function copyButton(name, text) {
  return el("button", { type: "button", className: "quiet copy", on: { click: (event) => copyBy(event.target, text()) } }, name);
}

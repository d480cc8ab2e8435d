// The passages that an answer was made from: numbered chips in its text, and a list that shows them.
import { safeAddress } from "../../lib/addresses.js";
import { el } from "../../lib/dom.js";
import { number, say } from "../../lib/words.js";

export class Sources {
  constructor() {
    this.element = el("section", { className: "sources", hidden: true });
    this.folds = new Map();
    this.drawn = null;
  }

  /** Show the sources of an account; returns what makes the chip of a number, null while there are none. */
  update(account) {
    const key = account?.sources?.length || account?.knowledge?.failure ? account : null;
    if (key === this.drawn) return undefined;
    this.drawn = key;
    this.element.hidden = key === null;
    if (key === null) return null;
    const all = account.sources ?? [];
    const [cited, other] = [all.filter((one) => one.cited), all.filter((one) => !one.cited)];
    const failure = account.knowledge?.failure;
    this.element.replaceChildren(...[
      cited.length && el("h3", {}, say("sources")),
      failure && el("p", { className: "dim" }, say("sources_failed", { reason: failure })),
      ...cited.map((one) => this.#fold(one)),
      other.length && el("details", { className: "others" },
        el("summary", {}, say("sources_unused", { count: number(other.length) })), ...other.map((one) => this.#fold(one))),
    ].filter(Boolean));
    return (wanted) => this.#chip(all.find((one) => one.number === wanted));
  }

  #fold(source) {
    const page = source.page === null || source.page === undefined ? "" : say("source_page", { number: number(source.page) });
    const about = [source.title || source.source || source.citation, page].filter(Boolean).join(", ");
    const address = safeAddress(source.link ?? source.url, location.href);
    const fold = el("details", { className: "source" },
      el("summary", {}, el("span", { className: "mark" }, String(source.number)), el("span", {}, about)),
      el("blockquote", { tabIndex: 0 }, source.text ?? ""),
      address && el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, say("source_open")));
    this.folds.set(source.number, fold);
    return fold;
  }

  #chip(source) {
    if (!source) return null;
    const open = () => {
      const fold = this.folds.get(source.number);
      const around = fold.parentElement.closest("details");
      if (around) around.open = true;
      fold.open = true;
      fold.querySelector("summary").focus({ preventScroll: true });
      fold.scrollIntoView({ block: "center" });
    };
    return el("button", {
      type: "button", className: "mark", title: source.citation ?? source.title ?? "",
      ariaLabel: say("source", { number: source.number }), on: { click: open },
    }, String(source.number));
  }
}

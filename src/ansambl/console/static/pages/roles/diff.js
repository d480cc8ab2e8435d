// What differs between two texts, word by word, as elements: what went is struck out, what came is underlined.
import { el } from "../../lib/dom.js";
import { say } from "../../lib/words.js";

/** Products of word counts up to which the longest common run is looked for; beyond, lines are compared. */
const MOST = 4_000_000;

/** An element that shows how `before` became `after`. */
export function difference(before, after) {
  const box = el("div", { className: "diff" });
  for (const [kind, text] of changes(before, after)) {
    if (kind === "same") box.append(text);
    else {
      const told = el("span", { className: "visually-hidden", textContent: say(kind === "del" ? "removed_text" : "added_text") });
      box.append(el(kind, {}, told, text));
    }
  }
  return box;
}

/** Pairs `[same | del | ins, text]`; joined without the ins they are `before`, without the del `after`. */
export function changes(before, after) {
  return compared(before, after, /\s+|\S+/g) ?? compared(before, after, /[^\n]*\n|[^\n]+/g)
    ?? merged([["del", before], ["ins", after]]);
}

/** The pairs by pieces of one kind; null where there are too many of them. What begins and ends alike costs nothing. */
function compared(before, after, piece) {
  const [a, b] = [before, after].map((one) => one.match(piece) ?? []);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [one, other] = [a, b].map((pieces) => pieces.slice(start, pieces.length - end));
  if (one.length * other.length > MOST) return null;
  return merged([["same", a.slice(0, start).join("")], ...middle(one, other), ["same", end ? a.slice(-end).join("") : ""]]);
}

function middle(a, b) {
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = a[i] === b[j] ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { found.push(["same", a[i]]); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) { found.push(["del", a[i]]); i += 1; }
    else { found.push(["ins", b[j]]); j += 1; }
  }
  return found;
}

function merged(pairs) {
  const found = [];
  for (const [kind, text] of pairs) {
    if (!text) continue;
    if (found.at(-1)?.[0] === kind) found.at(-1)[1] += text;
    else found.push([kind, text]);
  }
  return found;
}

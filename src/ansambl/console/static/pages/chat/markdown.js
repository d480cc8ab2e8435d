// Markdown to elements, safely: text enters the page only as text, addresses only when they are http or https.
import { safeAddress } from "../../lib/addresses.js";
import { copyButton } from "../../lib/copying.js";
import { el } from "../../lib/dom.js";
import { say } from "../../lib/words.js";

const DEPTH = 8;
/** Characters that are read as Markdown. What stands behind them is shown as it was written: no answer freezes the page. */
const LONGEST = 200_000;
const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const QUOTE = /^ {0,3}> ?/;
const DIVIDER = /^\|? *:?-+:? *(?:\| *:?-+:? *)*\|?$/;

/** What makes the element of a mark such as `[2]`, or null for a number that names nothing; set while rendering. */
let citing = null;

/** Renders a text that grows: the blocks that did not change keep their elements (and the reader's selection). */
export class Markdown {
  constructor(target) {
    this.target = target;
    this.sources = [];
    this.chip = null;
  }

  /** From now on `chip(number)` makes the elements of marks. */
  cite(chip) {
    this.chip = chip;
    this.sources = [];
  }

  update(text) {
    const whole = text.replaceAll("\r\n", "\n");
    const end = whole.length > LONGEST ? whole.lastIndexOf("\n", LONGEST) + 1 || LONGEST : whole.length;
    const blocks = split(whole.slice(0, end).split("\n"));
    if (end < whole.length) blocks.push({ kind: "code", name: "", text: whole.slice(end), source: whole.slice(end) });
    let same = 0;
    while (same < blocks.length && blocks[same].source === this.sources[same]) same += 1;
    while (this.target.childNodes.length > same) this.target.lastChild.remove();
    citing = this.chip;
    for (const block of blocks.slice(same)) this.target.append(render(block, 0));
    citing = null;
    this.sources = blocks.map((one) => one.source);
  }
}

// --- blocks ---

function split(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) { at += 1; continue; }
    const begin = at;
    const block = fence(lines, at) ?? heading(lines, at) ?? rule(lines, at) ?? quote(lines, at) ?? list(lines, at)
      ?? table(lines, at) ?? paragraph(lines, at);
    at = block.end;
    block.source = `${block.kind}\n${lines.slice(begin, at).join("\n")}`;
    blocks.push(block);
  }
  return blocks;
}

function fence(lines, at) {
  const opened = FENCE.exec(lines[at]);
  if (!opened) return null;
  const [, mark, info] = opened;
  if (info.includes("`")) return null;
  const body = [];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end].trim();
    if (line.length >= mark.length && line === mark[0].repeat(line.length)) { end += 1; break; }
    body.push(lines[end]);
  }
  return { kind: "code", name: info.trim().split(/\s/)[0], text: body.join("\n"), end };
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  if (!found) return null;
  const text = lines[at].slice(found[0].length).trim();
  let bare = text.length;
  while (bare > 0 && text[bare - 1] === "#") bare -= 1;
  const closed = bare === 0 || text[bare - 1] === " ";
  return { kind: "heading", level: found[1].length, text: closed ? text.slice(0, bare).trim() : text, end: at + 1 };
}

function isRule(line) {
  const marks = line.replaceAll(" ", "");
  return marks.length >= 3 && "-*_".includes(marks[0]) && leading(line) < 4 && marks === marks[0].repeat(marks.length);
}

const rule = (lines, at) => (isRule(lines[at]) ? { kind: "rule", end: at + 1 } : null);

function quote(lines, at) {
  if (!QUOTE.test(lines[at])) return null;
  const inner = [];
  let end = at;
  for (; end < lines.length && QUOTE.test(lines[end]); end += 1) inner.push(lines[end].replace(QUOTE, ""));
  return { kind: "quote", lines: inner, end };
}

function list(lines, at) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const ordered = /\d/.test(first[2]);
  const indent = first[1].length;
  const items = [];
  let content = 0;
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const found = isRule(line) ? null : ITEM.exec(line);
    if (found && found[1].length <= indent + 1 && (items.length === 0 || found[1].length < content)) {
      if (found[1].length < indent || /\d/.test(found[2]) !== ordered) break;
      content = found[0].length || 2;
      items.push([line.slice(found[0].length)]);
    } else if (!line.trim()) {
      if (!continues(lines, end, indent, content)) break;
      items.at(-1).push("");
    } else if (leading(line) >= Math.min(content, indent + 2)) {
      items.at(-1).push(line.slice(Math.min(content, leading(line))));
    } else if (starts(lines, end) || !lines[end - 1].trim()) {
      break;
    } else {
      items.at(-1).push(line.trim());
    }
  }
  return { kind: "list", ordered, start: Number.parseInt(first[2], 10), items, end };
}

const leading = (line) => line.length - line.trimStart().length;

/** Whether the list goes on after an empty line. */
function continues(lines, at, indent, content) {
  const next = lines.slice(at, at + 3).find((line) => line.trim()) ?? "";
  const deep = leading(next);
  return (ITEM.test(next) && deep >= indent && deep <= indent + 1) || (next && deep >= Math.min(content, indent + 2));
}

function table(lines, at) {
  if (!lines[at].includes("|") || at + 1 >= lines.length || !lines[at + 1].includes("-") || !DIVIDER.test(lines[at + 1].trim())) return null;
  const head = cells(lines[at]);
  const divider = cells(lines[at + 1]);
  if (head.length !== divider.length) return null;
  const sides = divider.map((one) => (one.endsWith(":") ? (one.startsWith(":") ? "middle" : "right") : ""));
  const rows = [];
  let end = at + 2;
  for (; end < lines.length && lines[end].includes("|"); end += 1) rows.push(cells(lines[end]));
  return { kind: "table", head, sides, rows, end };
}

function cells(line) {
  let text = line.trim();
  if (text.startsWith("|")) text = text.slice(1);
  if (text.endsWith("|") && !text.endsWith("\\|")) text = text.slice(0, -1);
  return text.split(/(?<!\\)\|/).map((one) => one.trim().replaceAll("\\|", "|"));
}

const starts = (lines, at) =>
  FENCE.test(lines[at]) || HEADING.test(lines[at]) || isRule(lines[at]) || QUOTE.test(lines[at])
  || /^(?:[-*+]|1[.)]) /.test(lines[at].trimStart()) || table(lines, at) !== null;

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !starts(lines, end)) end += 1;
  return { kind: "paragraph", text: lines.slice(at, end).map((one) => one.trimStart()).join("\n"), end };
}

function render(block, depth) {
  switch (block.kind) {
    case "code": return code(block);
    // The page has its own first levels; a model's headings begin below them.
    case "heading": return holding(`h${Math.min(block.level + 2, 6)}`, inline(block.text));
    case "rule": return el("hr");
    case "quote": return holding("blockquote", nested(block.lines, depth));
    case "list": return listElement(block, depth);
    case "table": return tableElement(block);
    default: return holding("p", inline(block.text));
  }
}

/** An element with these children, one after the other: a call takes no hundred thousand arguments. */
function holding(tag, nodes, options = {}) {
  const made = el(tag, options);
  for (const one of nodes) made.append(one);
  return made;
}

function nested(lines, depth) {
  if (depth >= DEPTH) return [el("p", {}, lines.join("\n"))];
  return split(lines).map((one) => render(one, depth + 1));
}

function listElement(block, depth) {
  const items = block.items.map((lines) => {
    const parts = nested(lines, depth);
    // A tight item is its text, not a paragraph.
    if (parts[0]?.tagName !== "P" || lines.includes("")) return holding("li", parts);
    return holding("li", [...parts[0].childNodes, ...parts.slice(1)]);
  });
  return block.ordered ? holding("ol", items, { start: block.start }) : holding("ul", items);
}

function tableElement(block) {
  const cell = (tag, text, column) => holding(tag, inline(text), { className: block.sides[column] ?? "" });
  // A row has no more cells than were written: a wide head over many short rows would be millions of them.
  const rows = block.rows.map((row) => holding("tr", row.slice(0, block.head.length).map((text, column) => cell("td", text, column))));
  const head = holding("tr", block.head.map((text, column) => cell("th", text, column)));
  return el("div", { className: "wide", tabIndex: 0 }, el("table", {}, el("thead", {}, head), holding("tbody", rows)));
}

function code(block) {
  return el("div", { className: "code" },
    el("div", { className: "bar" }, el("span", {}, block.name), copyButton(say("copy"), () => block.text)),
    el("pre", { tabIndex: 0 }, el("code", {}, block.text)));
}

// --- inside a block ---

const WORD = /[\p{L}\p{N}]/u;
const CODE = /(`+)(?!`)([^]*?[^`])\1(?!`)/y;
// One level of brackets in the label and of parentheses in the address, both bounded so that no text makes it slow.
const LINK = /\[([^[\]]{0,999}(?:\[[^[\]]{0,999}\][^[\]]{0,999})?)\]\( *<?([^\s<>()]{0,2000}(?:\([^\s()]{0,999}\))?[^\s<>()]{0,999})>?(?: +"[^"]{0,999}")? *\)/y;
const MARK = /\[(\d{1,3}(?:\s*[,;]\s*\d{1,3}){0,9})\](?![(:])/y;
const ADDRESS = /https?:\/\/[^\s<>"'`]+/y;
/** Characters of an address that is made a link; a longer one is text as a whole, so that no text makes it slow. */
const LONGEST_ADDRESS = 2000;
const AFTER_ADDRESS = ".,;:!?)]*_";
const MARKS = [
  ["**", "strong", /\*\*([^]*?[^\s\\])\*\*(?!\*)/y],
  ["__", "strong", /__([^]*?[^\s\\])__(?![\p{L}\p{N}])/uy],
  ["~~", "del", /~~([^]*?[^\s\\])~~/y],
  ["*", "em", /\*([^]*?[^\s\\*])\*(?!\*)/y],
  ["_", "em", /_([^]*?[^\s\\_])_(?![\p{L}\p{N}_])/uy],
];

function inline(text, depth = 0) {
  const nodes = [];
  const unclosed = new Set();
  let plain = "";
  let at = 0;
  while (at < text.length) {
    const found = (depth < DEPTH && special(text, at, unclosed, depth)) || { text: text[at], end: at + 1 };
    if (found.node) {
      if (plain) nodes.push(document.createTextNode(plain));
      plain = "";
      nodes.push(found.node);
    } else {
      plain += found.text;
    }
    at = found.end;
  }
  if (plain) nodes.push(document.createTextNode(plain));
  return nodes;
}

/** What begins at `at`: an element, a run of text, or null for one letter. `unclosed` holds marks whose end was looked
 *  for in vain, so that a text full of them stays linear. */
function special(text, at, unclosed, depth) {
  switch (text[at]) {
    case "\\": return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? { text: text[at + 1], end: at + 2 } : null;
    case "`": return codeSpan(text, at, unclosed);
    case "\n": return { node: el("br"), end: at + 1 };
    // An image would be a request to another host: it becomes a link.
    case "!": return text[at + 1] === "[" ? link(text, at + 1, depth) : null;
    case "[": return marks(text, at) ?? link(text, at, depth);
    case "h": case "<": return address(text, at);
    case "*": case "_": case "~": return emphasis(text, at, unclosed, depth);
    default: return null;
  }
}

/** What `pattern` matches exactly at `at`. */
function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function codeSpan(text, at, unclosed) {
  const [mark] = match(/`+/y, text, at);
  const found = unclosed.has(mark) ? null : match(CODE, text, at);
  if (!found) { unclosed.add(mark); return { text: mark, end: at + mark.length }; }
  const inner = found[2].replaceAll("\n", " ");
  return { node: el("code", {}, /^ .*\S.* $/.test(inner) ? inner.slice(1, -1) : inner), end: at + found[0].length };
}

function emphasis(text, at, unclosed, depth) {
  for (const [mark, tag, pattern] of MARKS) {
    const next = text[at + mark.length] ?? " ";
    const inWord = mark[0] === "_" && WORD.test(text[at - 1] ?? "");
    if (!text.startsWith(mark, at) || unclosed.has(mark) || inWord || /\s/.test(next) || next === mark) continue;
    const found = match(pattern, text, at);
    if (found) return { node: holding(tag, inline(found[1], depth + 1)), end: at + found[0].length };
    unclosed.add(mark);
  }
  const [run] = match(/[*_~]+/y, text, at);
  return { text: run, end: at + run.length };
}

/** `[2]` and `[1, 3]`, where all numbers name something; the same marks as the gateway takes for citations. */
function marks(text, at) {
  const found = citing && match(MARK, text, at);
  const chips = found && found[1].split(/[,;]/).map((one) => citing(Number(one)));
  if (!chips || chips.includes(null)) return null;
  return { node: el("span", { className: "marks" }, ...chips), end: at + found[0].length };
}

function link(text, at, depth) {
  const found = match(LINK, text, at);
  const href = found && safeAddress(found[2]);
  if (!href) return null;
  return { node: anchor(href, found[1] ? inline(found[1], depth + 1) : [href]), end: at + found[0].length };
}

function address(text, at) {
  const bracket = text[at] === "<" ? 1 : 0;
  const found = WORD.test(text[at - 1] ?? "") && !bracket ? null : match(ADDRESS, text, at + bracket)?.[0];
  if (!found || (bracket && text[at + 1 + found.length] !== ">")) return null;
  if (found.length > LONGEST_ADDRESS) return { text: text.slice(at, at + bracket) + found, end: at + bracket + found.length };
  let end = found.length;
  while (AFTER_ADDRESS.includes(found[end - 1]) && !(found[end - 1] === ")" && found.includes("("))) end -= 1;
  const written = found.slice(0, end);
  const href = safeAddress(written);
  return href && { node: anchor(href, [written]), end: at + end + 2 * bracket };
}

const anchor = (href, children) => holding("a", children, { href, target: "_blank", rel: "noopener noreferrer" });

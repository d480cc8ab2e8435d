// The controls that are built here: lists of members, languages, rules, collections and tools. Each has `write` and `read`.
import { el } from "../../lib/dom.js";
import { say } from "../../lib/words.js";

/** The lines of a text, without empty ones. */
export const lines = (written) => written.split("\n").map((one) => one.trim()).filter(Boolean);

let serial = 0;

/** A label with its control; `make` gets the id. */
function labelled(name, control) {
  control.id ||= `b-${++serial}`;
  return el("div", {}, el("label", { htmlFor: control.id, textContent: name }), control);
}

const button = (name, label, onClick) =>
  el("button", { type: "button", className: "plain small", textContent: name, ariaLabel: label, on: { click: onClick } });

/** A choice; `current` is offered also where it is not among `values`, and said to be missing. */
export function fill(select, values, current, empty) {
  const missing = current && !values.includes(current) ? [current] : [];
  select.replaceChildren(
    el("option", { value: "", textContent: empty }),
    ...values.map((one) => el("option", { value: one, textContent: one })),
    ...missing.map((one) => el("option", { value: one, textContent: `${one} (${say("not_there")})` })),
  );
  select.value = current ?? "";
}

/** Instructions by language. */
export function languages(box, changed) {
  const rows = el("div");
  const add = (code = "", words = "") => {
    const row = el("div", { className: "part" });
    row.append(
      labelled(say("language"), el("input", { type: "text", className: "code", value: code, autocomplete: "off" })),
      labelled(say("instruction_in"), el("textarea", { className: "words", rows: 5, value: words })),
      button(say("take_out"), say("take_out_of", { name: code || say("language") }), () => { row.remove(); changed(); }),
    );
    rows.append(row);
    return row;
  };
  box.replaceChildren(rows, button(say("add_language"), null, () => { add().querySelector("input").focus(); changed(); }));
  return {
    write(value) {
      rows.replaceChildren();
      for (const [code, words] of Object.entries(value ?? {})) add(code, words);
    },
    read() {
      const found = {};
      for (const row of rows.children) {
        const code = row.querySelector(".code").value.trim();
        const words = row.querySelector(".words").value;
        if (code || words.trim()) found[code] = words;
      }
      return Object.keys(found).length ? found : undefined;
    },
  };
}

/** Which of the collections that exist are read; one that is not there any more stays chosen until it is taken out. */
export function collections(box, changed, known) {
  return {
    write(value) {
      const chosen = value ?? [];
      const names = [...known, ...chosen.filter((one) => !known.includes(one))];
      box.replaceChildren(...(names.length ? names.map((one) => el("label", {},
        el("input", { type: "checkbox", value: one, checked: chosen.includes(one) }),
        ` ${one}${known.includes(one) ? "" : ` (${say("not_there")})`}`)) : [el("small", { textContent: say("no_collections") })]));
    },
    read() {
      const chosen = [...box.querySelectorAll("input:checked")].map((one) => one.value);
      return chosen.length ? chosen : undefined;
    },
  };
}

/** All tools, some, or none. */
export function tools(box, changed) {
  const mode = el("select", {}, ...["all", "some", "none"].map((one) =>
    el("option", { value: one, textContent: say(`tools_${one}`) })));
  const names = labelled(say("tools_names"), el("textarea", { rows: 2 }));
  const show = () => { names.hidden = mode.value !== "some"; };
  mode.addEventListener("change", show);
  mode.ariaLabel = box.closest("fieldset").querySelector("legend").textContent;
  box.replaceChildren(mode, names);
  const area = names.querySelector("textarea");
  return {
    write(value) {
      mode.value = value === undefined || value === null ? "all" : value.length ? "some" : "none";
      area.value = (value ?? []).join("\n");
      show();
    },
    read: () => (mode.value === "all" ? undefined : mode.value === "none" ? [] : lines(area.value)),
  };
}

/** Members in their order. */
export function members(box, changed, known) {
  const list = el("ol", { className: "list" });
  const more = el("select");
  let chosen = [];
  const show = () => {
    list.replaceChildren(...chosen.map((name, at) => el("li", {},
      el("span", { textContent: known.includes(name) ? name : `${name} (${say("not_there")})` }),
      button("↑", say("up", { name }), () => { if (at) move(at); }),
      button("×", say("take_out_of", { name }), () => { chosen = chosen.filter((one) => one !== name); show(); changed(); }))));
    fill(more, known.filter((one) => !chosen.includes(one)), "", say("choose"));
  };
  const move = (at) => {
    chosen = chosen.with(at, chosen[at - 1]).with(at - 1, chosen[at]);
    show();
    list.children[at - 1].querySelector("button").focus();
    changed();
  };
  more.addEventListener("change", () => {
    if (more.value) chosen = [...chosen, more.value];
    show();
    changed();
  });
  box.replaceChildren(list, labelled(say("add_member"), more));
  return {
    write(value) { chosen = [...(value ?? [])]; show(); },
    read: () => (chosen.length ? chosen : undefined),
  };
}

const RULE = [["words", "rule_words"], ["pattern", "rule_pattern"], ["language", "rule_language"], ["has", "rule_has"],
  ["longer_than", "rule_longer"], ["shorter_than", "rule_shorter"]];

/** The rules of a route. `whoMay` tells the members of now. */
export function rules(box, changed, whoMay) {
  const rows = el("ol", { className: "list" });
  const number = () => [...rows.children].forEach((row, at) => { row.firstChild.firstChild.textContent = say("rule", { number: at + 1 }); });
  const add = (rule = {}) => {
    const role = el("select");
    fill(role, whoMay(), rule.role, say("choose"));
    role.addEventListener("focus", () => fill(role, whoMay(), role.value, say("choose")));
    const has = el("select");
    has.replaceChildren(el("option", { value: "", textContent: say("any") }),
      ...["code", "image", "tools"].map((one) => el("option", { value: one, textContent: say(`has_${one}`) })));
    const parts = { role };
    for (const [key] of RULE) parts[key] = key === "has" ? has : el("input", { type: key.endsWith("than") ? "number" : "text", autocomplete: "off" });
    parts.words.value = (rule.words ?? []).join(", ");
    for (const key of ["pattern", "language", "has", "longer_than", "shorter_than"]) parts[key].value = rule[key] ?? "";
    const row = el("li", {}, el("div", { className: "part" }, el("strong"), labelled(say("rule_role"), role),
      ...RULE.map(([key, name]) => labelled(say(name), parts[key])),
      button(say("take_out"), null, () => { row.remove(); number(); changed(); })));
    row.parts = parts;
    rows.append(row);
    number();
  };
  box.replaceChildren(rows, button(say("add_rule"), null, () => { add(); rows.lastChild.querySelector("select").focus(); changed(); }));
  return {
    write(value) { rows.replaceChildren(); for (const one of value ?? []) add(one); },
    read() {
      const found = [...rows.children].map(({ parts }) => {
        const rule = { role: parts.role.value };
        const words = parts.words.value.split(",").map((one) => one.trim()).filter(Boolean);
        if (words.length) rule.words = words;
        for (const key of ["pattern", "language", "has"]) if (parts[key].value) rule[key] = parts[key].value;
        for (const key of ["longer_than", "shorter_than"]) if (parts[key].value !== "") rule[key] = Number(parts[key].value);
        return rule;
      });
      return found.length ? found : undefined;
    },
  };
}

// A model's thinking, where its engine leaves it in the answer: between `<think>` and `</think>` at the beginning.

const [OPEN, CLOSE] = ["<think>", "</think>"];

/** Returns a function that is given the pieces of an answer and tells which of it is `{thinking, content}`. Without a
 *  piece the answer is over, and what waited to become a mark is what it looks like. */
export function splitter() {
  let held = "";
  let within = null;
  return (piece = null) => {
    if (piece === null) {
      const rest = held;
      held = "";
      return within ? { thinking: rest, content: "" } : { thinking: "", content: rest };
    }
    if (within === false) return { thinking: "", content: piece };
    held += piece;
    if (within === null) {
      const begun = held.trimStart();
      if (begun.length < OPEN.length && OPEN.startsWith(begun)) return { thinking: "", content: "" };
      within = begun.startsWith(OPEN);
      if (!within) {
        const content = held;
        held = "";
        return { thinking: "", content };
      }
      held = begun.slice(OPEN.length);
    }
    const end = held.indexOf(CLOSE);
    if (end >= 0) {
      within = false;
      const said = { thinking: held.slice(0, end), content: held.slice(end + CLOSE.length).trimStart() };
      held = "";
      return said;
    }
    // What may be the beginning of the mark waits.
    let waits = CLOSE.length - 1;
    while (waits > 0 && !held.endsWith(CLOSE.slice(0, waits))) waits -= 1;
    const thinking = held.slice(0, held.length - waits);
    held = held.slice(thinking.length);
    return { thinking, content: "" };
  };
}

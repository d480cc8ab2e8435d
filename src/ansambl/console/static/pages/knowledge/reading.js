// A passage and what stands around it, for a key that may read it and not the admin API.
import { ask, tried } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { say } from "../../lib/words.js";

const AROUND = 2;
const LENGTH = 8000;

/** The page of a passage: ids are the document's number and the passage's. */
function linkOf(id) {
  const [document, number] = id.split(".");
  return `/console/knowledge/documents/${document}?passage=${number}`;
}

export function reading() {
  return {
    title: byId("main").querySelector("h1").textContent, citation: "", problem: "", busy: false, passages: [], next: null, movable: false,
    document: null, number: null, query: "", hits: [], nothing: "",
    init() {
      const asked = JSON.parse(byId("reading-data").textContent);
      this.document = asked.document;
      this.number = asked.passage;
      if (this.document === null) return undefined;
      return this.number === null ? this.more() : this.show(this.number);
    },
    search() {
      return tried(this, true, async () => {
        if (!this.query.trim()) return;
        const { data } = await ask("POST", "/v1/knowledge/search", { query: this.query.trim(), limit: 20 });
        this.nothing = data.length ? "" : say("nothing_found");
        this.hits = data.map((one) => ({ ...one, link: linkOf(one.id) }));
      });
    },
    show(number) {
      return tried(this, true, async () => {
        const { data } = await ask("POST", "/v1/knowledge/passage", { id: `${this.document}.${number}`, around: AROUND });
        this.number = number;
        this.movable = true;
        this.passages = data.map((one) => ({
          id: one.id, text: one.text, kind: one.asked ? "found" : "", anchor: one.asked ? "passage" : one.id,
        }));
        const found = data.find((one) => one.asked);
        this.title = found.document;
        this.citation = found.citation;
        this.$nextTick(() => byId("passage")?.scrollIntoView({ block: "center" }));
      });
    },
    move(by) { return this.show(this.number + by); },
    more() {
      return tried(this, true, async () => {
        const part = await ask("POST", "/v1/knowledge/document", { id: this.document, start: this.next ?? 0, length: LENGTH });
        this.title = part.document;
        this.passages = [{ id: part.start, text: part.text, kind: "", anchor: `at-${part.start}` }];
        this.next = part.next;
      });
    },
  };
}

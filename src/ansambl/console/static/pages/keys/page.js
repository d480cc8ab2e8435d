// The page Keys: makes keys and revokes them. The list is written by the server.
import { Refused, ask, path } from "../../lib/asking.js";
import { copy } from "../../lib/copying.js";
import { byId, forTab, keep, kept, speakAloud } from "../../lib/dom.js";
import { Alpine, start } from "../../lib/shell.js";
import { say } from "../../lib/words.js";

/** What was typed for a key that is not made yet: a change of the language loads the page anew. Never a secret. */
const TYPED = "ansambl.keys.typed";

Alpine.data("keys", () => ({
  secret: "",
  taken: false,
  stayed: false,
  copied: "",
  all: true,
  busy: false,
  problem: "",
  refused: "",
  title: "",
  chosen: "",
  chosenName: "",
  chosenOwn: false,
  chosenLast: false,

  init() {
    // It is shown once: whoever leaves without it is asked.
    window.addEventListener("beforeunload", (event) => { if (this.secret && !this.taken) event.preventDefault(); });
    const form = byId("making");
    if (!form) return;
    const typed = () => JSON.stringify([...new FormData(form)]);
    const untouched = typed();
    window.addEventListener("pagehide", () => keep(forTab, TYPED, typed() === untouched ? null : typed()));
    byId("sign-out")?.addEventListener("click", () => form.reset());
    // The form is the component's once its parts are joined.
    this.$nextTick(() => this.restore(form));
  },
  restore(form) {
    const before = JSON.parse(kept(forTab, TYPED) ?? "null");
    if (!before) return;
    for (const one of form.elements) {
      const values = before.filter(([name]) => name === one.name).map(([, value]) => value);
      if (one.type === "checkbox") one.checked = values.includes(one.value);
      else if (values.length) one.value = values[0];
    }
    this.all = form.elements.namedItem("all").checked;
  },
  async create() {
    const form = new FormData(this.$refs.form);
    const listed = (name) => form.get(name).split(",").map((one) => one.trim()).filter(Boolean);
    const wanted = {
      name: form.get("name"),
      endpoints: form.getAll("endpoints"),
      roles: this.all ? null : form.getAll("roles"),
      limit: listed("limit"),
      tokens: listed("tokens"),
      request_class: form.get("request_class"),
      expires: form.get("expires").trim() || null,
    };
    this.problem = await this.attempt(async () => {
      const { has_keys: hasKeys } = await ask("GET", "me");
      // With the first key the door closes for this browser, too. So it is signed in before.
      if (!hasKeys) await this.signIn();
      const made = await ask("POST", "keys", wanted);
      this.stayed = !hasKeys;
      this.secret = made.secret;
      this.copied = "";
      this.taken = false;
      this.$refs.form.reset();
      this.all = true;
      this.changed(say("key_made"));
      this.$nextTick(() => document.getElementById("made").focus());
    });
  },
  async signIn() {
    const { secret } = await ask("POST", "sign-ins");
    await ask("POST", "/console/session", { key: secret });
  },
  async copy() {
    const { done, word } = await copy(this.secret);
    if (!done) getSelection().selectAllChildren(document.getElementById("secret"));
    this.copied = word;
    this.taken = done;
  },
  forget() { this.secret = ""; },

  choose({ id, name, own, last }) {
    this.chosen = id;
    this.chosenName = name;
    this.chosenOwn = own === "yes";
    this.chosenLast = last === "yes";
    this.title = say("revoke_title", { name });
    this.refused = "";
    this.$refs.dialog.showModal();
  },
  leave() { this.$refs.dialog.close(); },
  async revoke() {
    this.refused = await this.attempt(async () => {
      await ask("DELETE", path("keys", this.chosen));
      this.leave();
      if (this.chosenOwn) location.reload();
      else this.changed(say("key_revoked", { name: this.chosenName }));
    });
  },

  /** What went wrong, in one line; "" for nothing. */
  async attempt(work) {
    this.busy = true;
    try {
      await work();
      return "";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return error.message;
    } finally {
      this.busy = false;
    }
  },
  changed(sentence) {
    speakAloud(sentence);
    document.body.dispatchEvent(new Event("keys-changed"));
  },
}));

start();

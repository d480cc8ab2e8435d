// Sends files to be taken in, a few at a time: the browser reads each from the disk as it goes, so none is ever in
// memory as a whole. Ansambl reads them one after another, so no more is sent than it reads.
import { Refused, ask, refusal } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { onEvent } from "../../lib/live.js";
import { language, number, say, size } from "../../lib/words.js";
import { entriesOf, filesOf, filesOfInput } from "./files.js";
import { isExportOfChats } from "./recognising.js";
import { isOver, nameOf } from "./work.js";

const AT_ONCE = 2;
/** Files that are sent and not read yet, before the next one waits; Ansambl refuses what makes more than 50 wait. */
const AHEAD = 16;
/** Milliseconds between looks at jobs whose events may be lost, and before a file is sent again that came too soon. */
const AGAIN = 3000;
const TRIES = 100;
const MOST_PROBLEMS = 200;
const BUSY = 503;
/** Milliseconds of taking files without a look at what else the page has to do. */
const SLICE = 30;

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export function sending() {
  // Apart from what is shown: a list of a hundred thousand files must not be watched for changes.
  const waiting = [];
  const unread = new Map();
  // Ends that were told before the answer to the upload itself was: small files are read at once.
  const early = new Map();
  const requests = new Set();
  let next = 0;
  let keys = 0;
  let workers = 0;
  let stops = 0;
  let wake = [];
  let limits = {};
  return {
    collection: "", kind: "auto", over: false,
    chosen: 0, sent: 0, taken: 0, skipped: 0, failed: 0, current: [], problems: [], busy: false,

    page: {
      "@beforeunload.window"(event) { if (this.busy) event.preventDefault(); },
      // A file that misses its place would be opened by the browser instead of this page.
      "@dragover.window.prevent"() {},
      "@drop.window.prevent"() {},
    },
    target: {
      "@dragover.prevent"() { this.over = true; },
      "@dragleave"() { this.over = false; },
      "@drop.prevent"(event) { this.over = false; this.take(filesOf(entriesOf(event.dataTransfer))); },
      ":class"() { return { over: this.over }; },
    },
    chooser: {
      "@change"(event) {
        this.take(filesOfInput([...event.target.files]));
        event.target.value = "";
      },
    },

    init() {
      limits = JSON.parse(byId("knowledge-data").textContent).limits;
      onEvent((kind, data) => {
        if (kind === "job") this.told(data);
        // What a lost stream did not tell.
        if (kind === "snapshot" && unread.size) this.look();
      });
    },

    get summary() {
      return say("summary", { taken: number(this.taken), chosen: number(this.chosen), sent: number(this.sent) });
    },
    get skippedWords() { return say("skipped", { count: number(this.skipped) }); },
    get problemsWords() { return say("problems", { count: number(this.failed) }); },

    async take(files) {
      const into = { collection: this.collection.trim(), kind: this.kind };
      const round = stops;
      const seen = new Map();
      let chosen = 0;
      let skipped = 0;
      let shown = performance.now();
      // What is watched is drawn anew with every change: not for each file of ten thousand.
      const show = () => {
        this.chosen += chosen;
        this.skipped += skipped;
        chosen = skipped = 0;
      };
      for await (const one of files) {
        if (one === null) skipped += 1;
        else {
          chosen += 1;
          waiting.push({ ...one, ...into, folder: apart(one, seen) });
          if (workers < AT_ONCE) this.work();
        }
        if (performance.now() - shown < SLICE) continue;
        show();
        await pause(0);
        // Stopped while they were looked at: the rest was never begun.
        if (round !== stops) return;
        shown = performance.now();
      }
      show();
    },

    async work() {
      workers += 1;
      this.busy = true;
      try {
        while (next < waiting.length) {
          const one = waiting[next];
          waiting[next] = null;
          next += 1;
          await this.send(one);
        }
      } finally {
        workers -= 1;
        if (!workers) {
          this.busy = false;
          waiting.length = next = 0;
          early.clear();
        }
      }
    },

    async send({ file, folder, name, collection, kind }) {
      const shown = `${folder}${name ?? file.name}`;
      const row = this.begin(shown);
      try {
        if (!file) throw new Refused(say("unreadable_here"), 0);
        row.share = say("checking");
        const chats = kind === "chats" || (kind === "auto" && (await isExportOfChats(file)));
        check(file, chats, limits);
        if (chats && kind === "auto") row.name = `${shown} (${say("as_chats")})`;
        row.share = say("waiting");
        const round = stops;
        while (unread.size >= AHEAD && round === stops) await this.someRead();
        if (round !== stops) throw new Refused(say("stopped_here"), 0);
        const query = { name: file.name, ...(folder && { folder }), ...(collection && { collection }), ...(chats && { chats }) };
        const job = await this.post(file, new URLSearchParams(query), row);
        this.sent += 1;
        unread.set(job.id, shown);
        if (early.has(job.id)) this.told(early.get(job.id));
      } catch (error) {
        if (error instanceof Refused) this.problem(shown, error.message);
        else if (error instanceof DOMException) this.problem(shown, say("unreadable_here"));
        else throw error;
      } finally {
        this.current = this.current.filter((one) => one.key !== row.key);
      }
    },

    begin(name) {
      keys += 1;
      this.current.push({ key: keys, name, share: "", part: 0, label: say("sending_file", { name }) });
      // What the list gives back is watched, what was put in is not.
      return this.current.at(-1);
    },

    async post(file, query, row) {
      for (let tries = 1; ; tries += 1) {
        const answer = await upload(file, query, requests, (sent) => {
          row.part = file.size ? sent / file.size : 1;
          row.share = say("share", { part: size(sent), whole: size(file.size) });
        });
        if (answer.ok) return answer.json();
        const error = await refusal(answer);
        if (error.status !== BUSY || error.code !== "busy" || tries === TRIES) throw error;
        row.share = say("waiting");
        const round = stops;
        await pause(AGAIN);
        if (round !== stops) throw new Refused(say("stopped_here"), 0);
      }
    },

    /** A job has come further, maybe one of ours to its end. */
    told(job) {
      if (!isOver(job)) return;
      if (!unread.has(job.id)) {
        if (this.busy) early.set(job.id, job);
        return;
      }
      const shown = unread.get(job.id);
      unread.delete(job.id);
      const refused = job.report?.refused ?? [];
      if (job.error) this.problem(shown, job.error);
      else if (refused.length) for (const one of refused) this.problem(nameOf(one.place), one.reason);
      else if (job.state === "stopped") this.problem(shown, say("job_stopped"));
      if (!job.error && job.state === "done" && job.report.refused_count < Math.max(1, all(job.report))) this.taken += 1;
      for (const one of wake) one();
      wake = [];
    },

    /** Until one of ours was read; asked for where no event tells it. */
    async someRead() {
      await Promise.race([new Promise((done) => { wake.push(done); }), pause(AGAIN)]);
      if (unread.size >= AHEAD) await this.look();
    },

    /** Ask how all of them stand, where no event may have told it. */
    async look() {
      const jobs = await ask("GET", "knowledge/jobs").then((found) => found.jobs, () => null);
      // Ansambl cannot be reached just now; the next file that is sent says so.
      if (jobs === null) return;
      const known = new Set(jobs.map((one) => one.id));
      for (const job of jobs) this.told(job);
      for (const [id, shown] of [...unread]) {
        if (known.has(id)) continue;
        unread.delete(id);
        this.problem(shown, say("unread"));
      }
    },

    problem(name, reason) {
      this.failed += 1;
      if (this.problems.length < MOST_PROBLEMS) this.problems.push({ key: this.failed, name, reason });
    },

    stop() {
      for (; next < waiting.length; next += 1) {
        const { file, folder, name } = waiting[next];
        waiting[next] = null;
        this.problem(`${folder}${name ?? file.name}`, say("stopped_here"));
      }
      stops += 1;
      for (const one of requests) one.abort();
    },
  };
}

/** The folder of a file; of those that have one place in a drop, the second and all later ones get a folder of their own:
    else each would take the place of the one before. */
function apart({ file, folder, name }, seen) {
  const place = `${folder}${name ?? file.name}`;
  const count = (seen.get(place) ?? 0) + 1;
  seen.set(place, count);
  return count > 1 ? `${folder}${count}/` : folder;
}

/** How many things a report tells of. */
const all = (report) => report.added + report.updated + report.unchanged + report.refused_count;

/** Refuse what Ansambl would refuse after all of it had been sent. */
function check(file, chats, limits) {
  const byUpload = chats || limits.upload <= limits.file;
  const [limit, reason] = byUpload ? [limits.upload, "too_large_upload"] : [limits.file, "too_large_file"];
  if (limit && file.size > limit) throw new Refused(say(reason, { limit: size(limit) }), 413);
}

/** Send a file as the body of a request, and tell how far it is. The answer is as `fetch` gives it. */
function upload(file, query, requests, tell) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const over = () => requests.delete(request);
    requests.add(request);
    request.upload.addEventListener("progress", (event) => tell(event.loaded));
    request.addEventListener("load", () => {
      over();
      const headers = { "content-type": request.getResponseHeader("content-type") ?? "text/plain" };
      done(new Response(request.response, { status: request.status, headers }));
    });
    request.addEventListener("error", () => { over(); failed(new Refused(say("unreachable"), 0)); });
    request.addEventListener("abort", () => { over(); failed(new Refused(say("stopped_here"), 0)); });
    request.open("POST", `/admin/api/knowledge/uploads?${query}`);
    request.setRequestHeader("accept-language", language());
    request.setRequestHeader("content-type", "application/octet-stream");
    request.send(file);
  });
}

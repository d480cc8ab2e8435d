// Long work on knowledge as it goes on: told by events, asked for again after a stream was lost.
import { Refused, ask, path } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { onEvent } from "../../lib/live.js";
import { number, say } from "../../lib/words.js";
import { changed } from "./changing.js";

/** Jobs that are shown; Ansambl knows some more. */
const SHOWN = 20;
const MOST_NAMED = 50;
const ACTIVE = ["waiting", "running"];
const PILLS = { waiting: "stopped", running: "busy", done: "ready", stopped: "stopped", failed: "failed" };

/** Whether nothing more comes of a job. */
export const isOver = (job) => !ACTIVE.includes(job.state);
/** A place as people know it: what was sent has no folder of this machine. */
export const nameOf = (place) => place.replaceAll("upload:", "");

export function work() {
  return {
    jobs: [],
    init() {
      this.jobs = JSON.parse(byId("knowledge-data").textContent).jobs;
      onEvent((kind, data) => {
        if (kind === "job") this.take(data);
        // What happened before the stream began was told to nobody.
        if (kind === "snapshot") this.reload();
      });
    },
    take(job) {
      const at = this.jobs.findIndex((one) => one.id === job.id);
      if (at < 0) this.jobs.unshift(job);
      else this.jobs[at] = job;
      if (isOver(job)) {
        this.jobs = this.jobs.slice(0, 100);
        changed();
      }
    },
    async reload() {
      try {
        const { jobs } = await ask("GET", "knowledge/jobs");
        const active = this.jobs.some((one) => !isOver(one));
        this.jobs = jobs;
        if (active && jobs.every(isOver)) changed();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
      }
    },
    async stop(id) {
      try {
        this.take(await ask("POST", path("knowledge", "jobs", id, "stop")));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        byId("problem").textContent = error.message;
      }
    },
    get ordered() {
      return [...this.jobs].sort((a, b) => isOver(a) - isOver(b) || (isOver(a) ? b.created - a.created : a.created - b.created));
    },
    get shown() { return this.ordered.slice(0, SHOWN).map(described); },
    get hidden() { return Math.max(0, this.jobs.length - SHOWN); },
    get hiddenWords() { return say("jobs_hidden", { count: number(this.hidden) }); },
  };
}

/** A job as the page tells it. */
function described(job) {
  const name = job.kind === "embed" ? say("job_embed") : nameOf(job.place);
  const progress = job.progress;
  const report = job.report;
  const refused = report?.refused ?? [];
  const notes = report?.notes ?? [];
  const nothing = job.state === "done" && refused.length > 0 && !(report.added + report.updated + report.unchanged);
  return {
    id: job.id,
    name: job.collection ? `${name} → ${job.collection}` : name,
    active: !isOver(job),
    pill: nothing ? "failed" : PILLS[job.state],
    stateWords: nothing ? say("job_nothing") : say(`job_${job.state}`),
    stopWords: say("stop_job", { name }),
    words: progress ? progressWords(progress) : "",
    max: progress?.total || 1,
    // Without a number it is a bar that only moves.
    value: progress?.total ? progress.done : undefined,
    result: report && isOver(job) ? reportWords(job.kind, report) : "",
    error: job.error ?? "",
    refused: named(refused),
    refusedWords: say("refused", { count: number(report?.refused_count ?? 0) }),
    notes: named(notes),
    notesWords: say("passed_over", { count: number(notes.length) }),
  };
}

const named = (list) =>
  list.slice(0, MOST_NAMED).map((one, key) => ({ key, place: nameOf(one.place), reason: one.reason }));

function progressWords({ stage, done, total, left, current, note }) {
  const counted = say(`stage_${stage}${total ? "_of" : ""}`, { done: number(done), total: number(total ?? 0) });
  const time = left == null ? "" : left < 100
    ? say("left", { seconds: number(Math.ceil(left)) })
    : say("minutes_left", { minutes: number(Math.ceil(left / 60)) });
  return [counted, time, current && nameOf(current), note].filter(Boolean).join(" · ");
}

function reportWords(kind, report) {
  if (kind === "embed") return say("report_embed", { embedded: number(report.embedded) });
  const counts = Object.fromEntries(
    ["added", "updated", "unchanged", "removed", "passages"].map((key) => [key, number(report[key])]),
  );
  return [say("report", counts), report.turns ? say("report_turns", { turns: number(report.turns) }) : ""]
    .filter(Boolean).join("; ");
}

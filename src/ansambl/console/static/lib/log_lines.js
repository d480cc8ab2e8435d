// Lines of logs as text: without what moves cursors or colours terminals, and how grave they are.

/** Escape sequences of terminals (CSI, OSC, others) and other letters that are no text; tabs stay. */
// eslint-disable-next-line no-control-regex
const ESCAPES = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** What a line says of itself: logfmt, JSON, llama.cpp's letter, Python's word before a message. */
const STATED = /\blevel=(\w+)|"level": ?"(\w+)"|^[\d.:]+ ([DIWE]) |^(?:[\d:.,/ -]+)?\[?(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b/;
const LEVELS = { w: "warning", warn: "warning", warning: "warning", e: "error", error: "error", critical: "error", fatal: "error" };
const ERROR = /\b(?:error|fatal|critical|panic|traceback|exception|failed|aborted)\b/i;
const WARNING = /\bwarn(?:ing)?\b/i;

export const plain = (line) => line.replace(ESCAPES, "");

/** "error", "warning", or "" for all else: as the line says itself, else by its words. */
export function levelOf(line) {
  const stated = STATED.exec(line);
  if (stated) return LEVELS[(stated[1] ?? stated[2] ?? stated[3] ?? stated[4]).toLowerCase()] ?? "";
  if (ERROR.test(line)) return "error";
  return WARNING.test(line) ? "warning" : "";
}

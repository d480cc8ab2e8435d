// What an answer waits for, by what the machine shows live; keys without rights to that have the gateway's own words.
import { live } from "../../lib/live.js";
import { number, say } from "../../lib/words.js";

/** One sentence for an answer that has no word yet. */
export function waitingFor(answer) {
  const own = live.instances.filter((one) => answer.models.includes(one.model));
  const coming = own.find(isComing);
  const model = coming?.model ?? own[0]?.model ?? answer.models[0];
  const going = live.instances.find((one) => one.wanted === model && one.model !== model);
  if (going?.residency === "draining") return say("waiting_drain", { model, other: going.model });
  if (coming || going) {
    const other = going?.model ?? went.get(model);
    return other ? say("waiting_swap", { model, other }) : say("waiting_load", { model });
  }
  if (answer.waiting) return answer.waiting;
  const crowded = own.find((one) => one.waiting > 0);
  if (crowded) return say("waiting_queue", { model: crowded.model, count: number(crowded.waiting) });
  return say("waiting");
}

const isComing = (one) => one.residency === "loading" || ["starting", "restarting"].includes(one.state);

/** The model that stopped in favour of `model`, remembered because its instance may be gone by then. */
const went = new Map();

/** Look at what changed: who makes room for whom. */
export function noticeSwaps() {
  for (const one of live.instances) {
    if (one.wanted && one.wanted !== one.model) went.set(one.wanted, one.model);
    if (one.state === "ready" && !one.wanted) went.delete(one.model);
  }
}

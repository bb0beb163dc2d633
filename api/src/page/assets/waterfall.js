// The four stages of a job on one time scale: queued, generating, persisting, finalizing.

import { h } from "./dom.js";
import { duration, hasEnded } from "./words.js";

const at = (time) => (time ? Date.parse(time) : null);

/** Limit of outputs with a bar of their own. */
const OUTPUTS = 8;

/** Returns the begin of the scale: of a retried job, that of its latest run. */
function beginOf(job) {
  return at(job.retry_count && job.started_at ? job.started_at : job.created_at);
}

/** Returns the bars of a job: `{label, from, to, kind, note}`, `to` is `null` if it is open. */
function bars(job) {
  const provider = job.provider ?? {};
  const end = at(job.completed_at);
  const asked = at(provider.created_at);
  const made = at(provider.completed_at);
  const stored = (job.media ?? []).filter((media) => media.completed_at);
  const lastStored = stored.length ? Math.max(...stored.map((media) => at(media.completed_at))) : null;
  const begin = beginOf(job);
  const list = [{ label: "Queued", kind: "queued", from: begin, to: asked ?? (job.retry_count ? end : at(job.started_at) ?? end) }];
  if (asked) {
    const began = at(provider.started_at);
    if (began && began - asked > 50) list.push({ label: "Starting", kind: "queued", from: asked, to: began });
    list.push({ label: "Generating", kind: "generating", from: began ?? asked, to: made ?? end });
  } else if (job.in_doubt_since) {
    list.push({ label: "In doubt", kind: "failed", from: at(job.in_doubt_since), to: end });
  }
  const media = job.media ?? [];
  const shown = media.length > OUTPUTS ? media.slice(0, OUTPUTS - 1) : media;
  for (const one of shown) {
    const label = `Storing ${one.name ?? one.index + 1}`;
    const note = one.status === "failed" ? "failed" : one.attempts > 1 ? `attempt ${one.attempts}` : null;
    if (one.completed_at) list.push({ label, kind: "storing", from: at(one.started_at), to: at(one.completed_at), note });
    else if (made) list.push({ label, kind: one.status === "failed" ? "failed" : "storing", from: made, to: end, note });
  }
  const others = media.slice(shown.length).filter((one) => one.completed_at);
  if (others.length) {
    const [from, to] = [Math.min(...others.map((one) => at(one.started_at))), Math.max(...others.map((one) => at(one.completed_at)))];
    list.push({ label: `Storing ${others.length} more`, kind: "storing", from, to });
  }
  if (lastStored && end) list.push({ label: "Finalizing", kind: "finishing", from: lastStored, to: end });
  return list.filter((bar) => bar.from !== null);
}

/** Draws the waterfall of a job; of one under way, until now. */
export function waterfall(job, now = Date.now()) {
  const drawn = bars(job);
  const begin = beginOf(job);
  const end = hasEnded(job) ? Math.max(...drawn.map((bar) => bar.to ?? begin), begin + 1) : Math.max(now, begin + 1);
  const share = (time) => `${(Math.min(1, Math.max(0, (time - begin) / (end - begin))) * 100).toFixed(2)}%`;
  return h("ol", { class: "waterfall" }, drawn.map((bar) => {
    const to = bar.to ?? now;
    const fill = h("span", { class: "bar", dataset: { kind: bar.kind } });
    fill.style.left = share(bar.from);
    fill.style.width = `max(3px, calc(${share(to)} - ${share(bar.from)}))`;
    const took = `${duration(to - bar.from)}${bar.note ? `, ${bar.note}` : ""}`;
    return h("li", {}, h("span", { class: "name" }, bar.label), h("span", { class: "track", "aria-hidden": true }, fill),
      h("span", { class: "took" }, took));
  }));
}

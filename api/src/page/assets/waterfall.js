// Stages of a job on one time scale: queued, generating, storing, finalizing.

import { h } from "./dom.js";
import { beganAt, duration, hasEnded } from "./words.js";

const at = (time) => (time ? Date.parse(time) : null);

/** Maximum number of bars for outputs. */
const MAX_BARS = 8;

/**
 * Returns the bars of a job: `{label, from, to, kind, note}`; `to` is `null` while one lasts. Where
 * only the outcome is known, `from` and `to` are the same.
 */
function bars(job) {
  const provider = job.provider ?? {};
  const end = at(job.completed_at);
  const submitted = at(provider.created_at);
  const generated = at(provider.completed_at);
  const stored = (job.media ?? []).filter((media) => media.completed_at);
  const lastStored = stored.length
    ? Math.max(...stored.map((media) => at(media.completed_at))) : null;
  const queuedUntil = submitted ?? (job.retry_count ? end : at(job.started_at) ?? end);
  const list = [{ label: "Queued", kind: "queued", from: beganAt(job), to: queuedUntil }];
  if (submitted) {
    const started = at(provider.started_at);
    if (started && started - submitted > 50) {
      list.push({ label: "Starting", kind: "queued", from: submitted, to: started });
    }
    const from = started ?? submitted;
    list.push({ label: "Generating", kind: "generating", from, to: generated ?? end });
  } else if (job.in_doubt_since) {
    list.push({ label: "In doubt", kind: "failed", from: at(job.in_doubt_since), to: end });
  }
  const media = job.media ?? [];
  const shown = media.length > MAX_BARS ? media.slice(0, MAX_BARS - 1) : media;
  for (const one of shown) {
    const label = `Storing ${one.name ?? one.index + 1}`;
    const attempt = one.attempts > 1 ? `attempt ${one.attempts}` : null;
    const to = at(one.completed_at);
    if (to) {
      list.push({ label, kind: "storing", from: at(one.started_at), to, note: attempt });
    } else if (end && generated) {
      // The times of an output that is not stored are not recorded.
      const note = [one.status, attempt].filter(Boolean).join(", ");
      const kind = one.status === "failed" ? "failed" : "storing";
      list.push({ label, kind, from: end, to: end, note });
    } else if (generated) {
      list.push({ label, kind: "storing", from: generated, to: null, note: attempt });
    }
  }
  const others = media.slice(shown.length).filter((one) => one.completed_at);
  if (others.length) {
    const from = Math.min(...others.map((one) => at(one.started_at)));
    const to = Math.max(...others.map((one) => at(one.completed_at)));
    list.push({ label: `Storing ${others.length} more`, kind: "storing", from, to });
  }
  if (lastStored && end) {
    list.push({ label: "Finalizing", kind: "finalizing", from: lastStored, to: end });
  }
  return list.filter((bar) => bar.from !== null);
}

/** Draws the waterfall of a job; of a running one, until now. */
export function waterfall(job, now) {
  const drawn = bars(job);
  const start = beganAt(job);
  const latest = hasEnded(job) ? Math.max(...drawn.map((bar) => bar.to ?? start)) : now;
  const end = Math.max(latest, start + 1);
  const share = (time) => Math.min(1, Math.max(0, (time - start) / (end - start)));
  const percent = (time) => `${(share(time) * 100).toFixed(2)}%`;
  return h("ol", { class: "waterfall" }, drawn.map((bar) => {
    const to = bar.to ?? now;
    const fill = h("span", { class: "bar", dataset: { kind: bar.kind } });
    fill.style.left = percent(bar.from);
    fill.style.width = `max(3px, calc(${percent(to)} - ${percent(bar.from)}))`;
    const isUntimed = bar.note && to === bar.from;
    const took = [isUntimed ? null : duration(to - bar.from), bar.note].filter(Boolean).join(", ");
    return h("li", {}, h("span", { class: "name" }, bar.label),
      h("span", { class: "track", "aria-hidden": true }, fill), h("span", { class: "took" }, took));
  }));
}

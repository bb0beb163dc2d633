// Texts for states, failures, sizes and times.

import { now } from "./clock.js";

/** States of a job, each with a sign, as color alone is not accessible. */
export const STATES = {
  queued: { sign: "◌", word: "queued", explain: "accepted; not submitted to the provider yet" },
  generating: { sign: "◐", word: "generating", explain: "the provider is generating the outputs" },
  in_doubt: {
    sign: "?", word: "in doubt", explain: "it is unknown whether the provider accepted the job",
  },
  storing: { sign: "◒", word: "storing", explain: "the outputs are being stored" },
  finalizing: { sign: "◕", word: "finalizing", explain: "the manifest is being written" },
  completed: { sign: "●", word: "completed", explain: "every output is stored and verified" },
  partial: { sign: "◑", word: "partial", explain: "some outputs are stored, others are not" },
  failed: { sign: "✕", word: "failed", explain: "no output is stored" },
  canceled: { sign: "⊘", word: "canceled", explain: "canceled; stored outputs are kept" },
};

/** Returns the state of a job as shown: a name of {@link STATES}. */
export function stateOf(job) {
  if (job.in_doubt_since || job.error?.type === "SubmissionUnknown") return "in_doubt";
  if (job.status !== "processing" && job.status !== "pending") return job.status;
  switch (job.stage) {
    case "generating": return "generating";
    case "reconciling": return "in_doubt";
    case "persisting": return "storing";
    case "finalizing": return "finalizing";
    default: return "queued";
  }
}

/** Returns the state of an output: that of its job while it is pending, or in doubt. */
export function stateOfOutput(media, job) {
  const isOfJob = media.status === "pending" || media.error?.type === "SubmissionUnknown";
  return isOfJob ? stateOf(job) : media.status;
}

export function hasEnded(job) {
  return !["pending", "processing"].includes(job.status);
}

/** Failures by type: the text, and the action that remedies it. */
const FAILURES = {
  ProviderRejected: ["The provider rejected the request", "remix"],
  ProviderUnauthorized: ["The provider rejected the credentials of Darkroom", null],
  ProviderInsufficientCredit: ["The account at the provider has no credit left", "retry"],
  ProviderRateLimited: ["The rate limit of the provider was exceeded", "retry"],
  ProviderUnavailable: ["The provider could not be reached", "retry"],
  ProviderUnreadable: ["The provider's answer could not be read", "retry"],
  PredictionNotFound: ["The provider no longer has the prediction", "regenerate"],
  PredictionRunning: ["The prediction is still running", "retry"],
  GenerationFailed: ["The model failed", "regenerate"],
  GenerationCanceled: ["The prediction was canceled at the provider", "regenerate"],
  NoOutputs: ["The model returned no files", "regenerate"],
  OutputNotMade: ["The model did not return this output", "regenerate"],
  TooManyOutputs: ["The model returned more files than a job can have", null],
  SubmissionUnknown: ["It is unknown whether the provider accepted it", "search"],
  SourceExpired: ["The provider removed it before it was stored", "regenerate"],
  SourceRejected: ["Its host refused the download", "retry"],
  SourceForbidden: ["Its URL is not allowed", "remix"],
  SourceTooLarge: ["It exceeds the size limit of the operator", null],
  SourceUnavailable: ["Its host could not be reached", "retry"],
  UnsupportedMedia: ["Its media type is not supported", "regenerate"],
  StorageRejected: ["The store rejected the operation", "retry"],
  StorageUnavailable: ["The store could not be reached", "retry"],
  StorageConflict: ["The store has other content at its key", null],
  OutputsFailed: ["Not every output could be stored", "retry"],
  DeadlineExceeded: ["The deadline of the job passed", "regenerate"],
  TimedOut: ["It timed out", "retry"],
  Interrupted: ["It was interrupted", "retry"],
  TemporalUnavailable: ["Temporal could not be reached", "retry"],
  Internal: ["An internal error occurred", "retry"],
};

/** Returns what a failure was, as a sentence without its period. */
export function failureText(error) {
  return FAILURES[error?.type]?.[0] ?? "It failed";
}

/** Returns the remedy of one failure, a name as of `remedyOf`. */
export function remedyOfFailure(error) {
  return FAILURES[error?.type]?.[1] ?? null;
}

/**
 * Returns the remedy of a job: `retry` and `search` are free, `regenerate` is paid, `remix` creates
 * another job; `null` if there is none.
 */
export function remedyOf(job) {
  if (!hasEnded(job) || !["partial", "failed", "in_doubt"].includes(stateOf(job))) return null;
  // The errors of outputs are more precise than the job's own, which summarizes them.
  const errors = (job.media ?? []).map((media) => media.error).filter(Boolean);
  const remedies = (errors.length ? errors : [job.error]).map(remedyOfFailure);
  const order = ["search", "retry", "regenerate", "remix"];
  const found = order.find((name) => remedies.includes(name)) ?? null;
  const expiry = job.provider?.expires_at;
  return found === "retry" && expiry && Date.parse(expiry) <= now() ? "regenerate" : found;
}

/** Failures of outputs that were made: they could not be fetched, or not be stored. */
const NOT_STORED = /^(Source|Storage)|^UnsupportedMedia$/;

/** Returns the label of a missing output. A job's summary has no error, and tells less. */
export function missingLabel(media, job) {
  const type = media.error?.type;
  // A placeholder has the error of the job.
  if (media.isPlaceholder) return type === "SourceExpired" ? "Not stored" : "Failed";
  const isItsOwn = job.error !== undefined && type
    && ![job.error?.type, "OutputNotMade"].includes(type);
  return media.attempts || NOT_STORED.test(type) || isItsOwn ? "Not stored" : "Failed";
}

/** Labels of the buttons of the remedies. */
export const LABELS = {
  retry: "Retry, free",
  search: "Search again, free",
  regenerate: "Regenerate (paid)…",
  remix: "Remix…",
};

/** Explanations of the remedies. */
const REMEDIES = {
  retry: () => "Retry fetches the missing outputs, free of charge.",
  search: () => "Search again asks the provider for the job, free of charge. "
    + "Regenerate may pay for it twice.",
  regenerate: (job) => (job.media?.length > 1
    ? "It can no longer be fetched. "
      + `Regenerate makes all ${job.num_outputs} outputs again; the provider charges for them.`
    : "Regenerate makes the output again; the provider charges for it."),
  remix: () => "Remix opens a copy of the request for you to edit.",
};

/** Returns the errors of a job, and their remedy, as sentences. */
export function explainErrors(job) {
  const failed = (job.media ?? []).filter((media) => media.error);
  const sentences = failed.slice(0, 3).map((media) => {
    const text = lower(failureText(media.error));
    return `Output ${media.index + 1}: ${text} (${media.error_message}).`;
  });
  if (failed.length > 3) sentences.push(`And ${failed.length - 3} more.`);
  if (!failed.length && job.error) {
    sentences.push(`${failureText(job.error)}: ${job.error_message}.`);
  }
  const remedy = remedyOf(job);
  if (remedy) sentences.push(REMEDIES[remedy](job));
  return sentences.join(" ");
}

function lower(text) {
  return text[0].toLowerCase() + text.slice(1);
}

/** Returns the outcome of a cancellation request. */
export function cancelText(job) {
  switch (job.provider?.cancel_outcome) {
    case "canceled": return "The provider stopped. It may charge for the work done so far.";
    case "too_late": return "It was too late: the provider had finished, and charges for it.";
    case "unknown": return "It is unknown whether the provider stopped. It may charge for it.";
    default: return "The job was canceled before the provider started any work.";
  }
}

/** Formats a duration: `4.2 s`, `1:05`, `2:03:10`. */
export function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const pad = (value) => String(Math.floor(value)).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

/** Returns when a job began, in milliseconds: of a retried job, its latest run. */
export function beganAt(job) {
  return Date.parse(job.retry_count && job.started_at ? job.started_at : job.created_at);
}

/** Returns how long a running job has taken so far, and the median of earlier ones if known. */
export function elapsed(job, median, time = now()) {
  const took = `${duration(time - beganAt(job))} so far`;
  return median && stateOf(job) !== "in_doubt" ? `${took}, usually ${duration(median)}` : took;
}

/** Formats a time: `just now`, `4 min ago`, `yesterday`, then the date. */
export function ago(time, at = now()) {
  const seconds = (at - Date.parse(time)) / 1000;
  if (seconds < 45) return "just now";
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
  if (seconds < 3600) return relative.format(-Math.max(1, Math.round(seconds / 60)), "minute");
  if (seconds < 86_400) return relative.format(-Math.round(seconds / 3600), "hour");
  if (seconds < 7 * 86_400) return relative.format(-Math.round(seconds / 86_400), "day");
  return new Date(time).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

export function clock(time) {
  return new Date(time).toLocaleString("en", { dateStyle: "medium", timeStyle: "medium" });
}

/** Formats a size: `712 B`, `48 KB`, `1.2 MB`. */
export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let [value, unit] = [count, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** Returns the kind of an output: `picture`, `video`, `sound`, `text` or `file`. */
export function kindOf(media) {
  const type = media.content_type ?? "";
  if (/^image\/(jpeg|png|webp|gif|avif|svg\+xml|bmp)/.test(type)) return "picture";
  if (/^video\/(mp4|webm|ogg|quicktime)/.test(type)) return "video";
  if (type.startsWith("audio/")) return "sound";
  if (/^text\/plain|^application\/(json|x-subrip)|^text\/(vtt|csv|markdown)/.test(type)) return "text";
  return "file";
}

/** Number of events of webhooks; by default, all of them are sent. */
const EVENTS = 4;

/** Returns the request that created a job. */
export function requestOf(job) {
  const request = { model: job.model };
  if (job.prompt) request.prompt = job.prompt;
  if (job.num_outputs > 1) request.num_outputs = job.num_outputs;
  for (const name of ["seed", "output_format", "deadline_seconds", "expire_after_seconds", "webhook_url"]) {
    if (job[name] !== null && job[name] !== undefined) request[name] = job[name];
  }
  if (job.webhook_url && job.webhook_events.length < EVENTS) {
    request.webhook_events = job.webhook_events;
  }
  if (job.priority && job.priority !== 3) request.priority = job.priority;
  if (Object.keys(job.input ?? {}).length) request.input = job.input;
  if (Object.keys(job.metadata ?? {}).length) request.metadata = job.metadata;
  return request;
}

/** Message about a request with numbers that a browser does not keep exact. */
export const ROUNDED = "browsers round whole numbers beyond 9,007,199,254,740,991: use the API or the command line";

/** Returns false if a number in the value may have been rounded when it was read. */
export function isExact(value) {
  if (typeof value === "number") return !Number.isInteger(value) || Number.isSafeInteger(value);
  return typeof value !== "object" || value === null || Object.values(value).every(isExact);
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns the request as a shell command. The key is a variable in it. */
export function curlOf(request, endpoint, hasKey) {
  const lines = [`curl ${endpoint}`, "  -H 'Content-Type: application/json'"];
  if (hasKey) lines.push("  -H \"Authorization: Bearer $DARKROOM_API_KEY\"");
  lines.push(`  -d ${quoted(JSON.stringify(request))}`);
  return lines.join(" \\\n");
}

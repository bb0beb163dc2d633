// Texts for states, failures, sizes and times.

/** States of a job, each with a sign beside the word, as color alone is not accessible. */
export const STATES = {
  waiting: { sign: "◌", word: "waiting", explain: "accepted and safe; it waits for its turn" },
  generating: { sign: "◐", word: "generating", explain: "the provider is at work" },
  parked: { sign: "?", word: "in doubt", explain: "nobody can tell yet whether the provider took it" },
  storing: { sign: "◒", word: "storing", explain: "the outputs are moved into your store" },
  finishing: { sign: "◕", word: "finishing", explain: "the manifest is written" },
  completed: { sign: "●", word: "completed", explain: "every output is stored, whole and verified" },
  partial: { sign: "◑", word: "partial", explain: "some outputs are stored, some could not be" },
  failed: { sign: "✕", word: "failed", explain: "nothing is stored" },
  canceled: { sign: "⊘", word: "canceled", explain: "ended by request; what was stored stays" },
};

/** Returns the state of a job as shown: a name of {@link STATES}. */
export function stateOf(job) {
  if (job.in_doubt_since || job.error?.type === "SubmissionUnknown") return "parked";
  if (job.status !== "processing" && job.status !== "pending") return job.status;
  switch (job.stage) {
    case "generating": return "generating";
    case "reconciling": return "parked";
    case "persisting": return "storing";
    case "finalizing": return "finishing";
    default: return "waiting";
  }
}

/** Returns the state of an output: that of its job while it is pending, or in doubt. */
export function stateOfOutput(media, job) {
  return media.status === "pending" || media.error?.type === "SubmissionUnknown" ? stateOf(job) : media.status;
}

export function hasEnded(job) {
  return !["pending", "processing"].includes(job.status);
}

/** Failures by type: the text, and the action that remedies it. */
const FAILURES = {
  ProviderRejected: ["The provider refused the request", "remix"],
  ProviderUnauthorized: ["The provider refused our credentials", null],
  ProviderInsufficientCredit: ["The account at the provider has no credit left", "retry"],
  ProviderRateLimited: ["The provider asked us to slow down", "retry"],
  ProviderUnavailable: ["The provider could not be reached", "retry"],
  ProviderUnreadable: ["The provider's answer made no sense", "retry"],
  PredictionNotFound: ["The provider does not know its own work any more", "again"],
  PredictionRunning: ["The provider is still at work", "retry"],
  GenerationFailed: ["The model failed", "again"],
  GenerationCanceled: ["It was canceled at the provider", "again"],
  NoOutputs: ["The model made no files", "again"],
  OutputNotMade: ["The model did not make this one", "again"],
  TooManyOutputs: ["The model made more files than a job carries", null],
  SubmissionUnknown: ["Nobody can tell whether this was bought", "look"],
  SourceExpired: ["The provider removed it before it was stored", "again"],
  SourceRejected: ["Its host refused to hand it over", "retry"],
  SourceForbidden: ["Its address is not one that is fetched", "remix"],
  SourceTooLarge: ["It is larger than the operator allows", null],
  SourceUnavailable: ["Its host could not be reached", "retry"],
  UnsupportedMedia: ["What came was not a picture, a sound or a video", "again"],
  StorageRejected: ["The store refused it", "retry"],
  StorageUnavailable: ["The store could not be reached", "retry"],
  StorageConflict: ["The store has something else in its place", null],
  OutputsFailed: ["Not every output could be stored", "retry"],
  DeadlineExceeded: ["Its deadline passed", "again"],
  TimedOut: ["It took too long", "retry"],
  Interrupted: ["It was interrupted", "retry"],
  TemporalUnavailable: ["Temporal could not be reached", "retry"],
  Internal: ["Something went wrong on our side", "retry"],
};

export function failureWords(error) {
  return FAILURES[error?.type]?.[0] ?? "It failed";
}

/** Returns the remedy of one failure, a name as of `remedyOf`. */
export function remedyOfFailure(error) {
  return FAILURES[error?.type]?.[1] ?? null;
}

/** Returns the remedy of a job: `retry`, `look` (both free), `again` (costs), `remix` or `null`. */
export function remedyOf(job) {
  if (!hasEnded(job) || !["partial", "failed", "parked"].includes(stateOf(job))) return null;
  // The errors of outputs are more precise than the job's own, which sums them up.
  const errors = (job.media ?? []).map((media) => media.error).filter(Boolean);
  const remedies = (errors.length ? errors : [job.error]).map(remedyOfFailure);
  const found = ["look", "retry", "again", "remix"].find((name) => remedies.includes(name)) ?? null;
  const expiry = job.provider?.expires_at;
  return found === "retry" && expiry && Date.parse(expiry) <= Date.now() ? "again" : found;
}

/** Returns the label of a missing output, which may have been made and then lost. */
export function absence(media, job) {
  if (media.isPlace || media.error?.type === "OutputNotMade" || !job.provider) return "Failed";
  return "Not stored";
}

/** Labels of the buttons that remedy a job. */
export const LABELS = { retry: "Retry, free", look: "Look again, free", again: "Make again (paid)…" };

const REMEDIES = {
  retry: () => "Retry fetches what is missing, and costs nothing.",
  look: () => "Look again asks the provider whether it has it, and costs nothing; Make again may pay for it twice.",
  again: (job) => (job.media?.length > 1 ? `It can no longer be fetched: Make again generates all ${job.num_outputs} again, and the provider charges for them.`
    : "Make again generates it once more, and the provider charges for it."),
  remix: () => "Remix begins from this request, for you to change it.",
};

/** Returns what went wrong with a job, and the remedy, for a person. */
export function story(job) {
  const failed = (job.media ?? []).filter((media) => media.error);
  const said = failed.slice(0, 3).map((media) => `Output ${media.index + 1}: ${lower(failureWords(media.error))} (${media.error_message}).`);
  if (failed.length > 3) said.push(`And ${failed.length - 3} more.`);
  if (!failed.length && job.error) said.push(`${failureWords(job.error)}: ${job.error_message}.`);
  const remedy = remedyOf(job);
  if (remedy) said.push(REMEDIES[remedy](job));
  return said.join(" ");
}

function lower(text) {
  return text[0].toLowerCase() + text.slice(1);
}

/** Returns the outcome of a cancellation request. */
export function cancelWords(job) {
  switch (job.provider?.cancel_outcome) {
    case "canceled": return "The provider stopped. What it charges for the part that was done is its own affair.";
    case "too_late": return "It was too late: the provider had finished already, and charges for it.";
    case "unknown": return "The provider did not say whether it stopped. It may charge for it.";
    default: return "It was stopped before the provider had any work with it.";
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

/** Formats a time: `just now`, `4 min ago`, `yesterday`, then the date. */
export function ago(time, now = Date.now()) {
  const seconds = (now - Date.parse(time)) / 1000;
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

/** Returns the kind of an output, in a word. */
export function kindOf(media) {
  const type = media.content_type ?? "";
  if (/^image\/(jpeg|png|webp|gif|avif|svg\+xml|bmp)/.test(type)) return "picture";
  if (/^video\/(mp4|webm|ogg|quicktime)/.test(type)) return "video";
  if (type.startsWith("audio/")) return "sound";
  if (/^text\/plain|^application\/(json|x-subrip)|^text\/(vtt|csv|markdown)/.test(type)) return "text";
  return "file";
}

/** Number of possible ends that webhooks report: all of them by default. */
const ENDS = 4;

/** Returns the request of a job, as it was sent. */
export function requestOf(job) {
  const request = { model: job.model };
  if (job.prompt) request.prompt = job.prompt;
  if (job.num_outputs > 1) request.num_outputs = job.num_outputs;
  for (const name of ["seed", "output_format", "deadline_seconds", "expire_after_seconds", "webhook_url"]) {
    if (job[name] !== null && job[name] !== undefined) request[name] = job[name];
  }
  if (job.webhook_url && job.webhook_events.length < ENDS) request.webhook_events = job.webhook_events;
  if (job.priority && job.priority !== 3) request.priority = job.priority;
  if (Object.keys(job.input ?? {}).length) request.input = job.input;
  if (Object.keys(job.metadata ?? {}).length) request.metadata = job.metadata;
  return request;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns the request as a shell command. The key is a variable, never its text. */
export function curlOf(request, endpoint, hasKey) {
  const lines = [`curl ${endpoint}`, "  -H 'Content-Type: application/json'"];
  if (hasKey) lines.push("  -H \"Authorization: Bearer $DARKROOM_API_KEY\"");
  lines.push(`  -d ${quoted(JSON.stringify(request))}`);
  return lines.join(" \\\n");
}

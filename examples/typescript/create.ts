// Creates a job, waits for its end, and prints where each output is, its size and its SHA-256.
//
// Shows the API key, the Idempotency-Key that makes a request safe to repeat, waiting with
// `Prefer: wait` and `If-None-Match`, and the errors of the api.
//
//   export DARKROOM_URL=http://127.0.0.1:8080   # and DARKROOM_API_KEY, if the api has keys
//   node create.ts order-1042                   # before Node 22.18: npx tsc && node build/create.js
//   node create.ts order-1043 '{"model": "acme/photo", "prompt": "a red fox", "num_outputs": 4}'

import { setTimeout } from "node:timers/promises";

interface Job {
  job_id: string;
  status: "pending" | "processing" | "completed" | "partial" | "failed" | "canceled";
  error_message: string | null;
  media: Media[]; // the first 100: `links.media` has them all
}

interface Media {
  status: "pending" | "completed" | "failed" | "canceled";
  media_url: string | null;
  size: number | null;
  sha256: string | null;
}

const REQUEST = `{"model": "acme/photo", "prompt": "a lighthouse in fog", "num_outputs": 2}`;
const WAIT = "wait=30"; // 60 at most; the timeout of a request must be longer
const TIMEOUT = 45_000;
const ATTEMPTS = 5;

const [key, body = REQUEST] = process.argv.slice(2);
if (key === undefined) fail("usage: create KEY [REQUEST]");
const api = (process.env["DARKROOM_URL"] ?? fail("DARKROOM_URL is not set")).replace(/\/$/, "");

// The key is your own name for this order: the same key never pays twice.
let response = await send(`${api}/v1/jobs`, {
  method: "POST",
  body,
  headers: { "Content-Type": "application/json", "Idempotency-Key": key },
});
const url = new URL(response.headers.get("Location")!, response.url);
let job = (await response.json()) as Job;
while (job.status === "pending" || job.status === "processing") {
  // Answers as soon as the job differs from this ETag; 304 if it does not for 30 seconds.
  response = await send(url, { headers: { "If-None-Match": response.headers.get("ETag")! } });
  if (response.status !== 304) job = (await response.json()) as Job;
}

for (const media of job.media) {
  if (media.status === "completed") console.log(media.media_url, media.size, media.sha256);
}
if (job.status !== "completed") fail(`job ${job.job_id} ${job.status}: ${job.error_message}`);

// Repeats what got no answer, a 429 or a 503, after the Retry-After of the api. That a POST may be
// repeated is what the Idempotency-Key is for.
async function send(url: string | URL, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("Prefer", WAIT);
  const apiKey = process.env["DARKROOM_API_KEY"];
  if (apiKey) headers.set("Authorization", `Bearer ${apiKey}`);
  for (let attempt = 1; ; attempt++) {
    let pause = 1;
    try {
      const response = await fetch(url, { ...init, headers, signal: AbortSignal.timeout(TIMEOUT) });
      if (response.ok || response.status === 304) return response;
      if (attempt === ATTEMPTS || ![429, 502, 503, 504].includes(response.status)) {
        // A gateway in between sends no problem document.
        const problem = (await response.json().catch(() => undefined)) as { detail: string } | undefined;
        fail(`${response.status}: ${problem?.detail ?? response.statusText}`);
      }
      pause = Number(response.headers.get("Retry-After")) || pause;
    } catch (error) {
      if (attempt === ATTEMPTS) fail(`${url}: ${(error as Error).cause ?? error}`);
    }
    await setTimeout(pause * 1000);
  }
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}

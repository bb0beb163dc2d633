// The time as the api has it: the clock of the computer may be wrong, and times of jobs are the
// api's.

/** Difference that is ignored, in milliseconds: the api tells the time in whole seconds. */
const TOLERANCE = 5000;

let offset = 0;

/** Returns the time, in milliseconds. */
export function now() {
  return Date.now() + offset;
}

/** Learns the time from a response of the api. */
export function learn(response) {
  const difference = Date.parse(response.headers.get("date")) - Date.now();
  if (!Number.isNaN(difference)) offset = Math.abs(difference) > TOLERANCE ? difference : 0;
}

// Receives webhooks, and verifies them with the Standard Webhooks library.
//
// Prints the type of each event and the id of its job. What does not verify is refused with 401.
//
//   export DARKROOM_WEBHOOK_SECRET=whsec_…   # the key from GET /v1/webhooks/secret
//   PORT=8000 node receive.ts                # before Node 22.18: npx tsc && node build/receive.js
//                                            # and create a job with this webhook_url

import { createServer, type IncomingMessage } from "node:http";
import { Webhook } from "standardwebhooks";

interface Event {
  type: "job.completed" | "job.partial" | "job.failed" | "job.canceled";
  data: { job_id: string };
}

/** Longest message, in bytes. */
const LONGEST = 1024 * 1024;

const webhook = new Webhook(process.env["DARKROOM_WEBHOOK_SECRET"] ?? "");

const server = createServer(async (request, response) => {
  let event: Event;
  try {
    // The signature is of this text: JSON that was parsed and written again is another one.
    const body = await read(request);
    event = webhook.verify(body, request.headers as Record<string, string>) as Event;
  } catch {
    response.writeHead(401).end();
    return;
  }
  // A message may come more than once, with the same webhook-id: make your own work idempotent by
  // it. And answer within 15 seconds; what takes longer belongs into a queue.
  console.log(event.type, event.data.job_id);
  response.writeHead(204).end();
});

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > LONGEST) {
      throw new Error("the message is too long");
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

server.listen(Number(process.env["PORT"] ?? 8000), "127.0.0.1");

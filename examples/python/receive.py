"""Receives webhooks, and verifies them with the Standard Webhooks library.

Prints the type of each event and the id of its job. What does not verify is refused with 401.

    export DARKROOM_WEBHOOK_SECRET=whsec_…   # the key from GET /v1/webhooks/secret
    PORT=8000 python receive.py              # and create a job with this webhook_url
"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

WEBHOOK = Webhook(os.environ["DARKROOM_WEBHOOK_SECRET"])
MAX_BODY = 1024 * 1024


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        # The signature is of these bytes: JSON that was parsed and written again is another text.
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BODY))
        try:
            event = WEBHOOK.verify(body, dict(self.headers))
        except (WebhookVerificationError, ValueError):  # ValueError: a signature that is no base64
            return self.answer(401)
        # A message may come more than once, with the same webhook-id: make your own work
        # idempotent by it. And answer within 15 seconds; what takes longer belongs into a queue.
        print(event["type"], event["data"]["job_id"], flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Only events are printed."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8000))), Receiver).serve_forever()

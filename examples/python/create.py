"""Creates a job, waits for its end, and prints where each output is, its size and its SHA-256.

Shows the API key, the Idempotency-Key that makes a request safe to repeat, waiting with
`Prefer: wait` and `If-None-Match`, and the errors of the api.

    export DARKROOM_URL=http://127.0.0.1:8080   # and DARKROOM_API_KEY, if the api has keys
    python create.py order-1042
    python create.py order-1043 '{"model": "acme/photo", "prompt": "a red fox", "num_outputs": 4}'
"""

import json
import os
import sys
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

REQUEST: Any = {"model": "acme/photo", "prompt": "a lighthouse in fog", "num_outputs": 2}
ENDED = {"completed", "partial", "failed", "canceled"}
WAIT = "wait=30"  # 60 at most; the timeout of a request must be longer


def connect() -> requests.Session:
    session = requests.Session()
    # Lost answers and full queues (429, 503) are tried again, after the api's Retry-After. That a
    # POST may be repeated (None: any method) is what the Idempotency-Key is for.
    retry = Retry(
        total=5,
        backoff_factor=0.5,
        status_forcelist=[429, 502, 503, 504],
        allowed_methods=None,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    if key := os.environ.get("DARKROOM_API_KEY"):
        session.headers["Authorization"] = f"Bearer {key}"
    return session


def checked(response: requests.Response) -> requests.Response:
    if response.ok:
        return response
    # An error of the api is a problem document; a gateway in between sends none.
    if "problem+json" not in response.headers.get("Content-Type", ""):
        sys.exit(f"{response.status_code} {response.reason}")
    problem = response.json()
    sys.exit(f"{problem['title']}: {problem['detail']}")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: create.py KEY [REQUEST]")
    # The key is your own name for this order: the same key never pays twice.
    idempotency_key = sys.argv[1]
    request = json.loads(sys.argv[2]) if len(sys.argv) > 2 else REQUEST
    session = connect()

    response = session.post(
        f"{os.environ['DARKROOM_URL'].rstrip('/')}/v1/jobs",
        json=request,
        headers={"Idempotency-Key": idempotency_key, "Prefer": WAIT},
        timeout=45,
    )
    job = checked(response).json()
    url, etag = urljoin(response.url, response.headers["Location"]), response.headers["ETag"]
    while job["status"] not in ENDED:
        # Answers as soon as the job differs from this ETag; 304 if it does not for 30 seconds.
        response = session.get(url, headers={"If-None-Match": etag, "Prefer": WAIT}, timeout=45)
        if checked(response).status_code != 304:
            job, etag = response.json(), response.headers["ETag"]

    for media in job["media"]:  # the first 100: `links.media` of the job has them all
        if media["status"] == "completed":
            print(media["media_url"], media["size"], media["sha256"])
    if job["status"] != "completed":
        sys.exit(f"job {job['job_id']} {job['status']}: {job['error_message']}")


if __name__ == "__main__":
    main()

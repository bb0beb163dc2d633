"""Starts a job as a child workflow of your own, without HTTP.

A worker runs the workflow Album. It starts MediaGeneration on the task queue of Darkroom, waits for
its result, and returns the keys of the outputs in the bucket. Ctrl-C cancels Album, and with it the
job.

    export TEMPORAL_ADDRESS=127.0.0.1:7233   # and DARKROOM_TENANT, if the api has keys
    python parent.py
    python parent.py '{"model": "acme/photo", "prompt": "a red fox", "num_outputs": 4}'
"""

import asyncio
import json
import os
import signal
import sys
import uuid
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ChildWorkflowError
from temporalio.worker import Worker

REQUEST = {"model": "acme/photo", "prompt": "a lighthouse in fog", "num_outputs": 2}
TASK_QUEUE = "albums-python"


@dataclass
class AlbumInput:
    job_id: str
    tenant: str | None
    request: dict[str, Any]


@workflow.defn
class Album:
    @workflow.run
    async def run(self, album: AlbumInput) -> list[str]:
        now = workflow.now().isoformat()
        job = {
            "job_id": album.job_id,
            "request": album.request,
            "status": "pending",
            "created_at": now,
            "updated_at": now,
        }
        attributes = {"JobStatus": "processing", "Model": album.request["model"]}
        if album.tenant:
            job["tenant"] = attributes["Tenant"] = album.tenant
        ended = await workflow.execute_child_workflow(
            "MediaGeneration",
            {"job": job, "start": "new"},
            id=album.job_id,
            task_queue="media-generation",
            result_type=dict[str, Any],
            # An id that was used buys nothing again.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            # The default, TERMINATE, would leave a prediction that runs, is paid for and is lost.
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            # By these the api lists the job.
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
                    for name, value in attributes.items()
                ]
            ),
            # Tenants take turns.
            priority=Priority(
                priority_key=album.request.get("priority", 3), fairness_key=album.tenant
            ),
        )
        # A job that is `partial` completes as well: its `error` says what is missing.
        return [media["s3_key"] for media in ended["media"] if media["status"] == "completed"]


async def main() -> int:
    # In production, derive the id from your own order, for example with uuid.uuid5: then a parent
    # that is started again does not pay again.
    album = AlbumInput(
        job_id=str(uuid.uuid4()),
        tenant=os.environ.get("DARKROOM_TENANT") or None,
        request=json.loads(sys.argv[1]) if len(sys.argv) > 1 else REQUEST,
    )
    client = await Client.connect(**ClientConfig.load_client_connect_config())
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Album]):
        parent = await client.start_workflow(
            Album.run, album, id=f"album-{album.job_id}", task_queue=TASK_QUEUE
        )
        print("job", album.job_id, flush=True)
        for stop in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(
                stop, lambda: asyncio.ensure_future(parent.cancel())
            )
        try:
            print(*await parent.result(), sep="\n")
            return 0
        except WorkflowFailureError as failure:
            cause: BaseException | None = failure.cause
            if isinstance(cause, ChildWorkflowError):
                cause = cause.cause  # an ApplicationError, whose type is that of the job's error
            print(f"the job has ended: {cause}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.stdout.flush()
    # Only a process that ends at once needs this: threads of the SDK may abort an interpreter that
    # finalizes under them (https://github.com/temporalio/sdk-python/issues/300).
    os._exit(code)

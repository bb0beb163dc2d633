// Starts a job as a child workflow of your own, without HTTP.
//
// A worker runs the workflow Album. It starts MediaGeneration on Darkroom's task queue, waits for its
// result, and returns the keys of the outputs in the bucket. Ctrl-C cancels Album, and with it the job.
//
//	export TEMPORAL_ADDRESS=127.0.0.1:7233   # and DARKROOM_TENANT, if the api has keys
//	go run ./parent
//	go run ./parent '{"model": "acme/photo", "prompt": "a red fox", "num_outputs": 4}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const taskQueue = "albums-go"

type AlbumInput struct {
	JobID   string
	Tenant  string
	Request map[string]any
}

func Album(ctx workflow.Context, album AlbumInput) ([]string, error) {
	now := workflow.Now(ctx)
	job := map[string]any{
		"job_id":     album.JobID,
		"request":    album.Request,
		"status":     "pending",
		"created_at": now,
		"updated_at": now,
	}
	model, _ := album.Request["model"].(string)
	attributes := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword("JobStatus").ValueSet("processing"),
		temporal.NewSearchAttributeKeyKeyword("Model").ValueSet(model),
	}
	if album.Tenant != "" {
		job["tenant"] = album.Tenant
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword("Tenant").ValueSet(album.Tenant))
	}
	priority, ok := album.Request["priority"].(float64)
	if !ok {
		priority = 3
	}
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: album.JobID,
		TaskQueue:  "media-generation",
		// An id that was used buys nothing again.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		// The default, TERMINATE, would leave a prediction that runs, is paid for and is lost.
		ParentClosePolicy: enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		// After a cancellation, Album ends when the job has: its prediction is canceled by then.
		WaitForCancellation: true,
		// By these the api lists the job.
		TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
		// Tenants take turns.
		Priority: temporal.Priority{PriorityKey: int(priority), FairnessKey: album.Tenant},
	})
	var ended struct {
		Media []struct {
			Status string `json:"status"`
			S3Key  string `json:"s3_key"`
		} `json:"media"`
	}
	input := map[string]any{"job": job, "start": "new"}
	if err := workflow.ExecuteChildWorkflow(ctx, "MediaGeneration", input).Get(ctx, &ended); err != nil {
		return nil, err
	}
	// A job that is `partial` completes as well: its `error` says what is missing.
	var keys []string
	for _, media := range ended.Media {
		if media.Status == "completed" {
			keys = append(keys, media.S3Key)
		}
	}
	return keys, nil
}

func main() {
	if err := run(); err != nil {
		// Of the errors around it, the innermost is the job's: its type is that of the job's error.
		for errors.Unwrap(err) != nil {
			err = errors.Unwrap(err)
		}
		log.Fatal("the job has ended: ", err)
	}
}

func run() error {
	request := map[string]any{"model": "acme/photo", "prompt": "a lighthouse in fog", "num_outputs": 2}
	if len(os.Args) > 1 {
		request = nil
		if err := json.Unmarshal([]byte(os.Args[1]), &request); err != nil {
			return err
		}
	}
	// In production, derive the id from your own order, for example with uuid.NewSHA1: then a parent
	// that is started again does not pay again.
	album := AlbumInput{JobID: uuid.NewString(), Tenant: os.Getenv("DARKROOM_TENANT"), Request: request}

	options := envconfig.MustLoadDefaultClientOptions()
	options.Logger = sdklog.NewStructuredLogger(slog.Default()) // its own default writes to standard output
	temporalClient, err := client.Dial(options)
	if err != nil {
		return err
	}
	defer temporalClient.Close()
	albums := worker.New(temporalClient, taskQueue, worker.Options{})
	albums.RegisterWorkflow(Album)
	if err := albums.Start(); err != nil {
		return err
	}
	defer albums.Stop()

	background := context.Background()
	parent, err := temporalClient.ExecuteWorkflow(background, client.StartWorkflowOptions{
		ID:        "album-" + album.JobID,
		TaskQueue: taskQueue,
	}, Album, album)
	if err != nil {
		return err
	}
	fmt.Println("job", album.JobID)

	stopped, stop := signal.NotifyContext(background, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(stopped, func() {
		if err := temporalClient.CancelWorkflow(background, parent.GetID(), parent.GetRunID()); err != nil {
			log.Print("cannot cancel: ", err)
		}
	})()

	var keys []string
	if err := parent.Get(background, &keys); err != nil {
		return err
	}
	for _, key := range keys {
		fmt.Println(key)
	}
	return nil
}

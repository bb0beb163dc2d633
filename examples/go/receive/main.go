// Receives webhooks, and verifies them with the Standard Webhooks library.
//
// Prints the type of each event and the id of its job. What does not verify is refused with 401.
//
//	export DARKROOM_WEBHOOK_SECRET=whsec_…   # the key from GET /v1/webhooks/secret
//	PORT=8000 go run ./receive               # and create a job with this webhook_url
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const maxBody = 1 << 20

func main() {
	// An empty secret is taken for a key by the library, and then anyone could sign.
	secret := os.Getenv("DARKROOM_WEBHOOK_SECRET")
	if secret == "" {
		log.Fatal("DARKROOM_WEBHOOK_SECRET is not set")
	}
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		log.Fatal(err)
	}

	http.HandleFunc("POST /", func(response http.ResponseWriter, request *http.Request) {
		// The signature is of these bytes: JSON that was parsed and written again is another text.
		body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, maxBody))
		if err != nil || webhook.Verify(body, request.Header) != nil {
			response.WriteHeader(http.StatusUnauthorized)
			return
		}
		var event struct {
			Type string
			Data struct {
				JobID string `json:"job_id"`
			}
		}
		if json.Unmarshal(body, &event) != nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		// A message may come more than once, with the same webhook-id: make your own work idempotent
		// by it. And answer within 15 seconds; what takes longer belongs into a queue.
		fmt.Println(event.Type, event.Data.JobID)
		response.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8000"), nil))
}

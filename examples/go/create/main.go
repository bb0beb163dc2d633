// Creates a job, waits for its end, and prints where each output is, its size and its SHA-256.
//
// Shows the API key, the Idempotency-Key that makes a request safe to repeat, waiting with
// `Prefer: wait` and `If-None-Match`, and the errors of the api.
//
//	export DARKROOM_URL=http://127.0.0.1:8080   # and DARKROOM_API_KEY, if the api has keys
//	go run ./create order-1042
//	go run ./create order-1043 '{"model": "acme/photo", "prompt": "a red fox", "num_outputs": 4}'
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type job struct {
	ID     string `json:"job_id"`
	Status string `json:"status"`
	Error  string `json:"error_message"`
	Media  []struct {
		Status string `json:"status"`
		URL    string `json:"media_url"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	} `json:"media"` // the first 100: `links.media` of the job has them all
}

const wait = "wait=30" // 60 at most; the timeout of a request must be longer

const attempts = 5

var client = http.Client{Timeout: 45 * time.Second}

func main() {
	if len(os.Args) < 2 {
		fail("usage: create KEY [REQUEST]")
	}
	request := `{"model": "acme/photo", "prompt": "a lighthouse in fog", "num_outputs": 2}`
	if len(os.Args) > 2 {
		request = os.Args[2]
	}

	url := strings.TrimSuffix(os.Getenv("DARKROOM_URL"), "/") + "/v1/jobs"
	// The key is your own name for this order: the same key never pays twice.
	response, job := send("POST", url, request, map[string]string{"Idempotency-Key": os.Args[1]})
	location, err := response.Location()
	if err != nil {
		fail(err)
	}
	for etag := response.Header.Get("ETag"); !ended(job.Status); etag = response.Header.Get("ETag") {
		// Answers as soon as the job differs from this ETag; 304 if it does not for 30 seconds.
		next, changed := send("GET", location.String(), "", map[string]string{"If-None-Match": etag})
		if response = next; response.StatusCode != http.StatusNotModified {
			job = changed
		}
	}

	for _, media := range job.Media {
		if media.Status == "completed" {
			fmt.Println(media.URL, media.Size, media.SHA256)
		}
	}
	if job.Status != "completed" {
		fail("job", job.ID, job.Status+":", job.Error)
	}
}

func ended(status string) bool {
	return status == "completed" || status == "partial" || status == "failed" || status == "canceled"
}

// send repeats what got no answer, a 429 or a 503, after the Retry-After of the api. That a POST may be
// repeated is what the Idempotency-Key is for.
func send(method, url, body string, headers map[string]string) (*http.Response, job) {
	for attempt := 1; ; attempt++ {
		request, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			fail(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Prefer", wait)
		if key := os.Getenv("DARKROOM_API_KEY"); key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		for name, value := range headers {
			request.Header.Set(name, value)
		}
		response, answer, err := do(request)
		pause := 1
		switch {
		case err != nil:
			if attempt == attempts {
				fail(err)
			}
		case attempt < attempts && slices.Contains([]int{429, 502, 503, 504}, response.StatusCode):
			if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
				pause = seconds
			}
		case response.StatusCode >= 400:
			fail(response.Status+":", answer.Detail) // a gateway in between sends no detail
		default:
			return response, answer.job
		}
		time.Sleep(time.Duration(pause) * time.Second)
	}
}

// answer is a job or, if the request is refused, a problem document.
type answer struct {
	job
	Detail string `json:"detail"`
}

func do(request *http.Request) (*http.Response, answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var answer answer
	_ = json.Unmarshal(body, &answer) // a 304 has no body
	return response, answer, err
}

func fail(why ...any) {
	fmt.Fprintln(os.Stderr, why...)
	os.Exit(1)
}

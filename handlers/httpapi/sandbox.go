package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"closure/domain"
	"closure/handlers/auth"
)

// newClock is the body of POST /sandbox/clock.
type newClock struct {
	Now string `json:"now" format:"date-time" doc:"The time that it shall be: not before the time that it is. RFC 3339." example:"2027-04-06T00:00:00Z"`
}

// clock is what a clock shows.
type clock struct {
	Now time.Time `json:"now" doc:"The time that it is now (UTC)."`
}

type moveClock struct {
	Body newClock
}

// registerSandbox adds the calls that only a sandbox has: elsewhere they are neither there nor in the document.
func (a *api) registerSandbox() {
	if a.sandbox == nil {
		return
	}
	doc := a.huma.OpenAPI()
	doc.Tags = append(doc.Tags, &huma.Tag{Name: tagSandbox, Description: "This engine is a sandbox: its clock can be moved, and nothing in it is real."})
	register(a, route{
		id: "moveClock", scope: auth.TestsAdmin, method: http.MethodPost, path: "/sandbox/clock", tag: tagSandbox, summary: "Move the clock forwards",
		text: "All timers that are due by then fire, each at its own time, and have done their work when this is answered. " +
			"What was not done in time goes on when the call is repeated.",
		status: http.StatusOK, success: "The time that it is now.", example: clock{exampleEligible}, request: newClock{exampleEligible.Format(time.RFC3339)},
	}, a.moveClock)
}

func (a *api) moveClock(ctx context.Context, in *moveClock) (*found[clock], error) {
	to, err := time.Parse(time.RFC3339Nano, in.Body.Now)
	if err != nil {
		return nil, &domain.Refusal{Kind: domain.Invalid, Detail: "now: must be a time in RFC 3339 such as " + exampleTime + ", got " + domain.Quote(in.Body.Now)}
	}
	now, err := a.sandbox.Advance(ctx, to)
	return &found[clock]{Body: clock{now.UTC()}}, err
}

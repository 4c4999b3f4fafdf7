package httpapi

import (
	"cmp"
	"math"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

const (
	// defaultInFlight is how many requests one instance carries out at the same time.
	defaultInFlight = 1024
	// limitedClients bounds the clients whose rate is remembered; one that is forgotten begins anew.
	limitedClients = 10_000
	// Tokens are asked for seldom, and a secret can be guessed at here only.
	tokensPerSecond = 2
	tokensBurst     = 20
)

// defaultRate of a client.
var defaultRate = Rate{PerSecond: 500, Burst: 1000}

// Rate is how many requests a client may make: a second in the long run, and at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// limiter counts the requests of each client to this instance. It protects the instance, and each client from the others; it is
// no quota over all instances.
type limiter struct {
	common  Rate
	of      func(clientID string) (perSecond float64, burst int) // zero for the common one
	clients *lru.Cache[string, *rate.Limiter]
}

func newLimiter(common Rate, of func(string) (float64, int)) (*limiter, error) {
	clients, err := lru.New[string, *rate.Limiter](limitedClients)
	return &limiter{common: common, of: of, clients: clients}, err
}

// admit counts one request. When there are too many it says after how long the next one is welcome.
func (l *limiter) admit(clientID string, now time.Time) (wait time.Duration, ok bool) {
	perSecond, burst := l.of(clientID)
	perSecond, burst = cmp.Or(perSecond, l.common.PerSecond), cmp.Or(burst, l.common.Burst)
	counted, found := l.clients.Get(clientID)
	if !found {
		counted = rate.NewLimiter(rate.Limit(perSecond), burst)
		if earlier, raced, _ := l.clients.PeekOrAdd(clientID, counted); raced {
			counted = earlier
		}
	}
	if counted.Limit() != rate.Limit(perSecond) || counted.Burst() != burst {
		counted.SetLimitAt(now, rate.Limit(perSecond))
		counted.SetBurstAt(now, burst)
	}
	reserved := counted.ReserveN(now, 1)
	wait = reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// tooMany is the answer to a request over the rate.
func tooMany(r *request, wait time.Duration) *problem {
	p := newProblem(r, tooManyRequests, "there were too many requests of the client: come again after the seconds in retry-after")
	p.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return p
}

// enter takes one of the places of the requests in flight; leave gives it back.
func (a *api) enter(r *request) error {
	select {
	case a.places <- struct{}{}:
		return nil
	default:
		a.denied(GateInFlight)
		return newProblem(r, unavailable, "the engine has as many requests in hand as it takes; nothing was done of this one, repeat it")
	}
}

func (a *api) leave() { <-a.places }

package process

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/timer"
	"closure/handlers"
)

// story is one run of the property: a group with one to four accounts, what happens to them in any order, and their end.
// What is drawn follows from the seed; which of several commands at once comes first does not.
type story struct {
	*property
	ctx      context.Context
	random   *rand.Rand
	seed     uint64
	ids      int
	users    []domain.Party
	groups   []domain.Ref // the first has the accounts; the others are the users' as well, and may have been refused
	accounts []domain.Ref // some may never have been opened
	sources  []*source
	stated   map[domain.Payload]stated
	sent     []domain.Command
	accepted []accepted
	served   []served
}

// oneOf draws one of a few.
func oneOf[T any](r *story, from ...T) T { return from[r.random.IntN(len(from))] }

func (r *story) id() string {
	r.ids++
	return domain.DeriveID("story", strconv.FormatUint(r.seed, 10), strconv.Itoa(r.ids))
}

// command wraps a payload; the id of the command follows from the seed.
func (r *story) command(to domain.Ref, p domain.Payload) domain.Command {
	return domain.Command{Target: to, ID: r.id(), ClientID: someClient, Actor: support, Payload: p}
}

func (r *story) engine() *handlers.Engine { return oneOf(r, r.engines...) }

// begin draws who is there, and opens the group and some of the accounts.
func (r *story) begin() {
	r.users = []domain.Party{{ID: r.id(), Type: oneOf(r, domain.Owner, domain.Child)}}
	if r.random.IntN(2) == 0 {
		r.users = append(r.users, domain.Party{ID: r.id(), Type: oneOf(r, domain.Owner, domain.Guardian)})
	}
	r.send(r.openGroup())
	for range 1 + r.random.IntN(4) {
		account := domain.Ref{Kind: domain.KindAccount, ID: r.id()}
		r.accounts = append(r.accounts, account)
		r.addSources(account)
		if r.random.IntN(4) > 0 {
			r.send(r.openAccount(account))
		}
	}
	r.addSources(r.groups[0])
}

func (r *story) openGroup() domain.Command {
	ref := domain.Ref{Kind: domain.KindAccountGroup, ID: r.id()}
	r.groups = append(r.groups, ref)
	return r.command(ref, &domain.OpenAccountGroup{
		Users: r.users, Type: "PERSONAL", Domicile: oneOf(r, "GB", "GB", "DE", ""), TaxResidencies: r.residencies(),
		Status: oneOf(r, "", "", "", domain.StatusActive, domain.StatusPendingApproval),
	})
}

func (r *story) residencies() []string { return oneOf(r, []string{"DE"}, []string{"GB"}, nil) }

func (r *story) openAccount(ref domain.Ref) domain.Command {
	name := oneOf(r, "Depot", "Depot", "Depot", "Sparen") // another name is another account, and refused
	return r.command(ref, &domain.OpenAccount{AccountGroupID: r.groups[0].ID, Type: domain.Trading, Name: name})
}

// step is one thing that happens, or several at once.
func (r *story) step() {
	if r.random.IntN(12) == 0 {
		r.timePasses()
		return
	}
	commands := []domain.Command{r.anything()}
	if r.random.IntN(4) == 0 {
		for range 1 + r.random.IntN(5) {
			commands = append(commands, r.anything())
		}
		if r.random.IntN(2) == 0 {
			commands = append(commands, commands[0]) // the same one, twice at the same moment
		}
	}
	r.send(commands...)
}

// anything draws a command of all that there are, also such as will be refused.
func (r *story) anything() domain.Command {
	account, group := oneOf(r, r.accounts...), r.groups[0]
	if r.random.IntN(8) == 0 {
		group = oneOf(r, r.groups...)
	}
	either := oneOf(r, account, account, group)
	switch n := r.random.IntN(100); {
	case n < 30:
		return r.fact(oneOf(r, r.sources...))
	case n < 40:
		return r.sent[max(0, len(r.sent)-30):][r.random.IntN(min(30, len(r.sent)))]
	case n < 51:
		return r.order(account)
	case n < 54:
		return r.command(account, &domain.RequestLiquidation{LiquidationID: r.id(), UserID: oneOf(r, r.users...).ID})
	case n < 56:
		return r.command(account, r.cancelLiquidation(account))
	case n < 59:
		return r.command(either, &domain.Lock{})
	case n < 64:
		return r.command(either, &domain.Unlock{})
	case n < 67:
		return r.command(either, &domain.Activate{})
	case n < 70:
		return r.command(group, &domain.ChangeDomicile{Domicile: oneOf(r, "GB", "DE", "FR"), TaxResidencies: r.residencies()})
	case n < 74:
		return r.openAccount(account)
	case n < 75:
		return r.openGroup()
	case n < 77:
		return r.command(account, &domain.RenameAccount{Name: oneOf(r, "Depot", "Sparen", "Rente")})
	case n < 79:
		return r.command(domain.Ref{Kind: domain.KindUser, ID: oneOf(r, r.users...).ID}, &domain.RequestOffboarding{})
	case n < 86:
		return r.command(account, &domain.RequestAccountClosure{})
	case n < 89:
		return r.command(group, &domain.RequestAccountGroupClosure{NotificationOnly: r.random.IntN(4) == 0})
	}
	if clearing := r.clearing(either); len(clearing) > 0 {
		return oneOf(r, clearing...)
	}
	return r.fact(oneOf(r, r.sources...))
}

// order places an order; what becomes of it is told by a source from then on.
func (r *story) order(account domain.Ref) domain.Command {
	p := &domain.PlaceOrder{OrderID: r.id(), Side: oneOf(r, domain.Buy, domain.Sell), ISIN: oneOf(r, isins...), Quantity: "2.5"}
	r.addOrder(account, p.OrderID)
	return r.command(account, p)
}

func (r *story) cancelLiquidation(account domain.Ref) domain.Payload {
	if a, ok := r.serve(account, 0).(*domain.Account); ok && len(a.Liquidations()) > 0 {
		return &domain.CancelLiquidation{LiquidationID: oneOf(r, a.Liquidations()...).ID}
	}
	return &domain.CancelLiquidation{LiquidationID: r.id()}
}

// fact draws a revision of a source: a new one, one that leaves a gap, or an old one that comes late or again.
func (r *story) fact(s *source) domain.Command {
	return r.state(s, 1+r.random.Int64N(s.highest+3), s.draw)
}

func (r *story) state(s *source, revision int64, draw func(int64) domain.Payload) domain.Command {
	p, ok := s.says[revision]
	if !ok {
		p = draw(revision)
		s.says[revision], r.stated[p] = p, stated{s, revision}
	}
	return r.command(s.of, p)
}

// clearing are the facts that take away what stands against closing, one for each thing.
func (r *story) clearing(ref domain.Ref) []domain.Command {
	state, ok := r.serve(ref, 0).(closable)
	if !ok {
		return nil
	}
	var out []domain.Command
	for _, b := range state.Closure(domain.Outlook{Now: r.now()}).Blockers {
		for _, item := range b.Items {
			k := cmp.Or(item.ID, item.ISIN, item.Currency)
			if b.Code == domain.OpenOrders && (item.Status == string(domain.OrderFilled) || item.Status == string(domain.OrderCancelled)) {
				k = item.ISIN // what it bought is to be recorded
			}
			if s := r.source(ref, k); s != nil { // there is none of an open account
				revision := s.highest + 1
				for s.says[revision] != nil {
					revision++
				}
				out = append(out, r.state(s, revision, s.clear))
			}
		}
	}
	return out
}

// send sends commands, all at once, each to one of the engines, and reads what became of their aggregates.
func (r *story) send(commands ...domain.Command) {
	outs, errs := make([]handlers.Outcome, len(commands)), make([]error, len(commands))
	var wg sync.WaitGroup
	for i, c := range commands {
		engine := r.engine()
		wg.Go(func() { outs[i], errs[i] = engine.Do(r.ctx, c) })
	}
	wg.Wait()
	for i, c := range commands {
		r.sent = append(r.sent, c)
		r.note(c, outs[i], errs[i])
	}
}

// note takes an answer. A refusal is one, and so is that others were quicker, too often.
func (r *story) note(c domain.Command, out handlers.Outcome, err error) {
	var refusal *domain.Refusal
	if errors.Is(err, handlers.ErrContention) {
		r.counts[contended]++
		return
	}
	if !errors.As(err, &refusal) {
		require.NoError(r.t, err, "%s of %v", c.Payload.CommandName(), c.Target)
		if said, ok := r.stated[c.Payload]; ok {
			said.by.highest = max(said.by.highest, said.revision)
		}
		if out.Result == handlers.Accepted {
			r.accepted = append(r.accepted, accepted{c, out.Sequence})
		}
	}
	state := r.serve(c.Target, out.Sequence)
	if p, ok := c.Payload.(*domain.PlaceOrder); ok && refusal != nil && p.Side == domain.Buy && state != nil {
		if state.(closable).Status() == domain.StatusClosing {
			r.counts[refusedBuy]++
		}
	}
}

// timePasses moves the clock. The timers come when they are due, or late, and some twice.
func (r *story) timePasses() {
	d := oneOf(r, time.Duration(1+r.random.IntN(20))*24*time.Hour, time.Duration(1+r.random.IntN(5))*30*24*time.Hour)
	if r.random.IntN(2) == 0 {
		r.pass(r.now().Add(d))
		return
	}
	r.forward(r.now().Add(d))
	r.send(r.anything())
	r.pass(r.now())
}

// pass moves the clock forwards to a time. All timers that are due by then are handled in their order, each with what
// follows from it.
func (r *story) pass(to time.Time) {
	for {
		r.settle(r.manager)
		pending := r.pending(r.manager)
		if len(pending) == 0 || pending[0].Due.After(to) {
			r.checkQuiet(to, pending)
			break
		}
		r.forward(pending[0].Due)
		r.expire(r.manager, pending[0])
	}
	r.forward(to)
}

func (r *story) expire(m *Manager, t timer.Timer) {
	for range 1 + r.random.IntN(2) {
		require.NoError(r.t, m.Timers().Expire(r.ctx, t))
	}
}

package reports

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/ledongthuc/pdf"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/replay"
)

// The cast of the tests.
const (
	someClient  = "c0000000-0000-4000-8000-000000000001"
	otherClient = "c0000000-0000-4000-8000-000000000002"
	owner       = "00000000-0000-4000-8000-000000000001"
	child       = "00000000-0000-4000-8000-000000000002"
	guardian    = "00000000-0000-4000-8000-000000000003"
	basf        = "DE000BASF111"
	apple       = "US0378331005"
	world       = "IE00B4L5Y983"
)

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// author writes a log: it decides commands as the engine does, one after the other.
type author struct {
	t      testing.TB
	server *embedded.Server
	log    *eventstore.Log

	mu  sync.Mutex
	now time.Time
}

func newAuthor(t testing.TB) *author {
	t.Helper()
	a := &author{t: t, server: embeddedtest.Server(t), now: time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC)}
	a.log = a.connect()
	return a
}

// connect opens the log as another process does.
func (a *author) connect() *eventstore.Log {
	a.t.Helper()
	log, err := eventstore.Open(testContext(a.t), embeddedtest.Connect(a.t, a.server), eventstore.Config{})
	require.NoError(a.t, err)
	return log
}

// do decides a command and appends what it decides; a minute goes by for each.
func (a *author) do(ctx context.Context, c domain.Command) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(time.Minute)
	c.Time = a.now
	if err := c.Validate(); err != nil {
		return err
	}
	state, head, err := replay.Latest(ctx, a.log, c.Target)
	if err != nil {
		return err
	}
	events, err := state.Decide(c)
	if err != nil || len(events) == 0 {
		return err
	}
	raw, err := replay.Encode(c.Target.Kind, events)
	if err != nil {
		return err
	}
	_, err = a.log.Append(ctx, eventstore.Commit{
		ID: uuid.NewString(), Aggregate: string(c.Target.Kind), AggregateID: c.Target.ID, ClientID: c.ClientID, Command: c.Payload.CommandName(),
		CommandID: c.ID, Actor: c.Actor, RequestID: c.RequestID, CorrelationID: c.CorrelationID, CausationID: c.CausationID, Time: c.Time, Events: raw,
	}, head)
	return err
}

func (a *author) write(kind domain.Kind, id string, p domain.Payload) {
	a.t.Helper()
	require.NoError(a.t, a.do(testContext(a.t), domain.Command{
		Target: domain.Ref{Kind: kind, ID: id}, ID: uuid.NewString(), ClientID: someClient, Actor: "support@bank.example", Payload: p,
	}), p.CommandName())
}

// closing is a group on its way to CLOSED, with what its report has to say.
type closing struct {
	a                 *author
	group             string
	accounts          [2]string
	fee, cancelledFee string
	withdrawal        string
}

// open opens a group of an owner, a child and a guardian, with two accounts that hold positions.
func (a *author) open() *closing {
	a.t.Helper()
	c := &closing{a: a, group: uuid.NewString(), fee: uuid.NewString(), cancelledFee: uuid.NewString(), withdrawal: uuid.NewString()}
	a.write(domain.KindAccountGroup, c.group, &domain.OpenAccountGroup{
		Users: []domain.Party{{ID: owner, Type: domain.Owner}, {ID: child, Type: domain.Child}, {ID: guardian, Type: domain.Guardian}},
		Type:  "CHILD", Domicile: "DE", TaxResidencies: []string{"DE"}, SecuritiesAccountNumber: "7654321",
	})
	for i, name := range []string{"Zoë’s Ersparnisse", "Łódź Ωμέγα"} {
		id := uuid.NewString()
		c.accounts[i] = id
		a.write(domain.KindAccountGroup, c.group, &domain.LinkAccount{AccountID: id, Type: domain.Trading, Name: name})
		link, _ := c.state().Link(id)
		a.write(domain.KindAccount, id, &domain.OpenAccount{AccountGroupID: c.group, Type: domain.Trading, Name: name, Link: &link})
	}
	c.position(0, basf, "1.5", 1)
	c.position(0, apple, "20", 1)
	c.position(1, world, "0.333", 1)
	return c
}

func (c *closing) position(account int, isin string, quantity domain.Decimal, revision int64) {
	c.a.t.Helper()
	c.a.write(domain.KindAccount, c.accounts[account], &domain.RecordPosition{ISIN: isin, Quantity: quantity, Revision: revision})
}

func (c *closing) cash(balance domain.Decimal, revision int64) {
	c.a.t.Helper()
	c.a.write(domain.KindAccountGroup, c.group, &domain.RecordCashBalance{Currency: "EUR", Balance: balance, Revision: revision})
}

func (c *closing) recordFee(id string, status domain.FeeStatus, amount domain.Decimal, revision int64) {
	c.a.t.Helper()
	c.a.write(domain.KindAccountGroup, c.group, &domain.RecordFeeCollection{FeeCollectionID: id, Status: status, Amount: amount, Currency: "EUR", Revision: revision})
}

func (c *closing) state() *domain.AccountGroup {
	c.a.t.Helper()
	state, _, err := replay.Latest(testContext(c.a.t), c.a.log, domain.Ref{Kind: domain.KindAccountGroup, ID: c.group})
	require.NoError(c.a.t, err)
	return state.(*domain.AccountGroup)
}

// close closes the group: fees, cash and positions go, the accounts close, the group closes.
func (c *closing) close() {
	c.a.t.Helper()
	c.cash("1234.56", 1)
	c.recordFee(c.fee, domain.FeeProcessing, "9.87", 1)
	c.recordFee(c.cancelledFee, domain.FeeProcessing, "5.55", 1)
	c.a.write(domain.KindAccountGroup, c.group, &domain.RequestAccountGroupClosure{ClosureReason: "user_initiated"})
	c.recordFee(c.fee, domain.FeeFinalised, "9.88", 2)
	c.recordFee(c.cancelledFee, domain.FeeCancelled, "5.55", 2)
	for i, status := range []domain.WithdrawalStatus{domain.WithdrawalNew, domain.WithdrawalProcessing, domain.WithdrawalConfirmed} {
		c.a.write(domain.KindAccountGroup, c.group, &domain.RecordWithdrawal{
			WithdrawalID: c.withdrawal, Status: status, Amount: "1224.68", Currency: "EUR", Revision: int64(i + 1),
		})
	}
	for _, id := range c.accounts {
		c.a.write(domain.KindAccount, id, &domain.RequestAccountClosure{})
	}
	c.position(0, basf, "0.5", 2)
	c.position(0, basf, "0", 3)
	c.position(0, apple, "0", 2)
	c.position(1, world, "0", 2)
	for _, id := range c.accounts {
		c.a.write(domain.KindAccountGroup, c.group, &domain.RecordAccountClosure{AccountID: id, ClosedAt: c.a.now})
	}
	c.cash("0.00", 2)
	require.Equal(c.a.t, domain.StatusClosed, c.state().Status())
}

// closed is the commit that closed the group.
func (c *closing) closed() eventstore.Recorded { return c.commit(domain.EventGroupClosed) }

// commit is the one of the group that holds an event of a type.
func (c *closing) commit(event string) eventstore.Recorded {
	c.a.t.Helper()
	commits, err := c.a.log.Load(testContext(c.a.t), string(domain.KindAccountGroup), c.group, 0)
	require.NoError(c.a.t, err)
	for _, commit := range commits {
		for _, e := range commit.Events {
			if e.Type == event {
				return commit
			}
		}
	}
	require.FailNow(c.a.t, "the group has no "+event)
	return eventstore.Recorded{}
}

// records lists the commits by which reports of the group were recorded.
func (c *closing) records() []eventstore.Recorded {
	c.a.t.Helper()
	commits, err := c.a.log.Load(testContext(c.a.t), string(domain.KindAccountGroup), c.group, 0)
	require.NoError(c.a.t, err)
	var records []eventstore.Recorded
	for _, commit := range commits {
		for _, e := range commit.Events {
			if e.Type == domain.EventGroupReportCreated {
				records = append(records, commit)
			}
		}
	}
	return records
}

// report is the id of a user's report.
func (c *closing) report(user string) string {
	return domain.NewAccountGroup(c.group).ReportID(user, domain.ReportAccountClosing)
}

// service has a connection of its own and its object store; it does not follow the log.
func (a *author) service() *Service {
	a.t.Helper()
	s := New(Config{Log: a.connect(), Do: a.do})
	require.NoError(a.t, s.openStore(testContext(a.t)))
	return s
}

// start starts a service that is stopped with the test.
func (a *author) start(cfg Config) *Service {
	a.t.Helper()
	cfg.Log, cfg.Do = a.connect(), a.do
	s := New(cfg)
	require.NoError(a.t, s.Start(testContext(a.t)))
	a.t.Cleanup(func() { stop(a.t, s) })
	return s
}

func stop(t testing.TB, s *Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

func (a *author) last() uint64 {
	a.t.Helper()
	last, err := a.log.LastSequence(testContext(a.t))
	require.NoError(a.t, err)
	return last
}

// settle waits until the service has looked at all of the log, with what it has written itself.
func (a *author) settle(s *Service) {
	a.t.Helper()
	for {
		last := a.last()
		require.NoError(a.t, s.follower.WaitFor(testContext(a.t), last))
		if a.last() == last {
			return
		}
	}
}

// pdf reads a report that has to be there.
func (s *Service) mustPDF(t testing.TB, id string) []byte {
	t.Helper()
	resource, file, err := s.PDF(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Equal(t, id, resource.ID)
	return file
}

// text is all that a PDF says, without white space: long values wrap in their cells.
func text(t testing.TB, file []byte) string {
	t.Helper()
	r, err := pdf.NewReader(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	plain, err := r.GetPlainText()
	require.NoError(t, err)
	all, err := io.ReadAll(plain)
	require.NoError(t, err)
	return squeeze(string(all))
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

// mustBeMissing checks that an error is the refusal of a report that is not there, in words that tell nothing else.
func mustBeMissing(t testing.TB, id string, err error) {
	t.Helper()
	var refusal *domain.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, &domain.Refusal{Kind: domain.NotFound, Detail: "there is no report with the id " + id}, refusal)
}

// mustNotRefuse checks that an error is none that would be shown to a client.
func mustNotRefuse(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	var refusal *domain.Refusal
	require.False(t, errors.As(err, &refusal), "an internal cause looks like a refusal: %v", err)
}

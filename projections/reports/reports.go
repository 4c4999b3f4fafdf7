// Package reports makes the reports of closed account groups, each as one PDF for each owner: ACCOUNT_CLOSING when the group
// is closed, and ANNUAL_TAX_STATEMENT when the group is asked for that. The PDF is kept in an object store, and the group
// records that the report was created; only then it is published and readable.
//
// What a report says is folded from the log up to the commit that it is made for, and the same log gives the same bytes.
// Its id derives from group, user and type. So a report that is made twice, after a crash or by two engines, is one report.
package reports

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/retry"
	"closure/projections/reports/statement"
)

// Bucket is the name of the object store that keeps the PDFs, by the ids of the reports.
const Bucket = "CLOSURE_REPORTS"

// parallel is how many groups' reports are made at a time: it is work for the processor.
const parallel = 2

// actor is who records a report.
const actor = "closure:reports"

// Config of a Service.
type Config struct {
	Log *eventstore.Log
	// Do executes a command: the report is recorded on its group.
	Do func(context.Context, domain.Command) error
	// Replicas of the object store. Defaults to 1.
	Replicas int
	Logger   *slog.Logger
}

// Service makes reports, and serves them.
type Service struct {
	cfg      Config
	objects  jetstream.ObjectStore // set by Start
	follower *eventstore.Follower
}

// New makes the service. Start starts it.
func New(cfg Config) *Service {
	s := &Service{cfg: cfg}
	s.follower = eventstore.NewFollower(cfg.Log, eventstore.FollowerConfig{Name: "reports", Parallel: parallel, Handle: s.handle, Logger: cfg.Logger})
	return s
}

// Start creates the object store when it is missing, and follows the log until Stop.
func (s *Service) Start(ctx context.Context) error {
	if err := s.openStore(ctx); err != nil {
		return err
	}
	return s.follower.Start(ctx)
}

func (s *Service) openStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	objects, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.ObjectStore, error) {
		return s.cfg.Log.JetStream().CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: Bucket, Description: "closure: reports as PDF", Storage: jetstream.FileStorage, Replicas: max(s.cfg.Replicas, 1),
		})
	})
	if err != nil {
		return eventstore.Unavailable("object store "+Bucket, err)
	}
	s.objects = objects
	return nil
}

// Stop finishes what is in hand.
func (s *Service) Stop(ctx context.Context) error { return s.follower.Stop(ctx) }

// Position is the last commit up to which all reports are made, as far as this instance knows.
func (s *Service) Position() uint64 { return s.follower.Position() }

// WaitFor waits until the reports that follow from the commit with the sequence, and from all before it, are made.
func (s *Service) WaitFor(ctx context.Context, seq uint64) error { return s.follower.WaitFor(ctx, seq) }

// Lag is how many commits of the log are not yet looked at.
func (s *Service) Lag(ctx context.Context) (uint64, error) { return s.follower.Lag(ctx) }

// kind is a type of report, with how its content is read from the log up to the commit that it is made for.
type kind struct {
	name domain.ReportType
	read func(*Service, context.Context, eventstore.Recorded) (statement.Report, error)
}

// kinds tells by its event which report is made for a commit.
var kinds = map[string]kind{
	domain.EventGroupClosed:                {domain.ReportAccountClosing, (*Service).readClosing},
	domain.EventGroupTaxStatementRequested: {domain.ReportAnnualTaxStatement, (*Service).readTax},
}

func (s *Service) handle(ctx context.Context, commits []eventstore.Recorded) error {
	for _, c := range commits {
		ctx := c.Trace.In(ctx) // the record of the report belongs to the same trace
		// All of them are decoded: what only a later version of the engine makes a report for is not passed over.
		events, err := replay.Events(c.Commit)
		if err != nil {
			return err
		}
		for _, e := range events {
			k, ok := kinds[domain.EventType(domain.Kind(c.Aggregate), e)]
			if !ok {
				continue
			}
			if err := s.make(ctx, k, c); err != nil {
				return fmt.Errorf("%s of account group %s: %w", k.name, c.AggregateID, err)
			}
		}
	}
	return nil
}

// make makes what is missing of the owners' copies of a report, for the commit that holds its event.
func (s *Service) make(ctx context.Context, k kind, cause eventstore.Recorded) error {
	ref := domain.Ref{Kind: domain.KindAccountGroup, ID: cause.AggregateID}
	// All that the log has: with a replica that does not know the group yet, there would be nobody to make a report for.
	state, head, err := replay.Latest(ctx, s.cfg.Log, ref)
	if err != nil {
		return err
	}
	if head.Sequence < cause.Sequence {
		return fmt.Errorf("%w: the group is seen up to sequence %d, and the report is made for %d",
			eventstore.ErrUnavailable, head.Sequence, cause.Sequence)
	}
	group := state.(*domain.AccountGroup)
	var content statement.Report
	for _, user := range group.Users {
		id := group.ReportID(user.ID, k.name)
		if _, exists := group.Report(id); exists || !user.Owns() {
			continue
		}
		if content == nil {
			if content, err = k.read(s, ctx, cause); err != nil {
				return err
			}
		}
		content.Address(id, party(user))
		record := domain.RecordReport{ReportID: id, UserID: user.ID, Type: k.name}
		if err := s.makeOne(ctx, cause, content, record); err != nil {
			return fmt.Errorf("report %s: %w", id, err)
		}
	}
	return nil
}

// makeOne stores the PDF first and records it then: a report that is announced can be read.
func (s *Service) makeOne(
	ctx context.Context, cause eventstore.Recorded, content statement.Report, record domain.RecordReport,
) error {
	pdf, err := statement.Render(content)
	if err != nil {
		return err
	}
	sum, err := s.store(ctx, object{id: record.ReportID, clientID: cause.ClientID, groupID: cause.AggregateID}, pdf)
	if err != nil {
		return err
	}
	record.SHA256, record.Size = sum, len(pdf)
	return s.cfg.Do(ctx, domain.Command{
		Target:        domain.Ref{Kind: domain.KindAccountGroup, ID: cause.AggregateID},
		ID:            domain.DeriveID("record_report", record.ReportID),
		ClientID:      cause.ClientID,
		Actor:         actor,
		RequestID:     cause.RequestID,
		CorrelationID: cause.CorrelationID,
		CausationID:   cause.ID,
		Payload:       &record,
	})
}

// Report finds a report of the client. One that is not recorded yet, or is another client's, is not found.
func (s *Service) Report(ctx context.Context, clientID, id string) (domain.ReportResource, error) {
	resource, _, err := s.find(ctx, clientID, id)
	return resource, err
}

// PDF gives a report with its bytes, checked against the hash that the group recorded.
func (s *Service) PDF(ctx context.Context, clientID, id string) (domain.ReportResource, []byte, error) {
	resource, report, err := s.find(ctx, clientID, id)
	if err != nil {
		return domain.ReportResource{}, nil, err
	}
	pdf, err := s.objects.GetBytes(ctx, id)
	if err != nil {
		return domain.ReportResource{}, nil, fmt.Errorf("read report %s: %w", id, err)
	}
	if sum := checksum(pdf); sum != report.SHA256 {
		return domain.ReportResource{}, nil, fmt.Errorf("report %s: the stored file has the hash %s, the log says %s", id, sum, report.SHA256)
	}
	return resource, pdf, nil
}

func (s *Service) find(ctx context.Context, clientID, id string) (domain.ReportResource, domain.Report, error) {
	missing := &domain.Refusal{Kind: domain.NotFound, Detail: "there is no report with the id " + id}
	groupID, err := s.groupOf(ctx, id)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return domain.ReportResource{}, domain.Report{}, missing
	}
	if err != nil {
		return domain.ReportResource{}, domain.Report{}, fmt.Errorf("look up report %s: %w", id, err)
	}
	state, _, err := replay.Latest(ctx, s.cfg.Log, domain.Ref{Kind: domain.KindAccountGroup, ID: groupID})
	if err != nil {
		return domain.ReportResource{}, domain.Report{}, err
	}
	group := state.(*domain.AccountGroup)
	report, ok := group.Report(id)
	if !ok || group.Client() != clientID {
		return domain.ReportResource{}, domain.Report{}, missing
	}
	return group.ReportResource(report), report, nil
}

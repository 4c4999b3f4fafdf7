// Package reports makes the reports of closed account groups: one PDF of type ACCOUNT_CLOSING for each owner. The PDF is
// kept in an object store, and the group records that the report was created; only then it is published and readable.
//
// What a report says is folded from the log up to the commit that closed the group, and the same log gives the same bytes.
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

// Lag is how many commits of the log are not yet looked at.
func (s *Service) Lag(ctx context.Context) (uint64, error) { return s.follower.Lag(ctx) }

func (s *Service) handle(ctx context.Context, commits []eventstore.Recorded) error {
	for _, c := range commits {
		for _, e := range c.Events {
			if e.Type != domain.EventGroupClosed {
				continue
			}
			if err := s.make(ctx, c); err != nil {
				return fmt.Errorf("reports of account group %s: %w", c.AggregateID, err)
			}
		}
	}
	return nil
}

// make makes what is missing of the reports of a group that the commit closed.
func (s *Service) make(ctx context.Context, closing eventstore.Recorded) error {
	ref := domain.Ref{Kind: domain.KindAccountGroup, ID: closing.AggregateID}
	// All that the log has: with a replica that does not know the group yet, there would be nobody to make a report for.
	state, head, err := replay.Latest(ctx, s.cfg.Log, ref)
	if err != nil {
		return err
	}
	if head.Sequence < closing.Sequence {
		return fmt.Errorf("%w: the group is seen up to sequence %d, and closed at %d", eventstore.ErrUnavailable, head.Sequence, closing.Sequence)
	}
	group := state.(*domain.AccountGroup)
	var content *statement.Statement
	for _, user := range group.Users {
		id := group.ReportID(user.ID, domain.ReportAccountClosing)
		if _, made := group.Report(id); made || !user.Owns() {
			continue
		}
		if content == nil {
			if content, err = s.read(ctx, closing); err != nil {
				return err
			}
		}
		content.ReportID, content.Owner = id, party(user)
		if err := s.makeOne(ctx, closing, *content); err != nil {
			return err
		}
	}
	return nil
}

// makeOne stores the PDF first and records it then: a report that is announced can be read.
func (s *Service) makeOne(ctx context.Context, closing eventstore.Recorded, content statement.Statement) error {
	pdf, err := statement.Render(content)
	if err != nil {
		return fmt.Errorf("report %s: %w", content.ReportID, err)
	}
	sum, err := s.store(ctx, object{id: content.ReportID, clientID: closing.ClientID, groupID: closing.AggregateID}, pdf)
	if err != nil {
		return fmt.Errorf("report %s: %w", content.ReportID, err)
	}
	return s.cfg.Do(ctx, domain.Command{
		Target:        domain.Ref{Kind: domain.KindAccountGroup, ID: closing.AggregateID},
		ID:            domain.DeriveID("record_report", content.ReportID),
		ClientID:      closing.ClientID,
		Actor:         actor,
		RequestID:     closing.RequestID,
		CorrelationID: closing.CorrelationID,
		CausationID:   closing.ID,
		Payload: &domain.RecordReport{
			ReportID: content.ReportID, UserID: content.Owner.ID, Type: domain.ReportAccountClosing, SHA256: sum, Size: len(pdf),
		},
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

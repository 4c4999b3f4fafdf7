package readmodel

import (
	"context"
	"time"
)

// SchemaVersion is the version of the files.
const SchemaVersion = schemaVersion

// The points at which a model tells where it is.
const (
	PointServing, PointBuilding, PointBuilt   = pointServing, pointBuilding, pointBuilt
	PointSettled, PointVacated, PointReplaced = pointSettled, pointVacated, pointReplaced
)

// As makes a model, before its start, one of another version: of a program to come.
func (m *Model) As(version, readableSince int) {
	m.shape = shape{version: version, since: readableSince}
}

// At has a model, before its start, tell where it is. It waits there for the call to return; an error fails the step.
func (m *Model) At(tell func(ctx context.Context, point string, position uint64) error) { m.at = tell }

// ReportEvery has a model, before its start, say more often how far a build is.
func (m *Model) ReportEvery(d time.Duration) { m.reportEvery = d }

package natsapi

import "time"

// What the tests outside of the package need of its inside.

var (
	PartitionOf  = partitionOf
	InboxSubject = inboxSubject
)

const (
	MaxRequests      = maxRequests
	InternalAttempts = internalAttempts
	GroupPatience    = groupPatience
)

// SetCommandTime bounds one execution otherwise than New does. It has to be called before Start.
func (s *Service) SetCommandTime(d time.Duration) { s.commandTime = d }

package natsapi

import (
	"time"

	"closure/eventstore"
)

// What the tests outside of the package need of its inside.

var (
	PartitionOf  = eventstore.InboxPartition
	InboxSubject = eventstore.InboxSubject
)

const (
	MaxRequests      = maxRequests
	MaxOfClient      = maxOfClient
	InternalAttempts = internalAttempts
	GroupPatience    = groupPatience
	AckWait          = ackWait
)

// ConsumerOf is the consumer of an aggregate's commands.
func ConsumerOf(id string) string { return partitionConsumer(eventstore.InboxPartition(id)) }

// SetCommandTime bounds one execution otherwise than New does. It has to be called before Start.
func (s *Service) SetCommandTime(d time.Duration) { s.commandTime = d }

// ParseClosures reads the body of a query.
var ParseClosures = parseClosures

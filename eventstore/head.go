package eventstore

import "fmt"

// Head is the position of an aggregate that a decision was based on: its last
// commit. The zero Head is an aggregate without commits.
type Head struct {
	Sequence uint64 // of the stream
	Version  int
	Hash     string
}

// Head of the aggregate when r is its last commit.
func (r Recorded) Head() Head {
	return Head{Sequence: r.Sequence, Version: r.Version, Hash: r.Hash}
}

// check refuses, with ErrMalformedCommit, what is not the position of any aggregate.
// The guard sees the sequence only: with a version or a hash that do not belong to
// it the commit would be stored, and break the chain.
func (h Head) check() error {
	switch {
	case h.Sequence == 0 && h != (Head{}):
		return malformed(fmt.Errorf("head: version %d and hash %q without a sequence; an aggregate without commits has none of them", h.Version, h.Hash))
	case h.Sequence == 0:
		return nil
	case h.Version < 1 || uint64(h.Version) > h.Sequence:
		return malformed(fmt.Errorf("head: version %d at sequence %d, has to be from 1 to the sequence", h.Version, h.Sequence))
	case !isHash(h.Hash):
		return malformed(fmt.Errorf("head: hash %q at sequence %d is not the lower-case hex SHA-256 of a commit", h.Hash, h.Sequence))
	}
	return nil
}

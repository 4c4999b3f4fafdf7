package bench

import (
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// oddConstant spreads consecutive numbers over all 32 bits: 2^32 by the golden ratio.
const oddConstant = 0x9e3779b1

// idSource makes ids that look like a uuid, for less than a random one costs: what makes ids is not what is measured. They are
// unique among all runs on a server, as message ids have to be.
type idSource struct {
	run  [6]byte
	last atomic.Uint64
}

func newIDSource() *idSource {
	s := &idSource{}
	now := time.Now().UnixNano()
	for i := range s.run {
		s.run[i] = byte(now >> (8 * (i + 1))) // a run takes longer than 256 ns
	}
	return s
}

// next id, such as 9e3779b1-0000-4000-8000-1f2e3d4c0000. The first digits differ, as those of random ids do: what compares ids
// sees it there.
func (s *idSource) next() string {
	n := s.last.Add(1)
	var b [12]byte
	binary.BigEndian.PutUint32(b[:4], uint32(n)*oddConstant) // one to one
	binary.BigEndian.PutUint16(b[4:], uint16(n>>32))
	copy(b[6:], s.run[:])
	id := make([]byte, 0, 36)
	id = hex.AppendEncode(id, b[:4])
	id = append(id, '-')
	id = hex.AppendEncode(id, b[4:6])
	id = append(id, "-4000-8000-"...)
	return string(hex.AppendEncode(id, b[6:]))
}

package backup

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"closure/eventstore"
)

const (
	// Format is the version of the folder's format.
	Format = 1

	manifestFile = "manifest.json"
	sumsFile     = "SHA256SUMS"
	// suffix of the file of a stream.
	suffix = ".arc.s2"
)

// Manifest says what a backup holds.
type Manifest struct {
	Format int `json:"format"`
	// Engine is the version of the program that took it, Server the one of NATS.
	Engine string `json:"engine_version"`
	Server string `json:"nats_version"`
	// Begun is when it was begun, Ended when the last stream was copied (UTC).
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`
	Log   LogState  `json:"log"`
	// Streams in the order in which they were taken.
	Streams []Stream `json:"streams"`
	// LeftOut are the streams in memory.
	LeftOut []string `json:"left_out"`
	// SandboxAhead is how far the clock of a sandbox ran ahead, in nanoseconds; absent for a real log.
	SandboxAhead *time.Duration `json:"sandbox_ahead_nanoseconds,omitempty"`
}

// LogState is what the log in a backup was verified to be.
type LogState struct {
	Last       uint64 `json:"last_sequence"`
	Commits    uint64 `json:"commits"`
	Aggregates int    `json:"aggregates"`
	// Heads is the digest of the heads, as 'closure verify' prints it.
	Heads string `json:"heads"`
}

// Stream is one stream in a backup.
type Stream struct {
	Name string `json:"name"`
	// File is its name in the folder, Size its length in bytes, SHA256 its hash in hex.
	File   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Messages are how many there are, and Bytes how many bytes the server counts for them; First and Last are the sequences of
	// the stream. Last may be one whose message is gone.
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	First    uint64 `json:"first_sequence"`
	Last     uint64 `json:"last_sequence"`
	// Taken is when it was copied (UTC).
	Taken time.Time `json:"taken"`
	// Config is the stream's, as the server gave it.
	Config json.RawMessage `json:"config"`
	// Consumers are the durable ones, as they were before the first stream was copied.
	Consumers []Consumer `json:"consumers,omitempty"`
}

// Consumer is a durable consumer.
type Consumer struct {
	Name string `json:"name"`
	// Next is the first sequence that is not settled: where it goes on.
	Next   uint64          `json:"next_sequence"`
	Config json.RawMessage `json:"config"`
}

// settings of a stream that matter here.
type settings struct {
	Retention         string        `json:"retention"`
	Storage           string        `json:"storage"`
	MaxAge            time.Duration `json:"max_age"`
	MaxBytes          int64         `json:"max_bytes"`
	MaxMsgs           int64         `json:"max_msgs"`
	MaxMsgsPerSubject int64         `json:"max_msgs_per_subject"`
	AllowRollup       bool          `json:"allow_rollup_hdrs"`
	AllowMsgTTL       bool          `json:"allow_msg_ttl"`
	AllowMsgSchedules bool          `json:"allow_msg_schedules"`
}

func readSettings(config json.RawMessage) (s settings, err error) {
	return s, json.Unmarshal(config, &s)
}

// limits tells that messages leave only for their age or their number, and not since somebody settled them.
func (s settings) limits() bool { return s.Retention == "" || s.Retention == "limits" }

// replaces tells that a message may take the place of another one.
func (s settings) replaces() bool {
	return !s.limits() || s.MaxMsgsPerSubject == 1 || s.AllowRollup || s.AllowMsgSchedules
}

// keeps tells that all messages stay until somebody removes them.
func (s settings) keeps() bool {
	return s.MaxAge <= 0 && s.MaxBytes <= 0 && s.MaxMsgs <= 0 && !s.AllowMsgTTL && !s.AllowMsgSchedules
}

// check finds what cannot be in a manifest: it names files, and nobody but its own hash vouches for it.
func (m Manifest) check() error {
	if m.Format != Format {
		return fmt.Errorf("%s: the backup has the format %d, and this version reads %d", manifestFile, m.Format, Format)
	}
	seen := map[string]bool{}
	for _, s := range m.Streams {
		if s.File != s.Name+suffix || filepath.Base(s.File) != s.File || !ours(s.Name) || seen[s.Name] {
			return fmt.Errorf("%s: %q in the file %q is no stream of an engine, or is there twice", manifestFile, s.Name, s.File)
		}
		seen[s.Name] = true
	}
	if !seen[eventstore.StreamLog] {
		return fmt.Errorf("%s: there is no %s", manifestFile, eventstore.StreamLog)
	}
	return nil
}

// stream gives a stream by its name; the zero Stream when it is not there.
func (m Manifest) stream(name string) Stream {
	for _, s := range m.Streams {
		if s.Name == name {
			return s
		}
	}
	return Stream{}
}

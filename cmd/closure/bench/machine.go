package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is what the figures were measured on. What cannot be found out is empty or 0.
type Machine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPU   string `json:"cpu,omitempty"`
	Cores int    `json:"cores"`
	// MemoryBytes of the whole machine.
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	Go          string `json:"go"`
	// Filesystem is the type of the one that holds the folder; "" on a given server, whose disk is somewhere else.
	Filesystem string `json:"filesystem,omitempty"`
	// FsyncSeconds is the median of a write of 4 KiB at the end of a file, and an fsync; 0 on a given server.
	FsyncSeconds float64 `json:"fsync_seconds,omitempty"`
}

func look() Machine {
	return Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		MemoryBytes: memory(), Go: runtime.Version(),
	}
}

// field gives the value of the first line "name : value" of a file of the system; "" where there is none.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memory() int64 {
	kilobytes, ok := strings.CutSuffix(field("/proc/meminfo", "MemTotal"), " kB")
	n, err := strconv.ParseInt(strings.TrimSpace(kilobytes), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n << 10
}

// filesystem is the type of the mount that holds a folder: the one with the longest path above it.
func filesystem(folder string) string {
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	return mountOf(folder, string(mounts))
}

// mountOf reads lines "device path type options …"; a later mount hides an earlier one on the same path.
func mountOf(folder, mounts string) string {
	longest, kind := -1, ""
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest {
			continue
		}
		if path := strings.TrimSuffix(f[1], "/"); folder == path || strings.HasPrefix(folder, path+"/") {
			longest, kind = len(f[1]), f[2]
		}
	}
	return kind
}

// fsyncTime is what an append of 4 KiB costs that has to be on the disk: the median of n.
func fsyncTime(ctx context.Context, folder string, n int) (seconds float64, err error) {
	file, err := os.CreateTemp(folder, "fsync-")
	if err != nil {
		return 0, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	block := make([]byte, 4<<10)
	took := make([]float64, n)
	for i := range took {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		begin := time.Now()
		if _, err := file.Write(block); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		took[i] = time.Since(begin).Seconds()
	}
	return median(took), nil
}

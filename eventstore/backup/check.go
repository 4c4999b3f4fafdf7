package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Check reads a backup to its end, and says all that is wrong with it: files that are missing, cut off or changed, and a log that is
// not the one that was copied. It needs no server.
func Check(ctx context.Context, folder string) (Manifest, error) {
	m, err := readManifest(folder)
	if err != nil {
		return m, fmt.Errorf("%s: %w", folder, err)
	}
	var found []error
	for _, s := range m.Streams {
		if err := checkFile(ctx, folder, s); err != nil {
			found = append(found, fmt.Errorf("%s: %w", filepath.Join(folder, s.File), err))
		}
	}
	if err := errors.Join(found...); err != nil {
		return m, err
	}
	log, err := verifyLog(ctx, folder, m)
	if err == nil && log != m.Log {
		err = fmt.Errorf("the log in it is not the one that was verified: it has the heads %s up to sequence %d, and %s says %s up to sequence %d",
			log.Heads, log.Last, manifestFile, m.Log.Heads, m.Log.Last)
	}
	if err != nil {
		return m, fmt.Errorf("%s: %w", folder, err)
	}
	return m, nil
}

// checkFile compares a file with its entry.
func checkFile(ctx context.Context, folder string, s Stream) error {
	path := filepath.Join(folder, s.File)
	sum, size, err := hashOf(path)
	switch {
	case err != nil:
		return err
	case size != s.Size:
		return fmt.Errorf("it has %d bytes, and had %d", size, s.Size)
	case sum != s.SHA256:
		return fmt.Errorf("it was changed: its SHA-256 is %s, and was %s", sum, s.SHA256)
	}
	var messages uint64
	_, err = readArchive(ctx, path, func(message) error { messages++; return nil })
	if err == nil && messages != s.Messages {
		err = fmt.Errorf("it has %d messages, and had %d", messages, s.Messages)
	}
	return err
}

package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// hashOf is the SHA-256 of a file in hex, and its length.
func hashOf(path string) (sum string, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	h := sha256.New()
	size, err = io.Copy(h, file)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// writeFile writes a new file, which is on disk when it returns.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(file, 1<<18)
	err = write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// SyncTree returns when all files and folders in a folder are on disk.
func SyncTree(folder string) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		return Sync(path)
	})
}

// Sync has a file, or the names in a folder, on disk.
func Sync(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// writeManifest writes the manifest, and the hashes of all files.
func writeManifest(folder string, m Manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, manifestFile)
	err = writeFile(path, func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err })
	if err != nil {
		return err
	}
	sum, _, err := hashOf(path)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(folder, sumsFile), func(w io.Writer) error {
		for _, s := range m.Streams {
			if _, err := fmt.Fprintf(w, "%s  %s\n", s.SHA256, s.File); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(w, "%s  %s\n", sum, manifestFile)
		return err
	})
}

// readManifest reads and checks the manifest, by its hash first.
func readManifest(folder string) (m Manifest, err error) {
	sums, err := os.ReadFile(filepath.Join(folder, sumsFile))
	if err != nil {
		return m, fmt.Errorf("this is no complete backup: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if err != nil {
		return m, fmt.Errorf("this is no complete backup: %w", err)
	}
	sum := sha256.Sum256(text)
	want := hex.EncodeToString(sum[:]) + "  " + manifestFile
	if !strings.HasSuffix(string(sums), want+"\n") {
		return m, fmt.Errorf("%s is not the one that was written: its hash is not the one in %s", manifestFile, sumsFile)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestFile, err)
	}
	return m, m.check()
}

package statement

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheFileIsSound: a second library finds nothing wrong with it, and each line of the cross-reference table leads to its
// object. Readers mend a table that is wrong, each in its own way; so it is looked at.
func TestTheFileIsSound(t *testing.T) {
	file := render(t, sample())
	api.DisableConfigDir() // nothing in the home of who runs the test
	conf := model.NewDefaultConfiguration()
	conf.ValidationMode = model.ValidationRelaxed // the header says PDF 1.3, a version that strict validation does not know
	require.NoError(t, api.Validate(bytes.NewReader(file), conf))

	offsets, table, err := crossReference(file)
	require.NoError(t, err)
	assert.Greater(t, len(offsets), 10)
	for i, o := range offsets {
		assert.True(t, bytes.HasPrefix(file[o:], fmt.Appendf(nil, "%d 0 obj\n", i+1)), "object %d", i+1)
	}
	assert.True(t, bytes.HasPrefix(file[table:], []byte("xref\n")))
}

// TestPlainTextOfAPage takes the simplest way that a client has to the text.
func TestPlainTextOfAPage(t *testing.T) {
	s := sample()
	s.Accounts[0].Name, s.Accounts[1].Name = names["Georgian"], names["Greek"]
	reader, err := open(t, render(t, s)).GetPlainText()
	require.NoError(t, err)
	text, err := io.ReadAll(reader)
	require.NoError(t, err)
	for _, want := range []string{groupID, ownerID, names["Georgian"], names["Greek"]} {
		assert.Contains(t, string(text), want)
	}
}

// TestRepairRefusesWhatItDoesNotKnow: a file of another layout is an error, not a broken document.
func TestRepairRefusesWhatItDoesNotKnow(t *testing.T) {
	file := render(t, sample())
	_, table, err := crossReference(file)
	require.NoError(t, err)
	for name, other := range map[string][]byte{
		"nothing":                      nil,
		"another file":                 []byte("%PDF-1.7\n"),
		"cut":                          file[:len(file)-10],
		"table elsewhere":              bytes.Replace(file, []byte("startxref\n"), []byte("startxref\n1"), 1),
		"table of another length":      bytes.Replace(file, []byte("xref\n0 "), []byte("xref\n0 9"), 1),
		"an offset past the table":     append(append(append([]byte{}, file[:table+30]...), []byte("9999999999")...), file[table+40:]...),
		"no character map":             bytes.ReplaceAll(file, []byte("/ToUnicode"), []byte("/OnUnicode")),
		"a character map that is none": file, // it was repaired before, and so its map is compressed
	} {
		_, err := repair(other, []byte{0})
		assert.ErrorIs(t, err, errLayout, name)
	}
}

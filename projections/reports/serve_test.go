package reports

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Another client's report is not found, in the same words as one that is nowhere.
func TestReportsKeepClientsApart(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	s := a.start(Config{})
	a.settle(s)
	for _, id := range []string{c.report(owner), uuid.NewString()} {
		_, err := s.Report(testContext(t), otherClient, id)
		mustBeMissing(t, id, err)
		_, file, err := s.PDF(testContext(t), otherClient, id)
		mustBeMissing(t, id, err)
		require.Empty(t, file)
	}

	// What somebody wrote into the store's own notes gives nobody access, and takes it from nobody.
	info, err := s.objects.GetInfo(testContext(t), c.report(owner))
	require.NoError(t, err)
	info.Metadata[metaClient] = otherClient
	require.NoError(t, s.objects.UpdateMeta(testContext(t), info.Name, info.ObjectMeta))
	_, _, err = s.PDF(testContext(t), otherClient, c.report(owner))
	mustBeMissing(t, c.report(owner), err)
	s.mustPDF(t, c.report(owner))
}

// A file that is not what the log says is never served.
func TestATamperedReportIsNotServed(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	s := a.start(Config{})
	a.settle(s)
	tamper := map[string]func(t *testing.T, id string){
		owner: func(t *testing.T, id string) { // another file, with all that belongs to it
			info, err := s.objects.GetInfo(testContext(t), id)
			require.NoError(t, err)
			meta := info.ObjectMeta
			_, err = s.objects.Put(testContext(t), meta, bytes.NewReader([]byte("%PDF-1.7 you owe us a million")))
			require.NoError(t, err)
		},
		child: func(t *testing.T, id string) { // one more piece of the file
			info, err := s.objects.GetInfo(testContext(t), id)
			require.NoError(t, err)
			_, err = a.log.JetStream().Publish(testContext(t), "$O."+Bucket+".C."+info.NUID, []byte("%%EOF"))
			require.NoError(t, err)
		},
	}
	for user, spoil := range tamper {
		t.Run(user, func(t *testing.T) {
			id := c.report(user)
			spoil(t, id)
			_, file, err := s.PDF(testContext(t), someClient, id)
			mustNotRefuse(t, err)
			require.ErrorContains(t, err, id)
			require.Empty(t, file)
			_, err = s.Report(testContext(t), someClient, id)
			require.NoError(t, err, "what the log says of it still stands")
		})
	}
}

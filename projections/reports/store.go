package reports

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// object is what the object store is told of a report: enough to find its group, and for an operator to find its client.
type object struct {
	id, clientID, groupID string
}

// Names of an object's metadata.
const (
	metaClient = "client_id"
	metaGroup  = "account_group_id"
	metaSHA256 = "sha256"
)

// store keeps a PDF, unless these very bytes are kept already, and gives its hash.
func (s *Service) store(ctx context.Context, o object, pdf []byte) (sum string, err error) {
	sum = checksum(pdf)
	info, err := s.objects.GetInfo(ctx, o.id)
	if err == nil && info.Metadata[metaSHA256] == sum {
		return sum, nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return "", fmt.Errorf("look up the stored file: %w", err)
	}
	_, err = s.objects.Put(ctx, jetstream.ObjectMeta{
		Name:     o.id,
		Headers:  map[string][]string{"content-type": {"application/pdf"}},
		Metadata: map[string]string{metaClient: o.clientID, metaGroup: o.groupID, metaSHA256: sum},
	}, bytes.NewReader(pdf))
	if err != nil {
		return "", fmt.Errorf("store the file: %w", err)
	}
	return sum, nil
}

// groupOf tells where to look for a report. The store is no authority: that the report is there, and whose it is, the
// group says.
func (s *Service) groupOf(ctx context.Context, id string) (groupID string, err error) {
	info, err := s.objects.GetInfo(ctx, id)
	if err != nil {
		return "", err
	}
	return info.Metadata[metaGroup], nil
}

func checksum(pdf []byte) string {
	sum := sha256.Sum256(pdf)
	return hex.EncodeToString(sum[:])
}

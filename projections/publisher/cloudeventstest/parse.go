// Package cloudeventstest reads messages of CLOSURE_EVENTS with the CloudEvents SDK, for the tests of whoever publishes them.
package cloudeventstest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
)

// Parse is a message as the SDK reads it: it has to find it valid, in binary mode, and the same in both readings.
func Parse(t testing.TB, header nats.Header, data []byte) ce.Event {
	t.Helper()
	byBinding, bySDK := ParseAs(t, header, data, true), ParseAs(t, header, data, false)
	if !reflect.DeepEqual(byBinding, bySDK) {
		t.Fatalf("the binding and the SDK read it differently:\n%s\n%s", byBinding, bySDK)
	}
	return bySDK
}

// ParseAs reads by one of the two ways alone: as the binding has it, or as the SDK's own adapter for JetStream does.
func ParseAs(t testing.TB, header nats.Header, data []byte, asBinding bool) ce.Event {
	t.Helper()
	m := message{header, data, asBinding}
	if m.ReadEncoding() != binding.EncodingBinary {
		t.Fatalf("it is not in binary mode: %v", header)
	}
	e, err := binding.ToEvent(t.Context(), m)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		t.Fatalf("it is no CloudEvent: %v: %v", err, header)
	}
	return *e
}

// message hands a NATS message in binary mode to the CloudEvents SDK. The SDK's own adapter for JetStream reads the type of the
// data from content-type and takes values as they are; the binding has it in ce-datacontenttype, and values percent-encoded. An
// event has to be the same to both.
type message struct {
	header    nats.Header
	data      []byte
	asBinding bool
}

var (
	_        binding.Message               = message{}
	_        binding.MessageMetadataReader = message{}
	prefixed                               = spec.WithPrefix("ce-")
)

// ReadEncoding: by the binding a content-type of CloudEvents means structured, anything else binary.
func (m message) ReadEncoding() binding.Encoding {
	if m.version() == nil {
		return binding.EncodingUnknown
	}
	if format.IsFormat(m.header.Get("content-type")) {
		return binding.EncodingStructured
	}
	return binding.EncodingBinary
}

func (m message) version() spec.Version {
	return prefixed.Version(m.header.Get(prefixed.PrefixedSpecVersionName()))
}

func (message) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m message) ReadBinary(ctx context.Context, w binding.BinaryWriter) error {
	for name, values := range m.header {
		value := values[0]
		if name == "content-type" && !m.asBinding {
			if err := w.SetAttribute(m.version().AttributeFromKind(spec.DataContentType), value); err != nil {
				return err
			}
		}
		extension, isAttribute := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !isAttribute {
			continue
		}
		value, err := m.decode(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if attribute := m.version().Attribute(name); attribute != nil {
			err = w.SetAttribute(attribute, value)
		} else {
			err = w.SetExtension(extension, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return w.SetData(bytes.NewReader(m.data))
}

func (m message) decode(value string) (string, error) {
	if !m.asBinding {
		return value, nil
	}
	return Decode(value)
}

// Decode takes back what the binding has encoded. What it would have encoded and stands there as it is, is an error.
func Decode(value string) (string, error) {
	for _, b := range []byte(value) {
		if b <= ' ' || b > '~' || b == '"' {
			return "", fmt.Errorf("%q has to be percent-encoded", value)
		}
	}
	decoded, err := url.PathUnescape(value)
	if err == nil && !utf8.ValidString(decoded) {
		err = fmt.Errorf("%q is not UTF-8", value)
	}
	return decoded, err
}

func (m message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := m.version().AttributeFromKind(kind)
	if attribute == nil || m.header.Get(attribute.PrefixedName()) == "" {
		return attribute, nil
	}
	return attribute, m.header.Get(attribute.PrefixedName())
}

func (m message) GetExtension(name string) any { return m.header.Get("ce-" + name) }

func (message) Finish(error) error { return nil }

// Package access says what each role may do on NATS: who publishes commands, who reads events, who reads the log. The embedded
// server holds its users to it, and a cluster is to be given the same.
//
// Upstream and auditors have accounts of their own, and get from the engine's account, as services, what they are for. Permissions
// alone would not do: a server checks the subject of a request, never where the answer is to go, and what JetStream answers it would
// store in the log, if the log's subject was named for it. Between accounts the server answers on a subject of its own making, and
// hands the answer on in the account of the one who asked.
//
// Downstream is in the engine's account: pulls of a consumer across accounts lost answers under load (nats-server 2.15.2), and an event
// that is late by half a minute is worse for those who only wait for events. So downstream services are trusted that far: one that names
// a subject of the log as the reply of a pull could have an event stored there, which is found by whoever reads it, and by
// closure verify. Whoever is not trusted so far gets a webhook.
package access

import (
	"fmt"
	"slices"
	"strings"

	"closure/eventstore"
)

// Account is the engine's account: all streams are in it.
const Account = "CLOSURE"

// Role is a user of NATS.
type Role struct {
	Name string
	// Text says who it is for.
	Text string
	// Account is where it is.
	Account string
	// Uses is what it may ask of the engine's account; nothing for the engine itself.
	Uses []Service
	// Publish and Subscribe are the subjects that it may use; everything else is denied.
	Publish, Subscribe []string
	// Inbox is the prefix of the subjects on which it gets answers: its own, so that nobody reads the answers to another role.
	Inbox string
}

// Service is what the engine's account has for others.
type Service struct {
	// Subject of requests, with wildcards.
	Subject string
	// Many: a request can have more than one answer.
	Many bool
}

// accountInfo is imported by all accounts, and no permission of a role has it. An account that does not import it gets the whole API
// of JetStream for itself: each request would have a second answer, that it has no JetStream.
var accountInfo = Service{Subject: "$JS.API.INFO"}

// The names of the roles.
const (
	Engine     = "engine"
	Upstream   = "upstream"
	Downstream = "downstream"
	Audit      = "audit"
)

// Inbox is the prefix of a role's inbox.
func Inbox(name string) string { return "_INBOX." + name }

// Roles lists them all.
func Roles() []Role {
	roles := []Role{
		{
			Name: Engine, Text: "the engine, and the operator's commands: everything", Account: Account,
			Publish: []string{">"}, Subscribe: []string{">"},
		},
		{
			Name: Upstream, Text: "services that send commands and facts", Account: "UPSTREAM",
			Uses: []Service{
				{Subject: eventstore.CommandSubjects}, // JetStream acknowledges it: accepted, and safe
				{Subject: eventstore.RPCSubjects},
				// It tells what became of a command that was left in the inbox.
				lastFor(eventstore.StreamEvents, eventstore.EventFilter("*", "COMMAND.REJECTED")),
			},
		},
		{
			Name: Downstream, Text: "services that read the published events, by consumers of their own", Account: Account,
			Uses: append(reading(eventstore.StreamEvents, eventstore.EventSubjects),
				Service{Subject: "$JS.API.CONSUMER.CREATE." + eventstore.StreamEvents + ".>"},
				Service{Subject: "$JS.API.CONSUMER.DURABLE.CREATE." + eventstore.StreamEvents + ".*"},
				Service{Subject: "$JS.API.CONSUMER.INFO." + eventstore.StreamEvents + ".*"},
				Service{Subject: "$JS.API.CONSUMER.MSG.NEXT." + eventstore.StreamEvents + ".*", Many: true},
				Service{Subject: "$JS.ACK." + eventstore.StreamEvents + ".>"},
			),
		},
		{
			Name: Audit, Text: "auditors, who read the log and the published events, and change nothing: not even a consumer", Account: "AUDIT",
			Uses: append(reading(eventstore.StreamLog, eventstore.LogSubjects), reading(eventstore.StreamEvents, eventstore.EventSubjects)...),
		},
	}
	for i := range roles {
		r := &roles[i]
		r.Inbox = Inbox(r.Name)
		if r.Name == Engine {
			continue
		}
		for _, s := range r.Uses {
			r.Publish = append(r.Publish, s.Subject)
		}
		r.Subscribe = []string{r.Inbox + ".>"}
	}
	return roles
}

// imports are what the role's account has from the engine's.
func (r Role) imports() []Service {
	if r.Account == Account {
		return nil
	}
	return append(slices.Clone(r.Uses), accountInfo)
}

// lastFor is the direct get of the last message of a subject.
func lastFor(stream, subjects string) Service {
	return Service{Subject: "$JS.API.DIRECT.GET." + stream + "." + subjects, Many: true}
}

// reading is what reads a stream without changing anything.
func reading(stream, subjects string) []Service {
	return []Service{
		{Subject: "$JS.API.STREAM.INFO." + stream},
		{Subject: "$JS.API.STREAM.MSG.GET." + stream},
		{Subject: "$JS.API.DIRECT.GET." + stream, Many: true},
		lastFor(stream, subjects),
	}
}

// ServerConfig writes the accounts and their users as a NATS server's configuration has them. keys are the public nkeys of the
// roles, by name.
func ServerConfig(keys map[string]string) string {
	var b strings.Builder
	b.WriteString("accounts {\n")
	accounts := map[string]bool{}
	for _, r := range Roles() {
		if accounts[r.Account] {
			continue
		}
		accounts[r.Account] = true
		fmt.Fprintf(&b, "  %s {\n    users = [\n", r.Account)
		for _, user := range Roles() {
			if user.Account == r.Account {
				writeUser(&b, user, keys[user.Name])
			}
		}
		b.WriteString("    ]\n")
		if r.Account == Account {
			b.WriteString("    jetstream: enabled\n")
			writeExports(&b)
		} else {
			writeImports(&b, r)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func writeUser(b *strings.Builder, r Role, key string) {
	fmt.Fprintf(b, "      # %s: %s\n      { nkey: %q\n        permissions: {\n", r.Name, r.Text, key)
	fmt.Fprintf(b, "          publish: { allow: [%s] }\n", quoted(r.Publish))
	fmt.Fprintf(b, "          subscribe: { allow: [%s] }\n        } }\n", quoted(r.Subscribe))
}

// writeExports writes what the engine's account has for others, each for those accounts only that use it.
func writeExports(b *strings.Builder) {
	var services []Service
	users := map[Service][]string{}
	for _, r := range Roles() {
		for _, s := range r.imports() {
			if !slices.Contains(services, s) {
				services = append(services, s)
			}
			users[s] = append(users[s], r.Account)
		}
	}
	b.WriteString("    exports = [\n")
	for _, s := range services {
		answers := "singleton"
		if s.Many {
			answers = "stream"
		}
		fmt.Fprintf(b, "      { service: %q, response_type: %s, accounts: [%s] }\n", s.Subject, answers, strings.Join(users[s], ", "))
	}
	b.WriteString("    ]\n")
}

func writeImports(b *strings.Builder, r Role) {
	b.WriteString("    imports = [\n")
	for _, s := range r.imports() {
		fmt.Fprintf(b, "      { service: { account: %s, subject: %q } }\n", Account, s.Subject)
	}
	b.WriteString("    ]\n")
}

func quoted(subjects []string) string {
	out := make([]string, len(subjects))
	for i, s := range subjects {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}

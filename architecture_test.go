// Package closure_test holds the rules that no single package can hold: imports point one way, the domain is pure, and
// subjects are built in one file.
package closure_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "closure"

// layers are the folders that may hold code; the top level of the repository is fixed.
var layers = []string{"cmd", "domain", "eventstore", "handlers", "projections"}

// gates are what every way in may pass through.
var gates = []string{"handlers/auth", "handlers/idempotency"}

// subjectFile is the one file that knows how subjects are spelt.
const subjectFile = "eventstore/subjects.go"

var subjects = []string{
	"closure.log.", "closure.command.", "closure.rpc.", "closure.event.",
	"closure.timer.set.", "closure.timer.wake.", "closure.timer.due.", "closure.query.", "closure.inbox.", "closure.aside.",
}

// TestArchitecture reads every source file but the tests.
func TestArchitecture(t *testing.T) {
	var broken, seen []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		seen = append(seen, layer(name))
		found, err := violations(name, source)
		broken = append(broken, found...)
		return err
	})
	require.NoError(t, err)
	slices.Sort(seen)
	require.Equal(t, layers, slices.Compact(seen), "the test has to see all of the code, and there is none outside of these folders")
	require.Empty(t, broken, "broken rules:\n  %s", strings.Join(broken, "\n  "))

	source, err := os.ReadFile(subjectFile)
	require.NoError(t, err)
	for _, s := range subjects {
		require.Contains(t, string(source), strconv.Quote(s), "%s spells the subjects", subjectFile)
	}
}

// layer is the folder at the top; "" for a file in the root.
func layer(name string) string {
	top, _, found := strings.Cut(name, "/")
	if !found {
		return ""
	}
	return top
}

// violations says which rules a file breaks; name is its path in the module.
func violations(name string, source []byte) ([]string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []string
	broke := func(at token.Pos, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: ", files.Position(at))+fmt.Sprintf(format, args...))
	}
	folder := path.Dir(name)
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !mayImport(folder, ours) {
			broke(spec.Pos(), "%s may not import %s", folder, ours)
		}
		if layer(name) == "domain" && impure(imported) {
			broke(spec.Pos(), "the domain is pure, and imports %s", imported)
		}
		if layer(name) == "domain" && spec.Name != nil && spec.Name.Name == "." {
			broke(spec.Pos(), "a dot import hides what is called")
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if call := calls(file, n); layer(name) == "domain" && impureCall(call) {
				broke(n.Pos(), "the domain is pure, and calls %s", call)
			}
		case *ast.BasicLit:
			if s, ok := subjectIn(n); ok && name != subjectFile {
				broke(n.Pos(), "%q is spelt in %s only", s, subjectFile)
			}
		}
		return true
	})
	return out, nil
}

// mayImport is the direction: cmd -> handlers, projections -> eventstore -> nothing of ours; domain is for everyone
// but the event store, which knows no account. Both are folders in the module.
func mayImport(from, to string) bool {
	store := within(to, "eventstore")
	switch layer(from + "/") {
	case "eventstore":
		if from == "eventstore/replay" {
			return to == "domain" || to == "eventstore"
		}
		return store && to != "eventstore/replay"
	case "handlers":
		// A way in may be split into folders of its own; it does not know the other ways in, but who may come in, and what was
		// answered before.
		return store || to == "domain" || from != "handlers" && (to == "handlers" || within(to, from) || slices.Contains(gates, to))
	case "projections":
		return store || to == "domain" || within(to, projection(from))
	case "cmd":
		return true
	}
	return false
}

// projection is the folder of the projection that a package belongs to: projections/reports of projections/reports/statement.
func projection(folder string) string {
	parts := strings.SplitN(folder, "/", 3)
	if len(parts) < 2 {
		return "none"
	}
	return path.Join(parts[:2]...)
}

func within(folder, parent string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

// impure are packages that reach out of the process, or draw lots. net/url only takes text apart.
func impure(imported string) bool {
	if imported == "net/url" {
		return false
	}
	for _, p := range []string{"net", "os", "database/sql", "log", "syscall", "math/rand", "crypto/rand", "github.com/nats-io", "testing"} {
		if within(imported, p) {
			return true
		}
	}
	return false
}

// calls gives what a selector names, with the path of its package: "time.Now"; "" when it is not one of a package.
func calls(file *ast.File, n *ast.SelectorExpr) string {
	x, ok := n.X.(*ast.Ident)
	if !ok {
		return ""
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		local := path.Base(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == x.Name {
			return imported + "." + n.Sel.Name
		}
	}
	return ""
}

// impureCall are the functions of allowed packages that read a clock, wait, or draw lots. Derived uuids are fine.
func impureCall(call string) bool {
	if made, ok := strings.CutPrefix(call, "github.com/google/uuid.New"); ok {
		return made != "SHA1" && made != "MD5" && made != "Hash"
	}
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
	read, ok := strings.CutPrefix(call, "time.")
	return ok && slices.Contains(clock, read)
}

func subjectIn(n *ast.BasicLit) (string, bool) {
	if n.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(n.Value)
	if err != nil {
		return "", false
	}
	for _, s := range subjects {
		if strings.Contains(text, s) {
			return s, true
		}
	}
	return "", false
}

// TestTheRulesFindWhatBreaksThem feeds the rules with files that break them, and with files that do not.
func TestTheRulesFindWhatBreaksThem(t *testing.T) {
	for _, c := range []struct{ file, body, broken string }{
		{"domain/a.go", `import "time"; var t time.Time; var d = 3 * time.Hour`, ""},
		{"domain/a.go", `import "github.com/google/uuid"; var id = uuid.NewSHA1(uuid.Nil, nil)`, ""},
		{"domain/a.go", `import "net/url"; var u url.URL`, ""},
		{"domain/a.go", `import "closure/eventstore"`, "domain may not import eventstore"},
		{"domain/sub/a.go", `import "closure/domain"`, "domain/sub may not import domain"},
		{"domain/a.go", `import "net/http"`, "imports net/http"},
		{"domain/a.go", `import "net"`, "imports net"},
		{"domain/a.go", `import _ "os"`, "imports os"},
		{"domain/a.go", `import "os/exec"`, "imports os/exec"},
		{"domain/a.go", `import "database/sql"`, "imports database/sql"},
		{"domain/a.go", `import "log/slog"`, "imports log/slog"},
		{"domain/a.go", `import "math/rand/v2"`, "imports math/rand/v2"},
		{"domain/a.go", `import "github.com/nats-io/nats.go/jetstream"`, "imports github.com/nats-io"},
		{"domain/a.go", `import "time"; var t = time.Now()`, "calls time.Now"},
		{"domain/a.go", `import clock "time"; func f() { _ = clock.Since }`, "calls time.Since"},
		{"domain/a.go", `import . "time"; var t = Now()`, "a dot import"},
		{"domain/a.go", `import "github.com/google/uuid"; var id = uuid.Must(uuid.NewV7())`, "calls github.com/google/uuid.NewV7"},
		{"domain/a.go", `import "github.com/google/uuid"; var id = uuid.New()`, "calls github.com/google/uuid.New"},

		{"eventstore/a.go", `import "time"; var t = time.Now()`, ""},
		{"eventstore/a.go", `import "closure/domain"`, "eventstore may not import domain"},
		{"eventstore/embedded/a.go", `import "closure/eventstore"`, ""},
		{"eventstore/embedded/a.go", `import "closure/domain"`, "eventstore/embedded may not import domain"},
		{"eventstore/eventstoretest/a.go", `import "closure/eventstore/embedded"`, ""},
		{"eventstore/eventstoretest/a.go", `import "closure/eventstore/replay"`, "may not import eventstore/replay"},
		{"eventstore/replay/a.go", `import ("closure/domain"; "closure/eventstore")`, ""},
		{"eventstore/replay/a.go", `import "closure/handlers"`, "eventstore/replay may not import handlers"},

		{"handlers/a.go", `import ("closure/domain"; "closure/eventstore/replay")`, ""},
		{"handlers/a.go", `import "closure/handlers/httpapi"`, "handlers may not import handlers/httpapi"},
		{"handlers/httpapi/a.go", `import ("closure/domain"; "closure/handlers"; "closure/eventstore")`, ""},
		{"handlers/httpapi/a.go", `import "closure/handlers/natsapi"`, "handlers/httpapi may not import handlers/natsapi"},
		{"handlers/httpapi/a.go", `import "closure/projections/readmodel"`, "handlers/httpapi may not import projections/readmodel"},
		{"handlers/httpapi/a.go", `import "closure/cmd/closure"`, "may not import cmd/closure"},

		{"projections/reports/a.go", `import ("closure/domain"; "closure/eventstore/replay"; "closure/projections/reports/statement")`, ""},
		{"projections/reports/a.go", `import "closure/projections/readmodel"`, "projections/reports may not import projections/readmodel"},
		{"projections/reports/a.go", `import "closure/projections/reportsmore"`, "may not import projections/reportsmore"},
		{"projections/reports/a.go", `import "closure/handlers"`, "projections/reports may not import handlers"},
		{"projections/a.go", `import "closure/projections/reports"`, "projections may not import projections/reports"},

		{"cmd/closure/a.go", `import ("closure/handlers/httpapi"; "closure/projections/readmodel")`, ""},
		{"tools/a.go", `import "closure/domain"`, "tools may not import domain"},

		{"eventstore/subjects.go", "const s = \"closure.log.\"", ""},
		{"handlers/natsapi/subjects.go", "const s = `send it to closure.command.account`", "\"closure.command.\" is spelt in"},
		{"cmd/closure/a.go", `const s = "closure.event.*.account.>"`, "\"closure.event.\" is spelt in"},
		{"cmd/closure/a.go", `const s = "closure.rpc\x2eaccount"`, "\"closure.rpc.\" is spelt in"},
		{"cmd/closure/a.go", "// closure.log.account is fine in a comment\nconst s = \"closure.local\"", ""},
	} {
		found, err := violations(c.file, []byte("package a\n"+c.body))
		require.NoError(t, err, c.body)
		if c.broken == "" {
			require.Empty(t, found, "%s: %s", c.file, c.body)
			continue
		}
		require.Len(t, found, 1, "%s: %s", c.file, c.body)
		require.Contains(t, found[0], c.broken, "%s: %s", c.file, c.body)
		require.Contains(t, found[0], c.file+":", "the message says where")
	}
}

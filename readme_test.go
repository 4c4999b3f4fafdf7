package closure_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheReadmeShowsWhatIsTested: the Go code of the README is that of the examples, byte for byte, which the tests run.
func TestTheReadmeShowsWhatIsTested(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := strings.Count(string(readme), "\n```go\n")
	shown := 0
	for name, functions := range map[string][]string{
		"projections/publisher/example_test.go": {"follow", "closedAccounts", "eventsOf", "replay"},
		"projections/webhooks/example_test.go":  {"takeDeliveries"},
	} {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, source, parser.ParseComments)
		require.NoError(t, err)
		found := map[string]string{}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Doc != nil {
				found[f.Name.Name] = string(source[files.Position(f.Doc.Pos()).Offset:files.Position(f.End()).Offset])
			}
		}
		for _, f := range functions {
			require.NotEmpty(t, found[f], "%s has no %s", name, f)
			require.True(t, strings.Contains(string(readme), "\n```go\n"+found[f]+"\n```\n"), "the README has %s otherwise than %s", f, name)
			shown++
		}
	}
	require.Equal(t, blocks, shown, "every block of Go in the README is one that is tested")
}

package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "refundworker"

// listed is a package as the go command sees it, without its tests.
type listed struct {
	ImportPath, Name, Dir string
	GoFiles, Imports      []string
	Standard              bool
	Error                 *struct{ Err string }
}

// list asks the go command about packages.
func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-json=ImportPath,Name,Dir,GoFiles,Imports,Standard,Error"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	var packages []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Error != nil {
			t.Fatalf("%s: %s", p.ImportPath, p.Error.Err)
		}
		packages = append(packages, p)
	}
}

// floor says which packages may not import what, and why. Names are relative to the module; a trailing /... takes
// in everything below.
type floor struct {
	packages, except []string
	forbidden        []string
	why              string
}

// testSupport are the packages that only tests import.
var testSupport = []string{"providers/providertest", "idempotency/servertest"}

func inModule(packages []string) (paths []string) {
	for _, p := range packages {
		paths = append(paths, module+"/"+p)
	}
	return paths
}

var floors = []floor{
	{packages: []string{"schemas/..."}, forbidden: []string{module + "/..."},
		why: "the contract with other programs depends on nothing here"},
	{packages: []string{"idempotency/..."}, forbidden: []string{module + "/providers/...", module + "/consumer/...", module + "/cmd/..."},
		why: "who may act does not depend on who is asked"},
	{packages: []string{"providers/..."}, forbidden: []string{module + "/idempotency/...", module + "/consumer/...", module + "/cmd/..."},
		why: "an adapter knows neither the loop nor the lock"},
	{packages: []string{"consumer/..."}, forbidden: []string{module + "/cmd/..."}, why: "imports point down"},
	{packages: []string{"consumer/..."}, forbidden: []string{module + "/providers/..."}, except: []string{module + "/providers"},
		why: "the life of a command knows no provider by name"},
	{packages: []string{"consumer/brakes/..."}, except: inModule([]string{"providers", "schemas"}),
		forbidden: []string{module + "/...", "go.opentelemetry.io/..."}, why: "when a provider may be called is known without streams, Redis and metrics"},
	{packages: []string{"..."}, except: []string{"idempotency", "cmd/refundworker"}, forbidden: []string{"github.com/redis/...", "github.com/alicebob/..."},
		why: "Redis lives in idempotency and is dialled in cmd"},
	{packages: []string{"..."}, except: []string{"consumer", "consumer/stream", "consumer/operator", "cmd/refundworker"}, forbidden: []string{"github.com/nats-io/..."},
		why: "JetStream lives in consumer and is dialled in cmd"},
	{packages: []string{"..."}, except: []string{"cmd/refundworker"},
		forbidden: []string{"go.opentelemetry.io/otel/sdk/...", "go.opentelemetry.io/otel/exporters/...", "go.opentelemetry.io/contrib/...", "github.com/prometheus/..."},
		why:       "packages speak to the OpenTelemetry API; cmd chooses where it goes"},
	{packages: []string{"..."}, except: testSupport, forbidden: append([]string{"testing/..."}, inModule(testSupport)...),
		why: "tests never reach the binary"},
}

func TestArchImportsPointDown(t *testing.T) {
	packages := list(t, "./...")
	for _, f := range floors {
		matched := 0
		for _, p := range packages {
			if !f.holds(p) {
				continue
			}
			matched++
			for _, imported := range p.Imports {
				if f.forbids(imported) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, f.why)
				}
			}
		}
		if matched == 0 {
			t.Errorf("no package is held to: %s", f.why)
		}
	}
}

func (f floor) holds(p listed) bool {
	name := strings.TrimPrefix(p.ImportPath, module+"/")
	return matchesAny(f.packages, name) && !slices.Contains(f.except, name)
}

func (f floor) forbids(imported string) bool {
	return matchesAny(f.forbidden, imported) && !slices.Contains(f.except, imported)
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		tree, all := strings.CutSuffix(pattern, "...")
		if !all {
			return path == pattern
		}
		return tree == "" || path+"/" == tree || strings.HasPrefix(path, tree)
	})
}

// A row that matches nothing would hold nothing.
func TestArchFloorsMatchWhatTheyName(t *testing.T) {
	for _, row := range []struct {
		pattern, path string
		want          bool
	}{
		{"schemas/...", "schemas", true}, {"schemas/...", "schemas/x", true}, {"schemas/...", "schemasx", false},
		{"...", "anything", true}, {"consumer", "consumer", true}, {"consumer", "consumer/x", false},
	} {
		if got := matchesAny([]string{row.pattern}, row.path); got != row.want {
			t.Errorf("%s matches %s: %t, want %t", row.pattern, row.path, got, row.want)
		}
	}
}

func TestArchSchemasNeedTheStandardLibraryOnly(t *testing.T) {
	for _, p := range list(t, "-deps", "./schemas/...") {
		if !p.Standard && !strings.HasPrefix(p.ImportPath, module+"/schemas") {
			t.Errorf("schemas depends on %s", p.ImportPath)
		}
	}
}

// Google's own packages share what is common to the two payment types; nobody else shares anything.
func TestArchProviderSiblingsDoNotImportEachOther(t *testing.T) {
	const under = module + "/providers/"
	family := func(path string) string { return strings.SplitN(strings.TrimPrefix(path, under), "/", 2)[0] }
	for _, p := range list(t, "./providers/...") {
		for _, imported := range p.Imports {
			if !strings.HasPrefix(p.ImportPath, under) || !strings.HasPrefix(imported, under) {
				continue
			}
			shared := imported == under+"google/wire" || imported == under+"google/seal"
			if family(imported) != family(p.ImportPath) || !shared {
				t.Errorf("%s imports its sibling %s", p.ImportPath, imported)
			}
		}
	}
}

func TestArchBinaryHoldsNoTests(t *testing.T) {
	for _, p := range list(t, "-deps", "./cmd/refundworker") {
		if p.ImportPath == "testing" || slices.Contains(inModule(testSupport), p.ImportPath) {
			t.Errorf("%s is in the binary", p.ImportPath)
		}
	}
}

// What decides is pure: given the same situation it says the same, and a table can show it.
func TestArchDecisionsImportNoClient(t *testing.T) {
	clients := []string{"github.com/nats-io/...", "github.com/redis/...", "net/...", "os", "context", "go.opentelemetry.io/..."}
	for _, p := range list(t, "./consumer/refund", "./idempotency/ledger") {
		for _, path := range p.Imports {
			if matchesAny(clients, path) {
				t.Errorf("%s imports %s", p.ImportPath, path)
			}
		}
	}
}

func TestArchEachPackageHasOneComment(t *testing.T) {
	for _, p := range list(t, "./...") {
		var comments []string
		for _, name := range p.GoFiles {
			if doc := parse(t, filepath.Join(p.Dir, name)).Doc; doc != nil {
				comments = append(comments, doc.Text())
			}
		}
		if len(comments) != 1 || !strings.HasPrefix(comments[0], "Package "+p.Name+" ") {
			t.Errorf("%s has %d package comments, want one that begins with %q", p.ImportPath, len(comments), "Package "+p.Name)
		}
	}
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

package providers_test

import (
	"slices"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

func TestRegistry(t *testing.T) {
	a, b := newScripted(t), newScripted(t)
	r, err := providers.NewRegistry([]providers.Instance{{Name: "b", Type: "scripted", Provider: b}, {Name: "a", Type: "scripted", Provider: a}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Names(), []schemas.ProviderName{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("Names: got %v, want %v", got, want)
	}
	r.Names()[0] = "z"
	if got, ok := r.Lookup("a"); !ok || got != providers.Provider(a) {
		t.Errorf("Lookup(a): got %v, %v", got, ok)
	}
	if got, ok := r.Lookup("z"); ok || got != nil {
		t.Errorf("Lookup(z): got %v, %v, want nothing", got, ok)
	}
	if got := r.Type("b"); got != "scripted" {
		t.Errorf("Type(b): got %q", got)
	}
}

func TestRegistryReportsEveryProblem(t *testing.T) {
	p := newScripted(t)
	_, err := providers.NewRegistry([]providers.Instance{
		{Name: "a", Type: "x", Provider: p}, {Name: "a", Type: "x", Provider: p}, {Name: "A.b", Type: "x", Provider: p},
		{Name: "c", Provider: p}, {Name: "d", Type: "x"}, {},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"provider 2", "provider 3", "provider 4", "provider 5", "provider 6"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "provider 1:") {
		t.Errorf("got %v, but provider 1 is fine", err)
	}
}

func newScripted(t *testing.T, outcomes ...string) *scripted.Provider {
	t.Helper()
	p, err := scripted.New(scripted.Config{Outcomes: outcomes})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

package providers

import (
	"errors"
	"fmt"
	"slices"

	"refundworker/schemas"
)

// Instance is one configured provider: the name that commands use, the adapter's type, and the adapter.
type Instance struct {
	Name     schemas.ProviderName
	Type     string
	Provider Provider
}

// Registry finds provider instances by name. It does not change once built.
type Registry struct {
	byName map[schemas.ProviderName]Instance
	names  []schemas.ProviderName
}

// NewRegistry builds a registry. Its error joins every problem: invalid and repeated names, and instances
// without a type or an adapter.
func NewRegistry(instances []Instance) (*Registry, error) {
	r := &Registry{byName: make(map[schemas.ProviderName]Instance, len(instances))}
	var problems []error
	for i, in := range instances {
		if err := r.add(in); err != nil {
			problems = append(problems, fmt.Errorf("provider %d: %w", i+1, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	slices.Sort(r.names)
	return r, nil
}

func (r *Registry) add(in Instance) error {
	if !in.Name.Valid() {
		return fmt.Errorf("name %q is not 1 to 32 characters of a-z 0-9 -", in.Name)
	}
	if _, taken := r.byName[in.Name]; taken {
		return fmt.Errorf("name %q is used twice", in.Name)
	}
	if in.Type == "" || in.Provider == nil {
		return fmt.Errorf("%q needs a type and an adapter", in.Name)
	}
	r.byName[in.Name] = in
	r.names = append(r.names, in.Name)
	return nil
}

// Lookup returns the provider of a name, and whether there is one.
func (r *Registry) Lookup(name schemas.ProviderName) (Provider, bool) {
	in, ok := r.byName[name]
	return in.Provider, ok
}

// Type returns the adapter type of a name; empty when there is no such instance.
func (r *Registry) Type(name schemas.ProviderName) string { return r.byName[name].Type }

// Names returns the names of all instances in ascending order.
func (r *Registry) Names() []schemas.ProviderName { return slices.Clone(r.names) }

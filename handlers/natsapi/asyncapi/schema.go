package asyncapi

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const schemaPrefix = "#/components/schemas/"

// Schemas are the components that describe payloads, as the OpenAPI document has them: made by the same library, from the same
// types and their tags, under the same names.
type Schemas struct {
	registry huma.Registry
	own      map[string]*huma.Schema // not of a Go type
}

// NewSchemas begins with none.
func NewSchemas() *Schemas {
	name := func(t reflect.Type, hint string) string {
		return strings.ReplaceAll(huma.DefaultSchemaNamer(t, hint), "Resource", "")
	}
	return &Schemas{registry: huma.NewMapRegistry(schemaPrefix, name), own: map[string]*huma.Schema{}}
}

// Of is the schema of a type: a reference when it is a struct.
func (s *Schemas) Of(t reflect.Type) *huma.Schema { return s.registry.Schema(t, true, "") }

// Component gives the schema of a struct itself, to add to it what its tags do not say.
func (s *Schemas) Component(t reflect.Type) *huma.Schema {
	return s.registry.SchemaFromRef(s.Of(t).Ref)
}

// Put adds a schema of no single type, and gives the reference to it.
func (s *Schemas) Put(name string, schema *huma.Schema) *huma.Schema {
	s.own[name] = schema
	return Reference(name)
}

// Reference points at a component.
func Reference(name string) *huma.Schema { return &huma.Schema{Ref: schemaPrefix + name} }

// Finish gives all components. What is sent may get further members over time, so its schemas do not forbid them; taken
// names those of what is received, which do.
func (s *Schemas) Finish(taken ...reflect.Type) map[string]*huma.Schema {
	strict := map[*huma.Schema]bool{}
	for _, t := range taken {
		strict[s.Component(t)] = true
	}
	all := map[string]*huma.Schema{}
	for name, schema := range s.registry.Map() {
		for _, property := range schema.Properties {
			// Lists are written as [] when they are empty, never as null.
			if property.Type == huma.TypeArray {
				property.Nullable = false
			}
		}
		if !strict[schema] {
			schema.AdditionalProperties = nil
		}
		all[name] = schema
	}
	for name, schema := range s.own {
		all[name] = schema
	}
	return all
}

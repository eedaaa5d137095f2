package scenarios

import (
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// UnmarshalYAML takes a bare name, or name and params.
func (m *Module) UnmarshalYAML(node ast.Node) error {
	if text, ok := node.(*ast.StringNode); ok {
		m.Name = text.Value
		return nil
	}
	type plain Module // without this method
	return yaml.NodeToValue(node, (*plain)(m), yaml.Strict())
}

// UnmarshalYAML takes one directory, or a list of them.
func (dirs *Directories) UnmarshalYAML(node ast.Node) error {
	if node.Type() == ast.SequenceType {
		return yaml.NodeToValue(node, (*[]string)(dirs), yaml.Strict())
	}
	var one string
	if err := yaml.NodeToValue(node, &one, yaml.Strict()); err != nil {
		return err
	}
	if *dirs = nil; one != "" {
		*dirs = Directories{one}
	}
	return nil
}

// UnmarshalYAML takes one expectation, or a list of them.
func (e *Expectations) UnmarshalYAML(node ast.Node) error {
	if node.Type() == ast.SequenceType {
		return yaml.NodeToValue(node, (*[]Expectation)(e), yaml.Strict())
	}
	var one Expectation
	if err := yaml.NodeToValue(node, &one, yaml.Strict()); err != nil {
		return err
	}
	*e = Expectations{one}
	return nil
}

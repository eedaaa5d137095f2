package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// ErrorPaths says which allocations are made to fail, one by one: "false", or
// words with commas between. "true" means those of the load, "exercise" those
// of the script, a number that one alone, and "all" those of others as well: the
// module loader's, not only what has a module's code on its stack.
type ErrorPaths string

// Walks is what an ErrorPaths asks for.
type Walks struct {
	Load, Exercise bool
	All            bool
	Only           int // one allocation alone; 0: each
}

// Wanted tells whether anything is to be walked.
func (p ErrorPaths) Wanted() bool { return p != "" && p != "false" }

// maxStep bounds the number of one allocation; what the wire takes is more.
const maxStep = 1_000_000

// Parse reads the words. Where neither the load nor the script is named, it is
// the load.
// Example: exercise,17
func (p ErrorPaths) Parse() (Walks, error) {
	var w Walks
	if !p.Wanted() {
		return w, nil
	}
	for word := range strings.SplitSeq(string(p), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		switch word = strings.TrimSpace(word); {
		case word == "true":
			w.Load = true
		case word == "exercise":
			w.Exercise = true
		case word == "all":
			w.All = true
		case err == nil && n > 0 && n <= maxStep && w.Only == 0:
			w.Only = n
		default:
			return w, fmt.Errorf("want true, false, or words of all, exercise and the number of one allocation with commas between, found %q", string(p))
		}
	}
	w.Load = w.Load || !w.Exercise
	return w, nil
}

// UnmarshalYAML takes true, false, a number, or words with commas between.
func (p *ErrorPaths) UnmarshalYAML(node ast.Node) error {
	*p = ErrorPaths(node.GetToken().Value)
	if _, err := p.Parse(); err != nil {
		return &yaml.SyntaxError{Message: "error_paths: " + err.Error(), Token: node.GetToken()}
	}
	return nil
}

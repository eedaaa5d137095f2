package scenarios

import (
	"os"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/config.md tells of every key that a kmemgate.yml may have.
func TestEveryKeyIsInTheReference(t *testing.T) {
	text, err := os.ReadFile("../docs/config.md")
	require.NoError(t, err)
	for _, kind := range []any{Scenario{}, Module{}, Suppression{}, Expectation{}, ExpectedLeak{}} {
		for _, key := range yamlKeys(reflect.TypeOf(kind)) {
			require.Regexp(t, "[`{ ]"+key+"[`:]", string(text), "%T", kind)
		}
	}
}

func yamlKeys(kind reflect.Type) (keys []string) {
	for i := range kind.NumField() {
		if key := kind.Field(i).Tag.Get("yaml"); key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

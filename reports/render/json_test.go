package render

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

const reportSchema = "../../docs/report.schema.json"

func validate(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	return schema.Validate(value)
}

func TestJSONFollowsItsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(reportSchema)
	require.NoError(t, err)
	require.NoError(t, validate(t, schema, rendered(t, "json")))

	var empty bytes.Buffer
	require.NoError(t, Write(&empty, reports.Report{Verdict: reports.None}, Options{Format: "json"}))
	require.NoError(t, validate(t, schema, empty.Bytes()), "nil lists are written as []")

	for _, broken := range []string{
		`{"schema":"kmemgate.report/v1","verdict":"green","runs":[]}`,
		`{"schema":"kmemgate.report/v2","verdict":"clean","runs":[]}`,
		`{"schema":"kmemgate.report/v1","verdict":"clean","runs":[],"extra":1}`,
		`{"schema":"kmemgate.report/v1","verdict":"clean","runs":[{}]}`,
	} {
		require.Error(t, validate(t, schema, []byte(broken)), broken)
	}
}

// TestSchemaKnowsEveryField: a field that is added to the report and not to
// the published schema fails here, even where the sample leaves it empty.
func TestSchemaKnowsEveryField(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(reportSchema)
	require.NoError(t, err)
	var r reports.Report
	fill(reflect.ValueOf(&r).Elem())
	r.Verdict, r.Runs[0].Verdict = reports.Leaks, reports.Leaks
	leak := &r.Runs[0].Leaks[0]
	leak.Status, leak.Kind = reports.New, "phys"
	r.Runs[0].Walk.Findings[0].Kind = "oops"
	var buf bytes.Buffer
	require.NoError(t, Write(&buf, r, Options{Format: "json"}))
	require.NoError(t, validate(t, schema, buf.Bytes()))
}

// fill sets everything to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	default:
		panic("fill: no value for " + v.Type().String())
	}
}

func TestJSONKeepsWhatWasThere(t *testing.T) {
	evil := "a\x1b[31m\u009b1m\u202e##[error]\U000e0041<script>é"
	var buf bytes.Buffer
	require.NoError(t, Write(&buf, reports.Report{Warnings: []string{evil}}, Options{Format: "json"}))
	var back reports.Report
	require.NoError(t, json.Unmarshal(buf.Bytes(), &back))
	require.Equal(t, evil, back.Warnings[0])
	for _, never := range []string{"\x1b", "\u009b", "\u202e", "##[", "<script>"} {
		require.False(t, strings.Contains(buf.String(), never), "%q", never)
	}
	require.Contains(t, buf.String(), "é", "letters stay legible")
}

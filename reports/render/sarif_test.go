package render

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

var compileSARIF = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile("testdata/sarif-schema-2.1.0.json")
})

// sarifSchema is that of OASIS, with errata 01
// (docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas).
func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := compileSARIF()
	require.NoError(t, err)
	return schema
}

func TestSARIF(t *testing.T) {
	schema := sarifSchema(t)
	text := rendered(t, "sarif")
	require.NoError(t, validate(t, schema, text))
	require.Error(t, validate(t, schema, []byte(`{"version":"2.1.0","runs":[{"tool":{}}]}`)), "the schema is in force")

	var doc sarifDoc
	require.NoError(t, json.Unmarshal(text, &doc))
	run := doc.Runs[0]
	require.False(t, run.Invocations[0].ExecutionSuccessful, "one run has no verdict")
	require.Len(t, run.Results, 8, "three new, one known, one suppressed, three findings; no transient, no noise")

	probe := run.Results[1]
	require.Equal(t, "drivers/leaky/leaky.c", probe.Locations[0].Physical.Artifact.URI)
	require.Equal(t, 42, probe.Locations[0].Physical.Region.StartLine)
	require.Equal(t, probeLeak().Signature, probe.Fingerprints["kmemgateSignature/v1"])
	flow := probe.CodeFlows[0].ThreadFlows[0].Locations
	require.Len(t, flow, 3, "the frames that have a file")
	require.Equal(t, 101, flow[0].Location.Physical.Region.StartLine, "the outermost call comes first")
	require.Equal(t, 42, flow[2].Location.Physical.Region.StartLine)

	require.Equal(t, "drivers/leaky/kmemgate.yml", run.Results[2].Locations[0].Physical.Artifact.URI, "code scanning wants a file")
	suppressed := map[string]string{}
	for _, r := range run.Results {
		for _, s := range r.Suppressions {
			suppressed[r.Locations[0].Logical[0].Name] = s.Justification
		}
	}
	require.Equal(t, map[string]string{
		"leaky_open": "in the baseline: in the baseline", "leaky_ioctl": "in kmemgate.yml: fixed in 6.14",
	}, suppressed)
}

type sarifDoc struct {
	Runs []struct {
		Invocations []struct{ ExecutionSuccessful bool }
		Results     []struct {
			Locations    []sarifLoc
			Fingerprints map[string]string `json:"partialFingerprints"`
			Suppressions []struct{ Justification string }
			CodeFlows    []struct {
				ThreadFlows []struct {
					Locations []struct{ Location sarifLoc }
				}
			}
		}
	}
}

type sarifLoc struct {
	Physical struct {
		Artifact struct{ URI string } `json:"artifactLocation"`
		Region   struct{ StartLine int }
	} `json:"physicalLocation"`
	Logical []struct{ Name string } `json:"logicalLocations"`
}

func TestSARIFURIs(t *testing.T) {
	for _, c := range []struct {
		file, want string
		relative   bool
	}{
		{"a b%.c", "a%20b%25.c", true},
		{"../../etc/passwd", "etc/passwd", true},
		{"x/../y.c", "y.c", true},
		{"/usr/src/x.c", "file:///usr/src/x.c", false},
		{"a:b.c", "./a:b.c", true}, // else "a" would be a scheme
		{"", "", false},
	} {
		uri, relative := sarifURI(c.file)
		require.Equal(t, c.want, uri, c.file)
		require.Equal(t, c.relative, relative, c.file)
	}
}

func TestSARIFBaselineStates(t *testing.T) {
	v := newView(reports.Report{}, Options{})
	for status, want := range map[reports.Status]string{reports.New: "new", reports.Known: "unchanged"} {
		r := v.sarifLeak(group{Leak: reports.Leak{Status: status, Title: "t"}})
		require.Equal(t, want, *r.BaselineState)
	}
}

// What was cut is said where code scanning shows it, and what lies in the
// kernel's tree is no file of the repository.
func TestSARIFSaysWhatWasCut(t *testing.T) {
	out := write(t, crowd(sarifMost+7), Options{Format: "sarif"})
	require.NoError(t, validate(t, sarifSchema(t), []byte(out)))
	require.Contains(t, out, "7 more leaks left out: code scanning shows 5000; report.json has them all")
	require.NotContains(t, write(t, crowd(9), Options{Format: "sarif"}), "left out")

	v := newView(reports.Report{}, Options{SourceDir: "drivers/leaky"})
	require.Nil(t, v.sarifPlace("include/linux/slab.h", "leaky", 9).ArtifactLocation.URIBaseID)
	require.Equal(t, "%SRCROOT%", *v.sarifPlace("leaky.c", "leaky", 9).ArtifactLocation.URIBaseID)
}

func TestMailSaysWhatWasCut(t *testing.T) {
	require.Contains(t, write(t, crowd(mailLeaks+5), Options{Format: "mail"}), "and 5 more leaks, not shown here.")
	r := crowd(0)
	f := r.Runs[0].Walk.Findings[0]
	for n := range mailLeaks + 3 {
		f.N = n + 1
		r.Runs[0].Walk.Findings = append(r.Runs[0].Walk.Findings, f)
	}
	require.Regexp(t, `and 6 more failing error paths, not shown\s+here\.`, write(t, r, Options{Format: "mail"}))
}

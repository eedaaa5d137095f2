package reports

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leakyRun is a run of the test's module with one orphan from an inlined helper
// in its init, in a folder as the harness makes it.
func leakyRun(t *testing.T, dir string) *Capture {
	t.Helper()
	mc, m := moduleCapture(t, "x86_64")
	c := canaryCapture()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "modules"), 0o755))
	ko, err := os.ReadFile(mc.Modules[0].Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules/driver.ko"), ko, 0o644))
	c.Modules, c.Loads, c.SourceDir = mc.Modules, mc.Loads, mc.SourceDir
	c.Modules[0].Path = "modules/driver.ko"
	ret := c.Loads[0].Sections[".init.text"] + callTo(t, m, ".init.text", "kmalloc")[1]
	c.leak(object(fooAddr, 64, 90, 2050, "__kmalloc_noprof+0x1/0x2", RawFrame{Addr: ret}.String(), "do_one_initcall+0x1/0x2"))
	c.Memory = map[uint64][]byte{fooAddr: {1, 2, 3}}
	return c
}

func TestReportCanBeMadeAgain(t *testing.T) {
	dir := t.TempDir()
	c := leakyRun(t, dir)
	// The driver's directory, which is gone when the report is made again.
	driver := filepath.Join(t.TempDir(), "driver")
	require.NoError(t, os.CopyFS(driver, os.DirFS(c.SourceDir)))
	c.SourceDir = driver
	c.Timings = map[string]float64{"boot": 1.25}
	c.Control, c.Output = []byte{}, nil
	require.NoError(t, WriteCapture(dir, c))
	first := Judge(c, Policy{Dir: dir})
	require.Equal(t, Leaks, first.Verdict, first.Detail)
	l := first.Leaks[0]
	assert.Equal(t, []any{"inlined_inner", "sub/helper.h", 15}, []any{l.Function, l.File, l.Line})
	assert.Equal(t, SourceLine{15, "\treturn kmalloc(16 * n, 0);"}, l.Source[2])
	assert.Equal(t, "return kmalloc(16 * n, 0);", l.Sites[0].Text)
	assert.NotContains(t, first.Leaks[0].Frames[0].File, "/tmp")

	require.NoError(t, os.RemoveAll(driver))
	back, err := ReadCapture(dir)
	require.NoError(t, err)
	assert.Equal(t, c.Memory, back.Memory)
	assert.NotNil(t, back.Control, "an empty text is not an absent one")
	assert.Nil(t, back.Output)
	var a, b bytes.Buffer
	require.NoError(t, WriteJSON(&a, NewReport([]Run{first})))
	require.NoError(t, WriteJSON(&b, NewReport([]Run{Judge(back, Policy{})})))
	assert.Equal(t, a.String(), b.String())

	rep, err := ReadJSON(&a)
	require.NoError(t, err)
	assert.Equal(t, Leaks, rep.Verdict)
	assert.Equal(t, l.Signature, rep.Runs[0].Leaks[0].Signature)
}

func TestReadCaptureErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadCapture(dir)
	assert.ErrorContains(t, err, "capture.json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "capture.json"), []byte(`{"schema":"x/v9"}`), 0o644))
	_, err = ReadCapture(dir)
	assert.ErrorContains(t, err, `schema "x/v9", want "kmemgate.capture/v1"`)
	require.NoError(t, WriteCapture(dir, &Capture{}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.json"), []byte(`{`), 0o644))
	_, err = ReadCapture(dir)
	assert.ErrorContains(t, err, "modules.json")
}

func TestReadJSONErrors(t *testing.T) {
	_, err := ReadJSON(bytes.NewReader([]byte(`{"schema":"kmemgate.report/v2"}`)))
	assert.ErrorContains(t, err, `schema "kmemgate.report/v2"`)
	_, err = ReadJSON(bytes.NewReader([]byte(`[]`)))
	assert.ErrorContains(t, err, "read report")
}

func TestBaseline(t *testing.T) {
	dir := t.TempDir()
	c := leakyRun(t, dir)
	run := Judge(c, Policy{Dir: dir})
	b := NewBaseline(NewReport([]Run{run}))
	var text bytes.Buffer
	require.NoError(t, WriteBaseline(&text, b))
	assert.Equal(t, `{
  "schema": "kmemgate.baseline/v1",
  "leaks": [
    {
      "signature": "`+run.Leaks[0].Signature+`",
      "title": "memory leak in inlined_inner",
      "sites": [
        {
          "function": "inlined_inner",
          "text": "return kmalloc(16 * n, 0);",
          "count": 1
        }
      ]
    }
  ]
}
`, text.String())
	back, err := ReadBaseline(&text)
	require.NoError(t, err)
	assert.Equal(t, b, back)

	run = Judge(c, Policy{Dir: dir, Baseline: &back})
	assert.Equal(t, Clean, run.Verdict)
	assert.Equal(t, Known, run.Leaks[0].Status)
	assert.Equal(t, b, NewBaseline(NewReport([]Run{run})), "--update-baseline keeps what is known")

	// A second object at the known site is new.
	again := bytes.Replace(c.Last, []byte("0xffff888005000000"), []byte("0xffff888005008000"), 1)
	c.leak(string(again[bytes.Index(again, []byte("unreferenced object 0xffff888005008000")):]))
	run = Judge(c, Policy{Dir: dir, Baseline: &back})
	assert.Equal(t, Leaks, run.Verdict)
	assert.Equal(t, "1 of 2 objects are in the baseline, the rest is new", run.Leaks[0].Note)
}

func TestReadBaselineErrors(t *testing.T) {
	for text, want := range map[string]string{
		"": "EOF", `{"schema":"kmemgate.baseline/v1","leeks":[]}`: "leeks", `{"schema":"v0"}`: `schema "v0"`,
	} {
		_, err := ReadBaseline(bytes.NewReader([]byte(text)))
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "--update-baseline")
	}
}

// TestBaselineBySite: a second leak in a known function does not hide behind the
// first, whether it is of another line or of the same.
func TestBaselineBySite(t *testing.T) {
	known := Site{Function: "f", Text: "x = kmalloc(64, GFP_KERNEL);", Line: 3, Count: 2}
	leak := func(sites ...Site) []Leak {
		l := Leak{Signature: "a", Status: New, Sites: sites}
		for _, s := range sites {
			l.Count += s.Count
		}
		return []Leak{l}
	}
	b := NewBaseline(Report{Runs: []Run{{Leaks: leak(known)}}})
	moved, other, more := known, known, known
	moved.Line = 30
	other.Text, other.Count = "y = kmalloc(64, GFP_KERNEL);", 1
	more.Count = 3
	for _, tt := range []struct {
		name  string
		leaks []Leak
		want  Status
		note  string
	}{
		{"another line in its place", leak(Site{Function: "f", Text: "z();", Count: 2}), New, ""},
		{"another line beside it", leak(known, other), New, "2 of 3 objects are in the baseline"},
		{"once more", leak(more), New, "2 of 3 objects are in the baseline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.apply(tt.leaks)
			assert.Equal(t, tt.want, tt.leaks[0].Status)
			assert.Contains(t, tt.leaks[0].Note, tt.note)
		})
	}
	for _, same := range [][]Leak{leak(known), leak(moved)} {
		b.apply(same)
		assert.Equal(t, Known, same[0].Status, "a line that moved is the same")
	}
}

// TestNewLineIsShown: of a leak that the baseline knows in part, file, line, frames
// and the first record are those of what is new.
func TestNewLineIsShown(t *testing.T) {
	lines := strings.Split("x = kmalloc(64, GFP_KERNEL);\ny = kmalloc(64, GFP_KERNEL);\nz = kmalloc(64, GFP_KERNEL);", "\n")
	leak := func(b *Baseline, at ...int) Leak {
		j := &judge{c: &Capture{}, p: Policy{Baseline: b}, src: &sources{files: map[string][]string{"f.c": lines}}}
		var orphans []*orphan
		for _, line := range at {
			frames := []Frame{{Function: "f", File: "f.c", Line: line}}
			orphans = append(orphans, &orphan{rec: &Record{Raw: lines[line-1], Kind: KindObject}, frames: frames, blamed: frames, signature: "a"})
		}
		leaks := j.group(orphans)
		require.Len(t, leaks, 1)
		b.apply(leaks)
		return leaks[0]
	}
	b := NewBaseline(Report{Runs: []Run{{Leaks: []Leak{leak(nil, 1, 2)}}}})
	for want, at := range map[int][]int{1: {1, 2}, 2: {1, 2, 2}, 3: {1, 2, 3}} {
		l := leak(&b, at...)
		assert.Equal(t, map[bool]Status{true: New, false: Known}[len(at) > 2], l.Status)
		assert.Equal(t, want, l.Line)
		assert.Equal(t, want, l.Frames[0].Line)
		assert.Equal(t, lines[want-1], l.Records[0])
		assert.Len(t, l.Records, len(at))
	}
}

func TestMergeBaselines(t *testing.T) {
	entry := func(signature string, counts ...int) BaselineEntry {
		e := BaselineEntry{Signature: signature, Title: "memory leak in " + signature}
		for i, n := range counts {
			e.Sites = append(e.Sites, BaselineSite{Function: signature, Text: string(rune('a' + i)), Count: n})
		}
		return e
	}
	a := &Baseline{Schema: BaselineSchema, Leaks: []BaselineEntry{entry("f", 1, 5), entry("g", 1)}}
	b := &Baseline{Schema: BaselineSchema, Leaks: []BaselineEntry{entry("f", 3), entry("h", 2)}}
	want := &Baseline{Schema: BaselineSchema, Leaks: []BaselineEntry{entry("f", 3, 5), entry("g", 1), entry("h", 2)}}
	assert.Equal(t, want, MergeBaselines(a, b))
	assert.Equal(t, a, MergeBaselines(a, nil))
	assert.Equal(t, a, MergeBaselines(nil, a))
}

func TestBaselineKnowsChildren(t *testing.T) {
	l := Leak{Signature: "a", Status: New, Count: 3, Sites: []Site{{Function: "f", Text: "x", Count: 1, Line: 3}, {Function: "f", Text: "x", Count: 1, Line: 9}, {Function: "g", Count: 1, Signature: "b"}}}
	b := NewBaseline(Report{Runs: []Run{{Leaks: []Leak{l}}}})
	require.Len(t, b.Leaks, 2, "children have an entry of their own, so that a run without memory evidence knows them too")
	assert.Equal(t, []BaselineSite{{"f", "x", 2}}, b.Leaks[entryOf(b, "a")].Sites)
	leaks := []Leak{{Signature: "b", Status: New, Count: 1, Sites: []Site{{Function: "g", Count: 1}}}}
	b.apply(leaks)
	assert.Equal(t, Known, leaks[0].Status)
}

func entryOf(b Baseline, signature string) int {
	for i, e := range b.Leaks {
		if e.Signature == signature {
			return i
		}
	}
	return -1
}

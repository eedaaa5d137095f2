package history

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/kmemgate/kmemgate/reports"
)

// evil is a name that tries to break out of all that it is written to.
const evil = "</script><img src=x onerror=alert(1)>`|@torvalds [x](http://evil) -->\x1b[31m\u202e\x00\xff"

func evilNight(t *testing.T) *simulation {
	s := simulate(t)
	s.next().add(s.run(evil, "x86_64"))
	for range 2 {
		run := s.next().run(evil, "x86_64")
		l := leakIn("f")
		l.Signature, l.Title, l.Function, l.Module, l.File, l.Records = evil, evil, evil, evil, evil, []string{evil + "\n```\n" + evil}
		run.Verdict, run.Leaks, run.Detail, run.Reproduce = reports.Leaks, []reports.Leak{l}, evil, evil
		run.Built.Toolchain = evil
		s.add(run)
	}
	return s
}

func htmlOf(t *testing.T, s *simulation) (page Page, text string, nodes []*html.Node) {
	page, err := s.h.Page(t.Context(), Query{}, time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, page.WriteHTML(&b))
	root, err := html.Parse(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			nodes = append(nodes, n)
		}
	}
	return page, b.String(), nodes
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func TestPageOfThreeNights(t *testing.T) {
	s := threeNights(t, func(int, *simulation) {})
	page, text, nodes := htmlOf(t, s)
	rows := map[string]string{} // a row's head: its cells
	states := map[string]string{}
	for _, n := range nodes {
		switch {
		case n.Data == "td" && attribute(n.Parent.Parent.Parent, "class") == "map":
			head := textOf(n.Parent.FirstChild)
			rows[head] += "[" + textOf(n) + "]"
		case strings.HasPrefix(attribute(n, "class"), "state "):
			states[textOf(n.Parent)] = textOf(n)
		}
	}
	require.Equal(t, map[string]string{"dummy 6.12 arm64": "[·][][][]", "dummy 6.12 x86_64": "[·][3][3][·]", "veth 6.12 x86_64": "[·][3][·][3]"}, rows)
	require.Len(t, states, 2)
	for row, state := range states {
		if strings.Contains(row, "leaky_probe") {
			require.Equal(t, "fixed", state)
			require.Contains(t, row, "2026-11-21 6.12.102 2026-11-22 6.12.103", "first and last seen")
		} else {
			require.Equal(t, "flaky", state)
			require.Contains(t, row, "memory leak in racy_init")
		}
	}
	require.Equal(t, []float64{0, 384, 192, 192}, page.Trends[0].Values, "bytes: the worst run of each row")
	require.Equal(t, []float64{9, 6, 6, 6}, page.Trends[1].Values, "seconds")
	require.Contains(t, text, "<title>2026-11-21: 384 B</title>")
	require.Contains(t, text, "prefers-color-scheme: dark")
}

// The page needs no network and no script, and a name can bring neither in.
func TestPageIsInert(t *testing.T) {
	_, text, nodes := htmlOf(t, evilNight(t))
	for _, n := range nodes {
		require.NotContains(t, []string{"script", "img", "link", "iframe", "a", "object"}, n.Data)
		for _, a := range n.Attr {
			require.False(t, strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href", "%s %s=%q", n.Data, a.Key, a.Val)
		}
	}
	require.NotContains(t, text, "\x1b")
	require.NotContains(t, text, "\u202e")
	require.NotContains(t, text, "<img")
	require.Contains(t, text, "&lt;img src=x onerror=alert(1)&gt;", "it is shown")
}

func TestTextIsInert(t *testing.T) {
	leaks, err := evilNight(t).h.Leaks(t.Context(), Query{})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, WriteLeaks(&b, leaks))
	for _, r := range b.String() {
		require.True(t, r == '\n' || r >= ' ' && r != 0x7f && r != 0x202e, "%q", b.String())
	}
	require.Contains(t, b.String(), `\u001b[31m\u202e\u0000\xff`)
}

func TestWriteLeaks(t *testing.T) {
	s := threeNights(t, func(int, *simulation) {})
	leaks, err := s.h.Leaks(t.Context(), Query{Scenario: "dummy"})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, WriteLeaks(&b, leaks))
	require.Equal(t, `fixed       memory leak in leaky_probe [foo] foo.c:42
  in         dummy on 6.12 (x86_64)
  first seen 2026-11-21 on 6.12.102 (000000000000)
  last seen  2026-11-22 on 6.12.103 (000000000000), 3 orphans, 192 B in all
  because    2 of 4 runs saw it; it is gone since 6.12.104, night 2026-11-23
  signature  sig-leaky_probe
`, b.String())
	require.ErrorIs(t, WriteLeaks(failing{}, leaks), io.ErrClosedPipe)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestKCIDB(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile("testdata/kcidb-v5.3.schema.json")
	require.NoError(t, err)
	valid := func(k KCIDB) {
		text, err := json.Marshal(k)
		require.NoError(t, err)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v), "%s", text)
	}
	s := threeNights(t, func(int, *simulation) {})
	k, err := s.h.KCIDB(t.Context(), "2026-11-21", "kmemgate")
	require.NoError(t, err)
	valid(k)
	require.Equal(t, []int{1, 1, 3, 2, 2}, []int{len(k.Checkouts), len(k.Builds), len(k.Tests), len(k.Issues), len(k.Incidents)})
	require.Equal(t, []string{"FAIL", "FAIL", "PASS"}, []string{k.Tests[0].Status, k.Tests[1].Status, k.Tests[2].Status})
	require.Equal(t, "kmemgate.dummy", k.Tests[0].Path)
	require.Equal(t, k.Tests[0].ID, k.Incidents[0].TestID)
	require.Equal(t, k.Issues[0].ID, k.Incidents[0].IssueID)
	require.Equal(t, "0000000000000000000000000000000000000002", k.Checkouts[0].CommitHash)

	k, err = evilNight(t).h.KCIDB(t.Context(), "", "lab_1")
	require.NoError(t, err)
	valid(k)
	_, err = s.h.KCIDB(t.Context(), "", "My Lab")
	require.ErrorIs(t, err, ErrOrigin)
	_, err = s.h.KCIDB(t.Context(), "1999-01-01", "kmemgate")
	require.ErrorIs(t, err, ErrNoNight)
}

func TestKCIDBStatus(t *testing.T) {
	for _, c := range []struct {
		verdict      reports.Verdict
		reason, want string
	}{
		{reports.Clean, "", "PASS"}, {reports.Leaks, "", "FAIL"}, {reports.Skipped, "arch", "SKIP"},
		{reports.None, reports.ReasonPanic, "ERROR"}, {reports.None, reports.ReasonHost, "MISS"}, {reports.None, reports.ReasonBuild, "MISS"},
	} {
		require.Equal(t, c.want, kcidbStatus(string(c.verdict), c.reason), "%s %s", c.verdict, c.reason)
	}
}

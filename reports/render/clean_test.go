package render

import (
	"bytes"
	"encoding/json"
	netmail "net/mail"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/pprof/profile"
	"github.com/joshdk/go-junit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	mdhtml "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"

	"github.com/kmemgate/kmemgate/reports"
)

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"foo_probe.constprop.0", "foo_probe.constprop.0"},
		{"größe", "größe"},
		{"a\nb", `a\nb`},
		{"a\x1b[31mred", `a\x1b[31mred`},
		{"a\u009b31m", `a\u009b31m`}, // CSI as one C1 character
		{"caf\xe9", `caf\xe9`},       // Latin-1
		{"\u202edrow", `\u202edrow`}, // right-to-left override
		{"a\u2028b", `a\u2028b`},     // ends a line in JavaScript
		{"::error::x", `\::error::x`},
		{"  ::error::x", `  \::error::x`},
		{"std::x", "std::x"},
		{"x ##[error]y", `x #\#[error]y`},
		{"\U000e0041", `\U000e0041`}, // a tag character: not seen
		{"a\tb", "a b"},
	} {
		assert.Equal(t, c.want, clean(c.in), "%q", c.in)
	}
	assert.Equal(t, "a\n\\::set-output\n\tb", cleanBlock("a\r\n::set-output\n\tb"))
	assert.Equal(t, maxLine+1, utf8.RuneCountInString(clean(strings.Repeat("é", 9000))))
}

// FuzzHostile puts one hostile string wherever a report can hold one, and
// looks at every format with a reader that is not ours.
func FuzzHostile(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, evil string) {
		if len(evil) > 4096 {
			return
		}
		report := possessed(evil)
		for _, format := range Formats() {
			var buf bytes.Buffer
			require.NoError(t, Write(&buf, report, Options{Format: format, SourceDir: evil, OutDir: evil, FullReport: evil}), format)
			checkHarmless(t, format, buf.Bytes(), evil)
		}
	})
}

var hostile = []string{
	"", "plain", "::error file=x::boo", "\n::error::boo", "%0A::warning::x", "a%b,c:d", "]]>", "<script>alert(1)</script>",
	"\"><img src=x onerror=alert(1)>", "\x1b[31mred\x1b]0;title\x07", "\xff\xfe", "a`b```c````d", "|||", `\|<img src=x>`, "~~~\n# head",
	"# TODO not ok 1", "\n1..0\nBail out!\nnot ok 1 x", "</details>", "</summary><b>", "##[error]x", "--\nFrom: me\n", "javascript:alert(1)",
	"../../etc/passwd", "/etc/passwd", "a\u202eb\u2066c\u200b", "\u2028", "https://x.example/<\">", "<!--", "&lt;b&gt;", "{{.}}", "${x}", "C:\\x", "a;b 1", "\r\n", "\x00",
	"]]&gt;<!DOCTYPE x>", "</style><script>x</script>", "-->", "^A\n---\ndiff --git", "file:///x", "%", "%zz", "data:text/html,x", "🄰\U000e0001",
}

// possessed is the sample with evil in every string.
func possessed(evil string) reports.Report {
	r := sample()
	text, _ := json.Marshal(r)
	var tree any
	_ = json.Unmarshal(text, &tree)
	tree = possess(tree, "", evil)
	text, _ = json.Marshal(tree)
	_ = json.Unmarshal(text, &r)
	restore(&r, evil)
	return r
}

// keywords are what formats branch on; they are evil in one run only.
var keywords = map[string]bool{"schema": true, "verdict": true, "status": true, "kind": true}

func possess(v any, key, evil string) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = possess(v[k], k, evil)
		}
	case []any:
		for i := range v {
			v[i] = possess(v[i], key, evil)
		}
	case string:
		if !keywords[key] {
			return evil
		}
	}
	return v
}

// restore makes invalid UTF-8 invalid again, which JSON mended, and gives the
// last run evil keywords too.
func restore(r *reports.Report, evil string) {
	run := &r.Runs[0]
	run.Kernel, run.Scenario, run.Dir, run.Reproduce = evil, evil, evil, evil
	for i := range run.Leaks {
		l := &run.Leaks[i]
		l.Title, l.Function, l.File, l.Signature, l.Module = evil, evil, evil, evil, evil
		l.Records = []string{evil + "\n" + evil}
	}
	last := &r.Runs[len(r.Runs)-1]
	last.Verdict = reports.Verdict(evil)
	last.Leaks = []reports.Leak{{Kind: evil, Status: reports.Status(evil), Title: evil}}
	last.Walk = &reports.WalkResult{Findings: []reports.Finding{{Kind: evil, Text: evil}}}
	last.Timings = map[string]float64{evil: 1}
}

func checkHarmless(t *testing.T, format string, out []byte, evil string) {
	t.Helper()
	if format == "pprof" {
		checkProfile(t, out)
		return
	}
	text := string(out)
	require.True(t, utf8.Valid(out), "%s: UTF-8", format)
	for i, r := range text {
		bad := r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		if bad { // asked for each character of megabytes: no time for require
			t.Fatalf("%s: %U at %d: %q", format, r, i, around(text, i))
		}
	}
	checkRunnerCommands(t, format, text)
	switch format {
	case "json", "sarif":
		var tree any
		require.NoError(t, json.Unmarshal(out, &tree), format)
		if format == "json" {
			checkRoundTrip(t, out, evil)
		}
		if format == "sarif" {
			require.NoError(t, validate(t, sarifSchema(t), out))
		}
	case "junit":
		suites, err := junit.Ingest(out)
		require.NoError(t, err)
		require.Len(t, suites, 5)
	case "ktap":
		for line := range strings.Lines(text) {
			require.Regexp(t, ktapLine, line)
		}
	case "folded", "folded-objects":
		for line := range strings.Lines(text) {
			require.Regexp(t, `^([^; #:][^;]*;)*[^; #:][^;]* \d+\n$`, line)
		}
	case "mail":
		m, err := netmail.ReadMessage(bytes.NewReader(out))
		require.NoError(t, err)
		require.Len(t, m.Header, 1)
		require.NotEmpty(t, m.Header.Get("Subject"))
		require.NotRegexp(t, `(?m)^From `, text)
	case "markdown":
		checkMarkdown(t, out)
	case "html":
		checkHTML(t, out)
	}
}

// checkProfile unpacks the profile and looks at every string that its readers
// print.
func checkProfile(t *testing.T, out []byte) {
	t.Helper()
	p, err := profile.ParseData(out)
	require.NoError(t, err)
	var texts []string
	for _, f := range p.Function {
		texts = append(texts, f.Name, f.SystemName, f.Filename)
	}
	for _, s := range p.Sample {
		for key, values := range s.Label {
			texts = append(append(texts, key), values...)
		}
	}
	require.Greater(t, len(texts), 20)
	for _, text := range texts {
		require.True(t, utf8.ValidString(text), "%q", text)
		require.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
	}
}

// ktapLine is what KTAP has: docs.kernel.org/dev-tools/ktap.html.
const ktapLine = `^ *(KTAP version 1|1\.\.\d+|# .*|(ok|not ok) \d+ [^#\n]+( # (SKIP|XFAIL|ERROR) ?[^#\n]*)?)\n$`

func around(s string, i int) string { return s[max(0, i-30):min(len(s), i+30)] }

// checkRunnerCommands: a line that the GitHub runner would obey is one of ours.
func checkRunnerCommands(t *testing.T, format, text string) {
	t.Helper()
	commands := 0
	for line := range strings.Lines(text) {
		require.NotContains(t, line, "##[", format)
		if !strings.HasPrefix(strings.TrimSpace(line), "::") {
			continue
		}
		commands++
		require.Equal(t, "github", format, line)
		require.Regexp(t, `^::(error|warning) ([a-z]+=[^,:]*,?)+::[^\n]*\n$`, line)
	}
	require.LessOrEqual(t, commands, annotations+1)
}

// checkRoundTrip: a program reads back the very string.
func checkRoundTrip(t *testing.T, out []byte, evil string) {
	t.Helper()
	var back reports.Report
	require.NoError(t, json.Unmarshal(out, &back))
	require.Equal(t, squeeze(strings.ToValidUTF8(evil, "\ufffd")), squeeze(back.Runs[0].Leaks[0].Title))
}

// squeeze: encoding/json has one U+FFFD a byte, ToValidUTF8 one a run.
func squeeze(s string) string {
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}

// ourElements are all that the markdown may turn into.
var ourElements = map[string]bool{
	"details": true, "summary": true, "b": true, "code": true, "pre": true, "p": true, "strong": true, "a": true, "h3": true,
	"table": true, "thead": true, "tbody": true, "tr": true, "th": true, "td": true, "ul": true, "li": true,
}

// checkMarkdown renders the page as GitHub would, raw HTML and all, and counts
// what came out.
func checkMarkdown(t *testing.T, out []byte) {
	t.Helper()
	var page bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(mdhtml.WithUnsafe()))
	require.NoError(t, md.Convert(out, &page))
	open := 0
	for z := html.NewTokenizer(&page); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		token := z.Token()
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			require.True(t, ourElements[token.Data], "element %s in\n%s", token, out)
			for _, a := range token.Attr {
				require.Contains(t, []string{"class", "style", "align", "href"}, a.Key, "%s", token)
				if a.Key == "href" {
					require.Regexp(t, `^(https?|mailto|ftp):`, a.Val)
				}
			}
			if token.Data == "details" {
				open++
			}
		case html.EndTagToken:
			if token.Data == "details" {
				open--
			}
		case html.CommentToken, html.DoctypeToken:
			t.Fatalf("%s in\n%s", token, out)
		}
	}
	require.Zero(t, open, "details are closed")
}

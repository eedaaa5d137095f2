package scenarios

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzParse: whatever the bytes, Parse gives mistakes with a line each, or a
// scenario that keeps its promises and that is read as the same when it is
// written down in another form.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("expect: {verdict: clean}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("devices: [\"edu,romfile=/etc/passwd\", edu]\ncmdline: \"a\\nb\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("f", data)
		if err != nil {
			checkMistakes(t, data, err)
			return
		}
		checkScenario(t, s)
		text := inJSON(t, s)
		again, err := Parse("again", []byte(text))
		require.NoError(t, err, text)
		require.Equal(t, unplaced(s), unplaced(again), text)
	})
}

func checkMistakes(t *testing.T, data []byte, err error) {
	t.Helper()
	var broken *Error
	require.ErrorAs(t, err, &broken)
	require.NotEmpty(t, broken.Mistakes)
	lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
	for _, m := range broken.Mistakes {
		require.True(t, m.Line >= 1 && m.Line <= lines, "line %d is not in the file: %v", m.Line, err)
	}
}

// checkScenario is what others rely on: defaults are there, and what goes into a
// path, a command line or QEMU's arguments cannot become another one.
func checkScenario(t *testing.T, s *Scenario) {
	t.Helper()
	require.NotEmpty(t, s.Kernels)
	require.NotEmpty(t, s.Arches)
	require.NotNil(t, s.Unload)
	require.Len(t, s.KconfigLines, len(s.Kconfig))
	require.True(t, s.Cycles >= 1 && s.Cycles <= maxCycles, s.Cycles)
	require.True(t, s.Timeout >= time.Second && s.Timeout <= maxTimeout, s.Timeout)
	require.Subset(t, []string{"x86_64", "arm64"}, s.Arches)
	require.False(t, filepath.IsAbs(s.Baseline))
	for _, dir := range s.Build {
		require.False(t, filepath.IsAbs(dir) || len(s.Build) > 1 && !filepath.IsLocal(dir), dir)
	}
	for _, file := range s.Files {
		require.True(t, filepath.IsLocal(file), file)
	}
	oneLine := append([]string{s.Cmdline}, s.Kconfig...)
	for _, m := range s.Modules {
		require.NotContains(t, m.Name, "/")
		oneLine = append(oneLine, m.Name, m.Params)
	}
	for _, line := range oneLine {
		require.False(t, strings.ContainsAny(line, "\n\x00"), "%q", line)
	}
	for _, d := range s.Devices {
		require.False(t, strings.ContainsAny(d, "/ \\\n") || strings.HasPrefix(d, "-"), d)
	}
	for _, sup := range s.Suppress {
		require.True(t, (sup.Match == "") != (sup.Signature == "") && sup.Reason != "")
	}
}

// inJSON writes a scenario key by key, the values in JSON, which is YAML too:
// other quotes, other escapes, no indentation.
func inJSON(t *testing.T, s *Scenario) string {
	t.Helper()
	var b strings.Builder
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if key == "-" || v.Field(i).IsZero() {
			continue
		}
		text, err := json.Marshal(plain(v.Field(i)))
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s: %s\n", key, text)
	}
	return b.String()
}

// plain makes maps of structs by their yaml tags, without what is zero.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		return plain(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		keys := map[string]any{}
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("yaml"); key != "-" && !v.Field(i).IsZero() {
				keys[key] = plain(v.Field(i))
			}
		}
		return keys
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	return v.Interface()
}

// unplaced is a scenario without the lines of its file.
func unplaced(s *Scenario) *Scenario {
	c := *s
	c.KconfigLines, c.Suppress = nil, append([]Suppression(nil), c.Suppress...)
	for i := range c.Suppress {
		c.Suppress[i].Line = 0
	}
	return &c
}

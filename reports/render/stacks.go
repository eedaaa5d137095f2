package render

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/kmemgate/kmemgate/reports"
)

// leaked tells whether a leak is one, new or not: what came and went, or is
// the kernel's own, is not in the graphs.
func leaked(s reports.Status) bool {
	return s == reports.New || s == reports.Known || s == reports.Suppressed
}

// writeFolded writes leaked bytes by stack, the outermost first, as
// flamegraph.pl and its kin read it:
//
//	6.12.117/x86_64/leaky;do_one_initcall;leaky_init [leaky];kmalloc 192
func writeFolded(buf *bytes.Buffer, v *view) error {
	v.folded(buf, func(l reports.Leak) int64 { return l.Bytes })
	return nil
}

// writeFoldedObjects is the same for the number of objects: the format has room
// for one number a line.
func writeFoldedObjects(buf *bytes.Buffer, v *view) error {
	v.folded(buf, func(l reports.Leak) int64 { return int64(l.Count) })
	return nil
}

func (v *view) folded(buf *bytes.Buffer, amount func(reports.Leak) int64) {
	for _, run := range v.report.Runs {
		root := foldedName(join("/", run.Kernel, run.Arch, run.Scenario))
		for _, l := range run.Leaks {
			if !leaked(l.Status) || amount(l) <= 0 {
				continue
			}
			stack := []string{root}
			for _, f := range slices.Backward(l.Frames) {
				stack = append(stack, foldedName(join(" ", f.Function, bracket(f.Module))))
			}
			fmt.Fprintf(buf, "%s %d\n", strings.Join(stack, ";"), amount(l))
		}
	}
}

func bracket(module string) string {
	if module == "" {
		return ""
	}
	return "[" + module + "]"
}

// foldedName: a semicolon parts frames, and a line may not begin with a number
// sign or a colon, nor a frame be empty.
func foldedName(s string) string {
	s = strings.ReplaceAll(s, ";", ",")
	if s = strings.TrimLeft(s, " #:"); s == "" {
		return "-"
	}
	return s
}

// pprofBuilder keeps one function and one location a name and line.
type pprofBuilder struct {
	profile   *profile.Profile
	functions map[[2]string]*profile.Function
	locations map[string]*profile.Location
}

// writePprof writes a gzip'd profile of leaked objects and bytes, with kernel,
// arch, scenario, status and signature as tags: go tool pprof -tagfocus.
func writePprof(buf *bytes.Buffer, v *view) error {
	b := &pprofBuilder{
		profile: &profile.Profile{
			SampleType:        []*profile.ValueType{{Type: "objects", Unit: "count"}, {Type: "bytes", Unit: "bytes"}},
			DefaultSampleType: "bytes",
			PeriodType:        &profile.ValueType{Type: "bytes", Unit: "bytes"},
			Period:            1,
		},
		functions: map[[2]string]*profile.Function{},
		locations: map[string]*profile.Location{},
	}
	for _, run := range v.report.Runs {
		for _, l := range run.Leaks {
			if leaked(l.Status) {
				b.add(v.opt, run, l)
			}
		}
	}
	if err := b.profile.CheckValid(); err != nil {
		return err
	}
	return b.profile.Write(buf)
}

func (b *pprofBuilder) add(opt Options, run reports.Run, l reports.Leak) {
	s := &profile.Sample{
		Value: []int64{int64(l.Count), l.Bytes},
		Label: map[string][]string{
			"kernel": {run.Kernel}, "arch": {run.Arch}, "scenario": {run.Scenario},
			"status": {string(l.Status)}, "kind": {l.Kind}, "signature": {l.Signature},
		},
	}
	for i := 0; i < len(l.Frames); {
		// A location is one address: inlined frames and the one they are in.
		n := i + 1
		for n < len(l.Frames) && l.Frames[n-1].Inlined {
			n++
		}
		s.Location = append(s.Location, b.location(opt, l.Frames[i:n]))
		i = n
	}
	b.profile.Sample = append(b.profile.Sample, s)
}

func (b *pprofBuilder) location(opt Options, frames []reports.Frame) *profile.Location {
	var key strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&key, "%q %q %d;", f.Module, f.Function, f.Line)
	}
	if loc := b.locations[key.String()]; loc != nil {
		return loc
	}
	loc := &profile.Location{ID: uint64(len(b.locations) + 1)}
	for _, f := range frames {
		loc.Line = append(loc.Line, profile.Line{Function: b.function(opt, f), Line: int64(f.Line)})
	}
	b.locations[key.String()] = loc
	b.profile.Location = append(b.profile.Location, loc)
	return loc
}

func (b *pprofBuilder) function(opt Options, f reports.Frame) *profile.Function {
	name := join(" ", f.Function, bracket(f.Module))
	key := [2]string{name, f.File}
	if fn := b.functions[key]; fn != nil {
		return fn
	}
	fn := &profile.Function{ID: uint64(len(b.functions) + 1), Name: name, SystemName: name, Filename: opt.sourcePath(f.File, f.Module)}
	if fn.Name == "" {
		fn.Name = strconv.FormatUint(f.Offset, 16)
	}
	b.functions[key] = fn
	b.profile.Function = append(b.profile.Function, fn)
	return fn
}

package wire

import (
	"fmt"
	"slices"
)

var streams = []string{StreamBefore, StreamCanary, StreamPassed, StreamStacks, StreamPrevious, StreamLast, StreamDmesg, StreamExercise}

var phases = []string{PhaseBoot, PhaseBaseline, PhaseCanary, PhaseReady, PhaseWork, PhaseSettle, PhaseScan, PhaseSend}

// check refuses values that no agent sends. Names matter most: the host makes
// file names and text for terminals of them.
func check(m Message) error {
	switch m := m.(type) {
	case Hello:
		return first(text("release", m.Release, 128), text("machine", m.Machine, 64),
			within("version", m.Version, 0, 1<<16), within("hz", m.HZ, 0, 10000), within("cpus", m.CPUs, 0, 1<<16))
	case Phase:
		return oneOf("phase", m.Name, phases)
	case Load:
		return checkLoad(m)
	case Unload:
		return first(module(m.Module), text("errno", m.Errno, 32), within("orphans", m.Orphans, 0, 1<<24),
			within("cycle", m.Cycle, 0, 1<<20), each("holder", m.Holders, 1024), each("device", m.Bound, 1024))
	case Exercise:
		return first(text("signal", m.Signal, 32), within("cycle", m.Cycle, 0, 1<<20))
	case Tracked:
		return within("objects", m.Objects, 0, 1<<31-1)
	case Scan:
		return first(within("n", m.N, 0, 1<<20), within("bytes", m.Bytes, 0, MaxStream), within("records", m.Records, 0, 1<<24))
	case WalkStep:
		return first(text("errno", m.Errno, 32), within("n", m.N, 0, 1<<20), within("pid", m.PID, 0, 1<<22))
	case Data:
		return oneOf("stream", m.Stream, streams)
	case End:
		return oneOf("stream", m.Stream, streams)
	case Trouble:
		return module(m.Reason)
	}
	return nil
}

func checkLoad(m Load) error {
	err := first(module(m.Module), text("errno", m.Errno, 32), within("pid", m.PID, 0, 1<<22),
		within("cycle", m.Cycle, 0, 1<<20), each("device", m.Bound, 1024))
	for name := range m.Sections {
		if err == nil {
			err = text("section", name, 255)
		}
	}
	return err
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func oneOf(what, s string, known []string) error {
	if !slices.Contains(known, s) {
		return fmt.Errorf("unknown %s %.40q", what, s)
	}
	return nil
}

// module accepts what can be a module's name: it becomes part of file names.
func module(s string) error {
	if s == "" || len(s) > 64 {
		return fmt.Errorf("name %.70q: want 1 to 64 letters, digits, _ or -", s)
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return fmt.Errorf("name %q: want 1 to 64 letters, digits, _ or -", s)
		}
	}
	return nil
}

// text accepts printable ASCII up to limit bytes.
func text(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s of %d bytes, limit %d", what, len(s), limit)
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return fmt.Errorf("%s %q: not printable", what, s)
		}
	}
	return nil
}

func each(what string, list []string, limit int) error {
	for _, s := range list {
		if err := text(what, s, limit); err != nil {
			return err
		}
	}
	return nil
}

func within(what string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s %d: want %d to %d", what, n, low, high)
	}
	return nil
}

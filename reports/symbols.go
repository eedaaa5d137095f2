package reports

// symbolizer turns the raw frames of records into functions and lines.
type symbolizer struct {
	warnings []string
}

func newSymbolizer(_ *Capture, _ *sources) *symbolizer { return &symbolizer{} }

// frames returns the frames of a record as the kernel named them.
func (s *symbolizer) frames(rec *Record) []Frame {
	out := make([]Frame, 0, len(rec.Frames))
	for _, f := range rec.Frames {
		name := f.Symbol
		if name == "" {
			name = f.String()
		}
		out = append(out, Frame{Function: name, Offset: f.Offset, Module: f.Module})
	}
	return out
}

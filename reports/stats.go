package reports

// stats tells what the run worked, so that a green run that did nothing shows.
func (j *judge) stats() {
	bound := map[string]bool{}
	for _, l := range j.c.Loads {
		if !l.UnderTest || l.Canary {
			continue
		}
		if l.Errno == "" {
			j.run.Stats.Loads++
		}
		for _, d := range l.Bound {
			bound[d] = true
		}
	}
	j.run.Stats.Devices = len(bound)
	if j.c.Tracked != nil {
		j.run.Stats.Tracked = *j.c.Tracked
	}
}

// workWarnings says why a run proves less than it seems to.
func (j *judge) workWarnings() {
	s := &j.run.Stats
	leaked := 0
	for _, l := range j.run.Leaks {
		if l.Status != Noise {
			leaked += l.Count
		}
	}
	s.Tracked = max(s.Tracked, leaked) // what leaked was allocated
	if j.c.KeptLoaded {
		j.warn("judged while the modules were loaded: what their own pointers still hold is not seen, which is weaker than a verdict after unloading")
	}
	if len(j.underTest) == 0 {
		return
	}
	if s.Loads == 0 && j.run.Walk == nil {
		j.warn("no module under test was loaded")
	}
	if s.Devices == 0 && j.registersDriver() {
		j.warn("the modules under test register a driver, but it bound no device: its probe never ran")
	}
	switch {
	case s.Loads == 0 || s.Tracked > 0 || j.run.Walk != nil:
	case j.c.Tracked == nil:
		j.warn("what the modules under test allocated was not counted: whether anything could leak is not known")
	default:
		j.warn("the modules under test allocated nothing that kmemleak tracks: there was nothing to leak")
	}
}

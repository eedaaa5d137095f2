package history

import "github.com/kmemgate/kmemgate/reports"

// State is what the history says of a leak.
type State string

// The states of a leak.
const (
	Regression  State = "regression"  // there in the last runs, confirmed by a second one, and nobody accepted it
	Accepted    State = "accepted"    // there, but in the baseline or suppressed
	Unconfirmed State = "unconfirmed" // one run has seen it, none since
	Flaky       State = "flaky"       // comes and goes on the same build: named, pages nobody
	Fixed       State = "fixed"       // was confirmed, and the last run has not seen it
	Gone        State = "gone"        // one run saw it, the next did not
)

// solid is the number of runs in a row after which a leak that was flaky
// counts as one that is there.
const solid = 5

// observation is one run with a verdict, as one signature sees it.
type observation struct {
	run, night, build int64
	known             bool // the build's content is known
	at                int64
	status            reports.Status // "" where the run did not see it
	count, bytes      int64
}

func (o observation) present() bool { return present(o.status) }

// bits is what was tested. Where that is not known, only one night's runs are
// taken to have tested the same.
type bits struct{ build, night int64 }

func (o observation) bits() bits {
	if o.known {
		return bits{build: o.build}
	}
	return bits{o.build, o.night}
}

// course is what a sequence of runs says of one signature in one cell.
type course struct {
	state  State
	streak int // runs in a row that saw it, at the end
	status reports.Status
	last   *observation // the last that saw it
	gone   *observation // the first after that, which did not
	seen   int
	mixed  bool // some build showed it in one run and not in another
}

// judge reads the runs of a cell in the order of time; earlier is how many
// sightings there were before the first of them.
func judge(runs []observation, earlier int) course {
	var c course
	var episodes, lone int // times it came, and of these: was seen by one run only
	confirmed := false
	for i := range runs {
		o := &runs[i]
		if !o.present() {
			if c.streak == 1 {
				lone++
			}
			if c.streak > 0 {
				c.gone = o
			}
			c.streak = 0
			continue
		}
		if c.streak == 0 {
			episodes++
		}
		c.streak++
		if i == c.streak-1 { // it was there when the window opens
			c.streak += earlier
			earlier = 0
		}
		c.seen++
		c.last, c.gone, c.status = o, nil, o.status
		confirmed = confirmed || c.streak > 1
	}
	c.mixed = mixed(runs)
	c.state = state(c, confirmed, c.mixed || episodes > 1 && lone > 0 && c.streak < 2)
	return c
}

func state(c course, confirmed, flickers bool) State {
	switch {
	case c.seen == 0:
		return Gone
	case flickers && c.streak < solid:
		return Flaky
	case c.streak == 0 && confirmed:
		return Fixed
	case c.streak == 0:
		return Gone
	case c.status != reports.New:
		return Accepted
	case c.streak == 1:
		return Unconfirmed
	}
	return Regression
}

// mixed says whether some build showed the leak in one run and not in another.
func mixed(runs []observation) bool {
	first := map[bits]bool{}
	for _, o := range runs {
		if was, ok := first[o.bits()]; ok && was != o.present() {
			return true
		} else if !ok {
			first[o.bits()] = o.present()
		}
	}
	return false
}

// join makes one state of those on several architectures. A second run may be
// one on another architecture: signatures do not depend on it.
func join(courses []course) State {
	count := map[State]int{}
	for _, c := range courses {
		count[c.state]++
	}
	switch {
	case count[Regression] > 0 || count[Unconfirmed] > 1:
		return Regression
	case count[Flaky] > 0:
		return Flaky
	case count[Unconfirmed] > 0:
		return Unconfirmed
	case count[Accepted] > 0:
		return Accepted
	case count[Fixed] > 0 || count[Gone] > 1:
		return Fixed
	}
	return Gone
}

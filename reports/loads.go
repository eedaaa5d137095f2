package reports

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A load that is refused leaves nothing in /sys/module, but with dynamic debug
// the kernel logs where it put the sections (kernel/module/main.c,
// move_module). 6.1 names neither the module nor the sizes.
//
// Example:
//
//	main: Final section addresses for foo:
//	main: 	0xffffffffa0000000 0x0000014a .text
var (
	sectionsBegin = regexp.MustCompile(`^(?:\w+: )*[Ff]inal section addresses(?: for (\S+))?:$`)
	sectionLine   = regexp.MustCompile(`^(?:\w+: )*\s*(?:\\x09)?0x([0-9a-f]{1,16})(?: 0x[0-9a-f]+)? (\.?\S+)$`)
)

// maxSections bounds the sections of one block.
const maxSections = 4096

// sectionBlock is what the log says of one load.
type sectionBlock struct {
	module   string // empty on kernels that do not name it
	sections map[string]uint64
}

func sectionBlocks(log string) []sectionBlock {
	var blocks []sectionBlock
	open := false
	for raw := range strings.Lines(log) {
		text := logText(raw)
		if m := sectionsBegin.FindStringSubmatch(text); m != nil {
			blocks = append(blocks, sectionBlock{strings.ReplaceAll(m[1], "-", "_"), map[string]uint64{}})
			open = true
			continue
		}
		m := sectionLine.FindStringSubmatch(text)
		if !open || m == nil {
			open = false
			continue
		}
		addr, err := strconv.ParseUint(m[1], 16, 64)
		cur := blocks[len(blocks)-1].sections
		if _, dup := cur[m[2]]; err == nil && !dup && len(cur) < maxSections {
			cur[m[2]] = addr
		}
	}
	return blocks
}

// allLoads returns every load of the run in the order of time, those of a
// walk's steps included, with the sections of refused ones from the log.
func allLoads(c *Capture) []Load {
	loads := slices.Clone(c.Loads)
	loads = append(loads, walkLoads(c)...)
	slices.SortStableFunc(loads, func(a, b Load) int { return cmp.Compare(a.Begin, b.Begin) })
	rest := fillSections(loads, sectionBlocks(string(c.Dmesg)))
	return append(exercisedLoads(c, rest), loads...)
}

// exercisedLoads makes loads of what only the log tells of: a script that loads
// the driver once more. When that was is not known, so any load that is answers
// first.
func exercisedLoads(c *Capture, blocks []sectionBlock) []Load {
	only := ""
	for _, m := range c.Modules {
		if m.UnderTest && only == "" {
			only = m.Name
		} else if m.UnderTest {
			only = "" // 6.1 does not name the module: it may be any of several
			break
		}
	}
	var out []Load
	for _, b := range blocks {
		if name := cmp.Or(b.module, only); name != "" {
			out = append(out, Load{Module: name, UnderTest: true, Sections: b.sections})
		}
	}
	return out
}

// walkLoads makes loads of a walk's steps, most of which are refused. A walk of
// the script tells of its loads like any run.
func walkLoads(c *Capture) []Load {
	if c.Walk == nil || c.Walk.Module == "" {
		return nil
	}
	module := c.Walk.Module
	var out []Load
	for _, s := range c.Walk.Steps {
		l := Load{Module: module, UnderTest: true, PID: s.PID, Errno: s.Errno, Begin: s.Begin, End: s.End}
		for _, b := range sectionBlocks(s.Dmesg) {
			if b.module == "" || b.module == module {
				l.Sections = b.sections // the last one: a step may load what the module needs first
			}
		}
		out = append(out, l)
	}
	return out
}

// fillSections gives loads without sections those that the log has, and returns
// the blocks of loads that nobody told of. Blocks and loads have one order: a
// load with known addresses finds its block by them, and those without take what
// lies between.
func fillSections(loads []Load, blocks []sectionBlock) (rest []sectionBlock) {
	next := 0
	take := func(at int) sectionBlock {
		rest = append(rest, blocks[next:at]...)
		next = at + 1
		return blocks[at]
	}
	for i := range loads {
		l := &loads[i]
		if len(l.Sections) > 0 {
			if at := findBlock(blocks[next:], l); at >= 0 {
				take(next + at)
			}
			continue
		}
		limit := len(blocks)
		for _, later := range loads[i+1:] {
			if len(later.Sections) > 0 {
				if at := findBlock(blocks[next:], &later); at >= 0 {
					limit = next + at
				}
				break
			}
		}
		for k := next; k < limit; k++ {
			if blocks[k].module == "" || blocks[k].module == l.Module {
				l.Sections = take(k).sections
				break
			}
		}
	}
	return append(rest, blocks[min(next, len(blocks)):]...)
}

// findBlock returns the index of the first block that a load's addresses agree
// with.
func findBlock(blocks []sectionBlock, l *Load) int {
	return slices.IndexFunc(blocks, func(b sectionBlock) bool {
		if b.module != "" && b.module != l.Module {
			return false
		}
		for _, name := range []string{".text", ".init.text", ".gnu.linkonce.this_module"} {
			if have, ok := l.Sections[name]; ok && b.sections[name] != have {
				return false
			}
		}
		return true
	})
}

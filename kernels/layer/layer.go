// Package layer packs a folder's files into a tar stream and unpacks one that
// somebody else packed: within bounds, and never out of the folder.
package layer

import (
	"bytes"
	"fmt"
	"path"
	"sort"
	"strings"
)

// Places are the folders whose paths stand in the text files of a tree, such as
// those that make noted. Packed, each path is its placeholder; unpacked, the
// path of its new place:
//
//	"@KMEMGATE-BUILD@": "/home/me/.cache/kmemgate/kernels/…/build"
type Places map[string]string

// pathsKey marks a file in the tar stream whose text holds placeholders.
const pathsKey = "KMEMGATE.paths"

// maxText bounds such a file: make's largest note has 70 kB.
const maxText = 4 << 20

// placed returns text with every path as its placeholder, and whether one was
// there. What holds a zero byte is no text: a path in a program is left alone.
func (p Places) placed(text []byte) ([]byte, bool) {
	if bytes.IndexByte(text, 0) >= 0 {
		return text, false
	}
	found := false
	for _, name := range p.names() {
		if bytes.Contains(text, []byte(p[name])) {
			text, found = bytes.ReplaceAll(text, []byte(p[name]), []byte(name)), true
		}
	}
	return text, found
}

// settled is the opposite of placed.
func (p Places) settled(text []byte) []byte {
	for _, name := range p.names() {
		text = bytes.ReplaceAll(text, []byte(name), []byte(p[name]))
	}
	return text
}

// names has the placeholder of a longer path first: one may lie in the other.
func (p Places) names() []string {
	var names []string
	for name := range p {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if len(p[names[i]]) != len(p[names[j]]) {
			return len(p[names[i]]) > len(p[names[j]])
		}
		return names[i] < names[j]
	})
	return names
}

// checkLink reports whether a symbolic link can lead out of the folder. A target
// may climb first and then descend, but not climb again: what it goes through
// then may itself be a link, and ".." would count from where that one leads.
//
// Example: linux/tools/x/compat.h -> ../.././include/compat.h
func checkLink(name, target string) error {
	if target == "" || path.IsAbs(target) {
		return fmt.Errorf("%q is a link to %q, out of its folder", name, target)
	}
	climbs, down := 0, false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			down = true
		case down:
			return fmt.Errorf("%q is a link to %q, which climbs where links may be", name, target)
		default:
			climbs++
		}
	}
	if climbs > strings.Count(name, "/") {
		return fmt.Errorf("%q is a link to %q, out of its folder", name, target)
	}
	return nil
}

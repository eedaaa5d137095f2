package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// version is a kernel's, by components: 6.12.117 is {6, 12, 117}.
type version []int

// Example: 6.12, 6.12.117, 7
var versionPattern = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,6}){0,2}$`)

func parseVersion(s string) (version, error) {
	if !versionPattern.MatchString(s) {
		return nil, fmt.Errorf("%q is no kernel version", s)
	}
	var v version
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("kernel version %q: %w", s, err)
		}
		v = append(v, n)
	}
	return v, nil
}

func (v version) String() string {
	parts := make([]string, len(v))
	for i, n := range v {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ".")
}

// in reports whether v belongs to a series: 6.12.117 is in 6 and in 6.12, and
// not in 6.1. The first release of a series has no third component: 6.12.
func (v version) in(series version) bool {
	for i, n := range series {
		if i < len(v) && v[i] != n || i >= len(v) && n != 0 {
			return false
		}
	}
	return true
}

func (v version) less(w version) bool {
	for i := range max(len(v), len(w)) {
		var a, b int
		if i < len(v) {
			a = v[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return a < b
		}
	}
	return false
}

// makefileVersion reads a kernel's version from the head of its Makefile:
//
//	VERSION = 6
//	PATCHLEVEL = 12
//	SUBLEVEL = 117
//	EXTRAVERSION = -rc3
func makefileVersion(r io.Reader) (string, error) {
	vars := map[string]string{}
	lines := bufio.NewScanner(r)
	for n := 0; n < 40 && lines.Scan(); n++ {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if ok {
			vars[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	major, minor, sub := vars["VERSION"], vars["PATCHLEVEL"], vars["SUBLEVEL"]
	if major == "" || minor == "" {
		return "", errors.New("no VERSION and PATCHLEVEL at its top")
	}
	if sub == "" {
		sub = "0"
	}
	base := major + "." + minor + "." + sub
	if _, err := parseVersion(base); err != nil {
		return "", err
	}
	return base + vars["EXTRAVERSION"], nil
}

// treeVersion is the version of an unpacked source.
func treeVersion(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, "Makefile"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: no Makefile", dir)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	v, err := makefileVersion(f)
	if err != nil {
		return "", fmt.Errorf("%s: not a kernel's: %w", f.Name(), err)
	}
	return v, nil
}

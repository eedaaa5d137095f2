package kernels

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// oneFile is more than the code of one of the kernel's C files takes: a function
// of the same name that lies farther off is another file's.
const oneFile = 64 << 10

// TextRange returns the addresses of the kernel's functions of these names, from
// the first to behind the last, as they were linked: where a kernel lies that
// was booted with nokaslr. They are of one C file, and the file must hold the
// first of them that there is; names that this kernel does not have do not matter.
func TextRange(k *Kernel, names ...string) (start, end uint64, err error) {
	path := filepath.Join(k.Build, "System.map")
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, hostErr(err, "symbols")
	}
	defer f.Close()
	at := map[string]uint64{}
	var all []uint64
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		addr, name, ok := parseMapLine(lines.Text())
		if !ok {
			continue
		}
		all = append(all, addr)
		if _, dup := at[name]; !dup && slices.Contains(names, name) {
			at[name] = addr
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, hostErr(err, "symbols %s", path)
	}
	var last uint64
	for _, name := range names {
		addr, ok := at[name]
		switch {
		case !ok || start != 0 && max(addr, start)-min(addr, start) > oneFile:
		case start == 0:
			start, last = addr, addr
		default:
			start, last = min(start, addr), max(last, addr)
		}
	}
	slices.Sort(all)
	behind, _ := slices.BinarySearch(all, last+1)
	if start == 0 || behind == len(all) {
		return 0, 0, fmt.Errorf("symbols %s: none of %s", path, strings.Join(names, ", "))
	}
	return start, all[behind], nil
}

// parseMapLine reads a line of System.map that names code.
// Example: ffffffff81159f90 t __alloc_object
func parseMapLine(line string) (addr uint64, name string, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 || f[1] != "t" && f[1] != "T" {
		return 0, "", false
	}
	addr, err := strconv.ParseUint(f[0], 16, 64)
	return addr, f[2], err == nil
}

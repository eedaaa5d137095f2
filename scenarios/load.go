package scenarios

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// FileName is the file that Load reads.
const FileName = "kmemgate.yml"

// What Load fills in where the file is silent.
const (
	DefaultKernel  = "6.12"
	DefaultTimeout = 60 * time.Second // of guest time
	DefaultClock   = "warp"
	DefaultFailOn  = "new"
)

// maxFile bounds a kmemgate.yml: it may come with a stranger's driver.
const maxFile = 64 << 10

// Load reads DIR/kmemgate.yml, fills in the defaults and checks every value. A
// directory without the file gives the defaults. The error of a broken file
// has one line per mistake, "FILE:LINE: what; the cure", and is an *Error.
func Load(dir string) (*Scenario, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("load scenario: %w", err)
	}
	if info, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("load scenario: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("load scenario: %s is a file; name the directory that holds the driver", dir)
	}
	name := filepath.Join(dir, FileName)
	data, err := readBounded(name)
	if errors.Is(err, fs.ErrNotExist) {
		s := &Scenario{Build: Directories{"."}}
		s.place(abs)
		s.fill()
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load scenario: %w", err)
	}
	d, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	d.scenario.place(abs)
	d.checkFiles()
	d.scenario.fill()
	return d.scenario, d.err()
}

// Parse is Load without a directory: data is a kmemgate.yml, name is what
// errors call it. Whether files exist is not checked, Name and Dir are empty.
func Parse(name string, data []byte) (*Scenario, error) {
	d, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	d.scenario.fill()
	return d.scenario, nil
}

// HostArch is the architecture of the machine that runs this program, as
// scenarios name it; x86_64 where it is neither of the two.
func HostArch() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return data, nil
}

func (s *Scenario) place(abs string) {
	s.Name, s.Dir = filepath.Base(abs), abs
}

// fill puts the defaults where the file is silent.
func (s *Scenario) fill() {
	if len(s.Kernels) == 0 {
		s.Kernels = []string{DefaultKernel}
	}
	if len(s.Arches) == 0 {
		s.Arches = []string{HostArch()}
	}
	if s.Cycles == 0 {
		s.Cycles = 1
	}
	if s.Unload == nil {
		yes := true
		s.Unload = &yes
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	setDefault(&s.Clock, DefaultClock)
	setDefault(&s.FailOn, DefaultFailOn)
	setDefault((*string)(&s.ErrorPaths), "false")
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// buildFiles are the files that make a directory one to build in.
var buildFiles = []string{"Kbuild", "Makefile", "dkms.conf"}

// checkFiles finds out what the directory says of build and files.
func (d *document) checkFiles() {
	s := d.scenario
	if !d.has("$.build") {
		if s.Build = nil; hasAny(s.Dir, buildFiles) {
			s.Build = Directories{"."}
		}
	}
	for i, dir := range s.Build {
		if info, err := os.Stat(filepath.Join(s.Dir, dir)); err != nil || !info.IsDir() {
			d.errorf(d.buildAt(i), "%q is no directory here; name the one with Kbuild, Makefile or dkms.conf", dir)
		}
	}
	if len(s.Build) == 0 && len(s.Modules) == 0 && s.Exercise == "" {
		d.errorf("$", "nothing to build, no modules and no exercise; add a Kbuild file, or name modules of the kernel under modules:")
	}
	for i, file := range s.Files {
		if _, err := os.Stat(filepath.Join(s.Dir, file)); err != nil {
			d.errorf(fmt.Sprintf("$.files[%d]", i), "%q is not there; build it first, or mend the path (it is relative to this file)", file)
		}
	}
}

func hasAny(dir string, names []string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

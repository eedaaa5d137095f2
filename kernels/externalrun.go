package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strings"
)

// driverRun is one build of a driver, or of one of its parts, in a scratch copy.
type driverRun struct {
	*externalBuild
	log  *os.File
	n    int // the part's number
	kind driverKind
	dir  string // the part's, absolute: the driver's own where that is one
	done *partsDone
	work string // the scratch directory
	out  string // the directory in it where the part is built, once there is one
	// from is the copy in it of to, a directory of the user's: what compilers
	// say of the one is told of the other.
	from, to string
	said     *diagnostics // of the last command
}

// kernelDirNames are the names by which drivers' Makefiles take the kernel's
// tree. KERNELRELEASE is none of them: many Makefiles take it as the sign that
// kbuild has called them. Nor is KERNEL, which is as often a version.
var kernelDirNames = []string{
	"KDIR", "KERNELDIR", "KERNEL_DIR", "KERNEL_TREE", "KERNELPATH", "KERNEL_SRC", "KSRC", "SYSSRC",
}

// plain builds by kbuild, or by the driver's own Makefile.
func (r *driverRun) plain(ctx context.Context) ([]string, error) {
	rel, err := filepath.Rel(r.root, r.dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.work); err != nil { // an earlier part's else
		if err := copyFiles(ctx, r.root, r.work, r.files); err != nil {
			return nil, err
		}
	}
	r.from, r.to = r.work, r.root
	dir := filepath.Join(r.work, rel)
	r.out = dir
	if r.kind == kindKbuild {
		files, err := r.kbuild(ctx, dir)
		if err == nil || !r.worthItsMakefile(dir, err) {
			return files, err
		}
		fmt.Fprintln(r.log, "+ # kbuild alone does not build it: by the driver's own Makefile")
		if files, err2 := r.makefile(ctx, dir); err2 == nil {
			return files, nil
		}
		return nil, err
	}
	return r.makefile(ctx, dir)
}

// worthItsMakefile tells whether the driver's Makefile may do what kbuild
// could not: make headers or set variables first. Where symbols are missing, it
// cannot.
func (r *driverRun) worthItsMakefile(dir string, err error) bool {
	var c *CompileError
	if errors.As(err, &c) && !needsOf(c).empty() {
		return false
	}
	text, _ := os.ReadFile(filepath.Join(dir, "Makefile"))
	return !errors.Is(err, context.Canceled) && strings.Contains(string(text), " -C ")
}

func (r *driverRun) kbuild(ctx context.Context, dir string) ([]string, error) {
	// PWD: drivers say -I$(PWD), but a kernel that was built with O= calls make
	// through a shell in its own directory, which sets the variable anew.
	args := append(r.chain.makeArgs(r.k.Source, r.k.Build), "M="+dir, "PWD="+dir, "KCFLAGS="+r.cflags())
	args = append(append(append(append(args, r.opts.MakeArgs...), r.extraSymbols()...), r.probing()...), "modules")
	if err := r.run(ctx, dir, nil, args); err != nil {
		return nil, err
	}
	return r.built(r.work)
}

// makefile runs the default target of the driver's own Makefile.
func (r *driverRun) makefile(ctx context.Context, dir string) ([]string, error) {
	if err := r.retarget(dir); err != nil {
		return nil, err
	}
	args := append([]string{"make", fmt.Sprintf("-j%d", runtime.NumCPU())}, r.kernelDirs()...)
	args = append(append(append(args, r.variables()...), r.opts.MakeArgs...), r.probing()...)
	if err := r.run(ctx, dir, r.variables(), args); err != nil {
		return nil, err
	}
	return r.built(r.work)
}

// kernelDirs tells a Makefile the kernel's tree.
func (r *driverRun) kernelDirs() []string {
	all := make([]string, len(kernelDirNames))
	for i, name := range kernelDirNames {
		all[i] = name + "=" + r.k.Build
	}
	return all
}

// cflags gives the modules DWARF that names the files of the user's own directory.
func (r *driverRun) cflags() string {
	shown := r.to
	if !makePath(shown) {
		shown = "." // make could not hand it to the compiler
	}
	flags := "-g -ffile-prefix-map=" + r.from + "=" + shown
	for _, arg := range r.opts.MakeArgs { // what kbuild makes of an option's own =m
		if name, ok := strings.CutSuffix(arg, "=m"); ok && strings.HasPrefix(name, "CONFIG_") {
			flags += " -D" + name + "_MODULE=1"
		}
	}
	if r.probe {
		flags += " -Wno-error -Wno-error=implicit-function-declaration -Wno-error=implicit-int -Wno-error=int-conversion"
	}
	return flags
}

// probing has make go on after errors, and modpost warn.
func (r *driverRun) probing() []string {
	if !r.probe {
		return nil
	}
	return []string{"-k", "KBUILD_MODPOST_WARN=1"}
}

// variables are what the kernel's Makefile must know, however it is called.
func (r *driverRun) variables() []string {
	vars := []string{"ARCH=" + r.chain.facts.make, "KCFLAGS=" + r.cflags()}
	if r.chain.llvm {
		vars = append(vars, "LLVM=1")
	} else if r.chain.cross != "" {
		vars = append(vars, "CROSS_COMPILE="+r.chain.cross)
	}
	return append(vars, r.extraSymbols()...)
}

// run runs one command of the build in a directory of the scratch copy.
func (r *driverRun) run(ctx context.Context, dir string, env, args []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, buildLimit, fmt.Errorf("did not end within %v: does it wait for an answer?", buildLimit))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	said := newDiagnostics(dir)
	r.said = said
	var printed endless
	line := func(text string) {
		if err := printed.line(text); err != nil {
			stop(err)
		}
		if r.probe {
			text = strings.Replace(text, "WARNING: modpost: ", "ERROR: modpost: ", 1)
			text = strings.Replace(text, ": warning: implicit declaration", ": error: implicit declaration", 1)
		}
		said.line(relativeTo(r.work, relativeTo(dir, relativeTo(r.k.Source, text))))
	}
	machine, err := r.machineEnv()
	if err != nil {
		return err
	}
	c := &Command{Args: args, Dir: dir, Env: slices.Concat([]string{"PWD=" + dir}, env, machine), Log: r.log, LogFile: r.logFile(), Line: line}
	fmt.Fprintf(r.log, "+ cd %s && %s\n", Quote([]string{dir}), Quote(args))
	err = c.Run(ctx)
	if err == nil && r.probe && len(said.Messages) > 0 {
		err = errors.New("it warned")
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return &Error{Fault: FaultDriver, Err: fmt.Errorf("%s: its build %w", r.dir, cause), Log: r.logFile()}
	}
	if ctx.Err() != nil {
		return err
	}
	return r.failed(ctx, dir, err)
}

// failed explains the last command by what it said.
func (r *driverRun) failed(ctx context.Context, dir string, err error) error {
	if r.probe {
		r.said.Open = r.open()
	}
	r.said.Elsewhere, r.said.Beside, r.said.Asked = r.elsewhere(ctx), r.beside(&r.said.CompileError), r.askedFor(dir)
	return r.explain(r.said, dir, err)
}

// endless tells a build that asks again and again, and is never answered.
type endless struct {
	bytes, times int
	last         string
}

func (e *endless) line(text string) error {
	e.times++
	if text != e.last {
		e.last, e.times = text, 1
	}
	e.bytes += len(text) + 1
	switch {
	case e.times > maxRepeats && text != "":
		return fmt.Errorf("printed %q %d times: does it wait for an answer?", text, maxRepeats)
	case e.bytes > maxBuildOutput:
		return fmt.Errorf("printed more than %d MB: does it wait for an answer?", maxBuildOutput>>20)
	}
	return nil
}

// asks is a line of a Makefile or script that waits for an answer.
//
// Example: read -p "Install now? " answer
var asks = regexp.MustCompile(`(?m)(?:^|[\s;&|@(])read\s+(?:-\w+\s+)*(?:["'][^"']*["']\s+)?\$*\w+`)

// explain adds a cure where the build may have asked something: nobody answers here.
func (r *driverRun) explain(said *diagnostics, dir string, err error) error {
	told := said.explain(r.dir, err)
	text, _ := os.ReadFile(filepath.Join(dir, "Makefile"))
	var e *Error
	if !errors.As(told, &e) || e.Cure != "" {
		return told
	}
	e.Cure = r.cureOrder(&said.CompileError)
	if len(said.Messages) == 0 && asks.Match(text) {
		e.Cure = "its Makefile asks, and nobody answers here: let it build without a question"
	}
	return told
}

// logFile is where a user reads on; a probe's goes with the probe.
func (r *driverRun) logFile() string {
	if r.probe {
		return ""
	}
	return r.moduleBuild.log
}

// built lists the modules below a directory that no earlier part made, each name
// once: Makefiles like to copy what they built.
func (r *driverRun) built(dir string) ([]string, error) {
	found, err := findFiles(dir, ".ko")
	if err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	had := func(file string) bool { return slices.Contains(r.done.modules, filepath.Join(dir, file)) }
	within := func(file string) bool { return strings.HasPrefix(filepath.Join(dir, file), r.out+"/") }
	if !slices.ContainsFunc(found, func(file string) bool { return !had(file) || within(file) }) {
		return nil, r.nothing()
	}
	found = slices.DeleteFunc(found, had)
	sort.SliceStable(found, func(i, j int) bool { return strings.Count(found[i], "/") < strings.Count(found[j], "/") })
	var files []string
	seen := map[string]bool{}
	for _, file := range found {
		if name := filepath.Base(file); !seen[name] {
			seen[name] = true
			files = append(files, filepath.Join(dir, file))
		}
	}
	sort.Strings(files)
	return files, nil
}

func (r *driverRun) nothing() error {
	return usageErr("its Kbuild or Makefile must set obj-m", "driver %s: builds no module", r.dir)
}

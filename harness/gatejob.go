package harness

import (
	"os"
	"path"
	"path/filepath"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// scriptName is where the exercise lies in a job's archive.
const scriptName = "exercise.sh"

// echoWhole stands before a script, on its first line so that the others keep
// their numbers. The echo of u-root's shell (mvdan.cc/sh, interp/builtin.go)
// writes each word by itself, and a driver takes each write for a command:
// `echo attach 0 1048576 > /sys/kernel/…`.
const echoWhole = `echo() { case "$1" in -n) shift; printf %s "$*";; -e|-E) builtin echo "$@";; *) printf '%s\n' "$*";; esac; }; `

// guestJob is a job with the files it names.
type guestJob struct {
	wire.Job
	files  []initramfs.File
	region []byte // as the guest gets it
}

// jobs makes the cell's job and its control: the same steps, nothing loaded.
func (c cell) jobs() (job, control guestJob, err error) {
	s := c.scenario
	job.Job = wire.Job{
		Cycles:     s.Cycles,
		KeepLoaded: s.Unload != nil && !*s.Unload,
		Stack:      s.Stack,
		TimeoutNS:  s.Timeout.Nanoseconds(),
	}
	if s.Exercise != "" {
		job.Exercise = scriptName
		job.files = append(job.files, initramfs.File{Name: scriptName, Mode: 0o755, Content: []byte(echoWhole + s.Exercise)})
	}
	for _, name := range s.Files {
		f, err := readJobFile(s.Dir, name)
		if err != nil {
			return job, control, err
		}
		job.files = append(job.files, f)
	}
	control.Job, control.files = job.Job, job.files
	control.ExerciseMayFail = true
	params := c.params()
	for _, m := range c.modules {
		content, err := os.ReadFile(m.Stripped)
		if err != nil {
			return job, control, hostError("run again: what the cache has lost is made again", "module %s: %w", m.Name, err)
		}
		file := initramfs.File{Name: "modules/" + m.Name + ".ko", Mode: 0o644, Content: content}
		job.files = append(job.files, file)
		job.Modules = append(job.Modules, wire.JobModule{
			Name: m.Name, File: file.Name, Params: params[m.Name], UnderTest: c.tested[m.Name],
		})
	}
	if job.region, err = initramfs.JobRegion(job.Job, job.files); err != nil {
		return job, control, err
	}
	control.region, err = initramfs.JobRegion(control.Job, control.files)
	return job, control, err
}

// readJobFile reads a file that the driver brings along.
func readJobFile(dir, name string) (initramfs.File, error) {
	p := filepath.Join(dir, name)
	st, err := os.Stat(p)
	if err != nil {
		return initramfs.File{}, Usagef("files: %w", err)
	}
	content, err := os.ReadFile(p)
	if err != nil {
		return initramfs.File{}, Usagef("files: %w", err)
	}
	return initramfs.File{Name: path.Join("files", filepath.ToSlash(name)), Mode: uint32(st.Mode().Perm()), Content: content}, nil
}

// params are the parameters that the scenario gives its modules.
func (c cell) params() map[string]string {
	out := map[string]string{}
	for _, m := range c.scenario.Modules {
		out[kernels.ModuleName(m.Name)] = m.Params
	}
	return out
}

// keepInputs writes what the guest was given to the run's folder: the job, and
// the unstripped modules that its addresses belong to.
func (c cell) keepInputs(dir string, job guestJob) error {
	for _, f := range job.files {
		if err := writeInput(filepath.Join(dir, "job", filepath.FromSlash(f.Name)), f.Content); err != nil {
			return err
		}
	}
	for _, m := range c.modules {
		content, err := os.ReadFile(m.Path)
		if err != nil {
			return hostError("", "module %s: %w", m.Name, err)
		}
		if err := writeInput(filepath.Join(dir, "modules", m.Name+".ko"), content); err != nil {
			return err
		}
	}
	config, err := os.ReadFile(c.kernel.Config)
	if err != nil {
		return hostError("", "kernel config: %w", err)
	}
	return writeInput(filepath.Join(dir, "kernel.config"), config)
}

func writeInput(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return hostError("", "evidence: %w", err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		return hostError("", "evidence: %w", err)
	}
	return nil
}

// capturedModules are the cell's modules as the run's folder has them, and the
// kernel, for the lines of its own frames, where its build has DWARF: hundreds of
// megabytes that stay in the build tree. Without it a report that is made again
// lacks those lines, and nothing else.
func (c cell) capturedModules() []reports.Module {
	var out []reports.Module
	for _, m := range c.modules {
		out = append(out, reports.Module{Name: m.Name, Path: "modules/" + m.Name + ".ko", UnderTest: c.tested[m.Name]})
	}
	if c.kernel == nil {
		return out
	}
	if path := c.kernel.DebugInfo(); path != "" {
		out = append(out, reports.Module{Name: reports.Vmlinux, Path: path})
	}
	return out
}

package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dkmsConf is what a dkms.conf sets, dkms(8). It is a bash script: the values
// are those it has for one kernel. Arrays may have holes.
type dkmsConf struct {
	vars   map[string]string
	arrays map[string]map[int]string
}

// dkmsConfLimit bounds the evaluation: dkms.conf sets variables, it builds nothing.
const dkmsConfLimit = 10 * time.Second

// maxConfOutput bounds what comes back.
const maxConfOutput = 1 << 20

var (
	dkmsVars = []string{"PACKAGE_NAME", "PACKAGE_VERSION", "PRE_BUILD", "BUILD_EXCLUSIVE_KERNEL", "BUILD_EXCLUSIVE_KERNEL_MIN",
		"BUILD_EXCLUSIVE_KERNEL_MAX", "BUILD_EXCLUSIVE_ARCH", "BUILD_EXCLUSIVE_CONFIG"}
	dkmsArrays = []string{"MAKE", "MAKE_MATCH", "PATCH", "PATCH_MATCH", "BUILT_MODULE_NAME", "BUILT_MODULE_LOCATION"}
)

// confMark stands before the values: a dkms.conf that exits never gets there.
// confEnd stands behind them: what is bounded may be cut, and where it is cut
// between two values, nothing else would tell.
const (
	confMark = "kmemgate-dkms"
	confEnd  = "kmemgate-dkms-end"
)

// confScript sources the file as dkms does, and prints NUL-separated pairs.
// Variables that dkms sets beforehand come by the environment.
const confScript = `
. ./dkms.conf >/dev/null </dev/null
builtin printf '%s\0' ` + confMark + `
for kmemgate_v in $kmemgate_vars; do builtin printf '%s\0%s\0' "$kmemgate_v" "${!kmemgate_v}"; done
for kmemgate_v in $kmemgate_arrays; do
	builtin declare -n kmemgate_a=$kmemgate_v
	for kmemgate_i in "${!kmemgate_a[@]}"; do builtin printf '%s\0%s\0' "$kmemgate_v[$kmemgate_i]" "${kmemgate_a[$kmemgate_i]}"; done
	builtin unset -n kmemgate_a
done
builtin printf '%s\0' ` + confEnd + `
builtin exit 0
`

// asksItsName is a dkms.conf that takes its package's name and version, which it
// is about to set, from dkms, which was told them on its command line.
//
// Example: PSRC="$dkms_tree/$module/$module_version/build"
var asksItsName = regexp.MustCompile(`\$\{?module(_version)?\b`)

// readDKMSConf evaluates the dkms.conf of a scratch copy: again with its name and
// version, where it asks for them. env has what dkms would set. All its errors
// are the file's own: wrong usage.
func readDKMSConf(ctx context.Context, dir string, env []string, limit time.Duration) (*dkmsConf, error) {
	text, err := fillVersion(filepath.Join(dir, "dkms.conf"))
	if err != nil {
		return nil, hostErr(err, "dkms.conf")
	}
	conf, err := evalDKMSConf(ctx, dir, env, limit)
	if err != nil || !asksItsName.Match(text) {
		return conf, err
	}
	return evalDKMSConf(ctx, dir, append(slices.Clone(env), "module="+conf.vars["PACKAGE_NAME"], "module_version="+conf.vars["PACKAGE_VERSION"]), limit)
}

// placeholder is a version that a package's release puts in: a work tree has it as
// it was written, and it may not be part of a path.
//
// Example: PACKAGE_VERSION="#MODULE_VERSION#"
var placeholder = regexp.MustCompile(`(?m)^(\s*PACKAGE_VERSION=["']?)(?:#[A-Z_]+#|@[A-Z_]+@)`)

// fillVersion puts a version there, and returns the text.
func fillVersion(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil || !placeholder.Match(text) {
		return text, err
	}
	text = placeholder.ReplaceAll(text, []byte("${1}0"))
	return text, os.WriteFile(file, text, 0o644)
}

func evalDKMSConf(ctx context.Context, dir string, env []string, limit time.Duration) (*dkmsConf, error) {
	if limit == 0 {
		limit = dkmsConfLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, stderr := &boundedBuffer{most: maxConfOutput}, &boundedBuffer{most: maxConfOutput}
	c := &Command{
		Args: []string{"bash", "--norc", "--noprofile", "-c", confScript}, Dir: dir, Stdout: out, Log: stderr, Grace: time.Second,
		Env: append([]string{"kmemgate_vars=" + strings.Join(dkmsVars, " "), "kmemgate_arrays=" + strings.Join(dkmsArrays, " ")}, env...),
	}
	err := c.Run(limited)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, usageErr("it must set variables and end", "dkms.conf: did not end within %v", limit)
	case !bytes.HasPrefix(out.kept, []byte(confMark+"\x00")):
		return nil, usageErr("it must set variables and go to its end", "dkms.conf: exits before its end%s", firstLine(string(stderr.kept)))
	case err != nil:
		return nil, usageErr("", "dkms.conf: %w", err)
	}
	conf, err := parseConf(out.kept)
	if err != nil {
		return nil, err
	}
	return conf, conf.check(string(stderr.kept))
}

// parseConf reads what confScript prints.
func parseConf(text []byte) (*dkmsConf, error) {
	values, whole := strings.CutSuffix(strings.TrimPrefix(string(text), confMark), "\x00"+confEnd+"\x00")
	fields := strings.Split(values, "\x00")[1:]
	if !whole || len(fields)%2 != 0 {
		return nil, usageErr("it must set less", "dkms.conf: its values are cut off after %d bytes", len(text))
	}
	conf := &dkmsConf{vars: map[string]string{}, arrays: map[string]map[int]string{}}
	for i := 0; i < len(fields); i += 2 {
		if err := conf.set(fields[i], fields[i+1]); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

// arrayItem is a name with an index. Example: MAKE_MATCH[2]
var arrayItem = regexp.MustCompile(`^([A-Z_]+)\[(-?[0-9]{1,9})\]$`)

// set takes a value that was asked for. A file that redefines builtin may print
// what it likes.
func (c *dkmsConf) set(name, value string) error {
	if slices.Contains(dkmsVars, name) {
		c.vars[name] = value
		return nil
	}
	m := arrayItem.FindStringSubmatch(name)
	if m == nil || !slices.Contains(dkmsArrays, m[1]) {
		return usageErr("it must set variables, and leave bash's own commands alone", "dkms.conf: a value of %.40q, which nobody asked for", name)
	}
	n, err := strconv.Atoi(m[2])
	if err != nil {
		return usageErr("", "dkms.conf: %s: want a number as index", name)
	}
	if c.arrays[m[1]] == nil {
		c.arrays[m[1]] = map[int]string{}
	}
	c.arrays[m[1]][n] = value
	return nil
}

// safeName is what becomes a directory's name.
var safeName = regexp.MustCompile(`^[A-Za-z0-9_+~:][A-Za-z0-9_.+~:-]*$`)

func (c *dkmsConf) check(stderr string) error {
	for _, name := range []string{"PACKAGE_NAME", "PACKAGE_VERSION"} {
		if !safeName.MatchString(c.vars[name]) {
			return usageErr("see dkms(8)", "dkms.conf: %s is %q%s", name, c.vars[name], firstLine(stderr))
		}
	}
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if line == "" {
		return ""
	}
	return " (" + line[:min(len(line), 200)] + ")"
}

// boundedBuffer keeps the first bytes and drops the rest.
type boundedBuffer struct {
	kept []byte
	most int
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), b.most-len(b.kept))]...)
	return len(p), nil
}

// uname is what `uname -m` says on an architecture, dkms' $arch.
var uname = map[string]string{"x86_64": "x86_64", "arm64": "aarch64"}

// dkms builds in the layout that dkms has: $dkms_tree/NAME/VERSION/build.
func (r *driverRun) dkms(ctx context.Context) ([]string, error) {
	source := filepath.Join(r.work, "source")
	rel, err := filepath.Rel(r.root, r.dir)
	if err != nil {
		return nil, err
	}
	if err := copyFiles(ctx, r.root, source, r.files); err != nil {
		return nil, err
	}
	if err := r.retargetFile(filepath.Join(source, rel, "dkms.conf")); err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	machine, err := r.machineEnv()
	if err != nil {
		return nil, err
	}
	conf, err := readDKMSConf(ctx, filepath.Join(source, rel), append(r.dkmsEnv(), machine...), r.confLimit)
	if err != nil {
		return nil, r.inConf(err)
	}
	config, err := os.ReadFile(r.k.Config)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	if err := conf.exclusive(r.k.Release, uname[r.k.Arch], string(config)); err != nil {
		if err = lookedUp(err, filepath.Join(source, rel, "dkms.conf"), string(config)); !r.passesOver(err) {
			return nil, r.inConf(err)
		}
	}
	version := filepath.Join(r.work, conf.vars["PACKAGE_NAME"], conf.vars["PACKAGE_VERSION"])
	if err := os.MkdirAll(version, 0o755); err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	build := filepath.Join(version, "build")
	if err := os.Rename(filepath.Join(source, rel), build); err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	if err := os.Symlink("build", filepath.Join(version, "source")); err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	return r.dkmsBuild(ctx, conf, build)
}

// passesOver: a probe looks at what else is missing, beside the option that the
// driver names, for it may be for another kernel altogether.
func (r *driverRun) passesOver(err error) bool {
	var skip *Skip
	return r.probe && errors.As(err, &skip) && len(skip.Options) > 0
}

// inConf says where the error is; a *Skip stays one.
func (r *driverRun) inConf(err error) error { return inConf(r.dir, err) }

func inConf(dir string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Err = fmt.Errorf("%s: %w", dir, e.Err)
	}
	return err
}

// dkmsEnv has the variables that dkms(8) promises to dkms.conf and its scripts.
func (r *driverRun) dkmsEnv() []string {
	return dkmsEnv(r.k.Release, r.k.Build, r.k.Arch, r.work)
}

func dkmsEnv(release, build, arch, work string) []string {
	return []string{
		"kernelver=" + release, "kernel_source_dir=" + build, "arch=" + uname[arch],
		"dkms_tree=" + work, "source_tree=" + work, "PATH=" + os.Getenv("PATH"),
	}
}

// hasDKMSConf: such a driver may do without a Makefile.
func hasDKMSConf(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "dkms.conf"))
	return err == nil
}

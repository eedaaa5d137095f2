package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/kconfig"
)

// CheckDriver tells by the files alone, before a kernel is built for it, whether
// a directory has something to build; the error is one of usage. A dkms.conf is
// evaluated with what is known by then: the kernel as the user named it.
func CheckDriver(ctx context.Context, dir, kernel, arch string) error {
	kind, _, err := inspect(dir)
	if err != nil || kind != kindDKMS {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "dkms.conf"))
	if err != nil {
		return hostErr(err, "driver %s", dir)
	}
	if looksAtKernel.Match(text) {
		return nil // and could end in another way without it
	}
	return checkDKMSConf(ctx, dir, kernel, arch)
}

// looksAtKernel is a line of dkms.conf that does more with the kernel's tree than
// to name it in a variable.
//
// Example: if grep -q foo "$kernel_source_dir/include/linux/fs.h"; then
var looksAtKernel = regexp.MustCompile(`(?m)^(?:[^A-Z\n].*|[A-Z].*(?:\$\(|` + "`" + `).*)(?:kernel_source_dir|/lib/modules)\b`)

// checkDKMSConf evaluates a dkms.conf in a copy of its directory.
func checkDKMSConf(ctx context.Context, dir, kernel, arch string) error {
	scratch, err := os.MkdirTemp("", "kmemgate-dkms-")
	if err != nil {
		return hostErr(err, "driver %s", dir)
	}
	defer os.RemoveAll(scratch)
	files, err := trackedFiles(ctx, dir)
	if err != nil {
		return fmt.Errorf("driver %s: %w", dir, err)
	}
	if !slices.Contains(files, "dkms.conf") { // ignored by the git tree around it
		if files, err = walkedFiles(dir); err != nil {
			return fmt.Errorf("driver %s: %w", dir, err)
		}
	}
	copied := filepath.Join(scratch, "source")
	if err := copyFiles(ctx, dir, copied, files); err != nil {
		return err
	}
	tree := filepath.Join(scratch, "kernel")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return hostErr(err, "driver %s", dir)
	}
	_, err = readDKMSConf(ctx, copied, dkmsEnv(likelyRelease(kernel), tree, arch, scratch), 0)
	return inConf(dir, err)
}

// seriesInName is the version in what names a kernel: "debian:6.12".
var seriesInName = regexp.MustCompile(`\d+\.\d+(?:\.\d+)?`)

// likelyRelease is a release of the kernel that will be built.
func likelyRelease(kernel string) string {
	switch v := seriesInName.FindString(filepath.Base(kernel)); strings.Count(v, ".") {
	case 0:
		return "6.12.0"
	case 1:
		return v + ".0"
	default:
		return v
	}
}

// kbuildList is a line that makes a Makefile one for kbuild.
//
// Example: obj-$(CONFIG_FOO) += foo.o
var kbuildList = regexp.MustCompile(`(?m)^[ \t]*obj-(m|y|\$[({][^)}\n]*[)}])[ \t]*[:+]?=`)

// inspect tells how a directory is built, and the options without which kbuild
// would build nothing of it.
func inspect(dir string) (kind driverKind, names driverOptions, err error) {
	if hasDKMSConf(dir) {
		return kindDKMS, names, nil
	}
	for _, name := range []string{"Kbuild", "Makefile"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", names, hostErr(err, "driver %s", dir)
		}
		if name == "Kbuild" || kbuildList.Match(text) {
			return kindKbuild, optionsOf(string(text)), nil
		}
		return kindMakefile, names, nil
	}
	if below := drivenBelow(dir); below != "" {
		return "", names, usageErr("name one of its directories, or write build: ["+below+"] into its kmemgate.yml, those first whose symbols others use",
			"driver %s: no dkms.conf, no Kbuild and no Makefile here, but below", dir)
	}
	return "", names, usageErr("name the directory of a kernel module", "driver %s: no dkms.conf, no Kbuild and no Makefile", dir)
}

// drivenBelow are the directories in one that a driver can be built in. Example: client, core
func drivenBelow(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "" // the message is of another matter
	}
	var names []string
	for _, e := range entries {
		if sub := filepath.Join(dir, e.Name()); e.IsDir() && (hasMakefile(sub) || hasDKMSConf(sub)) {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, ", ")
}

// driverOptions are the options by which a driver that was cut out of a kernel
// tree is built.
type driverOptions struct {
	own    []string // of obj-$(CONFIG_X)
	guards []string // of the conditionals around every such line: ifdef CONFIG_NET
}

// optionsOf reads them; none where something is built without any.
func optionsOf(text string) (names driverOptions) {
	guarded := true
	for _, r := range parseMakefile(text) {
		if r.target != "obj" {
			continue
		}
		if len(r.options) == 0 {
			return driverOptions{} // obj-m or obj-y: options are extras
		}
		names.own = append(names.own, r.options[len(r.guards):]...)
		names.guards = append(names.guards, r.guards...)
		guarded = guarded && len(r.guards) > 0
	}
	names.own = compacted(names.own)
	names.guards = slices.DeleteFunc(compacted(names.guards), func(name string) bool {
		return !guarded || slices.Contains(names.own, name)
	})
	return names
}

func compacted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// passed are the options that make has to be told. The kernel's own it knows:
// to say CONFIG_NET=m of a kernel that has it built in would be a lie.
func (o driverOptions) passed(k *Kernel) ([]string, error) {
	if len(o.guards) == 0 {
		return o.own, nil
	}
	tree, err := kconfig.ReadTree(os.DirFS(k.Source), k.Arch)
	if err != nil {
		return nil, &Error{Fault: FaultKernel, Err: err}
	}
	return append(slices.Clone(o.own), slices.DeleteFunc(slices.Clone(o.guards), tree.Knows)...), nil
}

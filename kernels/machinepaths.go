package kernels

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Makefiles and dkms.conf are written for the machine that they build on: they
// ask it by uname for the release of its kernel, and look for that kernel's tree
// below /lib/modules. In the copy that is built here they find the kernel that
// was asked for.

// modulesTree is the path of a kernel's tree as make and shell write it.
//
// Example: /lib/modules/$(shell uname -r)/build
// Example: /lib/modules/${kernelver}/source
var modulesTree = regexp.MustCompile(`/lib/modules/(?:\$\$?\((?:[^()\n]|\([^()\n]*\))*\)|\$\$?\{[^{}\n]*\}|` + "`[^`\n]*`" + `|\$\$?\w+)/(build|source)\b`)

// retarget has the Makefiles, scripts and dkms.conf of the copy below a directory
// name the kernel's own tree. Their lines stay where they are.
func (r *driverRun) retarget(dir string) error {
	files, err := walkedFiles(dir)
	if err != nil {
		return hostErr(err, "driver %s", r.dir)
	}
	for _, file := range files {
		if !asksTheMachine(file) {
			continue
		}
		if err := r.retargetFile(filepath.Join(dir, file)); err != nil {
			return hostErr(err, "driver %s", r.dir)
		}
	}
	return nil
}

func (r *driverRun) retargetFile(file string) error {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() { // a link: what it leads to has its own turn
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	told := modulesTree.ReplaceAllFunc(text, func(path []byte) []byte { return []byte(r.treeOf(string(path))) })
	if bytes.Equal(text, told) {
		return nil
	}
	return os.WriteFile(file, told, info.Mode().Perm())
}

// treeOf is the kernel's tree that a path below /lib/modules stands for.
func (r *driverRun) treeOf(path string) string {
	if strings.HasSuffix(path, "/source") {
		return r.k.Source
	}
	return r.k.Build
}

// retargetCommand does the same to a command in which bash has put in the release.
//
// Example: make -C /lib/modules/6.12.7/build M=/tmp/x
func (r *driverRun) retargetCommand(command string) string {
	for _, sub := range []string{"/build", "/source"} {
		command = strings.ReplaceAll(command, "/lib/modules/"+r.k.Release+sub, r.treeOf(sub))
	}
	return command
}

// asksTheMachine tells by its name whether a file is make's or the shell's.
func asksTheMachine(file string) bool {
	name := filepath.Base(file)
	return strings.HasPrefix(strings.ToLower(name), "makefile") || slices.Contains([]string{"GNUmakefile", "Kbuild", "dkms.conf"}, name) ||
		slices.Contains([]string{".mk", ".sh"}, filepath.Ext(name))
}

// unameScript answers for the kernel that is built for, where its release is
// asked for, and leaves all other questions to the machine.
const unameScript = `#!/bin/sh
case "$*" in
-r | --kernel-release) echo "$kmemgate_release" ;;
*) PATH="$kmemgate_path" exec uname "$@" ;;
esac
`

// machineEnv is the environment in which uname -r is the kernel's release.
func (r *driverRun) machineEnv() ([]string, error) {
	bin := filepath.Join(filepath.Dir(r.work), "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte(unameScript), 0o755); err != nil {
		return nil, hostErr(err, "driver %s", r.dir)
	}
	path := os.Getenv("PATH")
	return []string{"PATH=" + bin + string(os.PathListSeparator) + path, "kmemgate_path=" + path, "kmemgate_release=" + r.k.Release}, nil
}

package initramfs

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/u-root/gobusybox/src/pkg/bb"
	"github.com/u-root/gobusybox/src/pkg/bb/findpkg"
	"github.com/u-root/gobusybox/src/pkg/golang"
)

// programs are u-root's commands that a script in the guest may use. Those that
// make no sense there (servers, boot loaders, PID 1) only cost time at boot.
//
// A program's packages are all initialized each time one of its commands is
// started, and QEMU translates that code anew in each clone. So the packages that
// do a lot there are in a program of their own: tables for decompressing modules,
// for checksums, for the network, for words and numbers. Without them cat takes
// 2.5 million instructions less, of 7.8 (measured, 6.12, x86_64).
var programs = []program{
	{"bb", []string{
		"core/base64", "core/basename", "core/cat", "core/chmod", "core/chroot", "core/cmp", "core/cp",
		"core/date", "core/dd", "core/df", "core/dirname", "core/dmesg", "core/du", "core/echo", "core/false",
		"core/gosh", "core/grep", "core/head", "core/hexdump", "core/hostname",
		"core/id", "core/io", "core/kill", "core/ln", "core/losetup", "core/lsmod",
		"core/mkdir", "core/mkfifo", "core/mknod", "core/mktemp", "core/more", "core/mount", "core/mv",
		"core/nohup", "core/pidof", "core/printenv", "core/ps", "core/pwd",
		"core/readlink", "core/realpath", "core/rm", "core/seq", "core/sleep", "core/sort",
		"core/strings", "core/sync", "core/tail", "core/tee", "core/time", "core/timeout",
		"core/touch", "core/tr", "core/true", "core/truncate", "core/tty", "core/umount", "core/uname", "core/uniq",
		"core/unshare", "core/uptime", "core/wc", "core/which", "core/xargs", "core/yes",
	}},
	{"bb-large", []string{
		"core/blkid", "core/find", "core/free", "core/insmod", "core/ip", "core/ls",
		"core/md5sum", "core/ping", "core/rmmod", "core/shasum", "core/stty", "exp/modprobe",
	}},
}

// program is one executable of several commands.
type program struct {
	name     string
	commands []string
}

const uroot = "github.com/u-root/u-root/cmds/"

// userlandSources is all that the userland is made of: the versions of u-root
// and its dependencies, and this list.
func userlandSources(s *source) ([]byte, error) {
	return sourcesOf(s.dir, "go.mod", "go.sum", "initramfs/userland.go", "initramfs/source.go")
}

// oneBuild keeps two userlands from being compiled at once: the work is go
// build's, which is parallel enough.
var oneBuild sync.Mutex

// buildUserland has u-root's busybox compiler make the programs.
func buildUserland(ctx context.Context, s *source, dir string) ([]File, error) {
	oneBuild.Lock()
	defer oneBuild.Unlock()
	var files []File
	for _, p := range programs {
		content, err := p.build(ctx, s, dir)
		if err != nil {
			return nil, err
		}
		files = append(files, p.files(content)...)
	}
	return append(files, shells...), nil
}

func (p program) build(ctx context.Context, s *source, dir string) ([]byte, error) {
	tmp, err := os.MkdirTemp(dir, "gopath-") // a run that is killed leaves it in a half-made entry
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := p.generate(s, tmp); err != nil {
		return nil, err
	}
	main := filepath.Join(tmp, "src/bb.u-root.com/bb")
	if err := os.WriteFile(filepath.Join(main, "sh.go"), []byte(shSource), 0o644); err != nil {
		return nil, err
	}
	binary := filepath.Join(tmp, "bb")
	if err := s.compile(ctx, main, binary, ".", "GO111MODULE=off", "GOPATH="+tmp, "GOFLAGS=-tags="+plainShell); err != nil {
		return nil, err
	}
	return os.ReadFile(binary)
}

// shSource makes the busybox answer to the shell's usual names: it goes by
// argv[0], which is "sh" where a script runs sh -c, and follows links only
// where that is a path.
const shSource = `package main

import (
	"os"
	"path/filepath"
)

func init() {
	switch filepath.Base(os.Args[0]) {
	case "sh", "bash":
		os.Args[0] = "gosh"
	}
}
`

// plainShell is the build tag of a shell without an editor of its own: it takes
// lines from a pipe as well as from a person.
const plainShell = "goshsmall"

// generate has u-root's busybox compiler write the sources of one program below
// dir, a GOPATH. Compiling them ourselves can be cancelled, and uses the
// standard library as it lies in Go's cache: u-root's own build turns inlining
// off and so compiles it anew, which takes a minute.
func (p program) generate(s *source, dir string) error {
	var paths []string
	for _, c := range p.commands {
		paths = append(paths, uroot+c)
	}
	err := bb.BuildBusybox(log.New(io.Discard, "", 0), &bb.Opts{
		Env:          s.busyboxEnv(),
		LookupEnv:    &findpkg.Env{}, // not the user's GBB_PATH
		GenSrcDir:    dir,
		CommandPaths: paths,
		GenerateOnly: true,
	})
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n") // of one line a command
		return fmt.Errorf("u-root's busybox: %s", line)
	}
	return nil
}

func (s *source) busyboxEnv() *golang.Environ {
	return golang.Default(golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOARCH(s.goArch),
		golang.WithGOROOT(s.goRoot), golang.WithWorkingDir(s.dir), golang.WithMod(golang.ModReadonly), golang.WithGO111MODULE("on"),
		golang.WithBuildTag(plainShell))
}

// files are the program in /bbin and a link to it for each command.
func (p program) files(content []byte) []File {
	files := []File{{Name: "bbin/" + p.name, Mode: 0o755, Content: content}}
	for _, c := range p.commands {
		files = append(files, File{Name: "bbin/" + path.Base(c), Link: p.name})
	}
	return files
}

// shells are the shell where scripts look for it.
var shells = []File{{Name: "bin/sh", Link: "../bbin/gosh"}, {Name: "bin/bash", Link: "../bbin/gosh"}}

// Package kernels finds kernel sources, builds kernels and modules, and keeps
// both in a cache that several runs share.
package kernels

import "github.com/kmemgate/kmemgate/kconfig"

// Spec asks for a kernel.
type Spec struct {
	// Source is what --kernel takes: a series ("6.12"), an exact version,
	// "debian:6.12", a tarball's URL with "#sha256=…", or a directory.
	Source string
	// Arch is "x86_64" or "arm64".
	Arch string
	// Config is what is wanted on top of the base; it overrides the base.
	Config []kconfig.Fragment
	// LLVM builds with clang.
	LLVM bool
}

// Kernel is a built kernel. Its files lie in the cache and are not written to.
type Kernel struct {
	Release string // e.g. "6.12.117"
	Arch    string
	Origin  string // where the source came from, in words
	Key     string // content address of source, config and toolchain
	Dir     string // the cache entry

	Image  string // what QEMU's -kernel takes: vmlinux or Image
	Config string // .config
	Build  string // build tree for external modules (make O=)
	Source string // source tree
	LLVM   bool

	Compiler string // the first line of its --version

	// Spec is what asked for it; zero for one that List found.
	Spec Spec
}

// Module is a built module.
type Module struct {
	Name     string   // with underscores, as in /proc/modules
	Path     string   // with DWARF, for the host
	Stripped string   // without, for the guest
	Depends  []string // names of the modules it needs
}

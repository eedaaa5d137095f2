//go:build kmemgate_prebuilt

package initramfs

import (
	"embed"
	"io/fs"
)

// A release puts agent-ARCH.cpio and userland-ARCH.cpio, as Builder made them,
// into prebuilt/ and compiles kmemgate with -tags kmemgate_prebuilt.
//
//go:embed prebuilt/*.cpio
var prebuilt embed.FS

func init() {
	sub, err := fs.Sub(prebuilt, "prebuilt")
	if err != nil {
		panic(err) // a wrong name above
	}
	Prebuilt = sub
}

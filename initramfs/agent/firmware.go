package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// firmwareFiles is where the job's files: below firmware/ lie.
var firmwareFiles = filepath.Join(jobDir, "files", "firmware")

// firmwarePath is where the kernel looks for firmware first
// (drivers/base/firmware_loader/main.c).
const firmwarePath = "/sys/module/firmware_class/parameters/path"

// offerFirmware has request_firmware find the firmware that a driver brings. A
// job without any leaves the kernel as it is.
func offerFirmware(files, parameter string) error {
	if _, err := os.Stat(files); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// Without a newline: old kernels take it for a part of the path.
	if err := os.WriteFile(parameter, []byte(files), 0o644); err != nil {
		return fail(wire.ReasonBadJob, fmt.Errorf("firmware: %w (is CONFIG_FW_LOADER=y in the kernel's config?)", err))
	}
	return nil
}

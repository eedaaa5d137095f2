package initramfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// JobArchive is a job and its files as the agent unpacks them: job.json first.
// A job that names a file it does not bring is an error here, where the user
// still sees it, and not in the guest.
func JobArchive(job wire.Job, files []File) ([]byte, error) {
	if err := checkJob(job, files); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	if len(text) > wire.MaxJobJSON {
		return nil, fmt.Errorf("job: %d bytes of %s, limit %d", len(text), wire.JobFile, wire.MaxJobJSON)
	}
	return archiveBytes(append([]File{{Name: wire.JobFile, Content: text}}, files...))
}

// JobRegion is what the host writes into the guest's shared memory: the header
// and the archive. What lies behind it in the memory must be zero or is ignored.
func JobRegion(job wire.Job, files []File) ([]byte, error) {
	archive, err := JobArchive(job, files)
	if err != nil {
		return nil, err
	}
	if size := wire.JobOffset + len(archive); size > wire.RegionSize {
		return nil, fmt.Errorf("job: modules and files take %d MiB, and the guest's shared memory holds %d MiB: strip the modules, or bring less in files",
			size>>20, wire.RegionSize>>20)
	}
	return append(wire.EncodeHeader(archive), archive...), nil
}

func checkJob(job wire.Job, files []File) error {
	have := map[string]bool{}
	for _, f := range files {
		have[f.Name] = true
	}
	for _, m := range job.Modules {
		switch {
		case !have[m.File]:
			return fmt.Errorf("module %s: no file %q", m.Name, m.File)
		case strings.Contains(m.Name, "-") || m.Name == "":
			return fmt.Errorf("module %q: want the name as in /proc/modules, with underscores", m.Name)
		}
	}
	if job.Exercise != "" && !have[job.Exercise] {
		return fmt.Errorf("exercise: no file %q", job.Exercise)
	}
	switch job.Stack {
	case "", "on", "off":
	default:
		return fmt.Errorf("stack %q: want on or off", job.Stack)
	}
	return checkWalk(job)
}

func checkWalk(job wire.Job) error {
	w := job.Walk
	switch {
	case w == nil:
		return nil
	case w.From < 1 || w.To < w.From:
		return fmt.Errorf("walk from %d to %d: want 1 or more, and no step backwards", w.From, w.To)
	case len(job.Modules) == 0:
		return errors.New("walk: no module to load")
	case w.Exercise && job.Exercise == "":
		return errors.New("walk: no exercise to walk")
	}
	return nil
}

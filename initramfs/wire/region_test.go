package wire

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func region(archive []byte) []byte {
	r := make([]byte, 64<<10)
	copy(r[copy(r, EncodeHeader(archive)):], archive)
	return r
}

func TestJobComesOutAsItWentIn(t *testing.T) {
	r := region([]byte("an archive"))
	job, err := ReadJob(bytes.NewReader(r), int64(len(r)))
	require.NoError(t, err)
	got, err := io.ReadAll(job)
	require.NoError(t, err)
	assert.Equal(t, "an archive", string(got))
}

func TestRegionWithoutJob(t *testing.T) {
	_, err := ReadJob(bytes.NewReader(make([]byte, 8192)), 8192)
	assert.ErrorIs(t, err, ErrNoJob)
}

func TestRegionDamaged(t *testing.T) {
	r := region([]byte("an archive"))
	r[JobOffset+3] ^= 1
	_, err := ReadJob(bytes.NewReader(r), int64(len(r)))
	assert.ErrorContains(t, err, "sum")

	r = region([]byte("an archive"))
	r[8] = 0x7f // a length beyond the region
	_, err = ReadJob(bytes.NewReader(r), int64(len(r)))
	assert.ErrorContains(t, err, "shared memory of 65536")
}

// FuzzRegion: a region is refused, or its job has the length and sum it names.
func FuzzRegion(f *testing.F) {
	f.Add(region([]byte("an archive"))[:JobOffset+16])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < JobOffset {
			return
		}
		job, err := ReadJob(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		got, err := io.ReadAll(job)
		require.NoError(t, err)
		require.Equal(t, b[:48], EncodeHeader(got)[:48])
	})
}

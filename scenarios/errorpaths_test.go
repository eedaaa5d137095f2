package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrorPaths(t *testing.T) {
	for text, want := range map[ErrorPaths]Walks{
		"":                 {},
		"false":            {},
		"true":             {Load: true},
		"all":              {Load: true, All: true},
		"17":               {Load: true, Only: 17},
		"exercise":         {Exercise: true},
		"true,exercise":    {Load: true, Exercise: true},
		"exercise, all, 3": {Exercise: true, All: true, Only: 3},
	} {
		got, err := text.Parse()
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		assert.Equal(t, want != Walks{}, text.Wanted(), text)
	}
	for _, text := range []ErrorPaths{"0", "-1", "1000001", "17,18", "yes", "true,", "exercise 17"} {
		_, err := text.Parse()
		assert.Error(t, err, text)
	}
}

func TestErrorPathsInAFile(t *testing.T) {
	for _, text := range []string{"17", "exercise,17", "true", "all"} {
		s, err := Parse("kmemgate.yml", []byte("build: .\nerror_paths: "+text+"\n"))
		require.NoError(t, err, text)
		assert.Equal(t, ErrorPaths(text), s.ErrorPaths)
	}
}

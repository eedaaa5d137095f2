package history

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMigrate(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "m.sqlite"))
	require.NoError(t, err)
	defer db.Close()
	steps := []string{"CREATE TABLE a (n INTEGER); INSERT INTO a VALUES (7)", "ALTER TABLE a ADD COLUMN twice INTEGER; UPDATE a SET twice = 2*n"}
	read := func(query string) (n int) {
		require.NoError(t, db.QueryRow(query).Scan(&n))
		return n
	}
	require.NoError(t, migrate(t.Context(), db, steps[:1]))
	require.Equal(t, 1, read("PRAGMA user_version"))
	require.NoError(t, migrate(t.Context(), db, steps), "an old file is brought up to date")
	require.NoError(t, migrate(t.Context(), db, steps), "and stays as it is")
	require.Equal(t, []int{2, 14}, []int{read("PRAGMA user_version"), read("SELECT twice FROM a")})

	err = migrate(t.Context(), db, append(steps, "CREATE TABLE b (n INTEGER); CREATE TABLE a (n INTEGER)"))
	require.ErrorContains(t, err, "migrate to version 3")
	require.Equal(t, []int{2, 0}, []int{read("PRAGMA user_version"), read("SELECT count(*) FROM sqlite_schema WHERE name = 'b'")}, "all or nothing")

	err = migrate(t.Context(), db, steps[:1])
	require.ErrorIs(t, err, ErrForeign)
	require.ErrorContains(t, err, "use a newer one")
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other #1?.sqlite") // a name that is no URL
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(path[:len(path)-len("other #1?.sqlite")])+"other%20%231%3F.sqlite")
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE bookmarks (url TEXT)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = Open(t.Context(), path)
	require.ErrorIs(t, err, ErrForeign)
	_, err = OpenExisting(t.Context(), path+"x")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestLineAndVersion(t *testing.T) {
	for release, line := range map[string]string{
		"6.12.117": "6.12", "6.12": "6.12", "6.1.150-rt54": "6.1", "7.0.0-rc3": "7.0", "7.0-rc3+": "7.0", "next-20261122": "next-20261122", "6": "6",
		"6.12.95+deb13-amd64": "6.12",
	} {
		require.Equal(t, line, Line(release), release)
	}
	order := []string{"linux-next", "4.19.325", "6.1.9", "6.1.150", "6.12-rc1", "6.12-rc7", "6.12", "6.12.9", "6.12.117", "7.0-rc1", "7.0", "10.3"}
	for i := range order[1:] {
		require.Less(t, versionKey(order[i]), versionKey(order[i+1]), "%s, %s", order[i], order[i+1])
	}
}

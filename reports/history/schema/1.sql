-- Version 1. Times are milliseconds since 1970 (UTC). Names are stored once and
-- referred to by number: a run is about 150 bytes, a sighting about 20.

CREATE TABLE nights (
	id    INTEGER PRIMARY KEY,
	label TEXT NOT NULL UNIQUE,
	at    INTEGER NOT NULL -- when it began: what nights are ordered by
) STRICT;
CREATE INDEX nights_at ON nights (at, label);

-- A build is what was tested. content is empty where that is not known.
CREATE TABLE builds (
	id        INTEGER PRIMARY KEY,
	kernel    TEXT NOT NULL, -- release string
	version   INTEGER NOT NULL, -- the release as a number that orders
	arch      TEXT NOT NULL,
	revision  TEXT NOT NULL, -- the kernel's commit
	config    TEXT NOT NULL,
	toolchain TEXT NOT NULL,
	content   TEXT NOT NULL,
	UNIQUE (kernel, arch, revision, config, toolchain, content)
) STRICT;

-- A cell is what is compared with itself from night to night.
CREATE TABLE cells (
	id       INTEGER PRIMARY KEY,
	scenario TEXT NOT NULL,
	line     TEXT NOT NULL, -- 6.12
	arch     TEXT NOT NULL,
	UNIQUE (scenario, line, arch)
) STRICT;

CREATE TABLE signatures (
	id        INTEGER PRIMARY KEY,
	signature TEXT NOT NULL UNIQUE,
	title     TEXT NOT NULL,
	kind      TEXT NOT NULL, -- object, percpu, phys; oops, panic, hang, warn of a walk
	function  TEXT NOT NULL,
	module    TEXT NOT NULL,
	file      TEXT NOT NULL,
	line      INTEGER NOT NULL,
	size      INTEGER NOT NULL,
	frames    TEXT NOT NULL, -- JSON
	record    TEXT NOT NULL  -- the first raw record
) STRICT;

CREATE TABLE runs (
	id        INTEGER PRIMARY KEY,
	hash      BLOB NOT NULL UNIQUE, -- of the run's JSON: the same run counts once
	cell      INTEGER NOT NULL REFERENCES cells,
	build     INTEGER NOT NULL REFERENCES builds,
	night     INTEGER NOT NULL REFERENCES nights,
	at        INTEGER NOT NULL,
	verdict   TEXT NOT NULL,
	reason    TEXT NOT NULL,
	detail    TEXT NOT NULL,
	seconds   REAL NOT NULL, -- wall time, all phases
	orphans   INTEGER NOT NULL,
	bytes     INTEGER NOT NULL,
	reproduce TEXT NOT NULL
) STRICT;
CREATE INDEX runs_cell ON runs (cell, at);
CREATE INDEX runs_night ON runs (night, cell);

CREATE TABLE sightings (
	run       INTEGER NOT NULL REFERENCES runs,
	signature INTEGER NOT NULL REFERENCES signatures,
	status    TEXT NOT NULL,
	count     INTEGER NOT NULL,
	bytes     INTEGER NOT NULL,
	PRIMARY KEY (run, signature)
) STRICT, WITHOUT ROWID;

CREATE TABLE phases (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE timings (
	run     INTEGER NOT NULL REFERENCES runs,
	phase   INTEGER NOT NULL REFERENCES phases,
	seconds REAL NOT NULL,
	PRIMARY KEY (run, phase)
) STRICT, WITHOUT ROWID;

-- A track sums up the sightings of one signature in one cell, so that first
-- and last seen cost one look-up however long the history is.
CREATE TABLE tracks (
	cell      INTEGER NOT NULL REFERENCES cells,
	signature INTEGER NOT NULL REFERENCES signatures,
	first_run INTEGER NOT NULL REFERENCES runs,
	first_at  INTEGER NOT NULL,
	last_run  INTEGER NOT NULL REFERENCES runs,
	last_at   INTEGER NOT NULL,
	seen      INTEGER NOT NULL,
	PRIMARY KEY (cell, signature)
) STRICT, WITHOUT ROWID;
CREATE INDEX tracks_last ON tracks (last_at);
CREATE INDEX tracks_signature ON tracks (signature);

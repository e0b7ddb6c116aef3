-- Version 1. Invariants live here: one current version a path, states by name, every transition recorded by a trigger.
-- Paths are bytes. Times are seconds since the epoch (REAL).

CREATE TABLE place (
    inbox  TEXT NOT NULL,                       -- whose files are there; '' for trees that are only written to
    path   BLOB NOT NULL,                       -- absolute
    root   TEXT NOT NULL,                       -- JSON: the mount on which it was last found
    PRIMARY KEY (inbox, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
    id           INTEGER PRIMARY KEY,
    inbox        TEXT    NOT NULL,
    path         BLOB    NOT NULL,              -- relative to the inbox
    directory    BLOB    NOT NULL,              -- its folder, '' for the root
    size         INTEGER NOT NULL CHECK (size > 0),
    mtime_ns     INTEGER NOT NULL,
    inode        INTEGER NOT NULL,
    state        TEXT    NOT NULL DEFAULT 'queued' CHECK (state IN (
                     'queued', 'spooled', 'awaiting_correction', 'done', 'partial', 'deferred', 'failed', 'poison',
                     'superseded', 'vanished', 'orphaned', 'archived')),
    reason       TEXT    NOT NULL DEFAULT '',   -- code of the last error, '' when all is well
    detail       TEXT    NOT NULL DEFAULT '',   -- the same for a person
    sha256       TEXT,                          -- of the content, known once spooled
    settings     TEXT    NOT NULL DEFAULT '',   -- digest of what shaped the result
    pages        INTEGER,                       -- known once inspected
    tries        INTEGER NOT NULL DEFAULT 0,    -- times that work on it began
    deferrals    INTEGER NOT NULL DEFAULT 0,    -- in a row, for the back-off
    not_before   REAL,                          -- when a deferred job is tried again
    text_name    BLOB,                          -- sidecar, relative to the output root
    text_sha256  TEXT,                          -- of the published text
    json_sha256  TEXT,                          -- of the published metadata
    created      REAL    NOT NULL,
    changed      REAL    NOT NULL
) STRICT;

CREATE UNIQUE INDEX one_current_version ON job (inbox, path) WHERE state NOT IN ('superseded', 'vanished');
CREATE INDEX job_by_path ON job (inbox, path);
CREATE INDEX job_by_directory ON job (inbox, directory) WHERE state NOT IN ('superseded', 'vanished');
CREATE INDEX job_by_state ON job (state, inbox, id);
CREATE INDEX job_by_content ON job (sha256, settings) WHERE sha256 IS NOT NULL;

CREATE TABLE page (
    job     INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL CHECK (number >= 1),
    state   TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'recognized', 'failed')),
    tries   INTEGER NOT NULL DEFAULT 0,         -- counted before the work begins, so that a crash counts too
    deaths  INTEGER NOT NULL DEFAULT 0,         -- workers that it killed
    reason  TEXT    NOT NULL DEFAULT '',
    detail  TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    at      REAL    NOT NULL,
    before  TEXT,
    after   TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;

CREATE INDEX event_by_job ON event (job, id);

CREATE TRIGGER job_arrives AFTER INSERT ON job BEGIN
    INSERT INTO event (job, at, before, after, reason, detail)
    VALUES (new.id, new.created, NULL, new.state, new.reason, new.detail);
END;

CREATE TRIGGER job_moves AFTER UPDATE OF state ON job WHEN old.state <> new.state BEGIN
    INSERT INTO event (job, at, before, after, reason, detail)
    VALUES (new.id, new.changed, old.state, new.state, new.reason, new.detail);
END;

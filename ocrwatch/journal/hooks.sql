-- Version 2. Files that are set aside, figures of a result, and what hooks are still to be told.

-- SQLite cannot change a CHECK, so the table is made anew. Its other parts refer to it by name and stay.
CREATE TABLE job_anew (
    id           INTEGER PRIMARY KEY,
    inbox        TEXT    NOT NULL,
    path         BLOB    NOT NULL,              -- relative to the inbox
    directory    BLOB    NOT NULL,              -- its folder, '' for the root
    size         INTEGER NOT NULL CHECK (size > 0),
    mtime_ns     INTEGER NOT NULL,
    inode        INTEGER NOT NULL,
    state        TEXT    NOT NULL DEFAULT 'queued' CHECK (state IN (
                     'queued', 'spooled', 'awaiting_correction', 'done', 'partial', 'deferred', 'failed', 'poison',
                     'superseded', 'vanished', 'orphaned', 'archived', 'quarantined')),
    reason       TEXT    NOT NULL DEFAULT '',   -- code of the last error, '' when all is well
    detail       TEXT    NOT NULL DEFAULT '',   -- the same for a person
    sha256       TEXT,                          -- of the content, known once spooled
    settings     TEXT    NOT NULL DEFAULT '',   -- digest of what shaped the result
    pages        INTEGER,                       -- known once inspected
    tries        INTEGER NOT NULL DEFAULT 0,    -- times that work on it began
    deferrals    INTEGER NOT NULL DEFAULT 0,    -- in a row, for the back-off
    not_before   REAL,                          -- deferred: when it is tried again; quarantined: since when it is wanted back
    text_name    BLOB,                          -- sidecar, relative to the output root
    text_sha256  TEXT,                          -- of the published text
    json_sha256  TEXT,                          -- of the published metadata
    created      REAL    NOT NULL,
    changed      REAL    NOT NULL,
    moved_to     BLOB,                          -- where the scan was moved to; failed, poison: is being moved to; absolute
    to_review    INTEGER,                       -- published pages that a person should look at
    edits        INTEGER                        -- of the published text
) STRICT;

INSERT INTO job_anew (id, inbox, path, directory, size, mtime_ns, inode, state, reason, detail, sha256, settings, pages, tries,
                      deferrals, not_before, text_name, text_sha256, json_sha256, created, changed)
SELECT id, inbox, path, directory, size, mtime_ns, inode, state, reason, detail, sha256, settings, pages, tries,
       deferrals, not_before, text_name, text_sha256, json_sha256, created, changed
FROM job;

DROP TABLE job;
ALTER TABLE job_anew RENAME TO job;

CREATE UNIQUE INDEX one_current_version ON job (inbox, path) WHERE state NOT IN ('superseded', 'vanished');
CREATE INDEX job_by_path ON job (inbox, path);
CREATE INDEX job_by_directory ON job (inbox, directory) WHERE state NOT IN ('superseded', 'vanished');
CREATE INDEX job_by_state ON job (state, inbox, id);
CREATE INDEX job_by_content ON job (sha256, settings) WHERE sha256 IS NOT NULL;
CREATE INDEX job_on_its_way ON job (inbox, id)
    WHERE moved_to IS NOT NULL AND (state IN ('failed', 'poison') OR state = 'quarantined' AND not_before IS NOT NULL);

CREATE TRIGGER job_arrives AFTER INSERT ON job BEGIN
    INSERT INTO event (job, at, before, after, reason, detail)
    VALUES (new.id, new.created, NULL, new.state, new.reason, new.detail);
END;

CREATE TRIGGER job_moves AFTER UPDATE OF state ON job WHEN old.state <> new.state BEGIN
    INSERT INTO event (job, at, before, after, reason, detail)
    VALUES (new.id, new.changed, old.state, new.state, new.reason, new.detail);
END;

CREATE TABLE hook (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: by it a program knows what it was told before
    hook      TEXT    NOT NULL CHECK (hook IN ('done', 'failed', 'review', 'inbox_offline')),
    event     INTEGER REFERENCES event (id) ON DELETE CASCADE,  -- of the job; NULL for inbox_offline
    inbox     TEXT    NOT NULL DEFAULT '',        -- the rest is for inbox_offline alone
    path      BLOB    NOT NULL DEFAULT x'',       -- absolute: the inbox, or a mount in it
    state     TEXT    NOT NULL DEFAULT '',
    detail    TEXT    NOT NULL DEFAULT '',
    at        REAL    NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,         -- counted before the program runs, so that a crash counts too
    next_try  REAL    NOT NULL
) STRICT;

CREATE INDEX hook_by_time ON hook (hook, next_try);

CREATE TABLE hook_mark (
    hook  TEXT    NOT NULL,
    path  BLOB    NOT NULL DEFAULT x'',           -- inbox_offline: what was said to be away
    event INTEGER NOT NULL DEFAULT 0,             -- done, failed, review: the last event that was looked at
    PRIMARY KEY (hook, path)
) STRICT, WITHOUT ROWID;

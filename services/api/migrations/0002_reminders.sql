-- The queue of the worker. A reminder that nobody has sent yet is a job; one that is being sent is a locked row.
CREATE TABLE reminders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    todo     bigint NOT NULL REFERENCES todos ON DELETE CASCADE,
    added_at timestamptz NOT NULL DEFAULT now(),
    sent_at  timestamptz,
    sent_by  text
);

CREATE INDEX reminders_waiting ON reminders (id) WHERE sent_at IS NULL;
CREATE INDEX reminders_of_todo ON reminders (todo, id);

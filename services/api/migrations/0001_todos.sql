CREATE TABLE todos (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title    text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    added_by text NOT NULL CHECK (length(added_by) BETWEEN 1 AND 40),
    added_at timestamptz NOT NULL DEFAULT now(),
    done     boolean NOT NULL DEFAULT false
);

-- The day that a conversation's prompts say today is (ISO 8601; empty where the prompt says none), and whether the note
-- stood in a system message of its own after the user message. A note that is empty stands for no note.
ALTER TABLE role_turns ADD COLUMN day TEXT NOT NULL DEFAULT '';
ALTER TABLE role_turns ADD COLUMN trailing INTEGER NOT NULL DEFAULT 0;

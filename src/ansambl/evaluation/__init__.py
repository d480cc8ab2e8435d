"""Whether a role, an ensemble or a layout is worth its cost: tasks with checkable answers, asked of all alike."""

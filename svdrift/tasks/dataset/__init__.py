"""Your own problems as a task: tables of prompts with reference answers, and a scorer."""

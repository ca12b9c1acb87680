"""Command lines of the trainer."""

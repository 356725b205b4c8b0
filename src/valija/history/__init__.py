"""What the log told, kept for a while, so that `valija why` finds it again."""

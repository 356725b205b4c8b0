"""The crash test that users run."""

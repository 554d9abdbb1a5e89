"""Tasks of a build: what they are, what they cost, and in which order they run."""

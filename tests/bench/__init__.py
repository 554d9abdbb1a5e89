"""The bench: what a build takes, beside its peers and beside the least it could take."""

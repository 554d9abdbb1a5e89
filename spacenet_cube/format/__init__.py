"""The format of a cube on disk: layout, manifest, levels and shard indexes."""

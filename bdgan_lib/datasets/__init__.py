"""What lies on the disk: annotations that people make and shards that synthesis makes."""

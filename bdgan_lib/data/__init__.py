"""What lies on the disk: the annotations people make and the shards synthesis makes."""

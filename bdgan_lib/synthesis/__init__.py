"""From a generator and a label head to a data set on the disk."""

"""What every room stands on: types, ids, files, images, masks."""

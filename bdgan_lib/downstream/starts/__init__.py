"""What a segmentation network starts from: timm's networks, DINOv2 and DINOv3, files of others."""

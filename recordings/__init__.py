"""Readers: any lidar recording in, one canonical recording out. One file a format."""

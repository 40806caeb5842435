"""The lidar detector: data, model, loop, metrics, export. Only here is torch imported."""

"""The lidar detector: data, model, loop, metrics, export. torch is imported here and nowhere else."""

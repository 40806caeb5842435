"""Scenarios, simulated lidar, closed loop and the generated fleet."""

"""Logs of robots: containers (MCAP, rosbag2, ROS 1, pcap), encodings, and what they add up to."""

"""What a hard world does to the commands: kills, damaged files, full disks, hostile input. See `__main__`."""

"""The machine: devices, memory, files, threads, other machines."""

"""What depends on the machine: devices, memory, files, threads, other machines."""

"""What is left when the disk, the clock, the memory or the neighbours fail: everything that was accepted."""

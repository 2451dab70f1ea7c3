"""What a run's folder must hold for its record to be true, one kind of check a file."""
